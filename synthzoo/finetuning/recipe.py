"""How to fine-tune, and the defaults that depend on the number of structures."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from synthzoo.recipes.schema import (
    LATER,
    Count,
    CountFrom0,
    NotNegative,
    Section,
    Share,
)
from synthzoo.training.recipe import LearningRate, StepsRecipe

if TYPE_CHECKING:
    from synthzoo.evaluation.errors import GroupErrors

Value = TypeVar("Value")

ReplayLabels = Literal["start", "teacher"]


class FinetuneRecipe(StepsRecipe, Section, frozen=True, kw_only=True):
    """How to fine-tune a checkpoint; what is not given follows from the data's size.

    `StepsRecipe` has the other attributes.

    Attributes
    ----------
    visits
        Structures seen in all: each as often as it takes.
    learning_rate
        Of Adam, after the warm-up.
    energy_weight
        Factor of the mean squared error of energy per atom (eV) in the loss.
    held_out_share
        Share of the structures that is kept from the fit to measure its error.
    check_share
        Where none are held out: share of the structures that each further fit leaves
        out and is tested on, to say whether fine-tuning helps. There are as many as it
        takes to leave out each structure once; 0 is none.
    level_share
        Share of the atoms of a batch that are of other levels of theory, if there are
        any.
    level_weights
        Factors of the terms of other levels in the loss, by their names; 1 for those
        that are not named.
    direct_visits
        Structures that a comparison from scratch sees in all, instead of a number that
        grows with that of the structures.
    most_visits
        Structures seen in all at most, where trials find that fits should be longer
        than `visits` is by default; by default as many as training from scratch sees.
    seeds
        Number of fits that differ by their seed; the one with the smallest loss on the
        held-out structures is kept.
    select_by
        With ``md``, weights are also kept on the way of each fit, and all of them go
        through short dynamics (`synthzoo.finetuning.select_by_md`): those that survive
        longest are kept; if several do, those with the smaller drift of the energy,
        then with the smaller error of the forces.
    committee
        Number of further fits, each to all structures but its own share of them, whose
        mean and spread a committee gives; 0 or at least 2.
    replay_labels
        What replayed structures are held to: what the start says itself (``start``), or
        the forces that its teacher says (``teacher``).
    replay_stress_weight
        Factor of the errors of stress, as ``stress_weight``, where only replayed
        structures have stress labels: they hold the elasticity that the start knows.
    """

    section = "finetune"

    visits: Count | None = None
    learning_rate: LearningRate | None = None
    warmup_steps: CountFrom0 = 20
    decay_start: Share = 0.0
    ema_decay: Share = 0.99
    energy_weight: NotNegative | None = None
    held_out_share: Share | None = None
    check_share: Share | None = None
    seeds: Count = 1
    select_by: Literal["loss", "md"] = "loss"
    committee: CountFrom0 = 0
    replay_share: Share = 0.1
    stress_weight: Annotated[NotNegative, LATER] = 0.1
    replay_stress_weight: Annotated[NotNegative, LATER] = 0.1
    replay_labels: ReplayLabels = "start"
    direct_visits: Annotated[Count | None, LATER] = None
    most_visits: Annotated[Count | None, LATER] = None
    level_share: Annotated[Share, LATER] = 0.6
    level_weights: Annotated[dict[str, NotNegative] | None, LATER] = None

    def loss(self, errors: GroupErrors) -> float:
        """Return errors of energies and forces, weighed as in the fit (eV² scale)."""
        energy_eV = errors.energy_rmse_meV_per_atom / 1000
        weighed = (self.energy_weight or 0.0) * energy_eV**2  # resolved: not None
        return weighed + self.forces_weight * errors.force_rmse_eV_A**2


CHECKED = {"held_out_share": 0.0, "check_share": 0.2}
"""All structures are fitted; what that is worth is told by fits that leave out a fifth
each."""

TENTH_OUT = {"held_out_share": 0.1, "check_share": 0.0}
FIFTH_OUT = {"held_out_share": 0.2, "check_share": 0.0}
"""A part measures the fit, and chooses the best of several seeds, if asked for."""

NOTHING_LEFT = {"held_out_share": 0.0, "check_share": 0.0}

SCARCE = {"learning_rate": 1e-3, "energy_weight": 10.0}
FEW = {"learning_rate": 2e-3, "energy_weight": 4.0}
SOME = {"learning_rate": 1e-3, "energy_weight": 4.0}
MANY = {"learning_rate": 5e-3, "energy_weight": 4.0}

DEFAULTS: dict[float, dict[str, Any]] = {
    4: {"visits": 100, **SCARCE, **NOTHING_LEFT},
    14: {"visits": 250, **SCARCE, **CHECKED},
    24: {"visits": 400, **FEW, **CHECKED},
    49: {"visits": 600, **FEW, **CHECKED},
    99: {"visits": 3000, **SOME, **CHECKED},
    299: {"visits": 3000, **SOME, **FIFTH_OUT},
    math.inf: {"visits": 3000, **MANY, **TENTH_OUT},
}
"""What a recipe leaves open, by the largest number of structures that it is for.

`docs/fine-tuning-measured.md` says how these values were chosen.
"""

TIMES_WITH_REPLAY: dict[float, float] = {24: 1.0, 49: 1.5, math.inf: 1.0}
"""So many times the visits where synthetic structures are replayed, by the largest
number of structures."""

LEAST_EPOCHS = 15
"""Each structure is seen so often at least, however many there are."""

FULL_ATOMS = 48.0
"""Structures with fewer atoms on average are seen more often: as many atoms in all."""

STARTING_POINT_RATE = 1e-2
STARTING_POINT_VISITS: dict[float, int] = {
    4: 300,
    14: 750,
    24: 1200,
    49: 1800,
    math.inf: 6000,
}
"""Where the start is no potential, it has farther to go: the rate, and the visits by
the largest number of structures that they are for."""


LEVELS_RATE, LEVELS_VISITS = 5e-3, 3000
"""Where other levels of theory are fitted, too: the rate, and the least visits."""


def resolve_recipe(
    recipe: FinetuneRecipe, sizes: Sequence[int], *, kind: str = "potential"
) -> FinetuneRecipe:
    """Return a recipe in which everything is said.

    ``kind``: of the checkpoint to start from, ``potential`` or ``starting-point``; or
    ``levels`` where other levels of theory are fitted as well.

    Examples
    --------
    >>> resolve_recipe(FinetuneRecipe(), 25 * [64]).visits
    900
    >>> resolve_recipe(FinetuneRecipe(replay_share=0), 25 * [64]).visits
    600
    >>> resolve_recipe(FinetuneRecipe(), 25 * [8]).visits
    5400
    """
    structures = len(sizes)
    values = dict(_row(DEFAULTS, structures))
    if kind == "potential" and recipe.replay_share:
        values["visits"] *= _row(TIMES_WITH_REPLAY, structures)
    if kind == "starting-point":
        values["visits"] = _row(STARTING_POINT_VISITS, structures)
        values["learning_rate"] = STARTING_POINT_RATE
    if kind == "levels":
        values["learning_rate"] = LEVELS_RATE
        values["visits"] = max(values["visits"], LEVELS_VISITS)
    visits = max(values["visits"], LEAST_EPOCHS * structures)
    values["visits"] = math.ceil(visits * times_seen(sizes))
    if recipe.seeds > 1:
        values |= FIFTH_OUT
    missing = {
        name: value for name, value in values.items() if getattr(recipe, name) is None
    }
    return dataclasses.replace(recipe, **missing)


def _row(rows: Mapping[float, Value], structures: int) -> Value:
    return next(row for size, row in rows.items() if structures <= size)


def times_seen(sizes: Sequence[int]) -> float:
    """Return how many times as often as large structures these are seen.

    Examples
    --------
    >>> times_seen([64, 64]), times_seen([8, 8])
    (1.0, 6.0)
    """
    return max(1.0, FULL_ATOMS * len(sizes) / max(1, sum(sizes)))
