"""Folds and held-out parts: each structure is tested once, related ones together."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase.build import bulk

from synthzoo.data.structures import GROUP_KEY, group_of
from synthzoo.errors import InputError
from synthzoo.finetuning.plan import are_related, check_parts, fold_set, split_set
from synthzoo.finetuning.recipe import FinetuneRecipe, resolve_recipe

if TYPE_CHECKING:
    from ase import Atoms


def frames(*sizes: int) -> list[Atoms]:
    """Return frames in groups of these sizes; those of size 1 have no group."""
    found: list[Atoms] = []
    for number, size in enumerate(sizes):
        for _ in range(size):
            atoms = bulk("C")
            atoms.rattle(0.1, seed=len(found))
            if size > 1:
                atoms.info[GROUP_KEY] = f"run-{number}"
            found.append(atoms)
    return found


@pytest.mark.parametrize(
    "sizes", [(1,) * 25, (4, 3, 3, *(1,) * 15), (12, *(1,) * 13)], ids=str
)
def test_each_structure_is_tested_once_by_a_fit_without_its_relatives(sizes):
    """Five folds of about a fifth; a large group is a fold of its own."""
    structures = frames(*sizes)
    folds = fold_set(structures, 5, seed=0)
    assert len(folds) == 5
    tested = Counter(index for _, left_out in folds for index in left_out)
    assert tested == Counter(range(25))
    for fitted, left_out in folds:
        assert sorted([*fitted, *left_out]) == list(range(25))
        names = [{group_of(structures[i]) for i in part} for part in (fitted, left_out)]
        assert not names[0] & names[1]
        assert len(left_out) <= max(5, *sizes)
    assert folds == fold_set(structures, 5, seed=0)
    assert folds != fold_set(structures, 5, seed=1)


def test_folds_are_no_more_than_the_groups():
    """Three runs make three folds; one structure, or copies of it, none."""
    assert len(fold_set(frames(10, 10, 10), 5, seed=0)) == 3
    assert fold_set(frames(1), 5, seed=0) == []
    assert fold_set([bulk("C")] * 4, 5, seed=0) == []


@pytest.mark.parametrize("sizes", [(12,), (12, 1, 1)], ids=["all", "most"])
def test_a_set_of_relatives_is_divided_by_frames(sizes):
    """Displaced supercells of one crystal: frames are tested all the same."""
    structures = frames(*sizes)
    assert are_related(structures)
    assert not are_related(frames(7, 6, 1))
    for fitted, left_out in fold_set(structures, 5, seed=0):
        assert len(fitted) >= 9
        assert left_out


@pytest.mark.parametrize(
    ("sizes", "share", "count"),
    [
        ((1,) * 120, 0.1, 12),
        ((1,) * 25, 0.2, 5),
        ((120,), 0.1, 12),
        ((1, 1), 0.9, 1),
        ((10, 10, 10), 0.1, 10),
    ],
    ids=str,
)
def test_the_held_out_share_is_that_of_the_structures(sizes, share: float, count: int):
    """As many as were asked for, or one group where all of them are larger."""
    fitted, held_out = split_set(frames(*sizes), share, seed=3)
    assert len(held_out) == count
    assert sorted([*fitted, *held_out]) == list(range(sum(sizes)))


def test_what_is_all_the_same_cannot_be_held_out():
    """The message says what to give instead."""
    with pytest.raises(InputError, match=r"cannot be split.*--test"):
        split_set([bulk("C")] * 3, 0.5, seed=0)


@pytest.mark.parametrize("count", [5, 25, 49, 75, 99])
def test_every_structure_of_a_small_set_is_tested(count: int):
    """Up to a hundred, by the defaults; beyond, a part is held out."""
    structures = frames(*[1] * count)
    recipe = resolve_recipe(FinetuneRecipe(), [64] * count)
    parts = check_parts(structures, recipe)
    assert not recipe.held_out_share
    assert sum(len(left_out) for _, left_out in parts) == count
    assert resolve_recipe(FinetuneRecipe(), [64] * 100).held_out_share


def test_a_committee_needs_as_many_groups():
    """Its members leave out one part each, too."""
    recipe = FinetuneRecipe(committee=4)
    assert len(check_parts(frames(3, 2, 2, 2), recipe)) == 4
    with pytest.raises(InputError, match="committee of 4 needs as many"):
        check_parts(frames(3, 3, 3), recipe)


def test_splits_depend_on_the_seed_alone():
    """Not on the state of NumPy's global generator."""
    structures = frames(*[1] * 20)
    found = split_set(structures, 0.2, seed=0)
    np.random.default_rng().random()
    assert found == split_set(structures, 0.2, seed=0)
    assert found != split_set(structures, 0.2, seed=1)
