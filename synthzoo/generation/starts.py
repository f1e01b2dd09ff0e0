"""Structures that generation starts from: their vacuum, and a workable size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from ase.geometry import complete_cell

from synthzoo.data.pairs import cell_heights_A
from synthzoo.generation.cutting import cut

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.teachers import Teacher

VACUUM_A = 6.0
"""A gap between atoms that is wider than this is vacuum; crystals have no such gaps."""


def vacuum_axes(atoms: Atoms) -> NDArray[np.bool_]:
    """Return along which cell vectors a structure is open or has a gap of vacuum."""
    cell = complete_cell(atoms.cell.array)
    fractions = np.sort(atoms.positions @ np.linalg.inv(cell) % 1.0, axis=0)
    gaps = np.diff(fractions, axis=0, append=fractions[:1] + 1.0).max(axis=0)
    vacuum: NDArray[np.bool_] = (gaps * cell_heights_A(cell) > VACUUM_A) | ~atoms.pbc
    return vacuum


def is_alone(atoms: Atoms) -> bool:
    """Return whether a structure is one atom in vacuum, no crystal with one in a cell.

    Examples
    --------
    >>> from ase.build import bulk
    >>> is_alone(Atoms("W", cell=[15, 15, 15], pbc=True)), is_alone(bulk("W"))
    (True, False)
    """
    return len(atoms) == 1 and bool(vacuum_axes(atoms).all())


def resized(
    atoms: Atoms, min_atoms: int, max_atoms: int, rng: np.random.Generator
) -> Atoms:
    """Return a supercell of a small structure, or a part of a large one.

    A molecule or a cluster stays as it is, whatever its size. A part is periodic as the
    whole is.
    """
    while (axes := _sides(atoms)).size and 2 * len(atoms) <= max_atoms:
        if len(atoms) >= min_atoms:
            break
        copies = [1, 1, 1]
        copies[axes[0]] = 2
        atoms = atoms.repeat(copies)
    while (axes := _sides(atoms)).size and len(atoms) > max_atoms:
        atoms = cut(atoms, int(axes[-1]), rng)
    return atoms


def bare(atoms: Atoms, *, pbc: NDArray[np.bool_]) -> Atoms:
    """Return elements, positions and cell alone, periodic along these cell vectors."""
    return Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=pbc)


def computable(atoms: Atoms, driver: Teacher) -> Atoms:
    """Return a structure in a cell that the driver can do, vacuum around molecules."""
    copy = driver.with_gap(atoms)
    for axis in np.flatnonzero(copy.cell.lengths() == 0):
        copy.center(vacuum=driver.gap_A / 2, axis=int(axis))
    return copy


def _sides(atoms: Atoms) -> NDArray[np.intp]:
    """Return the directions in which matter goes on, the shortest side first."""
    heights_A = cell_heights_A(complete_cell(atoms.cell.array))
    axes = np.argsort(heights_A, kind="stable")
    return axes[~vacuum_axes(atoms)[axes]]
