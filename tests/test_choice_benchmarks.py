"""What the scripts about suggested structures and transformed invariants compute."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.suggested_structures import farthest
from benchmarks.suggested_structures_report import needed, row
from benchmarks.transformed_invariants import Environment, Transforms

SIZES = [10, 20, 40]


def test_the_number_needed_is_read_off_a_straight_line_of_logarithms():
    """Errors that fall as the square root of the number of structures."""
    errors = 1 / np.sqrt(SIZES)
    assert needed(SIZES, errors, 30**-0.5) == pytest.approx(30, rel=1e-3)
    assert needed(SIZES, errors, 0.1) is None


def test_a_setting_tells_how_many_structures_are_as_good():
    """Suggested ones are as good after 20 as chance after 40; farthest points never."""
    falls = {"suggest": [4, 2, 1], "chance": [4, 3, 2], "farthest points": [4, 4, 3]}
    lines = [
        {
            "by": name,
            "seed": seed,
            "sizes": SIZES,
            "errors": [{"all": {"eV/Å": e + 0.1 * seed}} for e in errors],
        }
        for name, errors in falls.items()
        for seed in (0, 1)
    ]
    cells = row("here", lines, "eV/Å")
    assert cells[:5] == ("here", "2", "40: 2.0 eV/Å", "20 (50 %)", "more")
    assert cells[5:] == ("-1.0 ± 0.0", "+1.0 ± 0.0")


def test_farthest_points_are_far_from_what_is_known_and_from_each_other():
    line = [np.array([[float(place)]]) for place in range(10)]
    found = farthest(
        lambda part: ([line[place] for place in part], set()),
        [0],
        list(range(1, 10)),
        2,
        np.random.default_rng(0),
    )
    assert found == [9, 4]


def test_forces_of_new_functions_are_their_slopes():
    """One atom on which its functions act as they change with its place."""
    transforms = Transforms(
        np.array([0, 2]), np.array([0.5, 1.0]), np.array([2.0, 0.7])
    )

    def around(x: float) -> list[Environment]:
        values = np.array([x**2, 9.0, np.sin(x)])
        slopes = -np.array([2 * x, 0.0, np.cos(x)])
        forces = np.zeros((1, 3, 3), dtype=np.float32)
        forces[0, :, 1] = slopes
        return [Environment(values, np.array([0]), forces)]

    step = 1e-5
    ends = [transforms.rows(around(0.8 + s)).energy for s in (step, -step)]
    found = transforms.rows(around(0.8))
    assert found.forces.shape == (3, 5)
    expected = -(ends[0] - ends[1]) / (2 * step)
    np.testing.assert_allclose(found.forces[1], expected, rtol=1e-5)
    assert not found.forces[[0, 2]].any()
