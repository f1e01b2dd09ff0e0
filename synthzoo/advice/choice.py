"""Which of many structures would teach a model most about all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.models.uncertainty import Uncertainty

ALIKE = 0.95
"""Structures that bring this share of the largest gain are as good; the smallest of
them is taken."""


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


def choose(
    features: Sequence[NDArray[Any]], uncertainty: Uncertainty, count: int
) -> list[Choice]:
    """Return the indices of the candidates to compute, the most telling first.

    The next one is that with which, once it is known, the variance of all candidates is
    smallest (A-optimal design, one by one). So what is rare counts little, what is much
    like a choice made before brings nothing, and the choice is diverse by itself. No
    labels are needed: the posterior of a linear model does not depend on them.

    ``features``: of the atoms of each candidate.
    """
    sizes = np.array([len(each) for each in features])
    moments = np.array([_moments(each) for each in features])
    wanted = (moments / sizes[:, None, None]).mean(axis=0)
    known = uncertainty.atoms * np.linalg.inv(uncertainty.root @ uncertainty.root.T)
    left = np.arange(len(features))
    chosen: list[Choice] = []
    for _ in range(min(count, len(features))):
        now = _variance(wanted, known)
        after = np.array([_variance(wanted, known + moments[each]) for each in left])
        gain = now - after
        spared = (1 - ALIKE) * abs(gain.max())  # of rounding, it may be negative
        as_good = np.flatnonzero(gain >= gain.max() - spared)
        place = min(as_good, key=lambda each: (sizes[left[each]], after[each]))
        index = int(left[place])
        left = np.delete(left, place)
        known = known + moments[index]
        mean = uncertainty.atoms * after[place]
        chosen.append(Choice(index, uncertainty.forces_eV_A * float(np.sqrt(mean))))
    return chosen


def _moments(features: NDArray[Any]) -> NDArray[np.float64]:
    """Return the sum of f fᵀ over the atoms of a structure."""
    rows = features.astype(np.float64)
    found: NDArray[np.float64] = rows.T @ rows
    return found


def _variance(wanted: NDArray[np.float64], known: NDArray[np.floating]) -> float:
    """Return the mean variance of atoms, without the factor of the model.

    ``wanted``: mean of f fᵀ over the atoms that matter.
    ``known``: sum of f fᵀ over the atoms that were fitted.
    """
    return float(np.vdot(wanted, np.linalg.inv(known)))
