"""Learning curves: power laws, their bands, and how many structures are needed."""

from __future__ import annotations

import numpy as np
import pytest

from synthzoo.advice.curve import CONFIDENCE, fit_power_law

SIZES = np.array([12, 25, 50])


def errors(rng: np.random.Generator, exponent: float, noise: float) -> np.ndarray:
    """Return errors of three folds that differ by a factor, and by chance."""
    folds = np.exp(rng.normal(scale=0.1, size=(3, 1)))
    chance = np.exp(rng.normal(scale=noise, size=(3, 3)))
    return folds * SIZES**-exponent * chance


def test_a_power_law_is_found_and_flattens_beyond_what_was_fitted():
    """Without chance it is exact up to 50, whatever the folds' factors."""
    law = fit_power_law(SIZES, errors(np.random.default_rng(0), 0.3, 0.0))
    assert law.exponent == pytest.approx(0.3)
    assert law.at(50).error / law.at(25).error == pytest.approx(2**-0.3)
    assert law.at(200).error / law.at(100).error == pytest.approx(2**-0.15)


def test_the_band_holds_as_often_as_it_says():
    """Of 400 power laws with chance, about 90 % have the truth at 50 within it."""
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(400):
        told = fit_power_law(SIZES, errors(rng, 0.25, 0.05)).at(50)
        held += told.lowest <= 50**-0.25 <= told.highest
    assert held / 400 == pytest.approx(CONFIDENCE, abs=0.07)


def test_the_number_of_structures_for_an_error_is_the_inverse():
    law = fit_power_law(SIZES, errors(np.random.default_rng(0), 0.3, 0.0))
    assert law.structures_for(law.at(300).error * 1.000001) == 300
    assert law.structures_for(law.at(50).error / 10) is None


def test_what_twice_as_many_bring_is_known_as_well_as_the_exponent():
    expected, at_best = fit_power_law(
        SIZES, errors(np.random.default_rng(0), 0.3, 0.1)
    ).doubling()
    assert at_best < expected < 1
    exact = fit_power_law(SIZES, errors(np.random.default_rng(0), 0.3, 0.0))
    assert exact.doubling() == pytest.approx((2**-0.15, 2**-0.3))


def test_errors_that_rise_by_chance_promise_nothing():
    law = fit_power_law(SIZES, np.array([[1.0, 1.1, 1.2], [1.1, 1.0, 1.2]]))
    assert law.exponent == 0
    assert law.structures_for(0.5) is None
