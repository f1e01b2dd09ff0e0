"""What a user gives to `advise`: labelled structures, checked, and parts of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from synthzoo.data.frames import FrameSet, read_frames
from synthzoo.data.label_choice import find_label_keys
from synthzoo.data.labelled_set import LabelledSet, as_labelled
from synthzoo.data.structures import is_isolated_atom
from synthzoo.errors import InputError
from synthzoo.finetuning.checks import (
    DOUBTS_OF_STRESS,
    describe,
    findings_of,
    joined,
    usable_frames,
)
from synthzoo.finetuning.plan import fold_set
from synthzoo.inspection.findings import CheckedSet
from synthzoo.inspection.related import near_duplicates

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.data.labels import LabelKeys

FOLDS = 3
LEAST_STRUCTURES = 6
"""Two for each part: with fewer, errors on parts that were left out say nothing."""
ISOLATED_REACH_A = 6.0
NEEDS_BOTH = "Models are compared by their energies and forces: advice needs both."


@dataclass(frozen=True, kw_only=True)
class UserData:
    """The structures to give advice about.

    ``bulk``: all but isolated atoms, those that are nearly the same in one group.
    ``isolated``: isolated atoms, as they were read; may be empty.
    ``notes``: what the checks found, in words.
    ``alike``: groups of structures that are nearly the same, by their numbers.
    """

    keys: LabelKeys
    bulk: LabelledSet
    isolated: list[Atoms]
    notes: tuple[str, ...]
    alike: list[tuple[int, ...]]

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols of the structures, in alphabetical order."""
        return self.bulk.elements


def read_data(
    files: Sequence[Path],
    *,
    energy_key: str | None,
    forces_key: str | None,
    format: str | None,
    drop_bad: bool,
) -> UserData:
    """Return the structures that can be used, checked as for fine-tuning."""
    frames = read_frames(files, format=format)
    keys = find_label_keys(
        frames.structures,
        energy_key=energy_key,
        forces_key=forces_key,
        advice=dict.fromkeys(("energy", "forces"), NEEDS_BOTH),
    )
    checked = CheckedSet(
        structures=frames.structures,
        keys=keys,
        sources=[str(origin.file) for origin in frames.origins],
    )
    findings = findings_of(checked, frames)
    if any(finding.kind in DOUBTS_OF_STRESS for finding in findings):
        keys = dataclasses.replace(keys, stress=None)
    kept = usable_frames(findings, frames, drop=drop_bad)
    alone = {index for index in kept if _is_alone(frames.structures[index])}
    numbers = [index for index in kept if index not in alone]
    if len(numbers) < LEAST_STRUCTURES:
        raise InputError(
            f"The data hold {len(numbers)} structure(s) besides isolated atoms; advice "
            f"needs at least {LEAST_STRUCTURES}, of which some are left out of each "
            "fit. `synthzoo finetune` takes fewer."
        )
    groups = near_duplicates(checked)
    named = joined(frames.structures, groups)
    chosen = FrameSet(
        structures=[named[index] for index in numbers],
        origins=[frames.origins[index] for index in numbers],
    )
    place = {index: number for number, index in enumerate(numbers)}
    origins = [str(origin) for origin in frames.origins]
    return UserData(
        keys=keys,
        bulk=as_labelled(chosen, keys),
        isolated=[frames.structures[index] for index in sorted(alone)],
        notes=tuple(
            describe(finding, origins)
            for finding in findings
            if finding.severity != "error"
        ),
        alike=[
            inside
            for group in groups
            if len(inside := tuple(place[i] for i in group if i in place)) > 1
        ],
    )


def _is_alone(atoms: Atoms) -> bool:
    return is_isolated_atom(atoms, ISOLATED_REACH_A)


@dataclass(frozen=True, kw_only=True)
class Fold:
    """A division of the data: what models are fitted to, and what tests them.

    ``number``: from 1.
    ``training``: in random order: a fit to fewer structures takes the first ones.
    """

    number: int
    training: tuple[int, ...]
    tested: tuple[int, ...]


def make_folds(bulk: LabelledSet, seed: int) -> list[Fold]:
    """Return divisions in which each structure is tested once, related ones together.

    The first structures of each training part are of different groups, as far as there
    are some.
    """
    rng = np.random.default_rng(seed)
    folds = [
        Fold(
            number=number,
            training=tuple(rng.permutation(fitted).tolist()),
            tested=tuple(tested),
        )
        for number, (fitted, tested) in enumerate(
            fold_set(bulk.structures, FOLDS, seed), start=1
        )
    ]
    if len(folds) < FOLDS:
        raise InputError(
            f"The structures are of {max(1, len(folds))} group(s) of related ones; "
            f"advice needs {FOLDS} groups, so that some can be left out of each fit."
        )
    return folds


def curve_sizes(folds: Sequence[Fold]) -> list[int]:
    """Return how many structures the fits of a learning curve see, ascending.

    Examples
    --------
    >>> fold = Fold(number=1, training=tuple(range(66)), tested=(66,))
    >>> curve_sizes([fold])
    [16, 33, 66]
    """
    whole = min(len(fold.training) for fold in folds)
    return sorted({size for part in (4, 2, 1) if (size := whole // part) > 1})
