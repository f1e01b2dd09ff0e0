"""Pairs of atoms within a distance, by a compiled neighbour search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase.data import covalent_radii
from ase.geometry import complete_cell
from matscipy.neighbours import neighbour_list

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

BOND_FACTOR = 1.25
"""Two atoms are bonded below this many times the sum of their covalent radii..."""
BOND_CUTOFFS_A = {(6, 6): 1.85}
"""... unless their atomic numbers are here. Carbon: doi 10.1039/D2DD00137C."""

FAR_A = 1e4
MAX_BOXES = 1_000_000
"""matscipy cuts space into boxes as large as the reach and walks to an atom's box cell
by cell. For atoms farther away, or for more boxes (and ten for each atom), the cost of
`_among_images` is lower: it does not grow with empty space."""


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """All pairs of atoms within a distance, each in both directions.

    ``first``, ``second``: numbers of the atoms, of shape ``(pairs,)``.
    ``shifts``: cell vectors to add to the second atom's position, of shape ``(pairs,
    3)``.
    ``distances_A``: of shape ``(pairs,)``.
    ``vectors_A``: from the first atom to the second, of shape ``(pairs, 3)``.
    """

    first: NDArray[np.int32]
    second: NDArray[np.int32]
    shifts: NDArray[np.int64]
    distances_A: NDArray[np.float64]
    vectors_A: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.first)


def find_pairs(atoms: Atoms, reach_A: float) -> Pairs:
    """Return the pairs of atoms, periodic images included, that are closer than this.

    Time and memory do not depend on how large the cell is.

    Directions that are not periodic need no cell vector.
    """
    cell = atoms.cell.complete().array
    periodic = atoms.pbc & (atoms.cell.lengths() > 0)
    if not periodic.any() or too_sparse(atoms.positions, cell, reach_A):
        return _among_images(atoms.positions, cell, periodic, float(reach_A))
    first, second, shifts, distances, vectors = neighbour_list(
        "ijSdD",
        positions=atoms.positions,
        cell=cell,
        pbc=periodic,
        numbers=atoms.numbers.astype(np.int32),
        cutoff=float(reach_A),
    )
    return Pairs(
        first=first,
        second=second,
        shifts=shifts,
        distances_A=distances,
        vectors_A=vectors,
    )


def find_edges(
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    periodic: NDArray[np.bool_],
    reach_A: float,
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
    """Return pairs as networks see them, in the order in which nequip finds them.

    ``positions``: of shape ``(n, 3)``, in Å.
    ``cell``: three vectors, of shape ``(3, 3)``, in Å; zero where there is none.
    ``periodic``: of shape ``(3,)``.
    Returns ``first``, ``second``, ``shifts``: see `Pairs`.
    """
    completed = complete_cell(cell)
    if too_sparse(positions, completed, reach_A):
        around = periodic & cell.any(axis=1)
        found = _among_images(positions, completed, around, float(reach_A))
        return found.first, found.second, found.shifts
    first, second, shifts = neighbour_list(
        "ijS",
        positions=positions,
        cell=completed,
        pbc=periodic,
        cutoff=float(reach_A),
    )
    return first, second, shifts


def too_sparse(
    positions: NDArray[np.float64], cell: NDArray[np.float64], reach_A: float
) -> bool:
    """Return whether a search by boxes would mostly walk through empty space.

    ``positions``: of shape ``(n, 3)``, in Å.
    ``cell``: three independent vectors, of shape ``(3, 3)``, in Å.
    """
    boxes = np.prod(np.maximum(cell_heights_A(cell) / reach_A, 1))
    far = np.abs(positions).max(initial=0.0) > FAR_A
    return bool(far or boxes > max(MAX_BOXES, 10 * len(positions)))


def cell_heights_A(cell: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how thick a cell is between its three pairs of faces.

    ``cell``: three independent vectors, of shape ``(3, 3)``, in Å.
    """
    heights: NDArray[np.float64] = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    return heights


def _among_images(
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    periodic: NDArray[np.bool_],
    reach_A: float,
) -> Pairs:
    """Return the pairs by a tree of the atoms and of their images around the cell."""
    from scipy.spatial import KDTree  # takes longer to load than most searches

    inverse = np.linalg.inv(cell)
    homes = np.where(periodic, np.floor(positions @ inverse), 0)
    wrapped = positions - homes @ cell
    atoms, images = _images(wrapped @ inverse, periodic, reach_A / cell_heights_A(cell))
    tree, others = KDTree(wrapped), KDTree(wrapped[atoms] + images @ cell)
    near = tree.sparse_distance_matrix(others, reach_A, output_type="ndarray")
    first, second, shifts = near["i"], atoms[near["j"]], images[near["j"]]
    vectors = wrapped[second] + shifts @ cell - wrapped[first]
    distances = np.linalg.norm(vectors, axis=1)
    itself = (first == second) & ~shifts.any(axis=1)
    kept = np.flatnonzero(~itself & (distances < reach_A))
    kept = kept[np.lexsort((*shifts[kept].T, second[kept], first[kept]))]
    first, second = first[kept], second[kept]
    return Pairs(
        first=first.astype(np.int32),
        second=second.astype(np.int32),
        shifts=(shifts[kept] - homes[second] + homes[first]).astype(np.int64),
        distances_A=distances[kept],
        vectors_A=vectors[kept],
    )


def _images(
    fractions: NDArray[np.float64],
    periodic: NDArray[np.bool_],
    margins: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return atoms and shifts of all images within a margin around the cell."""
    atoms, shifts = np.arange(len(fractions)), np.zeros((len(fractions), 3))
    for axis in np.flatnonzero(periodic):
        margin = margins[axis]
        steps = np.arange(-np.ceil(margin), np.ceil(margin) + 1)
        moved = fractions[atoms, axis] + steps[:, None]
        step, kept = np.nonzero((moved > -margin) & (moved < 1 + margin))
        atoms, shifts = atoms[kept], shifts[kept]
        shifts[:, axis] = steps[step]
    return atoms, shifts


def bond_cutoff_A(first: int, second: int) -> float:
    """Return the distance below which two elements count as bonded.

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
    """Return the largest bond cutoff between the elements of a structure."""
    present = np.unique(atoms.numbers).tolist()
    return max(bond_cutoff_A(a, b) for a in present for b in present)


def bonded(atoms: Atoms, pairs: Pairs) -> NDArray[np.bool_]:
    """Return which pairs are closer than the bond cutoff of their elements.

    ``pairs``: its pairs, found to `longest_bond_A` or farther.
    """
    present, kind = np.unique(atoms.numbers, return_inverse=True)
    cutoffs = np.array([[bond_cutoff_A(a, b) for b in present] for a in present])
    close: NDArray[np.bool_] = (
        pairs.distances_A < cutoffs[kind[pairs.first], kind[pairs.second]]
    )
    return close


def coordination(atoms: Atoms, pairs: Pairs) -> NDArray[np.int64]:
    """Return the number of bonds of each atom, of shape ``(n,)``.

    ``pairs``: its pairs, found to `longest_bond_A` or farther.
    """
    return np.bincount(pairs.first[bonded(atoms, pairs)], minlength=len(atoms))
