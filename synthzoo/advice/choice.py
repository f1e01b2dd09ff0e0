"""Which of many structures would teach a model most about all of them."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from synthzoo.models.uncertainty import mean_features

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.models.uncertainty import Uncertainty

ALIKE = 0.95
"""Structures that bring this share of the largest gain are as good; the smallest of
them is taken."""

STILL_EV_A = 1e-4
"""Where no predicted force is larger, symmetry forbids them."""


@dataclass(frozen=True)
class Choice:
    """A structure that was chosen.

    ``index``: among the candidates.
    ``deviation_eV_A``: predicted standard deviation of force components once this
    structure and those chosen before it are known: root mean square over the atoms of
    all candidates, each of which counts the same, whatever its size.
    """

    index: int
    deviation_eV_A: float


class Knowledge:
    """What a linear model knows, and what it would know with one more candidate.

    ``rows``: features that each candidate would show, in several rows.
    ``root``: of the posterior now.
    ``count``: number of rows that it comes from.
    """

    def __init__(
        self, rows: Sequence[NDArray[Any]], root: NDArray[np.float64], count: int
    ) -> None:
        self._moments = np.array([_moments(each) for each in rows])
        sizes = np.array([len(each) for each in rows])
        self._wanted = (self._moments / sizes[:, None, None]).mean(axis=0)
        self._known = count * np.linalg.inv(root @ root.T)

    @property
    def variance(self) -> float:
        """Mean variance of the candidates, without the factor of the model."""
        return self._variance(self._known)

    def gains(self, candidates: Sequence[int]) -> NDArray[np.float64]:
        """Return the share of the variance that each candidate would take away."""
        now = self.variance
        if now == 0:  # of atoms without neighbours nothing is unknown
            return np.zeros(len(candidates))
        after = [self._variance(self._known + self._moments[i]) for i in candidates]
        found: NDArray[np.float64] = 1 - np.array(after) / now
        return found

    def add(self, candidate: int) -> None:
        """Go on as if a candidate were known."""
        self._known = self._known + self._moments[candidate]

    def _variance(self, known: NDArray[np.floating]) -> float:
        return float(np.vdot(self._wanted, np.linalg.inv(known)))


def still_ones(forces_eV_A: Sequence[NDArray[np.floating]]) -> set[int]:
    """Return the structures on whose atoms no forces act, by symmetry.

    ``forces_eV_A``: those that a model predicts, for each structure.
    """
    return {
        place
        for place, forces in enumerate(forces_eV_A)
        if np.abs(forces).max(initial=0.0) < STILL_EV_A
    }


def choose(
    features: Sequence[NDArray[Any]],
    uncertainty: Uncertainty,
    count: int,
    *,
    still: Container[int] = (),
) -> list[Choice]:
    """Return the candidates to compute, the most telling first.

    The next one is that with which, once it is known, the variance of all candidates is
    smallest (A-optimal design, one by one): that of the forces, by the features of
    atoms, and that of the energies, by the mean features of structures, each in
    proportion to what it is now. So what is rare counts little, what is much like a
    choice made before brings nothing, and the choice is diverse by itself. No labels
    are needed: the posterior of a linear model does not depend on them.

    ``features``: of the atoms of each candidate.
    ``still``: candidates whose forces vanish by symmetry. Any model knows these forces,
    and their labels say nothing about others: only their energies count.
    """
    forces = Knowledge(
        [0 * each if i in still else each for i, each in enumerate(features)],
        uncertainty.root,
        uncertainty.atoms,
    )
    energies = Knowledge(
        [mean_features(each) for each in features],
        uncertainty.energy_root,
        uncertainty.structures,
    )
    sizes = [len(each) for each in features]
    left = list(range(len(features)))
    chosen: list[Choice] = []
    for _ in range(min(count, len(features))):
        gain = forces.gains(left) + energies.gains(left)
        spared = (1 - ALIKE) * abs(gain.max())  # of rounding, it may be negative
        as_good = np.flatnonzero(gain >= gain.max() - spared)
        place = min(as_good.tolist(), key=lambda each: (sizes[left[each]], -gain[each]))
        index = left.pop(place)
        forces.add(index)
        energies.add(index)
        mean = uncertainty.atoms * forces.variance
        chosen.append(Choice(index, uncertainty.forces_eV_A * float(np.sqrt(mean))))
    return chosen


def _moments(features: NDArray[Any]) -> NDArray[np.float64]:
    """Return the sum of f fᵀ over rows."""
    rows = features.astype(np.float64)
    found: NDArray[np.float64] = rows.T @ rows
    return found
