"""Stage 2: structures and a teacher to labelled structures."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthzoo.data.frames import count_raw_frames, iter_raw_frames
from synthzoo.data.sound import listed
from synthzoo.data.structures import iter_structures, say_left_out
from synthzoo.data.xyz_writing import write_frame
from synthzoo.errors import InputError
from synthzoo.inspection.card import summarise_file, summary_paths
from synthzoo.labelling.chunks import (
    COUNTS_FILE,
    FAILED_FILE,
    LABELLED_FILE,
    RelabelJob,
    label_chunk,
    stop_if_hopeless,
)
from synthzoo.labelling.labeller import FAILED, FAILURE_KEY, LABELLED, LEFT_OUT
from synthzoo.labelling.recipe import RelabelRecipe
from synthzoo.potentials import Model, teacher_reference
from synthzoo.recipes.loading import recipe_values, settle_recipe
from synthzoo.runs.progress import progress_bar
from synthzoo.runs.resumable import Run, join, open_run, read_results, run_in_folders
from synthzoo.runs.workers import worker_threads
from synthzoo.teachers.loading import About, after_test
from synthzoo.zoo.registry import file_record

if TYPE_CHECKING:
    from synthzoo.data.frames import RawFrame

LOOKED_AT = 1000
"""If the teacher knows none of so many structures at the start, it is another one's."""


@dataclass(frozen=True, kw_only=True)
class RelabelSummary:
    """What a run of `relabel_file` made.

    Attributes
    ----------
    output
        File with the labelled structures.
    labelled
        How many were labelled and kept.
    left_out
        How many each filter left out, by the filter's name.
    failed
        How many could not be labelled; they are in ``failed_file`` with the reason.
    failures
        How many of them failed in which way.
    failed_file
        Where those are; None if there are none.
    summary_file, figure
        Counts and histograms of what was labelled, as JSON and drawn.
    """

    output: Path
    labelled: int
    left_out: dict[str, int]
    failed: int
    failures: dict[str, int]
    failed_file: Path | None
    summary_file: Path
    figure: Path


def relabel_file(  # noqa: PLR0913  what a user may say
    source: str | Path,
    output: str | Path,
    *,
    teacher: Model | None = None,
    recipe: RelabelRecipe | str | Path | None = None,
    trust: bool = False,
    format: str | None = None,
    workers: int | None = None,
    executor: Executor | None = None,
) -> RelabelSummary:
    """Label the structures of a file with a teacher and write them as extended XYZ.

    The order of the structures is kept. The result depends on the input, the recipe and
    the teacher only. If a call was interrupted, the same call continues it. Each worker
    computes in a child process, so that a crash or a hang of the teacher costs one
    structure.

    Parameters
    ----------
    source
        Structures, in any format that ASE reads.
    output
        File to write. Energies are relative to the teacher's isolated atoms. Structures
        that cannot be labelled are written to ``.failed.xyz`` beside it, and a summary
        with histograms to ``.summary.json`` and ``.summary.png``.
    teacher
        Reference of the teacher; that of the recipe if not given.
    recipe
        Teacher and filters: a recipe, its file, or the name of one that comes with
        synthzoo. With a teacher alone, the filters are the default ones.
    trust
        Whether a recipe file of others may name any Python class as its teacher.
    format
        Of the source, as ASE calls it, such as ``vasp-xml``; guessed if not given.
    workers
        Number of processes; one for each core if not given.
    executor
        Where the jobs run instead of on this machine; its workers must see the folder
        of the output and the teacher's files.

    Raises
    ------
    InputError
        If neither teacher nor recipe is given, the input cannot be read, the teacher
        knows the elements of no structure, the output exists, an unfinished run with
        another input, teacher or recipe is in the way, or no structure was labelled.
    TeacherError
        If the teacher cannot be loaded, fails its test, or fails on all of the first
        structures.
    SynthzooError
        If all workers are lost or the disk is full; the same call continues later.

    Examples
    --------
    >>> import tempfile
    >>> import ase.io
    >>> from ase.build import bulk
    >>> with tempfile.TemporaryDirectory() as folder:  # doctest: +SKIP
    ...     ase.io.write(f"{folder}/copper.xyz", bulk("Cu"))
    ...     made = relabel_file(
    ...         f"{folder}/copper.xyz",
    ...         f"{folder}/labelled.xyz",
    ...         teacher="ase:ase.calculators.emt.EMT",
    ...     )
    >>> made.labelled  # doctest: +SKIP
    1
    """
    source, output = Path(source), Path(output)
    if teacher is not None:
        teacher = teacher_reference(teacher)
    recipe = _settle(recipe, teacher, trust=trust)
    recipe = replace(recipe, teacher=teacher_reference(recipe.teacher))
    total = count_raw_frames(source, format=format)
    _say_what_changes(source, output, format)
    with worker_threads(1 if executor else workers) as threads:
        test = threads.submit(after_test, recipe.teacher, recipe.teacher_sha256)
        provenance = test.result().provenance
        frames = iter_raw_frames(source, format=format)
        _refuse_other_elements(source, frames, test.result())
        manifest = _manifest(source, recipe, provenance) | _said(format)
        with open_run(output, manifest, beside=summary_paths(output)) as run:
            summary = run.finished
            if summary is None:
                _refuse_other_file(failed_path(output))
                frames = iter_raw_frames(source, format=format)
                jobs = _jobs(frames, recipe, provenance)
                chunks = None if total is None else -(-total // recipe.chunk_structures)
                count = _run(jobs, run.folder, chunks, executor or threads)
                summary = _finish(run, count)
            if summary["labelled"]:
                summarise_file(
                    output,
                    structures=summary["labelled"],
                    counts=summary,
                    scratch=run.folder,
                )
            run.close()
    return _summary(output, summary)


def _settle(
    recipe: RelabelRecipe | str | Path | None, teacher: str | None, *, trust: bool
) -> RelabelRecipe:
    if recipe is not None:
        return settle_recipe(RelabelRecipe, recipe, teacher=teacher, trust=trust)
    if teacher is None:
        raise InputError("Give a teacher, or a recipe that names one.")
    return RelabelRecipe(teacher=teacher)


def failed_path(output: Path) -> Path:
    """Return where the structures that could not be labelled are written."""
    return output.with_suffix(".failed.xyz")


def _refuse_other_file(failed: Path) -> None:
    """Refuse to replace a file that is no list of failures of an earlier run."""
    if failed.exists() and FAILURE_KEY not in next(iter_structures(failed)).info:
        raise InputError(
            f"{failed} is where failures are listed, but it exists and holds something "
            "else; move it or choose another name for the output."
        )


def _refuse_other_elements(
    source: Path, frames: Iterator[RawFrame], teacher: About
) -> None:
    """Refuse a teacher that knows none of the structures, before the work begins."""
    found: set[str] = set()
    for frame in islice(frames, LOOKED_AT):
        try:
            symbols = set(frame.parse().symbols)
        except InputError:
            return  # it is named when its turn comes
        if symbols <= set(teacher.elements):
            return
        found |= symbols
    raise InputError(
        f"{source} has structures of {listed(found)}, but "
        f"{teacher.provenance['teacher']} knows {listed(teacher.elements)}: it can "
        "label none of them. Choose another teacher."
    )


def _manifest(
    source: Path, recipe: RelabelRecipe, provenance: dict[str, str]
) -> dict[str, Any]:
    values = recipe_values(recipe)
    del values["teacher"]  # the same file may lie elsewhere the next time
    return {
        "recipe": values,
        "input": file_record(source).sha256,
        "teacher": provenance,
    }


def _say_what_changes(source: Path, output: Path, format: str | None) -> None:
    """Warn of what is read otherwise than it stands there, or not written.

    The first structure stands for all: the others are parsed by the workers.
    """
    first = next(iter_structures(source, format=format))
    say_left_out(output, write_frame(io.StringIO(), first))


def _said(format: str | None) -> dict[str, str]:
    return {} if format is None else {"format": format}


def _jobs(
    frames: Iterator[RawFrame], recipe: RelabelRecipe, provenance: dict[str, str]
) -> Iterator[RelabelJob]:
    while chunk := list(islice(frames, recipe.chunk_structures)):
        yield RelabelJob(frames=chunk, recipe=recipe, provenance=provenance)


def _run(
    jobs: Iterator[RelabelJob], folder: Path, chunks: int | None, executor: Executor
) -> int:
    watch = partial(stop_if_hopeless, chunks=chunks)
    with progress_bar(desc="relabel", unit="chunk", total=chunks) as bar:
        return run_in_folders(
            label_chunk, jobs, folder, executor=executor, progress=bar, on_done=watch
        )


def _finish(run: Run, count: int) -> dict[str, Any]:
    """Write the files of the run and return its summary as plain values."""
    counts: dict[str, Counter[str]] = {
        outcome: Counter() for outcome in (LABELLED, LEFT_OUT, FAILED)
    }
    for chunk in read_results(run.folder, count, COUNTS_FILE):
        for outcome, causes in chunk.items():
            counts[outcome].update(causes)
    found = {
        "labelled": counts[LABELLED].total(),
        "left_out": dict(counts[LEFT_OUT]),
        "failed": counts[FAILED].total(),
        "failures": dict(counts[FAILED]),
    }
    summary = run.complete(found)
    if summary["failed"]:
        join(run.folder, count, FAILED_FILE, failed_path(run.output))
    else:
        failed_path(run.output).unlink(missing_ok=True)  # of an earlier run
    if summary["labelled"]:
        join(run.folder, count, LABELLED_FILE, run.output)
    return summary


def _summary(output: Path, found: dict[str, Any]) -> RelabelSummary:
    failed_file = failed_path(output) if found["failed"] else None
    summary_file, figure = summary_paths(output)
    summary = RelabelSummary(
        output=output,
        failed_file=failed_file,
        summary_file=summary_file,
        figure=figure,
        **found,
    )
    if not summary.labelled:
        raise InputError(
            f"None of the structures was labelled: {summary.failed} failed"
            f"{f' (reasons in {summary.failed_file})' if summary.failed_file else ''}, "
            f"left out by filters: {summary.left_out or 'none'}."
        )
    return summary
