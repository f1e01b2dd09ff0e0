"""Structures for which an energy is defined, and those for which none is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np
from ase.geometry import complete_cell

from synthzoo.data.pairs import cell_heights_A, find_pairs
from synthzoo.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

SAME_PLACE_A = 0.05
"""Two atoms closer than this (Å) are one atom written twice."""
SEARCHED_A = 1.0
"""A neighbour search with a much shorter reach cuts space into too many boxes."""

FARTHEST_A = 1e7
"""Farther away, single precision places atoms to 1 Å. No cell vector may be longer."""

MOST_LISTED = 20
"""More elements than these in one sentence are not read."""

MIN_CELL_VOLUME_A3 = 1e-6
MAX_ATOMS_PER_A3 = 10.0
"""Fifty times the density of diamond: the neighbours would outgrow the memory."""


def check_structure(
    atoms: Atoms,
    *,
    elements: Collection[str] | None = None,
    name: str = "the structure",
    overlaps: bool = True,
) -> None:
    """Refuse a structure for which no energy is defined.

    It is not changed.
    ``elements``: chemical symbols that are allowed; all of them if not given.
    ``name``: what to call the structure in the message.
    ``overlaps``: also look for two atoms on one place, which needs a neighbour search.
    """
    if len(atoms) == 0:
        raise InputError(f"{name} holds no atoms.")
    _check_finite(atoms, name)
    _check_cell(atoms, name)
    if elements is not None:
        check_elements(atoms, elements, name=name)
    if overlaps:
        _check_overlaps(atoms, name)


def check_elements(
    atoms: Atoms, elements: Collection[str], *, name: str = "the structure"
) -> None:
    """Refuse a structure with other elements than some.

    ``elements``: chemical symbols that are allowed.
    ``name``: what to call the structure in the message.
    """
    unknown = set(atoms.symbols) - set(elements)
    if unknown:
        raise InputError(
            f"{name} contains {listed(unknown)}; only {listed(elements)} can be used "
            "here."
        )


def check_set(
    structures: Sequence[Atoms], elements: Collection[str], *, by: str
) -> None:
    """Refuse structures some of which have elements that a potential does not know.

    ``by``: what to call the potential in the message.
    """
    unknown = [set(atoms.symbols) - set(elements) for atoms in structures]
    bad = sum(map(bool, unknown))
    if bad:
        raise InputError(
            f"{by} knows {listed(elements)}, but {bad} of {len(unknown)} structures "
            f"contain {listed(set().union(*unknown))}."
        )


def listed(elements: Collection[str]) -> str:
    """Return chemical symbols in alphabetical order; of very many the first only.

    Examples
    --------
    >>> listed({"Si", "C"})
    'C, Si'
    """
    known = sorted(elements)
    if len(known) <= MOST_LISTED:
        return ", ".join(known)
    return f"{', '.join(known[:MOST_LISTED])} and {len(known) - MOST_LISTED} others"


def _check_finite(atoms: Atoms, name: str) -> None:
    bad = np.flatnonzero(~np.isfinite(atoms.positions).all(axis=1))
    if len(bad):
        raise InputError(
            f"{name}: the position of atom {bad[0]} is not a finite number "
            f"({len(bad)} such atoms)."
        )
    far = np.flatnonzero((np.abs(atoms.positions) > FARTHEST_A).any(axis=1))
    if len(far):
        distance_A = np.abs(atoms.positions[far[0]]).max()
        raise InputError(
            f"{name}: atom {far[0]} lies {distance_A:.0e} Å away from the origin; the "
            "structure has flown apart, or its unit of length is wrong."
        )
    if not np.isfinite(atoms.cell.array).all():
        raise InputError(f"{name}: the cell is not made of finite numbers.")
    longest_A = atoms.cell.lengths().max()
    if longest_A > FARTHEST_A:
        raise InputError(
            f"{name}: a cell vector is {longest_A:.0e} Å long; the limit is "
            f"{FARTHEST_A:.0e} Å. Is its cell in Å?"
        )


def _check_cell(atoms: Atoms, name: str) -> None:
    if not atoms.pbc.any():
        return
    missing = [
        axis
        for axis, periodic, length in zip(
            "abc", atoms.pbc, atoms.cell.lengths(), strict=True
        )
        if periodic and length == 0
    ]
    if missing:
        raise InputError(
            f"{name} is periodic along {', '.join(missing)}, but that cell vector is "
            "zero. Set the cell, or switch the periodic flag off (atoms.pbc)."
        )
    cell = complete_cell(atoms.cell.array)
    volume_A3 = abs(np.linalg.det(cell))
    if volume_A3 < MIN_CELL_VOLUME_A3:
        raise InputError(
            f"{name} is periodic, but its cell has no volume: the cell vectors are "
            "linearly dependent."
        )
    _check_thickness(cell, atoms.pbc, name)
    if not atoms.pbc.all():
        volume_A3 = _filled_volume_A3(atoms)
    if len(atoms) > MAX_ATOMS_PER_A3 * volume_A3:
        raise InputError(
            f"{name} has {len(atoms) / volume_A3:.2g} atoms/Å³, over fifty times as "
            "many as diamond. Is its cell in Å?"
        )


def _check_thickness(
    cell: NDArray[np.float64], periodic: NDArray[np.bool_], name: str
) -> None:
    """Refuse a cell of which more than a hundred images lie within a few Å."""
    heights_A = cell_heights_A(cell)
    heights_A[~periodic] = np.inf
    axis = int(heights_A.argmin())
    if heights_A[axis] < SAME_PLACE_A:
        raise InputError(
            f"{name} is periodic, but its cell is only {heights_A[axis]:.1g} Å thick "
            f"along {'abc'[axis]}, less than {SAME_PLACE_A} Å. Is its cell in Å, or "
            "are two cell vectors almost parallel?"
        )


def _filled_volume_A3(atoms: Atoms) -> float:
    """Return the volume whose open directions end 1 Å beyond the atoms."""
    cell = atoms.cell.array.copy()
    cell[~atoms.pbc] = 0
    cell = complete_cell(cell)
    spread = np.ptp(atoms.positions @ np.linalg.inv(cell), axis=0) + 1
    return float(abs(np.linalg.det(cell)) * spread[~atoms.pbc].prod())


def _check_overlaps(atoms: Atoms, name: str) -> None:
    pairs = find_pairs(atoms, SEARCHED_A)
    close = np.flatnonzero(pairs.distances_A < SAME_PLACE_A)
    if len(close):
        first, second = pairs.first[close[0]], pairs.second[close[0]]
        raise InputError(
            f"{name}: atoms {first} and {second} are at the same position "
            f"(closer than {SAME_PLACE_A} Å); remove the duplicate."
        )


def min_distance_A(atoms: Atoms, *, cutoff_A: float = 2.0) -> float:
    """Return the shortest interatomic distance in Å, or ``cutoff_A`` if all are longer.

    Periodic images count.
    """
    distances = find_pairs(atoms, max(cutoff_A, SEARCHED_A)).distances_A
    return float(distances.min(initial=cutoff_A))
