"""How to fine-tune, and the defaults that depend on the number of structures."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from synthzoo.fitting.recipe import LearningRate, StepsRecipe
from synthzoo.schema import (
    LATER,
    Count,
    CountFrom0,
    NotNegative,
    Share,
)

ReplayLabels = Literal["start", "teacher"]


@dataclass(frozen=True, kw_only=True)
class FinetuneRecipe(StepsRecipe):
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
    direct_visits
        Structures that a comparison from scratch sees in all, instead of a number that
        grows with that of the structures.
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
    replay_labels
        What replayed structures are held to: what the start says itself (``start``), or
        the forces that its teacher says (``teacher``).
    """

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
    replay_labels: ReplayLabels = "start"
    direct_visits: Count | None = field(default=None, metadata=LATER)


CHECKED = {"held_out_share": 0.0, "check_share": 0.2}
"""All structures are fitted; what that is worth is told by fits that leave out a fifth
each."""

HELD_OUT = {"held_out_share": 0.1, "check_share": 0.0}
CHOSEN = {"held_out_share": 0.2, "check_share": 0.0}
"""The best of several seeds is chosen by a fifth."""

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
    299: {"visits": 3000, **SOME, **HELD_OUT},
    math.inf: {"visits": 3000, **MANY, **HELD_OUT},
}
"""What a recipe leaves open, by the largest number of structures that it is for.

Found for 25, 100 and 800 structures by `tests/benchmarks/finetuning_defaults.py` on a
carbon set, by the errors on 146 others (meV/atom, eV/Å): 25 structures came to 52 and
0.853 at a rate of 2e-3, to 54 and 0.875 at 4e-3, to 51 and 0.856 at 1e-3 with ten as
the weight of energies; 100 to 50 and 0.809 at 1e-3, to 44 and 0.827 at 3e-3; 800 to 46
and 0.754 at 5e-3, to 44 and 0.754 at 1e-2. 15 structures (four draws) came to 61 and
0.889 in 600 visits, to 66 and 0.864 in 360; in `tests/benchmarks/robustness.py` their
forces were worse than the start's in 9 of 20 draws in 600, in 1 in 400. Other rows are
scaled.
"""

LEAST_EPOCHS = 15
"""Each structure is seen so often at least, however many there are."""

FULL_ATOMS = 48.0
"""Structures with fewer atoms on average are seen more often: as many atoms in all.

It is about the average of the draws for which the visits above were found. 25 crystals
of 4 and 8 atoms (C-GAP-17, one draw, judged on 80 others) came from 111 meV/atom and
0.123 eV/Å to 97 and 0.099 in 600 visits, which are 24 steps, to 53 and 0.048 in 200
steps and to 44 and 0.037 in 400. Disordered cells of 8 atoms are another matter: on 25
of the sample `carbon-pbe` (two draws, judged on 45 others) the forces went from 1.01 to
0.98 eV/Å in 48 steps, to 1.03 in 200, the energies without their mean from 163 to 152
and 140 meV/atom.

Of 25 cells of a random search (PBE, 3 to 16 atoms, forces up to 30 eV/Å, one draw
judged on 80 others) the energies went from 513 meV/atom to 434 in 24 steps, 367 in 72
and 389 in 168, which is the default; the forces from 1.02 eV/Å to 0.97, 1.44 and
2.16, but to 1.32 in 168 with replay. Nothing was found that is better for all of these.
What helps cells unlike each other costs the 25 crystals: half the length left their
forces at 0.049 eV/Å rather than 0.043 (another draw than above), a pull of 20 at 0.062,
replay at 0.061 and their energies at 26 meV/atom rather than 17. A smaller
weight of energies would serve both (1 left the random search at 356 and 1.11 in 72
steps, 0.5 the crystals at 16 and 0.045 in half the length), but crystals of
`carbon-pbe` lost 6 and 10 meV/atom by one of 0.6 (two draws, half the length).
"""

STARTING_POINT_RATE = 1e-2
STARTING_POINT_FACTOR = 3
STARTING_POINT_VISITS = 6000
"""Rate, and so many times the visits up to so many, where the start is no potential.

It has farther to go (one draw each, judged on others): `carbon-tersoff-2k` came on 100
structures of carbon in 3,000 visits to 89 meV/atom and 0.98 eV/Å, in 6,000 to 81 and
0.96; on 25 in 1,500 to 118 and 1.09, in 3,000 to 88 and 1.08, in 6,000 to 76 and 1.23.
`silicon-ace-3k-energy` came on 50 structures of silicon in 1,500 to 9.7 and 0.150, in
3,000 to 8.4 and 0.142, in 6,000 to 8.0 and 0.146; on 100 in 3,000 to 7.3 and 0.129, in
6,000 to 6.7 and 0.127. The rate: `carbon-ace-8k` scaled in the same way came on 25
structures of silicon in 1,500 visits to 20 meV/atom and 0.28 eV/Å at 1e-3, to 14 and
0.19 at 3e-3, to 12 and 0.16 at 1e-2.
"""


def resolve_recipe(
    recipe: FinetuneRecipe, sizes: Sequence[int], *, kind: str = "potential"
) -> FinetuneRecipe:
    """Return a recipe in which everything is said.

    Parameters
    ----------
    recipe
        What was asked for.
    sizes
        Number of atoms of each labelled structure.
    kind
        Of the checkpoint to start from: ``potential`` or ``starting-point``.

    Examples
    --------
    >>> resolve_recipe(FinetuneRecipe(), 25 * [64]).visits
    600
    >>> resolve_recipe(FinetuneRecipe(), 25 * [8]).visits
    3600
    """
    structures = len(sizes)
    values = dict(next(row for size, row in DEFAULTS.items() if structures <= size))
    visits = values["visits"]
    if kind == "starting-point":
        visits = min(STARTING_POINT_FACTOR * visits, STARTING_POINT_VISITS)
        values["learning_rate"] = STARTING_POINT_RATE
    visits = max(visits, LEAST_EPOCHS * structures)
    values["visits"] = math.ceil(visits * times_seen(sizes))
    if recipe.seeds > 1:
        values |= CHOSEN
    missing = {
        name: value for name, value in values.items() if getattr(recipe, name) is None
    }
    return dataclasses.replace(recipe, **missing)


def times_seen(sizes: Sequence[int]) -> float:
    """Return how many times as often as large structures these are seen.

    Parameters
    ----------
    sizes
        Number of atoms of each structure.

    Examples
    --------
    >>> times_seen([64, 64]), times_seen([8, 8])
    (1.0, 6.0)
    """
    return max(1.0, FULL_ATOMS * len(sizes) / max(1, sum(sizes)))
