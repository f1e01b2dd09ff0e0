"""Which structures a fit sees, and which it is measured on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from synthzoo.errors import InputError
from synthzoo.structures import content_hash, group_of

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.tuning.recipe import FinetuneRecipe

Parts = tuple[list[int], list[int]]
"""Indices of the structures that a fit sees, and of those that test it."""


def are_related(structures: Sequence[Atoms]) -> bool:
    """Return whether one group of related frames is more than half of a set.

    A fit without that group would say little about a fit to everything, and a fit that
    sees part of it is tested on frames much like those that it has seen.

    Parameters
    ----------
    structures
        The set.
    """
    sizes = Counter(map(group_of, structures))
    return 2 * max(sizes.values(), default=0) > len(structures) > 1


def split_set(structures: Sequence[Atoms], share: float, seed: int) -> Parts:
    """Return a division of a set into a part to fit and a part to hold out.

    Related frames stay together, unless most of the set is related.

    Parameters
    ----------
    structures
        The set.
    share
        Of the structures that are held out, about, since whole groups are.
    seed
        Of the choice.

    Raises
    ------
    InputError
        If the set has no two parts that differ.
    """
    names = _names(structures)
    groups = _shuffled(names, seed)
    if len(groups) < 2:
        raise InputError(
            f"{len(names)} structure(s) that are all the same cannot be split into a "
            "part to fit and a part to test: give a test set (--test)."
        )
    sizes = Counter(names)
    wanted = min(max(1, round(share * len(names))), len(names) - 1)
    most = min(2 * wanted, len(names) - 1)
    held_out, count = set[str](), 0
    for name in groups:
        if count < wanted and count + sizes[name] <= most:
            held_out.add(name)
            count += sizes[name]
    return _parts(names, held_out or {min(groups, key=sizes.__getitem__)})


def fold_set(structures: Sequence[Atoms], count: int, seed: int) -> list[Parts]:
    """Return divisions of a set in which each structure is left out once.

    Related frames stay together, unless most of the set is related; about as many
    structures are left out each time.

    Parameters
    ----------
    structures
        The set.
    count
        Number of divisions; fewer if there are fewer groups, none for a single one.
    seed
        Of the choice.
    """
    names = _names(structures)
    sizes = Counter(names)
    groups = sorted(_shuffled(names, seed), key=lambda name: -sizes[name])
    if len(groups) < 2:
        return []
    folds: list[set[str]] = [set() for _ in range(min(count, len(groups)))]
    for name in groups:
        min(folds, key=lambda fold: sum(sizes[other] for other in fold)).add(name)
    return [_parts(names, fold) for fold in folds]


def check_parts(structures: Sequence[Atoms], recipe: FinetuneRecipe) -> list[Parts]:
    """Return what further fits to a training set see, and what tests them.

    Parameters
    ----------
    structures
        The training set.
    recipe
        With nothing left open.

    Raises
    ------
    InputError
        If there are too few groups for the committee that is asked for.
    """
    if recipe.committee:
        parts = fold_set(structures, recipe.committee, recipe.seed)
        if len(parts) < max(2, recipe.committee):
            raise InputError(
                f"A committee of {recipe.committee} needs as many groups of unrelated "
                f"structures; there are {len(set(_names(structures)))}."
            )
        return parts
    if recipe.held_out_share or not recipe.check_share:
        return []
    return fold_set(structures, max(2, round(1 / recipe.check_share)), recipe.seed)


def _names(structures: Sequence[Atoms]) -> list[str]:
    """Return what must not be parted: groups, or copies where most are one group."""
    name = content_hash if are_related(structures) else group_of
    return [name(atoms) for atoms in structures]


def _shuffled(names: Sequence[str], seed: int) -> list[str]:
    groups = sorted(set(names))
    np.random.default_rng(seed).shuffle(groups)
    return groups


def _parts(names: Sequence[str], left_out: set[str]) -> Parts:
    return (
        [index for index, name in enumerate(names) if name not in left_out],
        [index for index, name in enumerate(names) if name in left_out],
    )
