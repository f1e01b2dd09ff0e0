"""What a generate recipe will cost, measured on a sample of its dynamics and scaled."""

from __future__ import annotations

import dataclasses
import io
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from synthzoo.data.xyz_writing import write_frame
from synthzoo.generation.kinds.from_atoms import Packing
from synthzoo.generation.kinds.values import SECONDS_PER_HOUR
from synthzoo.generation.packing import pack
from synthzoo.generation.parts import Cost, P, Work, check_parts, maker_of
from synthzoo.generation.recipe import GenerateRecipe
from synthzoo.generation.start_files import with_hashes
from synthzoo.potentials import Model, teacher_reference
from synthzoo.recipes.loading import recipe_source, settle_recipe
from synthzoo.recipes.schema import inside
from synthzoo.teachers import load_teacher
from synthzoo.teachers.loading import called_apart

if TYPE_CHECKING:
    from synthzoo.generation.kinds.part import Part
    from synthzoo.generation.species import Species
    from synthzoo.teachers import Teacher

DIGITS = 3
BYTES_PER_GB = 1e9


@dataclass(frozen=True, kw_only=True)
class CostEstimate:
    """What a recipe makes and costs.

    Attributes
    ----------
    structures, atoms
        How many there will be, before thinning and without failures; atoms on average.
    disk_GB
        Size of the file.
    trajectories
        Independent ones: the largest number of workers that can be busy.
    atom_steps
        Time steps times atoms of all trajectories.
    ms_per_atom_step
        What the driver took for one atom and one step on one core of this machine.
    core_hours
        For all of the dynamics.
    hours_per_trajectory
        On one core: no number of workers makes the run shorter.
    labelling_core_hours
        To label all structures with a teacher that is as fast as the driver.
    """

    structures: int
    atoms: int
    disk_GB: float  # noqa: N815  a unit
    trajectories: int
    atom_steps: float
    ms_per_atom_step: float
    core_hours: float
    hours_per_trajectory: float
    labelling_core_hours: float


def estimate_cost(
    recipe: GenerateRecipe | str | Path,
    *,
    driver: Model | None = None,
    trust: bool = False,
    steps: int = 100,
) -> CostEstimate:
    """Return what a recipe will cost, from a few short trajectories of its driver.

    Processor time is measured, so that other programs on the machine do not count.

    Parameters
    ----------
    recipe
        What would be made: a recipe, its file, or the name of one that comes with
        synthzoo.
    driver, trust
        As for `synthzoo.generate_structures`.
    steps
        Time steps at each of a few densities, at the melt's temperature.

    Raises
    ------
    InputError
        If the recipe asks for the impossible.
    TeacherError
        If the driver cannot be loaded, fails its test, or loses its atoms.

    Examples
    --------
    >>> found = estimate_cost("carbon-short")  # doctest: +SKIP
    >>> found.core_hours  # doctest: +SKIP
    """
    if driver is not None:
        driver = teacher_reference(driver)
    source = recipe_source(recipe)
    recipe = settle_recipe(GenerateRecipe, recipe, teacher=driver, trust=trust)
    recipe = dataclasses.replace(recipe, driver=teacher_reference(recipe.driver))
    with inside(source):
        recipe = with_hashes(recipe)
        check_parts(recipe)
    return called_apart(partial(_estimate, recipe, steps), recipe.driver)


def _estimate(recipe: GenerateRecipe, steps: int) -> CostEstimate:
    """Return the estimate; the driver may end this process."""
    driver = load_teacher(recipe.driver)
    costs = [
        _dynamics_cost(part, cost, recipe, driver, steps)
        for part in recipe.parts
        if (cost := maker_of(part).dynamics)
    ]
    atom_steps = sum(cost.atom_steps for cost in costs)
    total_s = sum(cost.seconds for cost in costs)
    species = recipe.species
    counts = [maker_of(part).structures(part, species) for part in recipe.parts]
    sizes = [maker_of(part).mean_atoms(part, species) for part in recipe.parts]
    atoms = float(np.dot(counts, sizes))
    per_atom_step_s = total_s / atom_steps if costs else 0.0
    return CostEstimate(
        structures=sum(counts),
        atoms=round(atoms),
        disk_GB=_rounded(atoms * _bytes_per_atom(species) / BYTES_PER_GB),
        trajectories=sum(cost.trajectories for cost in costs),
        atom_steps=_rounded(atom_steps),
        ms_per_atom_step=_rounded(1000 * per_atom_step_s),
        core_hours=_rounded(total_s / SECONDS_PER_HOUR),
        hours_per_trajectory=_rounded(
            max((cost.seconds / cost.trajectories for cost in costs), default=0.0)
            / SECONDS_PER_HOUR
        ),
        labelling_core_hours=_rounded(atoms * per_atom_step_s / SECONDS_PER_HOUR),
    )


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


@dataclass(frozen=True, kw_only=True)
class _Dynamics:
    """What the dynamics of one part cost in all."""

    trajectories: int
    atom_steps: float
    seconds: float


def _dynamics_cost(
    part: P, cost: Cost[P], recipe: GenerateRecipe, driver: Teacher, steps: int
) -> _Dynamics:
    """Return the cost of the dynamics alone: what a longer run takes more."""
    maker = maker_of(part)
    shorter, longer = cost.sample(part, 1), cost.sample(part, steps + 1)
    seconds = sum(_seconds(each, recipe, driver) for each in longer)
    seconds -= sum(_seconds(each, recipe, driver) for each in shorter)
    sampled = sum(steps * maker.mean_atoms(each, recipe.species) for each in longer)
    atom_steps = cost.atom_steps(part)
    return _Dynamics(
        trajectories=len(maker.split(part, (recipe.seed, 0))),
        atom_steps=atom_steps,
        seconds=max(seconds, 0.0) / sampled * atom_steps,
    )


def _seconds(part: Part, recipe: GenerateRecipe, driver: Teacher) -> float:
    work = Work(
        part=part,
        item=0,
        species=recipe.species,
        rng=np.random.default_rng(recipe.seed),
        driver=driver,
    )
    begin = time.process_time()
    for _ in maker_of(part).make(work):
        pass
    return time.process_time() - begin


def _bytes_per_atom(species: Species) -> float:
    part = Packing(
        count=1, atoms=(64, 64), density_g_cm3=(0.1, 0.1), min_distance_A=1.0
    )
    text = io.StringIO()
    write_frame(text, pack(part, species, np.random.default_rng(0)))
    return len(text.getvalue()) / part.atoms[0]
