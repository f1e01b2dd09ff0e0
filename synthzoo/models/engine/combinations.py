"""Sums of harmonics by which components of features and messages are coupled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from synthzoo.models.engine.precision import Precision
    from synthzoo.models.engine.shape import Layer, Path

Combination = tuple[int, tuple[tuple[int, float], ...]]
"""A sum of harmonics: their order, and component and factor of each."""


@dataclass(frozen=True)
class Coupling:
    """A path's couplings, the first of which is 1.

    ``scale``: what its radial functions are multiplied by for that.
    ``pairs``: for components of features and message, what their product is multiplied
    by: a sum of harmonics, and a sign.
    """

    scale: float
    pairs: dict[tuple[int, int], tuple[Combination, int]]


def coupling_of(path: Path) -> Coupling:
    """Return a path's couplings, those with the same result joined."""
    scale = path.entries[0][3]
    sums: dict[tuple[int, int], list[tuple[int, float]]] = {}
    for before, edge, after, value in path.entries:
        sums.setdefault((before, after), []).append((edge, round(value / scale, 14)))
    pairs = {}
    for key, terms in sums.items():
        sign = 1 if terms[0][1] > 0 else -1
        combination = tuple((edge, sign * factor) for edge, factor in sorted(terms))
        pairs[key] = ((path.order, combination), sign)
    return Coupling(scale, pairs)


def combinations_of(layer: Layer) -> dict[Combination, int]:
    """Return the sums of harmonics that a layer needs, numbered."""
    found = {
        combination
        for path in layer.paths
        for combination, _ in coupling_of(path).pairs.values()
        if combination[0] > 0
    }
    return {each: number for number, each in enumerate(sorted(found))}


def components_of(layer: Layer) -> dict[tuple[int, int], int]:
    """Return order and component of the harmonics on a layer's edges, numbered."""
    orders = sorted({path.order for path in layer.paths if path.order})
    found = [(order, m) for order in orders for m in range(2 * order + 1)]
    return {each: number for number, each in enumerate(found)}


def scratch_size(layer: Layer, precision: Precision) -> int:
    """Return how many numbers of scratch the loops of a layer need for an edge."""
    rows = 2 * (precision.degree + 1) + len(combinations_of(layer))
    slopes = 1 + len(components_of(layer))
    return rows + slopes + slopes * precision.width
