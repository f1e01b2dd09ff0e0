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
from synthzoo.generation.builders import crystal_size, pack
from synthzoo.generation.dynamics import steps_per_block
from synthzoo.generation.melt_quench import kept_structures, trajectory
from synthzoo.generation.recipe import (
    SECONDS_PER_HOUR,
    Dimers,
    GenerateRecipe,
    MeltQuench,
    Packing,
    Part,
)
from synthzoo.potentials import Model, teacher_reference
from synthzoo.recipes.loading import settle_recipe
from synthzoo.teachers import load_teacher
from synthzoo.teachers.loading import called_apart

if TYPE_CHECKING:
    from synthzoo.teachers import Teacher

SAMPLED_DENSITIES = 3
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
    recipe = settle_recipe(GenerateRecipe, recipe, teacher=driver, trust=trust)
    recipe = dataclasses.replace(recipe, driver=teacher_reference(recipe.driver))
    return called_apart(partial(_estimate, recipe, steps), recipe.driver)


def _estimate(recipe: GenerateRecipe, steps: int) -> CostEstimate:
    """Return the estimate; the driver may end this process."""
    driver = load_teacher(recipe.driver)
    runs = [part for part in recipe.parts if isinstance(part, MeltQuench)]
    seconds = [_seconds_per_atom_step(part, recipe, driver, steps) for part in runs]
    atom_steps = [_atom_steps(part) for part in runs]
    total_s = float(np.dot(seconds, atom_steps))
    longest_s = [
        cost * steps_in_all / part.trajectories
        for cost, steps_in_all, part in zip(seconds, atom_steps, runs, strict=True)
    ]
    structures = sum(_structures(part) for part in recipe.parts)
    atoms = sum(_structures(part) * _mean_atoms(part) for part in recipe.parts)
    per_atom_step_s = total_s / sum(atom_steps) if runs else 0.0
    return CostEstimate(
        structures=structures,
        atoms=round(atoms),
        disk_GB=_rounded(atoms * _bytes_per_atom(recipe.element) / BYTES_PER_GB),
        trajectories=sum(part.trajectories for part in runs),
        atom_steps=_rounded(sum(atom_steps)),
        ms_per_atom_step=_rounded(1000 * per_atom_step_s),
        core_hours=_rounded(total_s / SECONDS_PER_HOUR),
        hours_per_trajectory=_rounded(max(longest_s, default=0.0) / SECONDS_PER_HOUR),
        labelling_core_hours=_rounded(atoms * per_atom_step_s / SECONDS_PER_HOUR),
    )


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _seconds_per_atom_step(
    part: MeltQuench, recipe: GenerateRecipe, driver: Teacher, steps: int
) -> float:
    """Return the cost of the dynamics alone: what a longer run takes more."""
    atoms = round(_mean_atoms(part))
    seconds = 0.0
    for density in np.linspace(*part.density_g_cm3, SAMPLED_DENSITIES):
        settled = dataclasses.replace(
            part,
            atoms=(atoms, atoms),
            density_g_cm3=(float(density), float(density)),
        )
        seconds += _seconds(settled, recipe, driver, steps + 1)
        seconds -= _seconds(settled, recipe, driver, 1)
    return max(seconds, 0.0) / (SAMPLED_DENSITIES * atoms * steps)


def _seconds(
    part: MeltQuench, recipe: GenerateRecipe, driver: Teacher, steps: int
) -> float:
    duration_fs = steps * part.timestep_fs
    melt = dataclasses.replace(
        part,
        melt_fs=duration_fs,
        quench_fs=0.0,
        anneal_fs=0.0,
        cool_fs=0.0,
        surface_fs=0.0,
        sample_fs=duration_fs,
    )
    rng = np.random.default_rng(recipe.seed)
    begin = time.process_time()
    trajectory(melt, recipe.element, driver.forces_calculator, rng)
    return time.process_time() - begin


def _atom_steps(part: MeltQuench) -> float:
    every = dataclasses.replace(part, leave_out=())
    steps = kept_structures(every) * steps_per_block(part)
    return part.trajectories * steps * _mean_atoms(part)


def _structures(part: Part) -> int:
    if isinstance(part, MeltQuench):
        return part.trajectories * kept_structures(part)
    if isinstance(part, Packing):
        return part.count
    if isinstance(part, Dimers):
        return part.count + 1
    return part.count * len(part.prototypes)


def _mean_atoms(part: Part) -> float:
    if isinstance(part, MeltQuench | Packing):
        return sum(part.atoms) / 2
    if isinstance(part, Dimers):
        return 2.0
    sizes = [crystal_size(name, part.max_atoms) for name in part.prototypes]
    return sum(sizes) / len(sizes)


def _bytes_per_atom(element: str) -> float:
    part = Packing(
        count=1, atoms=(64, 64), density_g_cm3=(0.1, 0.1), min_distance_A=1.0
    )
    text = io.StringIO()
    write_frame(text, pack(part, element, np.random.default_rng(0)))
    return len(text.getvalue()) / part.atoms[0]
