"""Regressions of the energies of atoms on SOAP, and their learning curves."""
