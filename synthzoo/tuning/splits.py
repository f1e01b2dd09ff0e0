"""Which structures a fit sees, and which it is measured on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from synthzoo.errors import InputError
from synthzoo.structures import group_of, split_by_group

if TYPE_CHECKING:
    from synthzoo.labelled_sets import LabelledSet
    from synthzoo.tuning.recipe import FinetuneRecipe


def split_set(
    labelled: LabelledSet, share: float | None, seed: int
) -> tuple[list[int], list[int]]:
    """Return the indices of both parts; frames of one group stay together.

    Parameters
    ----------
    labelled
        Set to split.
    share
        Of the second part; nothing is split if there is none.
    seed
        Of the choice.
    """
    if not share:
        return list(range(len(labelled))), []
    return split_by_group(labelled.structures, share, seed=seed)


def check_parts(
    training: LabelledSet, recipe: FinetuneRecipe
) -> list[tuple[list[int], list[int]]]:
    """Return the parts of the training set that further fits see, and do not see.

    Parameters
    ----------
    training
        The set.
    recipe
        With nothing left open.

    Raises
    ------
    InputError
        If there are too few groups for the committee that is asked for.
    """
    if recipe.committee:
        return _folds(training, recipe.committee, recipe.seed)
    if recipe.held_out_share or not recipe.check_share:
        return []
    return [split_set(training, recipe.check_share, recipe.seed)]


def _folds(
    training: LabelledSet, count: int, seed: int
) -> list[tuple[list[int], list[int]]]:
    """Return ``count`` divisions in which each group of frames is left out once."""
    names = [group_of(atoms) for atoms in training.structures]
    groups = sorted(set(names))
    if count < 2 or len(groups) < count:
        raise InputError(
            f"A committee of {count} cannot be made from {len(groups)} group(s) of "
            "structures: give a number from 2 up to that of the groups."
        )
    np.random.default_rng(seed).shuffle(groups)
    fold = {name: index % count for index, name in enumerate(groups)}
    folds = np.array([fold[name] for name in names])
    return [
        (np.flatnonzero(folds != k).tolist(), np.flatnonzero(folds == k).tolist())
        for k in range(count)
    ]
