"""Couplings and harmonics are e3nn's, to rounding."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from e3nn.o3 import spherical_harmonics, wigner_3j

from synthzoo.models.engine.couplings import Polynomial, coupling, harmonics

MAX_ORDER = 6


def evaluated(polynomial: Polynomial, points: np.ndarray) -> Any:
    """Return the values of a polynomial: ``points`` is (points, 3)."""
    x, y, z = points.T
    terms = [value * x**a * y**b * z**c for a, b, c, value in polynomial]
    return np.array(terms).sum(axis=0)


def test_couplings_are_those_of_e3nn():
    """The same basis, sign and normalisation, for all orders of a checkpoint."""
    for one, two in itertools.product(range(MAX_ORDER + 1), repeat=2):
        for three in range(abs(one - two), min(one + two, MAX_ORDER) + 1):
            expected = wigner_3j(one, two, three, dtype=torch.float64)
            found = coupling(one, two, three)
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_orders_that_do_not_couple_are_refused():
    with pytest.raises(ValueError, match="do not couple"):
        coupling(1, 1, 3)


@pytest.mark.parametrize("order", range(MAX_ORDER + 1))
def test_harmonics_are_those_of_e3nn(order: int):
    """With e3nn's normalisation of components, for vectors of length 1."""
    points = np.random.default_rng(order).normal(size=(40, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    expected = spherical_harmonics(
        order, torch.as_tensor(points), normalize=True, normalization="component"
    )
    found = np.stack([evaluated(part, points) for part in harmonics(order)], axis=1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)
    assert all(a + b + c == order for part in harmonics(order) for a, b, c, _ in part)
