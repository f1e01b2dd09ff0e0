"""A part of a large periodic structure, closed to a smaller cell, or opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase.geometry import find_mic
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from synthzoo.data.pairs import bonded, find_pairs, longest_bond_A
from synthzoo.generation.contacts import contacts

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

KEPT_SHARES = (4 / 5, 3 / 4, 2 / 3, 3 / 5, 1 / 2)
"""What a cut may leave of a cell; the largest that fits is taken."""
GAPS = 3
"""A cell is cut in one of so many of its widest gaps between atoms."""
SEAM_SHARE = 0.9
"""Across a seam, atoms may come closer than elsewhere, down to this share of it."""
REACH = 3.0
"""So many times the sum of covalent radii away, molecules are no neighbours."""
MOLECULE_SHARE = 0.25
"""Bonded atoms that are a larger share of a structure than this are no molecule."""


@dataclass(frozen=True, kw_only=True)
class _Slice:
    """A structure between two parallel planes.

    ``units``: number of the molecule to which each atom belongs.
    ``nearest``: how close molecules are to each other.
    ``whole``: whether no plane of a crystal is missing or there twice.
    """

    atoms: Atoms
    units: NDArray[np.int64]
    nearest: float
    whole: bool


def cut(atoms: Atoms, axis: int, rng: np.random.Generator) -> Atoms:
    """Return at least half of a structure, in a cell that is shorter along one axis.

    Molecules stay whole. The slice is one whose sides fit each other. Where none does,
    as in a glass, atoms or molecules that come too close across the seam are left out.
    """
    slices = []
    units = _units(atoms)
    closest = SEAM_SHARE * _contacts(atoms, units)[1].min()
    for share in KEPT_SHARES:
        for origin in _gaps(atoms, axis, rng):
            found = _slice(atoms, units, axis, origin, share)
            if found.whole and found.nearest >= closest:
                return found.atoms
            slices.append(found)
    best = max(slices, key=lambda each: min(each.nearest, closest))
    return _thinned(best, closest)


def opened(atoms: Atoms, axis: int, vacuum_A: float, rng: np.random.Generator) -> Atoms:
    """Return a slab: a structure opened across a cell vector, in one of its gaps.

    Molecules stay whole.
    """
    origin = rng.choice(_gaps(atoms, axis, rng))
    whole = _slice(atoms, _units(atoms), axis, origin, 1.0).atoms
    return widened(whole, axis, vacuum_A)


def widened(atoms: Atoms, axis: int, vacuum_A: float) -> Atoms:
    """Return the same atoms in a cell with a longer vector, by so many Å."""
    wider: Atoms = atoms.copy()
    cell = wider.cell.array.copy()
    cell[axis] *= 1 + vacuum_A / np.linalg.norm(cell[axis])
    wider.set_cell(cell)
    return wider


def _gaps(atoms: Atoms, axis: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the middles of the widest gaps, as fractions of a cell vector."""
    fractions = np.sort(atoms.get_scaled_positions()[:, axis])
    widths = np.diff(fractions, append=fractions[0] + 1.0)
    order = rng.permutation(len(widths))
    widest = order[np.argsort(-widths[order].round(6), kind="stable")[:GAPS]]
    return np.asarray(fractions[widest] + widths[widest] / 2)


def _units(atoms: Atoms) -> NDArray[np.int64]:
    """Return the number of each atom's molecule; of each atom, if there are none."""
    pairs = find_pairs(atoms, longest_bond_A(atoms))
    bonds = bonded(atoms, pairs)
    ends = (pairs.first[bonds], pairs.second[bonds])
    count = len(atoms)
    graph = coo_array((np.ones(len(ends[0])), ends), shape=(count, count))
    units = np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)
    if np.bincount(units).max() > MOLECULE_SHARE * count:
        return np.arange(count)
    return units


def _contacts(
    atoms: Atoms, units: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return pairs of close atoms of different molecules as `contacts` does."""
    first, second, shares = contacts(atoms, reach=REACH)
    apart = units[first] != units[second]
    return first[apart], shares[apart]


def _slice(
    atoms: Atoms,
    units: NDArray[np.int64],
    axis: int,
    origin: float,
    share: float,
) -> _Slice:
    anchors = np.unique(units, return_index=True)[1][units]
    places = atoms.get_scaled_positions()[anchors]
    inside_A = find_mic(
        atoms.positions - atoms.positions[anchors], atoms.cell, atoms.pbc
    )[0]
    places[:, axis] = (places[:, axis] - origin) % 1.0
    inside = places[:, axis] < share
    part: Atoms = atoms[inside]
    cell = atoms.cell.array.copy()
    part.positions = (places @ cell + inside_A)[inside]
    cell[axis] *= share
    part.set_cell(cell)
    return _Slice(
        atoms=part,
        units=units[inside],
        nearest=float(_contacts(part, units[inside])[1].min(initial=REACH)),
        whole=abs(len(part) - share * len(atoms)) < 0.5,
    )


def _thinned(found: _Slice, closest: float) -> Atoms:
    """Return a slice without those that are too close, the most crowded ones first."""
    atoms: Atoms = found.atoms
    units = found.units
    while True:
        first, shares = _contacts(atoms, units)
        if shares.min(initial=closest) >= closest:
            return atoms
        kept = units != units[first[shares.argmin()]]
        atoms = atoms[kept]
        units = units[kept]
