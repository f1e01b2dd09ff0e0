"""Structures that generation starts from: their vacuum, and a workable size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.geometry import complete_cell

from synthzoo.data.pairs import cell_heights_A, find_pairs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.teachers import Teacher

VACUUM_A = 6.0
"""A gap between atoms that is wider than this is vacuum; crystals have no such gaps."""

CUT_SHARES = (2 / 3, 1 / 2, 1 / 3)
"""A large cell is cut down to one of these shares of its longest side at a time."""
FITTING_SHARE = 0.98
"""Sides fit if their atoms come no closer than this share of the shortest distance."""
SEAM_SHARE = 0.9
"""Atoms that come closer than this share of it across a cut are left out."""


def vacuum_axes(atoms: Atoms) -> NDArray[np.bool_]:
    """Return along which cell vectors a structure is open or has a gap of vacuum."""
    cell = complete_cell(atoms.cell.array)
    fractions = np.sort(atoms.positions @ np.linalg.inv(cell) % 1.0, axis=0)
    gaps = np.diff(fractions, axis=0, append=fractions[:1] + 1.0).max(axis=0)
    vacuum: NDArray[np.bool_] = (gaps * cell_heights_A(cell) > VACUUM_A) | ~atoms.pbc
    return vacuum


def nearest_share(atoms: Atoms) -> float:
    """Return the shortest distance over the sum of covalent radii, at most 1.

    It is the smallest of all pairs, periodic images included.
    """
    return float(_contacts(atoms)[1].min(initial=1.0))


def _contacts(atoms: Atoms) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return the first atom of each close pair, and its distance as such a share."""
    radii_A = covalent_radii[atoms.numbers]
    pairs = find_pairs(atoms, 2 * float(radii_A.max(initial=0.5)))
    shares = pairs.distances_A / (radii_A[pairs.first] + radii_A[pairs.second])
    return pairs.first, shares


def resized(
    atoms: Atoms, min_atoms: int, max_atoms: int, rng: np.random.Generator
) -> Atoms:
    """Return a supercell of a small structure, or a part of a large one.

    A molecule or a cluster stays as it is, whatever its size. A part is periodic as the
    whole is; it ends where its sides fit each other best.
    """
    while (axes := _sides(atoms)).size and 2 * len(atoms) <= max_atoms:
        if len(atoms) >= min_atoms:
            break
        copies = [1, 1, 1]
        copies[axes[0]] = 2
        atoms = atoms.repeat(copies)
    while (axes := _sides(atoms)).size and len(atoms) > max_atoms:
        atoms = _cut(atoms, int(axes[-1]), rng)
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


def _cut(atoms: Atoms, axis: int, rng: np.random.Generator) -> Atoms:
    """Return a slice of a structure that is closed to a smaller cell."""
    whole = nearest_share(atoms)
    origin = rng.random()
    slices = [_slice(atoms, axis, origin, share) for share in CUT_SHARES]
    fits = np.array([nearest_share(part) / whole for part in slices])
    good = np.flatnonzero(fits >= FITTING_SHARE)
    part = slices[good[0] if len(good) else fits.argmax()]
    first, shares = _contacts(part)
    while shares.min(initial=whole) < SEAM_SHARE * whole:
        del part[first[shares.argmin()]]
        first, shares = _contacts(part)
    return part


def _slice(atoms: Atoms, axis: int, origin: float, share: float) -> Atoms:
    fractions = atoms.get_scaled_positions()
    fractions[:, axis] = (fractions[:, axis] - origin) % 1.0
    inside = fractions[:, axis] < share
    cell = atoms.cell.array.copy()
    part: Atoms = atoms[inside]
    part.positions = fractions[inside] @ cell
    cell[axis] *= share
    part.set_cell(cell)
    return part
