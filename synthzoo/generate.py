"""Stage 1: synthetic structures, made as a recipe says."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from concurrent.futures import Executor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from synthzoo.errors import SynthzooError
from synthzoo.jobs import (
    FAILURE_FILE,
    STRUCTURES_FILE,
    GenerateJob,
    generate_jobs,
    make_guarded,
)
from synthzoo.recipes import GenerateRecipe, recipe_values
from synthzoo.resumable import (
    join,
    open_run,
    run_jobs,
    worker_threads,
    working_folder,
)
from synthzoo.structures import iter_structures
from synthzoo.teachers import load_teacher
from synthzoo.thinning import thin_file

ALL_FILE = "all.xyz"


@dataclass(frozen=True, kw_only=True)
class FailedTrajectory:
    """A trajectory that did not reach its end; nothing of it is kept.

    Attributes
    ----------
    group
        Its name.
    seed
        Of its random numbers.
    reason
        What went wrong.
    """

    group: str
    seed: str
    reason: str


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
    density_g_cm3
        Lowest and highest density of each kind, vacuum included.
    thinned_from
        Number of structures from which these were chosen; None if all were kept.
    failed
        Trajectories that were left out.
    """

    output: Path
    structures: int
    atoms: int
    kinds: dict[str, int]
    density_g_cm3: dict[str, tuple[float, float]]
    thinned_from: int | None
    failed: tuple[FailedTrajectory, ...]


def generate_structures(
    recipe: GenerateRecipe,
    output: Path,
    *,
    workers: int | None = None,
    executor: Executor | None = None,
) -> GenerateSummary:
    """Make synthetic structures and write them as extended XYZ.

    The result depends on the recipe and the driver only, not on the number of workers
    or on interruptions: the same call goes on after a kill. A trajectory that fails is
    left out and named in the summary.

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
    SynthzooError
        If every trajectory of a part failed.
    """
    output = Path(output)
    driver = load_teacher(recipe.driver)
    jobs = list(generate_jobs(recipe, driver.sha256))
    manifest = {
        "recipe": recipe_values(recipe),
        "driver": driver.provenance,
    }
    del manifest["recipe"]["driver"]  # the same file may lie elsewhere the next time
    folder = open_run(output, manifest)
    pool: Any = nullcontext(executor) if executor else worker_threads(workers)
    with (
        pool as running,
        tqdm(total=len(jobs), desc="generate", unit="job", disable=None) as bar,
    ):
        run_jobs(make_guarded, jobs, folder, executor=running, progress=bar)
    failed = _failed(jobs, folder)
    thinned_from = _finish(recipe, folder, len(jobs), output)
    shutil.rmtree(working_folder(output))
    return _summarise(output, thinned_from, failed)


def _failed(jobs: list[GenerateJob], folder: Path) -> tuple[FailedTrajectory, ...]:
    failed = []
    alive: set[int] = set()
    for index, job in enumerate(jobs):
        path = folder / f"{index:07d}" / FAILURE_FILE
        if not path.is_file():
            alive.add(job.part_index)
            continue
        seed = "-".join(map(str, job.seed))
        reason = json.loads(path.read_text())["reason"]
        failed.append(FailedTrajectory(group=job.group, seed=seed, reason=reason))
    for job in jobs:
        if job.part_index not in alive:
            raise SynthzooError(
                f"Every trajectory of part {job.part_index + 1} of the recipe "
                f"({job.part.kind}) failed, the first with: {failed[0].reason} "
                f"Remove {folder} to start anew."
            )
    return tuple(failed)


def _finish(
    recipe: GenerateRecipe, folder: Path, count: int, output: Path
) -> int | None:
    if recipe.thin is None:
        join(folder, count, STRUCTURES_FILE, output)
        return None
    join(folder, count, STRUCTURES_FILE, folder / ALL_FILE)
    return thin_file(folder / ALL_FILE, output, recipe=recipe.thin).structures


def _summarise(
    output: Path, thinned_from: int | None, failed: tuple[FailedTrajectory, ...]
) -> GenerateSummary:
    kinds: Counter[str] = Counter()
    densities: dict[str, tuple[float, float]] = {}
    atoms_in_all = 0
    for atoms in iter_structures(output):
        kind, density = str(atoms.info["kind"]), float(atoms.info["density_g_cm3"])
        kinds[kind] += 1
        lowest, highest = densities.get(kind, (density, density))
        densities[kind] = (min(lowest, density), max(highest, density))
        atoms_in_all += len(atoms)
    return GenerateSummary(
        output=output,
        structures=kinds.total(),
        atoms=atoms_in_all,
        kinds=dict(kinds),
        density_g_cm3=densities,
        thinned_from=thinned_from,
        failed=failed,
    )
