"""Standard deviations beside errors: errors that are drawn from them fit."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from synthzoo.evaluation.calibration import (
    Spread,
    band_width,
    calibration,
    draw_reliability,
)


def drawn(count: int, factor: float = 1.0) -> Spread:
    """Return forces whose errors are as uncertain as is said, or by a factor more."""
    rng = np.random.default_rng(0)
    deviations = rng.uniform(0.1, 2.0, size=count)
    errors = factor * deviations[:, None] * rng.normal(size=(count, 3))
    return Spread(errors=errors, deviations=deviations)


@pytest.mark.parametrize("factor", [0.3, 1.0, 5.0])
def test_the_factor_brings_deviations_to_the_size_of_errors(factor: float):
    """It is found to a per cent from 30,000 components."""
    assert drawn(10_000, factor).factor() == pytest.approx(factor, rel=0.01)


def test_normal_errors_are_in_their_bands():
    """As many as should be; errors twice as large are not."""
    forces = drawn(10_000)
    energies = Spread(errors=forces.errors[:, 0], deviations=forces.deviations)
    found = calibration(forces, energies)
    assert found.forces_within == pytest.approx((0.68, 0.95), abs=0.01)
    assert found.energies_within == pytest.approx((0.68, 0.95), abs=0.015)
    assert drawn(10_000, 2.0).within(0.95) == pytest.approx(
        0.673, abs=0.01
    )  # of normal errors, those within 1.96 / 2
    assert band_width(0.6827) == pytest.approx(1, abs=1e-3)


def test_atoms_without_neighbours_do_not_count():
    """Nothing is predicted for them: their deviation is 0, and so is their force."""
    some = drawn(100)
    more = Spread(
        errors=np.concatenate([some.errors, np.zeros((5, 3))]),
        deviations=np.concatenate([some.deviations, np.zeros(5)]),
    )
    assert more.factor() == some.factor()
    assert more.within(0.68) == some.within(0.68)
    alone = Spread(errors=np.ones(2), deviations=np.zeros(2))
    assert np.isnan([alone.factor(), alone.within(0.95)]).all()


def test_the_rank_correlation_tells_order_from_chance():
    """It is high where deviations differ, and none where they are shuffled."""
    forces = drawn(5000)
    assert forces.rank_correlation() > 0.7
    shuffled = np.random.default_rng(1).permutation(forces.deviations)
    mixed = Spread(errors=forces.errors, deviations=shuffled)
    assert abs(mixed.rank_correlation()) < 0.05


@pytest.mark.parametrize(("count", "points"), [(5, 1), (150, 7), (500, 10)])
def test_the_picture_has_both_panels(count: int, points: int):
    """Few atoms make few points, of at least 20 atoms each."""
    figure = Figure()
    draw_reliability(figure, drawn(count))
    left, right = figure.axes
    assert np.size(left.lines[1].get_xdata()) == points
    assert left.get_title().startswith(f"{points} equal group")
    assert right.get_ylabel() == "share that is there"
