"""Stage 1: synthetic structures, made as a recipe says."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from synthzoo.errors import SynthzooError
from synthzoo.jobs import (
    FAILURE_FILE,
    STRUCTURES_FILE,
    GenerateJob,
    generate_jobs,
    make_guarded,
)
from synthzoo.progress import progress_bar
from synthzoo.recipes import GenerateRecipe, recipe_values
from synthzoo.resumable import Run, join, open_run, run_jobs, worker_threads
from synthzoo.set_summary import summarise_file, summary_paths
from synthzoo.structures import iter_structures
from synthzoo.teachers.catalogue import resolve_reference
from synthzoo.teachers.tested import provenance_when_tested
from synthzoo.thinning import thin_file

ALL_FILE, THINNED_FILE = "all.xyz", "thinned.xyz"


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
        File to write; a summary with histograms goes to ``.summary.json`` and
        ``.summary.png`` beside it.
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
    recipe = replace(recipe, driver=resolve_reference(recipe.driver))
    with worker_threads(1 if executor else workers) as threads:
        provenance = threads.submit(provenance_when_tested, recipe.driver).result()
        manifest = {"recipe": recipe_values(recipe), "driver": provenance}
        del manifest["recipe"]["driver"]  # the file may lie elsewhere the next time
        with open_run(output, manifest, beside=summary_paths(output)) as run:
            found = run.finished
            if found is None:
                jobs = list(generate_jobs(recipe, provenance["teacher_sha256"]))
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


def _run(jobs: list[GenerateJob], folder: Path, executor: Executor) -> None:
    with progress_bar(desc="generate", unit="job", total=len(jobs)) as bar:
        run_jobs(make_guarded, jobs, folder, executor=executor, progress=bar)


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
