"""Errors against labels, and the properties of crystals."""
