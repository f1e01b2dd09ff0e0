"""Real spherical harmonics, and how products of them couple, as e3nn defines both.

e3nn's components of order 1 are x, y, z, and its polar axis is y.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Polynomial = tuple[tuple[int, int, int, float], ...]
"""Powers of x, y and z, and the coefficient, of each term."""

NEGLIGIBLE = 1e-12
"""Coefficients below are zero but for rounding."""

_VARIABLES = ((1, 0, 0), (0, 1, 0), (0, 0, 1))


@cache
def coupling(l1: int, l2: int, l3: int) -> NDArray[np.float64]:
    """Return e3nn's real Wigner 3j symbols, whose squares sum to 1.

    Clebsch–Gordan coefficients of complex harmonics, transformed to real ones.

    Returns an array of shape ``(2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1)`` that is shared,
    and cannot be written to. Raises ``ValueError`` if the orders do not couple.
    """
    if not abs(l1 - l2) <= l3 <= l1 + l2:
        raise ValueError(f"Orders {l1}, {l2} and {l3} do not couple.")
    product: NDArray[np.complex128] = np.einsum(
        "ij,kl,nm,ikn->jlm",
        _complex_from_real(l1),
        _complex_from_real(l2),
        _complex_from_real(l3).conj(),
        _clebsch_gordan(l1, l2, l3),
    )
    found: NDArray[np.float64] = product.real / np.linalg.norm(product.real)
    found[np.abs(found) < NEGLIGIBLE] = 0.0
    found.flags.writeable = False
    return found


@cache
def harmonics(order: int) -> tuple[Polynomial, ...]:
    """Return the real spherical harmonics of an order, for unit vectors (x, y, z).

    Their squares sum to ``2 * order + 1``: e3nn's normalisation "component". They are
    homogeneous, and in e3nn's order.
    """
    if order == 0:
        return (((0, 0, 0, 1.0),),)
    symbols = coupling(1, order - 1, order)
    sums: list[dict[tuple[int, int, int], float]] = []
    for component in range(2 * order + 1):
        terms: dict[tuple[int, int, int], float] = {}
        for one, below in np.argwhere(symbols[:, :, component]):
            factor = float(symbols[one, below, component])
            x, y, z = _VARIABLES[one]
            for a, b, c, coefficient in harmonics(order - 1)[below]:
                key = a + x, b + y, c + z
                terms[key] = terms.get(key, 0.0) + factor * coefficient
        sums.append(terms)
    # on the polar axis only the middle component is not zero, and it is positive
    scale = math.sqrt(2 * order + 1) / sums[order][0, order, 0]
    return tuple(
        tuple(
            (*powers, scale * value)
            for powers, value in sorted(terms.items())
            if abs(scale * value) > NEGLIGIBLE
        )
        for terms in sums
    )


def _complex_from_real(order: int) -> NDArray[np.complex128]:
    """Return the complex harmonics as combinations of the real ones, by rows."""
    found = np.zeros((2 * order + 1, 2 * order + 1), dtype=np.complex128)
    found[order, order] = 1.0
    for m in range(1, order + 1):
        sign = (-1) ** m
        found[order - m, [order + m, order - m]] = np.array([1, -1j]) / math.sqrt(2)
        found[order + m, [order + m, order - m]] = (
            sign * np.array([1, 1j]) / math.sqrt(2)
        )
    return found * (-1j) ** order  # makes the coupling real


def _clebsch_gordan(l1: int, l2: int, l3: int) -> NDArray[np.float64]:
    found = np.zeros((2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1))
    for m1 in range(-l1, l1 + 1):
        for m2 in range(-l2, l2 + 1):
            if abs(m1 + m2) <= l3:
                place = l1 + m1, l2 + m2, l3 + m1 + m2
                found[place] = _clebsch_gordan_entry((l1, l2, l3), m1, m2)
    return found


def _clebsch_gordan_entry(orders: tuple[int, int, int], m1: int, m2: int) -> float:
    """Return ⟨l1 m1 l2 m2 | l3 m3⟩ by Wigner's formula, exact up to the last root."""
    l1, l2, l3 = orders
    m3 = m1 + m2
    f = math.factorial
    squared = (2 * l3 + 1) * Fraction(
        f(l3 + l1 - l2) * f(l3 - l1 + l2) * f(l1 + l2 - l3) * f(l3 + m3) * f(l3 - m3),
        f(l1 + l2 + l3 + 1) * f(l1 - m1) * f(l1 + m1) * f(l2 - m2) * f(l2 + m2),
    )
    total = Fraction(0)
    for v in range(
        max(0, l2 - l1 + m3, m1 - l1),
        min(l2 + l3 + m1, l3 - l1 + l2, l3 + m3) + 1,
    ):
        total += (-1) ** (v + l2 + m2) * Fraction(
            f(l2 + l3 + m1 - v) * f(l1 - m1 + v),
            f(v) * f(l3 - l1 + l2 - v) * f(l3 + m3 - v) * f(v + l1 - l2 - m3),
        )
    return math.sqrt(squared) * float(total)
