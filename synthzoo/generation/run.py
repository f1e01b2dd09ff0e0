"""Stage 1: synthetic structures, made as a recipe says."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthzoo.data.sound import listed
from synthzoo.data.structures import (
    GROUP_KEY,
    density_g_cm3,
    iter_structures,
    write_structures,
)
from synthzoo.errors import InputError, SynthzooError
from synthzoo.generation.kinds.from_atoms import MeltQuench
from synthzoo.generation.kinds.values import SECONDS_PER_HOUR
from synthzoo.generation.parts import Work, check_parts, maker_of
from synthzoo.generation.recipe import GenerateRecipe
from synthzoo.generation.start_files import (
    check_starts,
    with_hashes,
    without_folders,
)
from synthzoo.generation.thin import thin_file
from synthzoo.inspection.card import summarise_file, summary_paths
from synthzoo.potentials import Model, teacher_reference
from synthzoo.recipes.loading import (
    recipe_hash,
    recipe_source,
    recipe_values,
    settle_recipe,
)
from synthzoo.recipes.schema import inside
from synthzoo.runs.progress import progress_bar
from synthzoo.runs.resumable import Run, join, open_run, run_in_folders
from synthzoo.runs.workers import call_guarded, worker_threads
from synthzoo.teachers import cached_teacher
from synthzoo.teachers.loading import About, after_test

if TYPE_CHECKING:
    from synthzoo.generation.kinds.part import Part
    from synthzoo.generation.species import Species

STRUCTURES_FILE = "structures.xyz"
FAILURE_FILE = "failure.json"

Seed = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class GenerateJob:
    """One trajectory, or the structures of one other part.

    ``seed``: entropy for this job's own random numbers.
    ``driver``: reference of the teacher that moves the atoms.
    ``recipe_sha256``: hash of the recipe, for the record.
    """

    species: Species
    part: Part
    part_index: int
    group: str
    seed: Seed
    driver: str
    driver_sha256: str
    recipe_sha256: str


def generate_jobs(recipe: GenerateRecipe, driver_sha256: str) -> Iterator[GenerateJob]:
    """Yield the jobs of a recipe in the order of their results.

    ``recipe``: as `with_hashes` returns it.
    """
    species = recipe.species
    recipe_sha256 = recipe_hash(without_folders(recipe))
    for index, part in enumerate(recipe.parts):
        settled_parts = maker_of(part).split(part, (recipe.seed, index))
        for item, settled in enumerate(settled_parts):
            yield GenerateJob(
                species=species,
                part=settled,
                part_index=index,
                group=f"{part.kind}-{index}-{item}",
                seed=(recipe.seed, index, item),
                driver=recipe.driver,
                driver_sha256=driver_sha256,
                recipe_sha256=recipe_sha256,
            )


def make_structures(job: GenerateJob, folder: Path) -> None:
    """Write the structures of a job, or why its dynamics failed, into a folder."""
    maker = maker_of(job.part)
    driver = None
    if maker.dynamics:
        driver = cached_teacher(job.driver, job.driver_sha256)
    work = Work(
        part=job.part,
        item=job.seed[-1],
        species=job.species,
        rng=np.random.default_rng(job.seed),
        driver=driver,
    )
    made = []
    try:
        for named in maker.make(work):
            made.append(named)  # noqa: PERF402  what comes before an error is kept
    except Exception as error:  # native code raises whatever it likes
        if not maker.dynamics:
            raise
        reason = f"{type(error).__name__}: {error}"
        record_failure(folder, reason, kept=len(made))
        if not made:
            return
    for name, atoms in made:
        atoms.info.setdefault(GROUP_KEY, f"{job.group}-{name}" if name else job.group)
        atoms.info.update(
            kind=job.part.kind,
            density_g_cm3=round(density_g_cm3(atoms), 3),
            generate_recipe=job.recipe_sha256[:12],
            seed="-".join(map(str, job.seed)),
        )
    write_structures(folder / STRUCTURES_FILE, [atoms for _, atoms in made])


def make_guarded(job: GenerateJob, folder: Path) -> None:
    """Do `make_structures` in this thread's child process, which a driver may crash."""
    limit_s = None
    if dynamics := maker_of(job.part).dynamics:
        limit_s = dynamics.limit_hours(job.part) * SECONDS_PER_HOUR
    lost = call_guarded(partial(make_structures, job, folder), limit_s=limit_s)
    if lost is not None:
        record_failure(folder, f"the driver {lost.reason}")


def record_failure(folder: Path, reason: str, *, kept: int = 0) -> None:
    """Write down that a job failed and why.

    ``kept``: number of its structures that are kept.
    """
    (folder / FAILURE_FILE).write_text(json.dumps({"reason": reason, "kept": kept}))


ALL_FILE, THINNED_FILE = "all.xyz", "thinned.xyz"


@dataclass(frozen=True, kw_only=True)
class FailedTrajectory:
    """A trajectory or a family of structures that did not reach its end.

    Attributes
    ----------
    group
        Its name.
    seed
        Of its random numbers.
    reason
        What went wrong.
    kept
        Number of its structures, from before that, that are kept.
    """

    group: str
    seed: str
    reason: str
    kept: int = 0


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
        Trajectories that were left out or cut short.
    summary_file, figure
        Counts and histograms of the structures, as JSON and drawn.
    """

    output: Path
    structures: int
    atoms: int
    kinds: dict[str, int]
    density_g_cm3: dict[str, tuple[float, float]]
    thinned_from: int | None
    failed: tuple[FailedTrajectory, ...]
    summary_file: Path
    figure: Path


def generate_structures(
    recipe: GenerateRecipe | str | Path,
    output: str | Path,
    *,
    driver: Model | None = None,
    trust: bool = False,
    workers: int | None = None,
    executor: Executor | None = None,
) -> GenerateSummary:
    """Make synthetic structures and write them as extended XYZ.

    The result depends on the recipe and the driver only, not on the number of workers
    or on interruptions. If a call was interrupted, the same call continues it. A
    trajectory that fails is left out or cut short, and named in the summary.

    Parameters
    ----------
    recipe
        What to make: a recipe, its file, or the name of one that comes with synthzoo.
    output
        File to write; a summary with histograms goes to ``.summary.json`` and
        ``.summary.png`` beside it.
    driver
        Reference of the teacher that moves the atoms, instead of the recipe's.
    trust
        Whether a recipe file of others may name any Python class as its driver.
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

    Examples
    --------
    Half an hour on two cores:

    >>> made = generate_structures("carbon-short", "made.xyz")  # doctest: +SKIP
    """
    output = Path(output)
    if driver is not None:
        driver = teacher_reference(driver)
    source = recipe_source(recipe)
    recipe = settle_recipe(GenerateRecipe, recipe, teacher=driver, trust=trust)
    recipe = replace(recipe, driver=teacher_reference(recipe.driver))
    with inside(source):
        recipe = with_hashes(recipe)
        check_parts(recipe)
    with worker_threads(1 if executor else workers) as threads:
        about = threads.submit(after_test, recipe.driver).result()
        _check_melts(recipe, about)
        check_starts(recipe, about.elements)
        manifest = {
            "recipe": recipe_values(without_folders(recipe)),
            "driver": about.provenance,
        }
        del manifest["recipe"]["driver"]  # the file may lie elsewhere the next time
        with open_run(output, manifest, beside=summary_paths(output)) as run:
            found = run.finished
            if found is None:
                jobs = list(generate_jobs(recipe, about.provenance["teacher_sha256"]))
                _run(jobs, run.folder, executor or threads)
                found = _finish(recipe, jobs, run)
            failed = tuple(FailedTrajectory(**values) for values in found["failed"])
            summary = _summarise(output, found["thinned_from"], failed)
            summarise_file(
                output,
                structures=summary.structures,
                counts=found,
                scratch=run.folder,
            )
            run.close()
    return summary


def _check_melts(recipe: GenerateRecipe, driver: About) -> None:
    """Refuse a driver that does not know an element that it should melt."""
    melts = any(isinstance(part, MeltQuench) for part in recipe.parts)
    unknown = set(recipe.species.elements) - set(driver.elements)
    if melts and unknown:
        raise InputError(
            f"{driver.provenance['teacher']} knows {listed(driver.elements)}, but the "
            f"recipe melts {listed(recipe.species.elements)}: choose another driver."
        )


def _run(jobs: list[GenerateJob], folder: Path, executor: Executor) -> None:
    with progress_bar(desc="generate", unit="job", total=len(jobs)) as bar:
        run_in_folders(make_guarded, jobs, folder, executor=executor, progress=bar)


def _failure(folder: Path, index: int) -> dict[str, Any] | None:
    """Return what `record_failure` has written about a job; None if nothing."""
    path = folder / f"{index:07d}" / FAILURE_FILE
    if not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def _failed(jobs: list[GenerateJob], folder: Path) -> tuple[FailedTrajectory, ...]:
    failed = []
    alive: set[int] = set()
    first_reasons: dict[int, str] = {}
    for index, job in enumerate(jobs):
        found = _failure(folder, index)
        if found is None or found.get("kept"):
            alive.add(job.part_index)
        if found is not None:
            first_reasons.setdefault(job.part_index, found["reason"])
            seed = "-".join(map(str, job.seed))
            failed.append(FailedTrajectory(group=job.group, seed=seed, **found))
    for index, reason in first_reasons.items():
        if index not in alive:
            kind = next(job.part.kind for job in jobs if job.part_index == index)
            raise SynthzooError(
                f"Every trajectory of part {index + 1} of the recipe ({kind}) failed, "
                f"the first with: {reason} Remove {folder} to start again."
            )
    return tuple(failed)


def _finish(
    recipe: GenerateRecipe, jobs: list[GenerateJob], run: Run
) -> dict[str, Any]:
    """Write the output and return what cannot be read from it, as plain values."""
    folder = run.folder
    failed = [asdict(trajectory) for trajectory in _failed(jobs, folder)]
    made, thinned_from = folder / ALL_FILE, None
    join(folder, len(jobs), STRUCTURES_FILE, made)
    if recipe.thin is not None:
        made = folder / THINNED_FILE
        made.unlink(missing_ok=True)  # of a run that was killed here
        thinned_from = thin_file(folder / ALL_FILE, made, recipe=recipe.thin).structures
    found = run.complete({"failed": failed, "thinned_from": thinned_from})
    made.replace(run.output)
    return found


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
    summary_file, figure = summary_paths(output)
    return GenerateSummary(
        output=output,
        structures=kinds.total(),
        atoms=atoms_in_all,
        kinds=dict(kinds),
        density_g_cm3=densities,
        thinned_from=thinned_from,
        failed=failed,
        summary_file=summary_file,
        figure=figure,
    )
