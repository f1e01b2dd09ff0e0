"""Vacuum between a structure and its images, for programs that repeat every cell."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from synthzoo.data.pairs import cell_heights_A

VACUUM_A = 12.0
"""Least distance to the next image along an axis that is not periodic."""


def with_vacuum(atoms: Atoms) -> Atoms:
    """Return a structure whose images are far away along axes that are not periodic.

    Its labels and arrays are left out, its ``info`` is kept.
    """
    padded = Atoms(
        atoms.symbols,
        positions=atoms.positions,
        cell=atoms.cell,
        pbc=atoms.pbc,
        info=dict(atoms.info),
    )
    for axis in range(3):
        if not padded.pbc[axis] and _gap_A(padded, axis) < VACUUM_A:
            padded.center(vacuum=VACUUM_A / 2, axis=axis)
    return padded


def _gap_A(atoms: Atoms, axis: int) -> float:
    """Return how far the images along an axis are from each other."""
    if not atoms.cell[axis].any():
        return 0.0
    cell = atoms.cell.complete()
    filled = np.ptp(cell.scaled_positions(atoms.positions)[:, axis])
    return float(cell_heights_A(cell.array)[axis] * (1 - filled))
