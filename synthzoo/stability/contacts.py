"""Which atoms are near each other, for their elements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase.data import covalent_radii

from synthzoo.data.pairs import bond_cutoff_A, find_pairs

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    from synthzoo.stability.protocol import Limits


NON_METALS = frozenset(
    (1, 2, *range(5, 11), *range(14, 19), *range(32, 37), *range(51, 55), 85, 86)
)
"""Atomic numbers of the elements with few neighbours, the metalloids among them."""


@dataclass(frozen=True, kw_only=True)
class Contact:
    """The two atoms that are nearest to each other for their elements.

    ``ratio``: that over the sum of their covalent radii.
    """

    first: int
    second: int
    distance_A: float
    ratio: float


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """The neighbours of all atoms.

    ``nearest``: the shortest contact; None if no atoms are near each other.
    ``bonds``: number of bonds of each atom, of shape ``(n,)``.
    ``alone``: whether nothing is near an atom, of shape ``(n,)``.
    """

    nearest: Contact | None
    bonds: NDArray[np.int64]
    alone: NDArray[np.bool_]


class Contacts:
    """Finds the neighbours of atoms whose elements do not change.

    ``limits``: what is near, and how many bonds are too many.
    """

    def __init__(self, atoms: Atoms, limits: Limits) -> None:
        present, self._kind = np.unique(atoms.numbers, return_inverse=True)
        self._bonded_A = np.array(
            [[bond_cutoff_A(a, b) for b in present] for a in present]
        )
        self._radii_A = covalent_radii[present][:, None] + covalent_radii[present]
        self._near_A = limits.lost_ratio * self._bonded_A
        self._reach_A = float(self._near_A.max())
        few = [number in NON_METALS for number in atoms.numbers.tolist()]
        self.most_bonds = np.where(few, limits.bonds, limits.metal_bonds)

    def look(self, atoms: Atoms) -> Surroundings:
        """Return who is near whom.

        ``atoms``: structure with finite positions.
        """
        pairs = find_pairs(atoms, self._reach_A)
        first, second, distances = pairs.first, pairs.second, pairs.distances_A
        kinds = (self._kind[first], self._kind[second])
        near = first[distances < self._near_A[kinds]]
        bonds = first[distances < self._bonded_A[kinds]]
        count = len(atoms)
        ratios = distances / self._radii_A[kinds]
        return Surroundings(
            nearest=_nearest(first, second, distances, ratios),
            bonds=np.bincount(bonds, minlength=count),
            alone=np.bincount(near, minlength=count) == 0,
        )


def shortest_contact(atoms: Atoms, limits: Limits) -> Contact | None:
    """Return the two atoms that are nearest to each other for their elements."""
    return Contacts(atoms, limits).look(atoms).nearest


def _nearest(
    first: NDArray[np.integer],
    second: NDArray[np.integer],
    distances_A: NDArray[np.float64],
    ratios: NDArray[np.float64],
) -> Contact | None:
    if not len(ratios):
        return None
    index = int(ratios.argmin())
    return Contact(
        first=int(first[index]),
        second=int(second[index]),
        distance_A=float(distances_A[index]),
        ratio=float(ratios[index]),
    )
