"""Environments of atoms: what a model or SOAP says of them, and maps of them."""
