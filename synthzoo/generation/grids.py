"""Ranges of recipes: numbers drawn from them, and evenly spaced points."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthzoo.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from synthzoo.recipes.schema import Range


def grid_points(interval: Range, step: float | None) -> list[Range]:
    """Return an interval as it is, or as points of an even spacing, both ends included.

    ``step``: spacing of the points; the interval stays whole if not given.

    Examples
    --------
    >>> grid_points((1.0, 1.2), 0.1)
    [(1.0, 1.0), (1.1, 1.1), (1.2, 1.2)]
    >>> grid_points((1.0, 1.2), None)
    [(1.0, 1.2)]
    """
    if step is None:
        return [interval]
    count = round((interval[1] - interval[0]) / step) if step > 0 else 0
    if step <= 0 or abs(interval[0] + count * step - interval[1]) > 1e-6 * step:
        raise InputError(
            f"Steps of {step} do not lead from {interval[0]} to {interval[1]}; choose "
            "a positive step that divides the range."
        )
    values = [round(interval[0] + index * step, 10) for index in range(count + 1)]
    return [(value, value) for value in values]


def draw(interval: Range, rng: np.random.Generator) -> float:
    """Return a number drawn uniformly from an interval."""
    return float(rng.uniform(*interval))
