"""What a user gives to `advise`: labelled structures, checked, and parts of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from synthzoo.data.frames import FrameSet, read_frames
from synthzoo.data.label_choice import find_label_keys
from synthzoo.data.labelled_set import LabelledSet, as_labelled
from synthzoo.data.level_frames import part_of_level
from synthzoo.errors import InputError
from synthzoo.finetuning.checks import check_without_model, joined
from synthzoo.finetuning.plan import fold_set
from synthzoo.inspection.related import near_duplicates

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.data.labels import LabelKeys

FOLDS = 3
LEAST_STRUCTURES = 6
"""Two for each part: with fewer, errors on parts that were left out say nothing."""
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
    frames = part_of_level(read_frames(files, format=format), None)
    keys = find_label_keys(
        frames.structures,
        energy_key=energy_key,
        forces_key=forces_key,
        advice=dict.fromkeys(("energy", "forces"), NEEDS_BOTH),
    )
    checked = check_without_model(frames, keys, drop=drop_bad)
    if len(checked.bulk) < LEAST_STRUCTURES:
        raise InputError(
            f"The data hold {len(checked.bulk)} structure(s) besides isolated atoms; "
            f"advice needs at least {LEAST_STRUCTURES}, of which some are left out of "
            "each fit. `synthzoo finetune` takes fewer."
        )
    groups = near_duplicates(checked.data)
    grouped = FrameSet(
        structures=joined(frames.structures, groups), origins=frames.origins
    )
    place = {index: number for number, index in enumerate(checked.bulk)}
    return UserData(
        keys=checked.keys,
        bulk=as_labelled(grouped.part(checked.bulk), checked.keys),
        isolated=frames.part(checked.isolated).structures,
        notes=checked.notes,
        alike=[
            inside
            for group in groups
            if len(inside := tuple(place[i] for i in group if i in place)) > 1
        ],
    )


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
