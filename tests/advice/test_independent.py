"""The script that counts independent invariants."""

from __future__ import annotations

import numpy as np

from benchmarks.independent_invariants import independent, moments, raising_rank
from synthzoo.advice.invariants import Invariants
from tests.extras import need


def test_what_is_a_combination_of_earlier_rows_is_not_kept():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(4, 9))
    mixed = np.vstack([rows[:2], rows[0] - 2 * rows[1], rows[2:], np.zeros(9)])
    kept, left = raising_rank(mixed)
    assert kept == [0, 1, 3, 4]
    assert left[2] < 1e-12


def test_no_more_invariants_are_independent_than_moments_less_rotations():
    """Two radial functions up to l = 1 are eight moments: five invariants of them."""
    need("pyace", "ace")
    basis = Invariants(["C"], 4.0, ([2, 2, 2], [0, 1, 1]))
    assert moments(basis) == 8
    kept, least, most = independent(basis, np.random.default_rng(0))
    assert len(kept) == 8 - 3 < len(basis)
    assert least > 1e-3
    assert most < 1e-6
