"""How to fine-tune, and the defaults that depend on the number of structures."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class FinetuneRecipe:
    """How to fine-tune a checkpoint; what is not given follows from the data's size.

    Attributes
    ----------
    seed
        Of the order of the structures and of the split.
    visits
        Structures seen in all: each as often as it takes.
    batch_atoms
        Atoms per step, at most (a larger structure is a batch of its own).
    learning_rate
        Of Adam, after the warm-up.
    warmup_steps
        Steps over which the rate grows linearly from a hundredth.
    decay_start
        Share of all steps after which the rate falls to zero along a half cosine.
    ema_decay
        Of the moving average of the weights, which is what is kept.
    gradient_clip
        Largest norm of the gradient.
    energy_weight, forces_weight
        Factors of the mean squared errors of energy per atom (eV) and of force
        components (eV/Å) in the loss.
    held_out_share
        Share of the structures that is kept from the fit to measure its error.
    check_share
        Where none are held out: share of the structures on which a second fit, to the
        others, is tested to say whether fine-tuning helps.
    seeds
        Number of fits that differ by their seed; the one with the smallest loss on the
        held-out structures is kept.
    select_by
        With ``md``, weights are also kept on the way of each fit, and all of them go
        through short dynamics (`synthzoo.tuning.selection`): those that survive
        longest are kept; if several do, those with the smaller drift of the energy,
        then with the smaller error of the forces.
    committee
        Number of further fits, each to all structures but its own share of them, whose
        mean and spread a committee gives; 0 or at least 2.
    frozen, layer_rate_factor, pull, replay_share
        As for `synthzoo.recipes.FitRecipe`.
    threads
        CPU threads; torch's default if not given.
    """

    seed: int = 0
    visits: int | None = None
    batch_atoms: int = 96
    learning_rate: float | None = None
    warmup_steps: int = 20
    decay_start: float = 0.0
    ema_decay: float = 0.99
    gradient_clip: float = 20.0
    energy_weight: float | None = None
    forces_weight: float = 1.0
    held_out_share: float | None = None
    check_share: float | None = None
    seeds: int = 1
    select_by: Literal["loss", "md"] = "loss"
    committee: int = 0
    frozen: tuple[str, ...] = ()
    layer_rate_factor: float = 1.0
    pull: float = 0.0
    replay_share: float = 0.5
    threads: int | None = None


CHECKED = {"held_out_share": 0.0, "check_share": 0.2}
"""All structures are fitted; a second fit tells what that is worth."""

HELD_OUT = {"held_out_share": 0.1, "check_share": 0.0}
CHOSEN = {"held_out_share": 0.2, "check_share": 0.0}
"""The best of several seeds is chosen by a fifth."""

NOTHING_LEFT = {"held_out_share": 0.0, "check_share": 0.0}

FEW = {"learning_rate": 1e-3, "energy_weight": 10.0}
MANY = {"learning_rate": 1e-3, "energy_weight": 4.0}

DEFAULTS: dict[float, dict[str, Any]] = {
    4: {"visits": 100, **FEW, **NOTHING_LEFT},
    14: {"visits": 250, **FEW, **CHECKED},
    49: {"visits": 600, **FEW, **CHECKED},
    math.inf: {"visits": 3000, **MANY, **HELD_OUT},
}
"""What a recipe leaves open, by the largest number of structures that it is for.

Found for 25 and for 100 structures by `tests/benchmarks/finetuning_defaults.py` on a
carbon set. Three times the rate fits the structures better, but on one of 146 others,
unlike all that the network knew, forces then went wrong by 5 eV/Å. A smaller weight of
energies gives better forces: with 25 structures energies need the weight, with more
they do not. Other rows are scaled.
"""

LEAST_EPOCHS = 15
"""Each structure is seen so often at least, however many there are."""

STARTING_POINT_FACTOR = 3
STARTING_POINT_VISITS = 1500
"""So many times the visits, up to so many, where the start is no potential yet.

It has farther to go: scaled carbon on 25 structures of silicon, one draw judged on 100
others, came to 29 meV/atom and 0.30 eV/Å in 500 visits, to 14 and 0.20 in 1,500.
"""


def resolve_recipe(
    recipe: FinetuneRecipe, structures: int, *, kind: str = "potential"
) -> FinetuneRecipe:
    """Return a recipe in which everything is said.

    Parameters
    ----------
    recipe
        What was asked for.
    structures
        Number of labelled structures.
    kind
        Of the checkpoint to start from: ``potential`` or ``starting-point``.

    Examples
    --------
    >>> resolve_recipe(FinetuneRecipe(learning_rate=1e-3), 25).learning_rate
    0.001
    """
    values = dict(next(row for size, row in DEFAULTS.items() if structures <= size))
    values["visits"] = max(values["visits"], LEAST_EPOCHS * structures)
    if kind == "starting-point":
        more = min(STARTING_POINT_FACTOR * values["visits"], STARTING_POINT_VISITS)
        values["visits"] = max(values["visits"], more)
    if recipe.seeds > 1:
        values |= CHOSEN
    missing = {
        name: value for name, value in values.items() if getattr(recipe, name) is None
    }
    return dataclasses.replace(recipe, **missing)
