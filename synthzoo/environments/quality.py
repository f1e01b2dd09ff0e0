"""How well a description of environments separates those with different bonds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEIGHBOURS = 10
MOST_JUDGED = 4000
"""Environments whose neighbours are looked at; chosen at random."""
MOST_COMPARED = 64
"""Nearest environments among which neighbours of other structures are looked for."""
LEAST_OF_A_KIND = 10


@dataclass(frozen=True, kw_only=True)
class Separation:
    """How environments with different numbers of bonds are separated.

    Attributes
    ----------
    by
        What describes environments.
    purity
        Share of the ten nearest environments of other structures that have as many
        bonds, averaged over environments.
    silhouette
        Mean silhouette (doi 10.1016/0377-0427(87)90125-7) of the classes by number of
        bonds: 1 if they are far apart, 0 if they overlap. None if there is only one.
    """

    by: str
    purity: float
    silhouette: float | None


def separation_of(
    name: str,
    rows: NDArray[np.float32],
    bonds: NDArray[np.int64],
    owners: NDArray[np.int64],
    *,
    seed: int,
) -> Separation:
    """Return how a description separates environments by their bonds.

    ``name``: what describes them.
    ``rows``: their features, ``(n, n_features)``.
    ``bonds``: of each environment.
    ``owners``: structure of each environment, whose others are no neighbours.
    """
    generator = np.random.default_rng(seed)
    judged = generator.permutation(len(rows))[:MOST_JUDGED]
    return Separation(
        by=name,
        purity=_purity(rows, bonds, owners, judged),
        silhouette=_silhouette(rows[judged], bonds[judged]),
    )


def _purity(
    rows: NDArray[np.float32],
    bonds: NDArray[np.int64],
    owners: NDArray[np.int64],
    judged: NDArray[np.int64],
) -> float:
    from sklearn.neighbors import NearestNeighbors

    compared = min(MOST_COMPARED, len(rows))
    nearest = NearestNeighbors(n_neighbors=compared).fit(rows)
    indices = nearest.kneighbors(rows[judged], return_distance=False)
    others = owners[indices] != owners[judged][:, None]
    counted = others & (np.cumsum(others, axis=1) <= NEIGHBOURS)
    same = bonds[indices] == bonds[judged][:, None]
    return float((same & counted).sum() / max(counted.sum(), 1))


def _silhouette(rows: NDArray[np.float32], bonds: NDArray[np.int64]) -> float | None:
    from sklearn.metrics import silhouette_score

    frequent = np.bincount(bonds) >= LEAST_OF_A_KIND
    kept = frequent[bonds]
    if frequent.sum() < 2:
        return None
    return float(silhouette_score(rows[kept], bonds[kept]))
