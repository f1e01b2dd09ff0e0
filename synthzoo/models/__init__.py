"""A checkpoint and its network: format, prediction, calculator."""
