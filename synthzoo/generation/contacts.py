"""How close atoms are to each other, for their elements."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase.data import covalent_radii

from synthzoo.data.pairs import find_pairs

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray


def nearest_share(atoms: Atoms) -> float:
    """Return the shortest distance over the sum of covalent radii, at most 1.

    It is the smallest of all pairs, periodic images included.
    """
    return float(contacts(atoms, reach=1.0)[2].min(initial=1.0))


def contacts(
    atoms: Atoms, *, reach: float
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
    """Return both atoms of each pair, and their distance as such a share.

    ``reach``: no pair that is closer than this share is left out.
    """
    radii_A = covalent_radii[atoms.numbers]
    pairs = find_pairs(atoms, 2 * reach * float(radii_A.max(initial=0.5)))
    shares = pairs.distances_A / (radii_A[pairs.first] + radii_A[pairs.second])
    return pairs.first, pairs.second, np.asarray(shares)
