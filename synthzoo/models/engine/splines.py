"""Radial functions as splines: sums of bell-shaped polynomials on an even grid.

A function is ``Σ_k B_k(t) c[cell + k]``, with ``cell`` the number of an interval of the
grid and ``t`` from 0 to 1 the place within. It has as many continuous derivatives as
its degree less one, and forces are the derivatives of this very function: what is
interpolated loses accuracy, but no energy.

Source: M. Unser, IEEE Signal Process. Mag. 16 (6), 22 (1999), doi 10.1109/79.799930.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.polynomial import Polynomial

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

Values = TypeVar("Values", "NDArray[np.float64]", "Tensor")

REACH = 4
"""Grid points to each side whose values a coefficient takes into account: the error of
leaving out the rest is of the tenth order of the interval."""


@cache
def basis(degree: int) -> tuple[tuple[float, ...], ...]:
    """Return the polynomials B_k(t), each from the constant's coefficient up.

    They are those of Cox and de Boor's recursion for evenly spaced knots.
    """
    t = Polynomial([0.0, 1.0])
    pieces = [Polynomial([1.0])]
    for order in range(1, degree + 1):
        new = [Polynomial([0.0])] * (order + 1)
        for k, piece in enumerate(pieces):
            new[k] = new[k] + piece * (1 + k - t) / order
            new[k + 1] = new[k + 1] + piece * (t + order - k - 1) / order
        pieces = new
    return tuple(
        tuple(np.pad(piece.coef, (0, degree + 1 - len(piece.coef))).tolist())
        for piece in pieces
    )


@cache
def _filter(degree: int) -> tuple[float, ...]:
    """Return what values at -REACH … REACH are multiplied by for a coefficient.

    The values of a spline at the points are ``1 + a δ² + b δ⁴ …`` of its coefficients,
    with δ² the second difference; this is the inverse of that series.
    """
    second = np.array([1.0, -2.0, 1.0])
    samples = np.array([piece[0] for piece in basis(degree)][:degree])
    series: list[float] = []
    powers = [np.array([1.0])]
    for _ in range(REACH):
        powers.append(np.convolve(powers[-1], second))
    rest = samples
    for order in range(degree // 2, -1, -1):
        factor = rest[0]
        series.insert(0, factor)
        rest = (rest - factor * powers[order])[1:-1] if order else rest
    inverse = [1.0]
    for order in range(1, REACH + 1):
        known = zip(series[1 : order + 1], reversed(inverse), strict=False)
        inverse.append(-sum(a * b for a, b in known))
    total = np.zeros(2 * REACH + 1)
    for order, factor in enumerate(inverse):
        total[REACH - order : REACH + order + 1] += factor * powers[order]
    return tuple(total.tolist())


def grid(intervals: int, degree: int) -> NDArray[np.float64]:
    """Return the places, over the cutoff, at which functions must be known."""
    beyond = degree // 2 + REACH
    points: NDArray[np.float64] = np.arange(-beyond, intervals + beyond + 2) / intervals
    return points


def coefficients(values: Values, degree: int) -> Values:
    """Return the coefficients of the splines through values at the points of `grid`.

    ``values``: of shape ``(points, functions)``.
    """
    rows = len(values) - 2 * REACH
    parts = [
        factor * values[start : start + rows]
        for start, factor in enumerate(_filter(degree))
    ]
    return sum(parts[1:], parts[0])
