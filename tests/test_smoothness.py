"""What the script about smoothness counts, on curves that are known."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from benchmarks.smoothness import curvature, extrema, line_through, roughness

X = np.linspace(-1, 1, 41)


def test_extrema_within_a_line_are_counted():
    lines = np.array([X**2, X, np.cos(3 * np.pi * X)])
    assert extrema(lines).tolist() == [1, 0, 5]


def test_the_curvature_of_a_parabola_is_that():
    found = curvature(np.array([3 * X**2]), X[1] - X[0])
    np.testing.assert_allclose(found, 6, rtol=1e-9)


def test_a_ripple_is_rough_and_a_parabola_is_not():
    ripple = 1e-3 * (-1.0) ** np.arange(len(X))
    assert roughness(np.array([X**2 + ripple])) == pytest.approx(16e-3)
    assert roughness(np.array([X**2])) < 1e-12


def test_a_line_leads_through_its_structure_and_keeps_the_centre():
    atoms = bulk("C", cubic=True)
    line = line_through(atoms, X, np.random.default_rng(0))
    np.testing.assert_allclose(line[20].positions, atoms.positions, atol=1e-12)
    moved = line[-1].positions - atoms.positions
    assert np.sqrt((moved**2).sum(axis=1).mean()) == pytest.approx(1)
    np.testing.assert_allclose(moved.mean(axis=0), 0, atol=1e-12)
