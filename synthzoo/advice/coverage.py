"""Which environments of atoms lie outside of what a model, or the data, have seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synthzoo.models.uncertainty import distances, posterior_root

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

USUAL = 0.99
"""Share of the known atoms, left out in turn, that count as inside."""
PARTS = 3

Describe = Callable[[Sequence["Atoms"]], list["NDArray[np.floating]"]]
"""From structures to the features of their atoms, ``(n_atoms, n_features)`` each."""


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Atoms that are unlike all known ones.

    ``known``, ``seen``: numbers of structures that are known, and that were looked at.
    ``outside``: share of the atoms that lie outside.
    ``by_structure``: this share for each structure that was looked at.
    """

    known: int
    seen: int
    outside: float
    by_structure: tuple[float, ...]

    @property
    def mostly_outside(self) -> list[int]:
        """Numbers of the structures of which more than half lies outside."""
        return [i for i, share in enumerate(self.by_structure) if share > 0.5]


def coverage(
    known: Sequence[NDArray[np.floating]], looked_at: Sequence[NDArray[np.floating]]
) -> Coverage:
    """Return which atoms are farther from known ones than these are from each other.

    The distance is that of `synthzoo.models.uncertainty`: by the moments of the
    features. Known structures are left out in three parts, to learn how far atoms of
    the same kinds are from the others.

    ``known``, ``looked_at``: features of the atoms of each structure.
    """
    limit = _usual_distance(known)
    root = posterior_root(known)
    shares = [float((distances(each, root) > limit).mean()) for each in looked_at]
    sizes = [len(each) for each in looked_at]
    return Coverage(
        known=len(known),
        seen=len(looked_at),
        outside=float(np.average(shares, weights=sizes)),
        by_structure=tuple(shares),
    )


def _usual_distance(known: Sequence[NDArray[np.floating]]) -> float:
    found = []
    for part in range(PARTS):
        rest = [each for place, each in enumerate(known) if place % PARTS != part]
        root = posterior_root(rest)
        found += [distances(each, root) for each in known[part::PARTS]]
    return float(np.quantile(np.concatenate(found), USUAL))
