"""Stage 1: synthetic structures, made as a recipe says."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from synthzoo import builders
from synthzoo.melt_quench import trajectory
from synthzoo.parts import Crystals, Dimers, MeltQuench, Packing, Part, Surfaces
from synthzoo.recipes import GenerateRecipe, recipe_hash, recipe_values
from synthzoo.resumable import join, open_run, process_pool, run_jobs, working_folder
from synthzoo.structures import (
    GROUP_KEY,
    density_g_cm3,
    iter_structures,
    write_structures,
)
from synthzoo.teachers import cached_teacher, load_teacher

if TYPE_CHECKING:
    from ase import Atoms

STRUCTURES_FILE = "structures.xyz"


@dataclass(frozen=True, kw_only=True)
class GenerateSummary:
    """What a run of `generate_structures` made.

    Attributes
    ----------
    output
        File with the structures.
    structures, atoms
        How many there are.
    kinds
        Number of structures of each kind of part.
    """

    output: Path
    structures: int
    atoms: int
    kinds: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class GenerateJob:
    """One trajectory, or the structures of one other part.

    Attributes
    ----------
    element
        Chemical symbol.
    part
        What to make.
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
    group: str
    seed: tuple[int, int, int]
    driver: str
    driver_sha256: str
    recipe_sha256: str


def generate_structures(
    recipe: GenerateRecipe,
    output: Path,
    *,
    workers: int | None = None,
    executor: Executor | None = None,
) -> GenerateSummary:
    """Make synthetic structures and write them as extended XYZ.

    The result depends on the recipe and the driver only, not on the number of workers
    or on interruptions: the same call goes on after a kill.

    Parameters
    ----------
    recipe
        What to make.
    output
        File to write.
    workers
        Worker processes; one for each core if not given.
    executor
        Where the jobs run instead of local processes.

    Raises
    ------
    InputError
        If the output exists, an unfinished run of another recipe is in the way, or the
        recipe asks for the impossible.
    TeacherError
        If the driver cannot be loaded or fails its test.
    """
    output = Path(output)
    driver = load_teacher(recipe.driver)
    jobs = list(_jobs(recipe, driver.sha256))
    manifest = {
        "recipe": recipe_values(recipe),
        "driver": driver.provenance,
    }
    del manifest["recipe"]["driver"]  # the same file may lie elsewhere the next time
    folder = open_run(output, manifest)
    pool: Any = nullcontext(executor) if executor else process_pool(workers)
    with (
        pool as running,
        tqdm(total=len(jobs), desc="generate", unit="job", disable=None) as bar,
    ):
        run_jobs(_make, jobs, folder, executor=running, progress=bar)
    join(folder, len(jobs), STRUCTURES_FILE, output)
    shutil.rmtree(working_folder(output))
    return _summarise(output)


def _jobs(recipe: GenerateRecipe, driver_sha256: str) -> Iterator[GenerateJob]:
    for index, part in enumerate(recipe.parts):
        count = part.trajectories if isinstance(part, MeltQuench) else 1
        for item in range(count):
            yield GenerateJob(
                element=recipe.element,
                part=part,
                group=f"{part.kind}-{index}-{item}",
                seed=(recipe.seed, index, item),
                driver=recipe.driver,
                driver_sha256=driver_sha256,
                recipe_sha256=recipe_hash(recipe),
            )


def _make(job: GenerateJob, folder: Path) -> None:
    rng = np.random.default_rng(job.seed)
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


def _structures(job: GenerateJob, rng: np.random.Generator) -> Iterator[Atoms]:
    part = job.part
    if isinstance(part, MeltQuench):
        driver = cached_teacher(job.driver, job.driver_sha256)
        yield from trajectory(part, job.element, driver.calculator, rng)
    elif isinstance(part, Dimers):
        yield from builders.dimers(part, job.element)
    elif isinstance(part, Packing):
        for index in range(part.count):
            yield _named(builders.pack(part, job.element, rng), f"{job.group}-{index}")
    else:
        yield from _crystals(part, job, rng)


def _crystals(
    part: Crystals | Surfaces, job: GenerateJob, rng: np.random.Generator
) -> Iterator[Atoms]:
    for prototype in part.prototypes:
        for index in range(part.count):
            if isinstance(part, Crystals):
                atoms = builders.crystal(part, prototype, job.element, rng)
            else:
                atoms = builders.slab(part, prototype, job.element, rng)
            atoms.info["prototype"] = prototype
            yield _named(atoms, f"{job.group}-{prototype}-{index}")


def _named(atoms: Atoms, group: str) -> Atoms:
    atoms.info[GROUP_KEY] = group
    return atoms


def _summarise(output: Path) -> GenerateSummary:
    kinds: dict[str, int] = {}
    atoms_in_all = 0
    for atoms in iter_structures(output):
        kind = str(atoms.info["kind"])
        kinds[kind] = kinds.get(kind, 0) + 1
        atoms_in_all += len(atoms)
    return GenerateSummary(
        output=output,
        structures=sum(kinds.values()),
        atoms=atoms_in_all,
        kinds=kinds,
    )
