"""Pair potentials as linear functions: splines of the distance of two atoms."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from synthzoo.advice.rows import Rows
from synthzoo.data.pairs import find_pairs

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray
    from scipy.interpolate import BSpline

SPLINES = 12
"""Of each pair of elements."""
DEGREE = 3
NEAREST = 0.6
"""The splines begin at this share of the shortest distance of the set."""


class PairFunctions:
    """Cubic splines of the distance for each pair of elements; they end smoothly.

    ``shortest_A``: the shortest distance of two atoms in the set.
    """

    def __init__(
        self, elements: Sequence[str], cutoff_A: float, shortest_A: float
    ) -> None:
        self.elements, self.cutoff_A = list(elements), cutoff_A
        self._start_A = NEAREST * min(shortest_A, cutoff_A)
        pairs = itertools.combinations_with_replacement(range(len(elements)), 2)
        self._places = {pair: place for place, pair in enumerate(pairs)}

    def __len__(self) -> int:
        """Return the number of functions."""
        return SPLINES * len(self._places)

    @cached_property
    def _splines(self) -> list[BSpline]:
        """The splines; those that do not vanish smoothly at the cutoff are left out."""
        from scipy.interpolate import BSpline

        inner = np.linspace(self._start_A, self.cutoff_A, SPLINES + 1)
        step = inner[1] - inner[0]
        before = inner[0] + step * np.arange(-DEGREE, 0)
        knots = np.concatenate([before, inner])
        return [
            BSpline.basis_element(knots[place : place + DEGREE + 2], extrapolate=False)
            for place in range(len(knots) - DEGREE - 1)
        ]

    def rows(self, atoms: Atoms) -> Rows:
        """Return what the functions are for a structure: each pair counts once."""
        pairs = find_pairs(atoms, self.cutoff_A)
        distances = np.maximum(pairs.distances_A, self._start_A)
        values, slopes = self._values(distances)
        kinds = self._kinds(atoms, pairs.first, pairs.second)
        energy = np.zeros((len(self._places), len(self._splines)))
        np.add.at(energy, kinds, values / 2)
        pulls = slopes[:, :, None] * (pairs.vectors_A / distances[:, None])[:, None]
        forces = np.zeros((len(atoms), 3, len(self._places), len(self._splines)))
        np.add.at(
            forces.transpose(0, 2, 3, 1), (pairs.first, kinds), pulls
        )  # half of each from either end
        return Rows(
            energy=energy.ravel() / len(atoms),
            forces=forces.reshape(3 * len(atoms), -1).astype(np.float32),
        )

    def _values(
        self, distances_A: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the splines and their derivatives, ``(n_pairs, n_splines)``."""
        found = [
            [np.nan_to_num(each(distances_A)) for each in self._splines],
            [np.nan_to_num(each(distances_A, nu=1)) for each in self._splines],
        ]
        values, slopes = np.array(found).transpose(0, 2, 1)
        return values, slopes

    def _kinds(
        self, atoms: Atoms, first: NDArray[np.int32], second: NDArray[np.int32]
    ) -> NDArray[np.int64]:
        """Return the number of the pair of elements of each pair of atoms."""
        number = {name: place for place, name in enumerate(self.elements)}
        kinds = np.array([number[name] for name in atoms.symbols], dtype=np.int64)
        table = np.zeros((len(self.elements),) * 2, dtype=np.int64)
        for (one, other), place in self._places.items():
            table[one, other] = table[other, one] = place
        found: NDArray[np.int64] = table[kinds[first], kinds[second]]
        return found
