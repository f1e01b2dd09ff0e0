"""Survival of replicas, against a published data set and against chance."""

import numpy as np
import pytest

from synthzoo.errors import InputError
from synthzoo.stability.survival import (
    Lifetimes,
    compare_survival,
    describe_survival,
    survival_curve,
    survival_p_value,
)

# Remission times of Freireich et al., Blood 21, 699 (1963), the textbook example
DRUG = Lifetimes(
    times_ps=(
        *(6, 6, 6, 7, 10, 13, 16, 22, 23),
        *(6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35),
    ),
    failed=(True,) * 9 + (False,) * 12,
)
PLACEBO = Lifetimes(
    times_ps=(1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23),
    failed=(True,) * 21,
)


def test_kaplan_meier_of_the_textbook():
    """The shares after each failure, as printed in any book on survival."""
    curve = survival_curve(DRUG)
    after = dict(zip(curve.times_ps, curve.shares, strict=True))
    known = {6: 0.857, 7: 0.807, 10: 0.753, 13: 0.690, 16: 0.627, 22: 0.538, 23: 0.448}
    for time, share in known.items():
        assert after[time] == pytest.approx(share, abs=5e-4)
    assert after[0] == 1
    assert curve.median_ps == 23
    assert (curve.replicas, curve.failures) == (21, 9)


def test_log_rank_of_the_textbook():
    """Chi-square 16.79 with one degree of freedom."""
    assert survival_p_value(DRUG, PLACEBO) == pytest.approx(4.17e-5, rel=0.01)
    assert "differ" in compare_survival([("drug", DRUG), ("placebo", PLACEBO)])[0]


def test_all_alive_still_leaves_doubt():
    """Five of five: the share is above 48 % with 95 % confidence, no more."""
    curve = survival_curve(Lifetimes(times_ps=(20.0,) * 5, failed=(False,) * 5))
    assert curve.shares == (1.0, 1.0)
    assert curve.lowest == pytest.approx([0.025 ** (1 / 5)] * 2)
    assert curve.highest == (1.0, 1.0)
    assert curve.median_ps is None


def test_all_dead_still_leaves_doubt():
    """None of five: the band is closed at the end, too."""
    curve = survival_curve(Lifetimes(times_ps=(1, 2, 3, 4, 5), failed=(True,) * 5))
    assert curve.shares[-1] == 0
    assert curve.lowest[-1] == 0
    assert curve.highest[-1] == pytest.approx(1 - 0.025 ** (1 / 5))
    assert curve.median_ps == 3
    assert np.isfinite([*curve.lowest, *curve.highest]).all()


def test_one_replica_gives_a_curve():
    """One failure of one: nothing is known, and nothing breaks."""
    curve = survival_curve(Lifetimes(times_ps=(2.0,), failed=(True,)))
    assert curve.times_ps == (0.0, 2.0)
    assert curve.shares == (1.0, 0.0)


def test_the_band_holds_what_it_promises():
    """Of 300 sets of 8 exponential lifetimes, about 95 % hold the true share."""
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(300):
        times = rng.exponential(10.0, size=8)
        lives = Lifetimes(
            times_ps=tuple(np.minimum(times, 8.0)), failed=tuple(times < 8.0)
        )
        curve = survival_curve(lives)
        place = np.searchsorted(curve.times_ps, 6.0, side="right") - 1
        held += curve.lowest[place] <= np.exp(-0.6) <= curve.highest[place]
    assert 0.92 <= held / 300 <= 0.995


def test_two_models_that_both_live_are_not_told_apart():
    """Neither a warning nor a verdict comes of nought over nought."""
    lives = Lifetimes(times_ps=(5.0,) * 3, failed=(False,) * 3)
    assert survival_p_value(lives, lives) == 1
    assert "cannot be told apart" in compare_survival([("a", lives), ("b", lives)])[0]


def test_survival_in_words_says_when_half_had_failed():
    """Share, interval and median, with units."""
    lives = Lifetimes(times_ps=(1.0, 2.0, 20.0), failed=(True, True, False))
    text = describe_survival(lives, 20.0)
    assert text.startswith("1 of 3 replicas lived for 20 ps (95 % interval")
    assert text.endswith("half had failed after 2 ps.")


def test_each_time_needs_an_outcome():
    """Lists of different lengths are refused, and so are empty ones."""
    with pytest.raises(InputError, match="2 times and 1 outcomes"):
        Lifetimes(times_ps=(1.0, 2.0), failed=(True,))
    with pytest.raises(InputError, match="at least one replica"):
        Lifetimes(times_ps=(), failed=())
