"""The parts of a fit: learning rates, logs, where it runs, how batches are shared."""
