"""Which of many structures would teach a model most: the least certain, one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from synthzoo.models.uncertainty import Uncertainty, distances, root_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

ALIKE = 0.95
"""Structures above this share of the largest uncertainty are as good; the smallest of
them is taken."""


@dataclass(frozen=True)
class Choice:
    """A structure that was chosen.

    ``index``: among the candidates.
    ``deviation_eV_A``: standard deviation of its force components, root mean square
    over the atoms, once the structures chosen before it are known.
    """

    index: int
    deviation_eV_A: float


def choose(
    features: Sequence[NDArray[Any]], uncertainty: Uncertainty, count: int
) -> list[Choice]:
    """Return so many candidates, the one that is least certain first.

    After each choice the posterior is that of a model that was fitted to it, too. So
    what is much like a structure that was chosen is no longer uncertain, and the choice
    is diverse by itself. Labels are not needed: the posterior of a linear model does
    not depend on them.

    ``features``: of the atoms of each candidate.
    """
    rows = [each.astype(np.float64) for each in features]
    sizes = np.array([len(each) for each in rows])
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    together = np.concatenate(rows)
    moments = np.linalg.inv(uncertainty.root @ uncertainty.root.T)
    left = np.ones(len(rows), dtype=bool)
    chosen: list[Choice] = []
    while len(chosen) < min(count, len(rows)):
        squared = distances(together, root_of(moments)) ** 2
        found = np.sqrt(np.add.reduceat(squared, starts) / sizes)
        as_good = np.flatnonzero(left & (found >= ALIKE * found[left].max()))
        index = int(min(as_good, key=lambda each: (sizes[each], -found[each])))
        left[index] = False
        chosen.append(Choice(index, uncertainty.forces_eV_A * float(found[index])))
        moments = moments + rows[index].T @ rows[index] / uncertainty.atoms
    return chosen
