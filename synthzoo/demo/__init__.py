"""All of it in under two minutes."""
