"""Pairs of atoms within a distance, by a compiled neighbour search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase.data import covalent_radii
from ase.geometry import wrap_positions
from matscipy.neighbours import neighbour_list
from scipy.spatial import KDTree

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

BOND_FACTOR = 1.25
"""Two atoms are bonded below this many times the sum of their covalent radii..."""
BOND_CUTOFFS_A = {(6, 6): 1.85}
"""... unless their atomic numbers are here. Carbon: doi 10.1039/D2DD00137C."""


FAR_A = 1e4
"""Atoms of a periodic structure that are farther away are brought back first."""


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """All pairs of atoms within a distance, each in both directions.

    Attributes
    ----------
    first, second
        Numbers of the atoms, of shape ``(pairs,)``.
    distances_A
        Of shape ``(pairs,)``.
    vectors_A
        From the first atom to the second, of shape ``(pairs, 3)``.
    """

    first: NDArray[np.int32]
    second: NDArray[np.int32]
    distances_A: NDArray[np.float64]
    vectors_A: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.first)


def find_pairs(atoms: Atoms, reach_A: float) -> Pairs:
    """Return the pairs of atoms, periodic images included, that are closer than this.

    Parameters
    ----------
    atoms
        Structure; directions that are not periodic need no cell vector.
    reach_A
        Largest distance.
    """
    periodic = atoms.pbc & (atoms.cell.lengths() > 0)
    if not periodic.any():
        return _pairs_of_points(atoms.positions, float(reach_A))
    cell = atoms.cell.complete().array
    positions = atoms.positions
    if np.abs(positions).max(initial=0.0) > FAR_A:  # matscipy counts cells one by one
        positions = wrap_positions(positions, cell, pbc=periodic)
    first, second, distances, vectors = neighbour_list(
        "ijdD",
        positions=positions,
        cell=cell,
        pbc=periodic,
        numbers=atoms.numbers.astype(np.int32),
        cutoff=float(reach_A),
    )
    return Pairs(first=first, second=second, distances_A=distances, vectors_A=vectors)


def _pairs_of_points(positions: NDArray[np.float64], reach_A: float) -> Pairs:
    """Return the pairs where nothing is periodic, however far apart atoms are."""
    found = KDTree(positions).query_pairs(reach_A, output_type="ndarray")
    both = np.concatenate([found, found[:, ::-1]])
    first, second = both[np.lexsort(both.T[::-1])].astype(np.int32).T
    vectors = positions[second] - positions[first]
    distances = np.linalg.norm(vectors, axis=1)
    return Pairs(first=first, second=second, distances_A=distances, vectors_A=vectors)


def bond_cutoff_A(first: int, second: int) -> float:
    """Return the distance below which two elements count as bonded.

    Parameters
    ----------
    first, second
        Atomic numbers.

    Examples
    --------
    >>> bond_cutoff_A(6, 6)
    1.85
    >>> round(bond_cutoff_A(14, 14), 3)
    2.775
    """
    known = BOND_CUTOFFS_A.get((min(first, second), max(first, second)))
    if known is not None:
        return known
    return BOND_FACTOR * float(covalent_radii[first] + covalent_radii[second])


def longest_bond_A(atoms: Atoms) -> float:
    """Return the largest bond cutoff between the elements of a structure.

    Parameters
    ----------
    atoms
        Structure.
    """
    present = np.unique(atoms.numbers).tolist()
    return max(bond_cutoff_A(a, b) for a in present for b in present)


def bonded(atoms: Atoms, pairs: Pairs) -> NDArray[np.bool_]:
    """Return which pairs are closer than the bond cutoff of their elements.

    Parameters
    ----------
    atoms
        Structure.
    pairs
        Its pairs, found to `longest_bond_A` or farther.
    """
    present, kind = np.unique(atoms.numbers, return_inverse=True)
    cutoffs = np.array([[bond_cutoff_A(a, b) for b in present] for a in present])
    close: NDArray[np.bool_] = (
        pairs.distances_A < cutoffs[kind[pairs.first], kind[pairs.second]]
    )
    return close


def coordination(atoms: Atoms, pairs: Pairs) -> NDArray[np.int64]:
    """Return the number of bonds of each atom, of shape ``(n,)``.

    Parameters
    ----------
    atoms
        Structure with ``n`` atoms.
    pairs
        Its pairs, found to `longest_bond_A` or farther.
    """
    return np.bincount(pairs.first[bonded(atoms, pairs)], minlength=len(atoms))
