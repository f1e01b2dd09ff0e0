"""Stage 2: structures and a teacher to labelled structures."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from synthzoo.errors import InputError, TeacherError
from synthzoo.recipes import RelabelRecipe, recipe_hash, recipe_values
from synthzoo.registry import file_record
from synthzoo.resumable import (
    join,
    open_run,
    process_pool,
    read_results,
    run_jobs,
    working_folder,
)
from synthzoo.structures import (
    check_structure,
    iter_structures,
    min_distance_A,
    write_structures,
)
from synthzoo.teachers import Teacher, cached_teacher, load_teacher

if TYPE_CHECKING:
    from ase import Atoms

LABELLED_FILE = "labelled.xyz"
FAILED_FILE = "failed.xyz"
COUNTS_FILE = "counts.json"
LABELLED = "labelled"
FAILED = "failed"


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
    failed_file
        Where those are; None if there are none.
    """

    output: Path
    labelled: int
    left_out: dict[str, int]
    failed: int
    failed_file: Path | None


@dataclass(frozen=True, kw_only=True)
class RelabelJob:
    """A chunk of structures with what is to be done to them.

    Attributes
    ----------
    structures
        In the order of the input.
    recipe
        Teacher and filters.
    teacher_sha256
        Hash of the teacher's file.
    """

    structures: list[Atoms]
    recipe: RelabelRecipe
    teacher_sha256: str


def relabel_file(
    source: Path,
    output: Path,
    *,
    recipe: RelabelRecipe,
    workers: int | None = None,
    executor: Executor | None = None,
) -> RelabelSummary:
    """Label the structures of a file with a teacher and write them as extended XYZ.

    Order is kept. The result depends on the input, the recipe and the teacher only;
    the same call goes on after a kill.

    Parameters
    ----------
    source
        Structures, in any format that ASE reads.
    output
        File to write. Energies are relative to the teacher's isolated atoms.
    recipe
        Teacher and filters.
    workers
        Worker processes; one for each core if not given.
    executor
        Where the jobs run instead of local processes.

    Raises
    ------
    InputError
        If the input cannot be read, the output exists, an unfinished run with another
        input, teacher or recipe is in the way, or no structure was labelled.
    TeacherError
        If the teacher cannot be loaded or fails its test.
    """
    source, output = Path(source), Path(output)
    teacher = load_teacher(recipe.teacher, sha256=recipe.teacher_sha256)
    total = sum(1 for _ in iter_structures(source))
    folder = open_run(output, _manifest(source, recipe, teacher))
    jobs = _jobs(source, recipe, teacher.sha256)
    pool: Any = nullcontext(executor) if executor else process_pool(workers)
    chunks = -(-total // recipe.chunk_structures)
    with (
        pool as running,
        tqdm(total=chunks, desc="relabel", unit="chunk", disable=None) as bar,
    ):
        count = run_jobs(_label_chunk, jobs, folder, executor=running, progress=bar)
    summary = _finish(folder, count, output)
    shutil.rmtree(working_folder(output))
    if not summary.labelled:
        output.unlink()
        raise InputError(
            f"None of the structures was labelled: {summary.failed} failed"
            f"{f' (reasons in {summary.failed_file})' if summary.failed_file else ''}, "
            f"left out by filters: {summary.left_out or 'none'}."
        )
    return summary


def _manifest(source: Path, recipe: RelabelRecipe, teacher: Teacher) -> dict[str, Any]:
    values = recipe_values(recipe)
    del values["teacher"]  # the same file may lie elsewhere the next time
    return {
        "recipe": values,
        "input": file_record(source).sha256,
        "teacher": teacher.provenance,
    }


def _jobs(
    source: Path, recipe: RelabelRecipe, teacher_sha256: str
) -> Iterator[RelabelJob]:
    structures = iter_structures(source)
    while chunk := list(islice(structures, recipe.chunk_structures)):
        yield RelabelJob(structures=chunk, recipe=recipe, teacher_sha256=teacher_sha256)


def _label_chunk(job: RelabelJob, folder: Path) -> None:
    teacher = cached_teacher(job.recipe.teacher, job.teacher_sha256)
    counts: Counter[str] = Counter()
    labelled: list[Atoms] = []
    failed: list[Atoms] = []
    for atoms in job.structures:
        try:
            found = _label_one(atoms, teacher, job.recipe)
        except (InputError, TeacherError) as error:
            failed.append(_with_reason(atoms, error))
            counts[FAILED] += 1
            continue
        reason = _left_out(found, job.recipe)
        counts[reason or LABELLED] += 1
        if reason is None:
            labelled.append(found)
    write_structures(folder / LABELLED_FILE, labelled)
    write_structures(folder / FAILED_FILE, failed)
    (folder / COUNTS_FILE).write_text(json.dumps(counts))


def _label_one(atoms: Atoms, teacher: Teacher, recipe: RelabelRecipe) -> Atoms:
    check_structure(atoms, elements=teacher.elements)
    labelled = teacher.label(atoms)
    labelled.info.update(teacher.provenance, relabel_recipe=recipe_hash(recipe)[:12])
    return labelled


def _with_reason(atoms: Atoms, error: Exception) -> Atoms:
    failed: Atoms = atoms.copy()
    failed.info["failure"] = str(error)
    return failed


def _left_out(atoms: Atoms, recipe: RelabelRecipe) -> str | None:
    """Return the name of the first filter that a labelled structure does not pass."""
    force = float(np.linalg.norm(atoms.get_forces(), axis=1).max())
    if recipe.max_force_eV_A is not None and force > recipe.max_force_eV_A:
        return "max_force_eV_A"
    shortest = recipe.min_distance_A
    if shortest is not None and min_distance_A(atoms, cutoff_A=shortest) < shortest:
        return "min_distance_A"
    window = recipe.energy_window_eV_per_atom
    energy = atoms.get_potential_energy() / len(atoms)
    if window is not None and not window[0] <= energy <= window[1]:
        return "energy_window_eV_per_atom"
    return None


def _finish(folder: Path, count: int, output: Path) -> RelabelSummary:
    counts: Counter[str] = Counter()
    for found in read_results(folder, count, COUNTS_FILE):
        counts.update(found)
    labelled, failed = counts.pop(LABELLED, 0), counts.pop(FAILED, 0)
    failed_file = output.with_suffix(".failed.xyz") if failed else None
    if failed_file is not None:
        join(folder, count, FAILED_FILE, failed_file)
    join(folder, count, LABELLED_FILE, output)
    return RelabelSummary(
        output=output,
        labelled=labelled,
        left_out=dict(counts),
        failed=failed,
        failed_file=failed_file,
    )
