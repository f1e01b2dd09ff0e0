"""Chunks of structures: each is labelled by a worker, into a folder of its own."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from synthzoo.data.structures import iter_structures
from synthzoo.errors import TeacherError
from synthzoo.labelling.labeller import (
    FAILED,
    FAILURE_KEY,
    LABELLED,
    UNKNOWN_ELEMENT,
    Labeller,
    Record,
    failed_record,
)
from synthzoo.runs.child import Lost
from synthzoo.runs.workers import compute_guarded
from synthzoo.teachers.loading import batch_atoms

if TYPE_CHECKING:
    from synthzoo.data.frames import RawFrame
    from synthzoo.labelling.recipe import RelabelRecipe

LABELLED_FILE = "labelled.xyz"
FAILED_FILE = "failed.xyz"
COUNTS_FILE = "counts.json"

HOPELESS_AFTER = 5
"""Structures at the start of a run on all of which the teacher crashes or hangs."""


@dataclass(frozen=True, kw_only=True)
class RelabelJob:
    """A chunk of structures with what is to be done to them.

    ``frames``: in the order of the input.
    ``provenance``: what the teacher says about itself where the run was started.
    """

    frames: list[RawFrame]
    recipe: RelabelRecipe
    provenance: dict[str, str]


def label_chunk(job: RelabelJob, folder: Path) -> None:
    """Label a chunk, and write what became of its structures into a folder."""
    batches = _batches(job.frames, batch_atoms(job.recipe.teacher))
    records: list[Record] = []
    lost = 0
    for frame, result in _found(job, batches):
        if not isinstance(result, Lost):
            records.append(result)
            continue
        lost += 1
        reason = f"the teacher {result.reason}"
        records.append(failed_record(frame.parse(), result.kind, reason))
        if frame.number == lost == HOPELESS_AFTER:
            raise TeacherError(
                f"{job.recipe.teacher} was lost on each of the first {lost} "
                f"structures: the last time it {result.reason}. Nothing was labelled."
            )
    _write_chunk(folder, records)


def _batches(frames: Sequence[RawFrame], atoms: int) -> list[list[RawFrame]]:
    """Return runs of structures with so many atoms at most, or of one structure."""
    batches: list[list[RawFrame]] = []
    room = 0
    for frame in frames:
        size = max(frame.atoms, 1)
        if size > room:
            batches.append([])
            room = atoms
        batches[-1].append(frame)
        room -= size
    return batches


def _found(
    job: RelabelJob, batches: Sequence[list[RawFrame]]
) -> Iterator[tuple[RawFrame, Record | Lost]]:
    """Yield what became of each structure; a batch that is lost is taken apart."""
    make = partial(Labeller, job.recipe, job.provenance)
    results = compute_guarded(make, batches, limit_s=job.recipe.max_seconds)
    for batch, result in zip(batches, results, strict=True):
        if not isinstance(result, Lost):
            yield from zip(batch, result, strict=True)
        elif len(batch) == 1:
            yield batch[0], result
        else:
            yield from _found(job, [[frame] for frame in batch])


def _write_chunk(folder: Path, records: list[Record]) -> None:
    for name, outcome in ((LABELLED_FILE, LABELLED), (FAILED_FILE, FAILED)):
        texts = [record.text for record in records if record.outcome == outcome]
        (folder / name).write_text("".join(texts), encoding="utf-8")
    counts: dict[str, Counter[str]] = {}
    for record in records:
        counts.setdefault(record.outcome, Counter())[record.cause] += 1
    (folder / COUNTS_FILE).write_text(json.dumps(counts))


def stop_if_hopeless(job_folder: Path, *, chunks: int | None) -> None:
    """Do not go through millions of structures that fail like all of the first."""
    if job_folder.name != f"{0:07d}" or chunks == 1:
        return
    counts = json.loads((job_folder / COUNTS_FILE).read_text())
    if set(counts) != {FAILED} or len(counts[FAILED]) > 1:
        return
    ((kind, count),) = counts[FAILED].items()
    if kind != UNKNOWN_ELEMENT and count >= HOPELESS_AFTER:
        first = next(iter_structures(job_folder / FAILED_FILE))
        raise TeacherError(
            f"All of the first {count} structures failed ({kind}), the first because "
            f"{first.info[FAILURE_KEY].rstrip('.')}. The run was stopped; all reasons "
            f"are in {job_folder / FAILED_FILE}. If other structures are better, take "
            f"these out of the input; remove {job_folder.parent} to start again."
        )
