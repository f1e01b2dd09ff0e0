"""Which model to use, and what to do next."""
