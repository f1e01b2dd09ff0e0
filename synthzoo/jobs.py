"""What `synthzoo.generate` does in its workers: one trajectory, or one other part."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from synthzoo import builders
from synthzoo.errors import InputError
from synthzoo.guarded import call_guarded
from synthzoo.melt_quench import trajectory
from synthzoo.parts import (
    SECONDS_PER_HOUR,
    Compressed,
    Crystals,
    Dimers,
    MeltQuench,
    Packing,
    Part,
    Range,
    Surfaces,
)
from synthzoo.recipes import GenerateRecipe, recipe_hash
from synthzoo.structures import GROUP_KEY, density_g_cm3, write_structures
from synthzoo.teachers import cached_teacher

if TYPE_CHECKING:
    from ase import Atoms

STRUCTURES_FILE = "structures.xyz"
FAILURE_FILE = "failure.json"

Seed = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class GenerateJob:
    """One trajectory, or the structures of one other part.

    Attributes
    ----------
    element
        Chemical symbol.
    part
        What to make.
    part_index
        Its place in the recipe.
    group
        Name that related frames share.
    seed
        Entropy for this job's own random numbers.
    driver
        Reference of the teacher that moves the atoms.
    driver_sha256
        Hash of its file.
    recipe_sha256
        Hash of the recipe, for the record.
    """

    element: str
    part: Part
    part_index: int
    group: str
    seed: Seed
    driver: str
    driver_sha256: str
    recipe_sha256: str


def generate_jobs(recipe: GenerateRecipe, driver_sha256: str) -> Iterator[GenerateJob]:
    """Yield the jobs of a recipe in the order of their results.

    Parameters
    ----------
    recipe
        What to make.
    driver_sha256
        Hash of the file of its driver.

    Yields
    ------
    job
        One for each trajectory, and one for each other part.
    """
    for index, part in enumerate(recipe.parts):
        for item, settled in enumerate(_trajectories(part, recipe.seed, index)):
            yield GenerateJob(
                element=recipe.element,
                part=settled,
                part_index=index,
                group=f"{part.kind}-{index}-{item}",
                seed=(recipe.seed, index, item),
                driver=recipe.driver,
                driver_sha256=driver_sha256,
                recipe_sha256=recipe_hash(recipe),
            )


def _trajectories(part: Part, seed: int, index: int) -> list[Part]:
    """Return a part once for each of its jobs, on the points of its grid if it has."""
    if not isinstance(part, MeltQuench):
        return [part]
    densities = grid_points(part.density_g_cm3, part.density_step_g_cm3)
    temperatures = grid_points(part.anneal_K, part.anneal_step_K)
    rng = np.random.default_rng((seed, index, part.trajectories))  # no job has this
    points = _dealt(list(itertools.product(densities, temperatures)), part, rng)
    return [
        dataclasses.replace(part, density_g_cm3=density, anneal_K=temperature)
        for density, temperature in points
    ]


def _dealt(
    points: list[tuple[Range, Range]], part: MeltQuench, rng: np.random.Generator
) -> list[tuple[Range, Range]]:
    order = rng.permutation(len(points))
    return [points[order[item % len(order)]] for item in range(part.trajectories)]


def grid_points(interval: Range, step: float | None) -> list[Range]:
    """Return an interval as it is, or as points of an even spacing, both ends included.

    Parameters
    ----------
    interval
        Lower and upper end.
    step
        Spacing of the points; the interval stays whole if not given.

    Raises
    ------
    InputError
        If the step is not positive, or does not fit into the interval.

    Examples
    --------
    >>> grid_points((1.0, 1.2), 0.1)
    [(1.0, 1.0), (1.1, 1.1), (1.2, 1.2)]
    >>> grid_points((1.0, 1.2), None)
    [(1.0, 1.2)]
    """
    if step is None:
        return [interval]
    count = round((interval[1] - interval[0]) / step) if step > 0 else 0
    if step <= 0 or abs(interval[0] + count * step - interval[1]) > 1e-6 * step:
        raise InputError(
            f"Steps of {step} do not lead from {interval[0]} to {interval[1]}; choose "
            "a positive step that divides the range."
        )
    values = [round(interval[0] + index * step, 10) for index in range(count + 1)]
    return [(value, value) for value in values]


def make_structures(job: GenerateJob, folder: Path) -> None:
    """Write the structures of a job, or why its trajectory failed, into a folder.

    Parameters
    ----------
    job
        What to make.
    folder
        Where `STRUCTURES_FILE` or `FAILURE_FILE` is written.
    """
    rng = np.random.default_rng(job.seed)
    if isinstance(job.part, MeltQuench):
        driver = cached_teacher(job.driver, job.driver_sha256)
        try:
            structures = trajectory(
                job.part, job.element, driver.forces_calculator, rng
            )
        except Exception as error:  # noqa: BLE001  native code raises whatever it likes
            record_failure(folder, f"{type(error).__name__}: {error}")
            return
    else:
        structures = list(_structures(job, rng))
    for atoms in structures:
        atoms.info.setdefault(GROUP_KEY, job.group)
        atoms.info.update(
            kind=job.part.kind,
            density_g_cm3=round(density_g_cm3(atoms), 3),
            generate_recipe=job.recipe_sha256[:12],
            seed="-".join(map(str, job.seed)),
        )
    write_structures(folder / STRUCTURES_FILE, structures)


def make_guarded(job: GenerateJob, folder: Path) -> None:
    """Do `make_structures` in this thread's child process, which a driver may crash.

    Parameters
    ----------
    job, folder
        As for `make_structures`.
    """
    limit_s = None
    if isinstance(job.part, MeltQuench):
        limit_s = job.part.max_hours * SECONDS_PER_HOUR
    lost = call_guarded(partial(make_structures, job, folder), limit_s=limit_s)
    if lost is not None:
        record_failure(folder, f"the driver {lost.reason}")


def record_failure(folder: Path, reason: str) -> None:
    """Write down that a job failed and why.

    Parameters
    ----------
    folder
        Of the job's results.
    reason
        In words.
    """
    (folder / FAILURE_FILE).write_text(json.dumps({"reason": reason}))


def _structures(job: GenerateJob, rng: np.random.Generator) -> Iterator[Atoms]:
    part = job.part
    if isinstance(part, Dimers):
        for index, atoms in enumerate(builders.dimers(part, job.element)):
            yield _named(atoms, f"{job.group}-{index}")
    elif isinstance(part, Packing):
        points = grid_points(part.density_g_cm3, part.density_step_g_cm3)
        for index in range(part.count):
            settled = dataclasses.replace(
                part, density_g_cm3=points[index % len(points)]
            )
            atoms = builders.pack(settled, job.element, rng)
            yield _named(atoms, f"{job.group}-{index}")
    elif not isinstance(part, MeltQuench):
        yield from _crystals(part, job, rng)


def _crystals(
    part: Crystals | Surfaces | Compressed, job: GenerateJob, rng: np.random.Generator
) -> Iterator[Atoms]:
    for prototype in part.prototypes:
        for index in range(part.count):
            if isinstance(part, Crystals):
                atoms = builders.crystal(part, prototype, job.element, rng)
            elif isinstance(part, Surfaces):
                atoms = builders.slab(part, prototype, job.element, rng)
            else:
                atoms = builders.compressed(part, prototype, job.element, rng)
            atoms.info["prototype"] = prototype
            yield _named(atoms, f"{job.group}-{prototype}-{index}")


def _named(atoms: Atoms, group: str) -> Atoms:
    atoms.info[GROUP_KEY] = group
    return atoms
