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
    ``deviation_eV_A``: predicted standard deviation of force components, root mean
    square over the atoms of all candidates, once this structure and those chosen
    before it are known.
    """

    index: int
    deviation_eV_A: float


def choose(
    features: Sequence[NDArray[Any]], uncertainty: Uncertainty, count: int
) -> list[Choice]:
    """Return so many candidates, the one that teaches most first.

    The next one is that with which, once it is known, the variance of all candidates is
    smallest (A-optimal design, one by one). So what is rare counts little, what is much
    like a choice made before brings nothing, and the choice is diverse by itself. No
    labels are needed: the posterior of a linear model does not depend on them.

    ``features``: of the atoms of each candidate.
    """
    rows = [each.astype(np.float64) for each in features]
    sizes = np.array([len(each) for each in rows])
    moments = np.array([each.T @ each for each in rows])
    wanted = (moments / sizes[:, None, None]).mean(axis=0)
    known = uncertainty.atoms * np.linalg.inv(uncertainty.root @ uncertainty.root.T)
    left = list(range(len(rows)))
    chosen: list[Choice] = []
    while len(chosen) < min(count, len(rows)):
        now = _variance(wanted, known[None])[0]
        after = _variance(wanted, known + moments[left])
        as_good = np.flatnonzero(now - after >= ALIKE * (now - after.min()))
        place = int(min(as_good, key=lambda each: (sizes[left[each]], after[each])))
        index = left.pop(place)
        known = known + moments[index]
        mean = uncertainty.atoms * after[place]
        chosen.append(Choice(index, uncertainty.forces_eV_A * float(np.sqrt(mean))))
    return chosen


def _variance(
    wanted: NDArray[np.float64], known: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return the mean variance of atoms, for each of several states of knowledge.

    ``wanted``: mean of f fᵀ over the atoms that matter.
    ``known``: sum of f fᵀ over the atoms that were fitted, ``(n, k, k)``.
    """
    found: NDArray[np.float64] = np.einsum("ij,nji->n", wanted, np.linalg.inv(known))
    return found
