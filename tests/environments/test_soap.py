"""SOAP by dscribe."""

from __future__ import annotations

import pytest
from ase.build import bulk

from synthzoo.environments.descriptors import soap_for
from synthzoo.environments.soap import spectra_of
from tests.extras import need


def test_atoms_outside_of_the_cell_have_all_their_neighbours():
    """Dscribe looks at atoms where they are, and copies the cell around the origin."""
    need("dscribe", "maps")
    atoms = bulk("C", cubic=True) * (2, 1, 1)
    atoms.rattle(0.1, seed=0)
    soap = soap_for(["C"])
    expected = spectra_of(atoms, soap)
    atoms.positions[3] += 2 * atoms.cell[0] - atoms.cell[2]
    assert spectra_of(atoms, soap) == pytest.approx(expected, abs=1e-6)
