"""Levels of theory that are fitted beside the one that the model is for."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from synthzoo.data.label_choice import choose_label_keys, find_label_keys
from synthzoo.data.structures import content_hash
from synthzoo.errors import InputError
from synthzoo.finetuning.checks import examine, fit_for_use
from synthzoo.finetuning.plan import (
    PlannedLevel,
    bulk_of,
    find_shifts,
    starting_calculator,
)

if TYPE_CHECKING:
    from synthzoo.data.frames import FrameSet
    from synthzoo.data.labelled_set import LabelledSet
    from synthzoo.data.labels import LabelKeys
    from synthzoo.data.level_frames import LevelFrames
    from synthzoo.finetuning.plan import Plan
    from synthzoo.models.checkpoint import Checkpoint

LEAST_STRUCTURES = 5
"""Fewer cannot say how a level differs from another one."""

SAME_EV_PER_ATOM = 1e-5
"""Energies of two levels that differ by less on all structures are of one level."""


def find_keys_of_level(
    frames: FrameSet,
    *,
    energy_key: str | None = None,
    forces_key: str | None = None,
    energies_only: bool = False,
) -> LabelKeys:
    """Return where the labels of a level are, which need not have forces."""
    if not energies_only and forces_key is None:
        choice = choose_label_keys(frames.structures, energy_key=energy_key)
        energies_only = choice.keys.forces is None
    return find_label_keys(
        frames.structures,
        energy_key=energy_key,
        forces_key=forces_key,
        energies_only=energies_only,
    )


def with_levels(plan: Plan, frames: LevelFrames, *, drop: bool = False) -> Plan:
    """Return a plan in which the other levels of theory are fitted as well.

    ``plan``: for the default level.
    ``drop``: whether structures with errors are left out.
    """
    if not frames.others:
        return plan
    with _of_level(frames.default):
        _require_enough(len(plan.training) + len(plan.held_out))
    levels = []
    for name, part in frames.others.items():
        _refuse_other_elements(plan.training, frames.default, name, part)
        with _of_level(name):
            found = _plan_level(name, part, plan.start, drop=drop)
        shared = _shared(plan, found)
        _refuse_same(plan, frames.default, found, shared)
        levels.append(dataclasses.replace(found, shared=len(shared)))
    return dataclasses.replace(plan, level=frames.default, levels=tuple(levels))


@contextmanager
def _of_level(name: str) -> Iterator[None]:
    """Say in errors which level they are about."""
    try:
        yield
    except InputError as error:
        raise InputError(f"Level {name}: {error}") from error


def _require_enough(count: int) -> None:
    if count < LEAST_STRUCTURES:
        raise InputError(
            f"{count} structure(s) are too few: the last layer and constants of a "
            f"level need {LEAST_STRUCTURES} at least. Add structures, or leave the "
            "level out."
        )


def _plan_level(
    name: str, frames: FrameSet, start: Checkpoint, *, drop: bool
) -> PlannedLevel:
    keys = find_keys_of_level(frames)
    examination = examine(frames, keys, starting_calculator(start))
    examined = fit_for_use(examination, drop=drop)
    bulk = bulk_of(examined, start.config)
    _require_enough(len(bulk.labelled))
    reference = find_shifts(
        examination.calculator, bulk.labelled, bulk.predicted, bulk.known_eV
    )
    return PlannedLevel(
        name=name,
        keys=examination.keys,
        reference=reference,
        training=bulk.labelled,
        shared=0,
        notes=tuple(finding.message for finding in examined.findings),
    )


def _shared(plan: Plan, level: PlannedLevel) -> list[tuple[int, int]]:
    """Return which structures of the fit another level labels, too, as two indices."""
    places = {
        content_hash(atoms): index
        for index, atoms in enumerate(plan.training.structures)
    }
    hashes = map(content_hash, level.training.structures)
    return [
        (places[name], index) for index, name in enumerate(hashes) if name in places
    ]


def _refuse_other_elements(
    training: LabelledSet, default: str, name: str, frames: FrameSet
) -> None:
    held = {symbol for atoms in frames.structures for symbol in atoms.symbols}
    missing = set(training.elements) - held
    if missing:
        raise InputError(
            f"Level {name} holds {', '.join(sorted(held))}, but level "
            f"{default} also holds {', '.join(sorted(missing))}: nothing can be learnt "
            "about these from it. Give structures with the same elements."
        )


def _refuse_same(
    plan: Plan, default: str, level: PlannedLevel, shared: Sequence[tuple[int, int]]
) -> None:
    """Refuse two levels whose energies differ by constants alone."""
    if len(shared) < LEAST_STRUCTURES:
        return
    own = plan.on_model_scale(plan.training)
    other = level.on_model_scale()
    differences = np.array(
        [
            (own[one][1].energy_eV - other[two][1].energy_eV) / len(own[one][0])
            for one, two in shared
        ]
    )
    if np.ptp(differences) < SAME_EV_PER_ATOM:
        raise InputError(
            f"Levels {default} and {level.name} give all {len(shared)} structures that "
            "both hold the same energies, but for constants: they cannot be told "
            "apart. One of the files is not what it should be."
        )
