"""Learning curves of several starts on a user's data: run, resume, table, figure."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from synthzoo.benchmarking.jobs import DataSource, Job, find_starts, make_jobs
from synthzoo.benchmarking.single_run import Result, SingleRun, read_result
from synthzoo.benchmarking.table import Point, errors_table, read_published, summarise
from synthzoo.data.frames import find_files
from synthzoo.errors import InputError
from synthzoo.finetuning.recipe import FinetuneRecipe
from synthzoo.recipes.loading import settle_recipe
from synthzoo.runs.files import new_file, sole_writer
from synthzoo.runs.jobs import run_jobs
from synthzoo.runs.provenance import installed_versions
from synthzoo.runs.workers import worker_threads

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from synthzoo.benchmarking.table import PublishedCurves
    from synthzoo.potentials import Model

RUNS_FOLDER = "runs"
TABLE_FILE = "table.md"
VALUES_FILE = "table.json"
FIGURE_FILE = "learning-curves.png"


@dataclass(frozen=True, kw_only=True)
class BenchmarkSummary:
    """What `run_benchmark` made.

    Attributes
    ----------
    table, values, figure
        The results as Markdown, as JSON and drawn.
    runs, failed
        How many there are, and how many of them came to no result.
    points
        The learning curves.
    """

    table: Path
    values: Path
    figure: Path
    runs: int
    failed: int
    points: tuple[Point, ...]


def run_benchmark(  # noqa: PLR0913  what a user may say
    models: Sequence[Model],
    training: str | Path | Sequence[str | Path],
    test: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    sizes: Sequence[int],
    draws: int = 5,
    least_atoms: int = 1,
    recipe: FinetuneRecipe | str | Path | None = None,
    direct_visits: int | None = None,
    energy_key: str | None = None,
    forces_key: str | None = None,
    format: str | None = None,
    published: str | None = None,
    workers: int | None = None,
    executor: Executor | None = None,
    on_result: Callable[[Result], object] | None = None,
) -> BenchmarkSummary:
    """Fine-tune models on draws of a training set and measure them on a test set.

    Each run does what `finetune` does with a test file: all drawn structures are
    fitted, and the energy reference comes from them alone. Its result is one file in
    the output folder and is never computed again. The same call continues an
    interrupted one, and a call with more models, sizes or draws adds to what is there.

    Parameters
    ----------
    models
        Checkpoints, as for `synthzoo.potentials.resolve`, and ``direct`` for a new
        network of the shape of the first one (``direct:MODEL``: of that one).
    training, test
        Labelled structures to draw from and to measure on: files in any format that
        ASE reads, or patterns.
    output
        Folder for results, table and figure; it may exist.
    sizes
        Numbers of structures. With 0 the model is measured as it is, on the energy
        scale of all training structures.
    draws
        Number of draws for each size; the number of a draw is also the seed of its fit.
    least_atoms
        Smaller structures are left out of both sets.
    recipe
        How to fine-tune: a recipe, its file, or the name of one that comes with
        synthzoo. What it leaves open follows from the number of structures.
    direct_visits
        Number of structures that are shown to a new network, repetitions included,
        instead of a number that grows with the size.
    energy_key, forces_key
        Where the labels are; found among the usual names if not given.
    format
        Of all files, as ASE calls it; guessed for each if not given.
    published
        Name of published curves to compare with.
    workers
        Runs at a time; one for each core if not given. They share torch's threads.
    executor
        Where runs are done instead of on this machine, each with one thread; its
        workers must see the folder of the output, the files and the checkpoints.
    on_result
        Function that is called with each result as soon as it is known.

    Raises
    ------
    InputError
        If a file or model cannot be used, or sizes and structures do not fit.
    SynthzooError
        If a run is killed, or another process is at work in the same folder.

    Examples
    --------
    >>> made = run_benchmark(  # doctest: +SKIP
    ...     ["carbon", "direct"], "train.xyz", "test.xyz", "curves", sizes=[25, 100]
    ... )
    >>> print(made.table.read_text())  # doctest: +SKIP
    """
    if draws < 1:
        raise InputError(f"draws must be at least 1, not {draws}.")
    threads = _threads(workers, executor)
    source = DataSource(
        training=tuple(path.absolute() for path in find_files(training)),
        test=tuple(path.absolute() for path in find_files(test)),
        least_atoms=least_atoms,
        energy_key=energy_key,
        forces_key=forces_key,
        format=format,
    )
    shown = read_published(published) if published else None
    jobs = make_jobs(
        find_starts(models),
        sizes,
        draws,
        source=source,
        recipe=_with_threads(settle_recipe(FinetuneRecipe, recipe), threads),
        direct_visits=direct_visits,
    )
    jobs[0].test()  # what is wrong with it shall not show after the first fit
    output = Path(output)
    (output / RUNS_FOLDER).mkdir(parents=True, exist_ok=True)
    with (
        sole_writer(output),
        nullcontext(executor) if executor else worker_threads(workers) as where,
    ):
        results = _run_all(jobs, output, where, on_result)
        return _write(output, results, source, shown)


def _with_threads(recipe: FinetuneRecipe, threads: int) -> FinetuneRecipe:
    """Return the recipe with a number of threads, unless it says one itself."""
    if recipe.threads is not None:
        return recipe
    return dataclasses.replace(recipe, threads=threads)


def _threads(workers: int | None, executor: Executor | None) -> int:
    """Return this process's threads shared out among the workers; 1 for a cluster."""
    import torch

    if executor is not None:
        return 1
    return max(1, torch.get_num_threads() // (workers or os.cpu_count() or 1))


def _run_all(
    jobs: Sequence[Job],
    output: Path,
    executor: Executor,
    on_result: Callable[[Result], object] | None,
) -> list[Result]:
    """Return all results in the order of the jobs; compute those that are missing."""
    source = jobs[0].source.description()
    folder = (output / RUNS_FOLDER).absolute()
    keys = [job.key(source) for job in jobs]
    runs = [
        SingleRun(job, key, folder / f"{job.file_name(key)}.json")
        for job, key in zip(jobs, keys, strict=True)
    ]

    def note(run: SingleRun) -> None:
        if on_result is not None:
            on_result(read_result(run.path))
        _write_table(output, _finished(runs), jobs[0].source, None)

    missing = [run for run in runs if not run.is_done()]
    run_jobs(missing, folder, executor=executor, on_done=note)
    return _finished(runs)


def _finished(runs: Sequence[SingleRun]) -> list[Result]:
    """Return the results that are there, under the names of today."""
    return [
        dataclasses.replace(read_result(run.path), model=run.job.start.name)
        for run in runs
        if run.is_done()
    ]


def _write(
    output: Path,
    results: Sequence[Result],
    source: DataSource,
    published: PublishedCurves | None,
) -> BenchmarkSummary:
    from synthzoo.benchmarking.table import draw_learning_curves

    points = _write_table(output, results, source, published)
    values = output / VALUES_FILE
    record = {
        "points": [dataclasses.asdict(point) for point in points],
        "runs": [dataclasses.asdict(found) for found in results],
        "data": source.description(),
        "versions": installed_versions(),
    }
    with new_file(values) as partial:
        text = json.dumps(record, indent=1, ensure_ascii=False)
        partial.write_text(text, encoding="utf-8")
    figure = draw_learning_curves(output / FIGURE_FILE, points, published)
    return BenchmarkSummary(
        table=output / TABLE_FILE,
        values=values,
        figure=figure,
        runs=len(results),
        failed=sum(found.failed is not None for found in results),
        points=tuple(points),
    )


def _write_table(
    output: Path,
    results: Sequence[Result],
    source: DataSource,
    published: PublishedCurves | None,
) -> list[Point]:
    points = summarise(results)
    text = _page(points, results, source, published)
    with new_file(output / TABLE_FILE) as partial:
        partial.write_text(text, encoding="utf-8")
    return points


def _page(
    points: Sequence[Point],
    results: Sequence[Result],
    source: DataSource,
    published: PublishedCurves | None,
) -> str:
    """Return the table with what is needed to read it."""
    tested = next((found.errors[0].structures for found in results if found.errors), 0)
    seconds = sum(found.cpu_seconds for found in results)
    parts = [
        "# Learning curves\n",
        f"RMSE on {tested} structures of {_names(source.test)} after fine-tuning on N "
        f"drawn from {_names(source.training)}: energy per atom (meV) / force "
        "component (eV/Å), mean ± standard deviation over the draws. "
        f"{len(results)} runs, {seconds:.0f} CPU seconds.\n",
        errors_table(points, published),
    ]
    if source.least_atoms > 1:
        parts.append(f"Structures below {source.least_atoms} atoms are left out.\n")
    if any(found.size == 0 for found in results):
        parts.append(
            "N = 0: not fine-tuned; one constant per atom, from all training "
            "structures.\n"
        )
    if published is not None:
        parts.append(f"Published: {published.source}\n")
    parts += [
        f"- {found.model}, N = {found.size}, draw {found.draw} failed: {found.failed}\n"
        for found in results
        if found.failed is not None
    ]
    return "\n".join(parts)


def _names(files: Sequence[Path]) -> str:
    return ", ".join(file.name for file in files)


def describe_result(result: Result) -> str:
    """Return a line about one run."""
    start = f"{result.model}, N = {result.size}, draw {result.draw}: "
    if result.failed is not None:
        return f"{start}failed: {result.failed}"
    errors = result.errors[0]
    return (
        f"{start}{errors.energy_rmse_meV_per_atom:.1f} meV/atom, "
        f"{errors.force_rmse_eV_A:.3f} eV/Å, {result.seconds:.0f} s"
    )
