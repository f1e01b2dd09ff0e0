"""Synthetic structures: mixed into a fit against forgetting, and a measure of it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from synthzoo.data import unconstrained
from synthzoo.data.frames import find_files, read_frames
from synthzoo.data.label_choice import count_label_keys, find_label_keys
from synthzoo.data.labelled_set import LabelledSet, as_labelled
from synthzoo.data.labels import Labels
from synthzoo.data.structures import split_by_group
from synthzoo.errors import InputError
from synthzoo.models.predict import predict_structures

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.data.frames import FrameSet
    from synthzoo.finetuning.recipe import ReplayLabels
    from synthzoo.models.calculator import SynthzooCalculator
    from synthzoo.models.config import CheckpointConfig

ZOO = "zoo"
"""Stands for the synthetic structures that come with synthzoo."""

KEPT_SHARE = 0.2
MAX_KEPT = 200
"""Of the structures, so many are kept from the fit to measure what is forgotten."""

MAX_SHIFT_EV_PER_ATOM = 0.5
"""Between labels and the start; more is another scale, not an error of the start."""


@dataclass(frozen=True, kw_only=True)
class ZooSet:
    """Synthetic structures that come with synthzoo.

    ``file``: in the folder ``replay_data``.
    """

    file: str
    elements: frozenset[str]
    teacher: str


ZOO_SETS = (
    ZooSet(file="carbon-ace.xyz", elements=frozenset({"C"}), teacher="ace:c_ace.yace"),
)


@dataclass(frozen=True, kw_only=True)
class Synthetic:
    """Synthetic structures, on the scale of the start.

    ``mixed``: those that are mixed into the fit; may be empty, or without energies
    (NaN).
    ``kept``: those that measure what is forgotten; may be empty.
    ``taught``: whether the second are labelled by the start's teacher, not by the start
    itself.
    """

    mixed: LabelledSet
    kept: LabelledSet
    taught: bool


NOTHING = Synthetic(
    mixed=LabelledSet(structures=[], labels=[], origins=[]),
    kept=LabelledSet(structures=[], labels=[], origins=[]),
    taught=False,
)


def find_replay(
    sources: str | Path | Sequence[str | Path] | None, config: CheckpointConfig
) -> list[Path]:
    """Return the files that are meant.

    ``sources``: files or patterns, or ``zoo`` for what comes with synthzoo. If not
    given, that is taken where the start is a potential of its elements.
    """
    if sources is None:
        known = _zoo_set(config) if config.kind == "potential" else None
        return [known] if known else []
    named = [sources] if isinstance(sources, (str, Path)) else list(sources)
    return [path for source in named for path in _files(source, config)]


def _files(source: str | Path, config: CheckpointConfig) -> list[Path]:
    if str(source) != ZOO:
        return find_files(source)
    known = _zoo_set(config)
    if known is not None:
        return [known]
    raise InputError(
        f"No synthetic structures of {', '.join(config.elements)} come with synthzoo. "
        "Give a file instead: `synthzoo generate` makes structures. If they have no "
        "labels, the model that is fine-tuned labels them."
    )


def _zoo_set(config: CheckpointConfig) -> Path | None:
    """Return the zoo's set of a start's elements, if there is one."""
    elements = set(config.elements)
    files = (known.file for known in ZOO_SETS if known.elements <= elements)
    return next((_folder() / file for file in files), None)


def comes_with_synthzoo(files: Iterable[Path]) -> bool:
    """Return whether all files, if there are any, come with synthzoo."""
    return all(path.parent == _folder() for path in files)


def taught_set(config: CheckpointConfig) -> Path | None:
    """Return the zoo's set whose labels are of the start's teacher, if there is one."""
    for known in ZOO_SETS:
        same = config.labels.get("teacher") == known.teacher
        if same and known.elements <= set(config.elements):
            return _folder() / known.file
    return None


def read_synthetic(
    files: Sequence[Path], start: SynthzooCalculator, *, labels: ReplayLabels = "start"
) -> Synthetic:
    """Return the structures to mix in, and those to measure with.

    Where the files have no labels, or those of the zoo's set are of another teacher
    than the start's, the start labels them all.

    ``files``: from `find_replay`; if there are none, the zoo's set is only measured
    with, where its teacher is the start's.
    ``labels``: what those that are mixed in are held to: what the start says itself, or
    the forces that its teacher says.
    """
    taught = taught_set(start.config)
    chosen = list(files) or ([taught] if taught else [])
    if not chosen:
        return NOTHING
    frames = read_frames(chosen)
    for atoms, origin in zip(frames.structures, frames.origins, strict=True):
        start.check(atoms, name=str(origin))
    by_start = _by_start(frames, list(predict_structures(frames.structures, start)))
    by_teacher = _by_teacher(frames, chosen, start)
    if by_teacher:
        _refuse_other_scale(by_teacher, by_start)
    fitted = by_start
    if by_teacher and labels == "teacher":
        fitted = _without_energies(by_teacher)
    mixed, kept = split_by_group(frames.structures, KEPT_SHARE, seed=0)
    return Synthetic(
        mixed=fitted.part(mixed if files else []),
        kept=(by_teacher or by_start).part(kept[:MAX_KEPT]),
        taught=by_teacher is not None,
    )


def _by_teacher(
    frames: FrameSet, files: Iterable[Path], start: SynthzooCalculator
) -> LabelledSet | None:
    """Return structures with the labels they came with, if these are the teacher's."""
    strange = {_folder() / known.file for known in ZOO_SETS} - {
        taught_set(start.config)
    }
    counts = count_label_keys(frames.structures)
    if not (counts.energy and counts.forces) or strange & set(files):
        return None
    return as_labelled(frames, find_label_keys(frames.structures))


def _without_energies(labelled: LabelledSet) -> LabelledSet:
    """Return a set of which only the forces are known."""
    bare = [dataclasses.replace(label, energy_eV=math.nan) for label in labelled.labels]
    return dataclasses.replace(labelled, labels=bare)


def _by_start(frames: FrameSet, predicted: Sequence[Atoms]) -> LabelledSet:
    return LabelledSet(
        structures=frames.structures,
        labels=[
            Labels(
                energy_eV=unconstrained.energy_eV(atoms),
                forces_eV_A=unconstrained.forces_eV_A(atoms),
                stress_eV_A3=unconstrained.stress_eV_A3(atoms)
                if atoms.pbc.all()
                else None,
            )
            for atoms in predicted
        ],
        origins=[str(origin) for origin in frames.origins],
    )


def _refuse_other_scale(by_teacher: LabelledSet, by_start: LabelledSet) -> None:
    shifts = [
        (label.energy_eV - predicted.energy_eV) / len(atoms)
        for label, predicted, atoms in zip(
            by_teacher.labels, by_start.labels, by_start.structures, strict=True
        )
    ]
    shift = float(np.median(shifts))
    if abs(shift) > MAX_SHIFT_EV_PER_ATOM:
        raise InputError(
            f"The energies of the replayed structures lie {shift:+.2f} eV/atom from "
            "those of the model that is fine-tuned. Label them with the teacher of "
            "that model, or leave the labels out: the model then labels them itself."
        )


def _folder() -> Path:
    return Path(__file__).parent / "replay_data"
