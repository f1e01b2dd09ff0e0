"""Synthetic structures, as a recipe says."""
