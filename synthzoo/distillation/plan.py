"""How a budget of time is spent: on how many structures, which network, how long."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from synthzoo.data.pairs import find_pairs
from synthzoo.distillation.calm import squeezable
from synthzoo.distillation.costs import Costs, label_seconds, visit_seconds
from synthzoo.distillation.replay import LACKED_SHARE, USUAL_SHARE
from synthzoo.errors import InputError
from synthzoo.finetuning.jobs import visits_from_scratch
from synthzoo.finetuning.length import FEWEST, lengths, structures_shown
from synthzoo.finetuning.recipe import FinetuneRecipe, resolve_recipe
from synthzoo.generation.kinds.from_file import Around
from synthzoo.generation.sizes import are_metals
from synthzoo.generation.starts import resized
from synthzoo.models.recipe import ModelRecipe
from synthzoo.training.recipe import FitRecipe

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.data.labelled_set import LabelledSet
    from synthzoo.distillation.request import Request

SHARE_OF_STUDENT = 0.9
"""Of the time that fine-tuning leaves; dynamics and report take the rest."""

EPOCHS, MOST_EPOCHS = 20, 60
"""How often the student sees each synthetic structure, if there is time for that; more
often only where there are as many structures as there may be."""

FEWEST_STRUCTURES, MOST_STRUCTURES = 200, 10_000
MANY_STRUCTURES = 2_000
"""From here on, a wider network pays."""

FEATURES = ((64, 32), (32, 16))
"""Widths of networks, the best first."""

NEIGHBOURS = 35
"""An atom sees so many neighbours on average..."""
CUTOFFS_A = (4.5, 6.0)
"""... if that takes a radius in this range."""

DIMER_SHARE, DYNAMICS_SHARE, ALLOY_SHARE = 0.05, 0.15, 0.15
"""Of the synthetic structures; the rest lies around the user's own. Alloys of other
compositions, and pure metals, are made where all elements are metals: without them, a
fit to the user's alloys loses those that they do not have."""
ALLOYS: dict[str, Any] = {
    "prototypes": {"bcc": None, "fcc": None, "hcp": None},
    "max_atoms": 24,
    "stretch": [0.93, 1.08],
    "max_strain": 0.05,
    "rattle_A": [0.0, 0.3],
    "vacancy_share": 0.1,
}
OPEN_SHARE = 0.15
"""Of the structures around crystals of the user: slabs of these."""
SQUEEZED_SHARE = 0.05
"""Of the synthetic structures: the user's crystals with atoms that are too close."""
SQUEEZED: dict[str, Any] = {"shortest": [0.6, 0.9], "max_atoms": 24}
FEWEST_DISTANCES, MOST_DISTANCES = 10, 40
"""Of a pair of elements..."""
MOST_DIMERS, FEW_DISTANCES = 0.25, 3
"""... but all pairs have no more than this share of the structures, or this number of
distances each: thirty elements have 465 pairs."""

AROUND_CALLS, DYNAMICS_CALLS = 7.0, 83.0
"""What the driver computes for each structure that is kept, on average: 5.5 to 10 in
the part `around`; in `dynamics` once for each step at constant volume, of which there
are 50, and twice under pressure."""
THRIFTY: dict[str, Any] = {"relax_steps": 3, "max_atoms": 48}
THRIFTY_CALLS = 3.5
"""Of the part `around`, and what it computes then, where the labels of a structure
would take longer than its training."""
AROUND: dict[str, Any] = {"structures": "", "count": 1}
"""Of the part, as far as its sizes go."""

DYNAMICS_FRAMES = 10
"""Structures that are kept of each trajectory."""
HYDROGEN_STEP_FS = 0.5
DEAR_DYNAMICS = 0.25
"""Dynamics that cost more than this share of the training are left out."""

LONGEST_AVERAGE, AVERAGED_OVER = 0.999, 20.0
"""Of the moving average of the weights: largest decay, and its length: the steps of the
fit over this."""

DEAR_COMPARISON = 0.3
"""Training on the user's structures alone is left out if it takes more than this share
of the time, unless it is asked for."""

LONGER_SHARE = 0.5
"""Fine-tuning may be longer than usual, if trials find it better, as far as it takes no
more than this share of the time."""

SPARE = 1.2
"""What is measured again may take longer by this factor."""

SECONDS_PER_MINUTE = 60.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How the time is spent.

    Attributes
    ----------
    structures
        Synthetic ones, about.
    dynamics
        Trajectories of molecular dynamics by the teacher, from which some of them are.
    epochs
        How often the student sees each.
    model
        Its shape.
    costs
        What was measured.
    generation_s, training_s, tuning_s
        What structures and labels, pre-training, and fine-tuning with its comparisons
        will take.
    most_visits
        Structures that fine-tuning sees at most, if trials find it better.
    compare_direct
        Whether a new network is trained on the user's structures alone.
    direct_s
        What that takes; it is part of ``tuning_s`` if it is done.
    """

    structures: int
    dynamics: int
    epochs: int
    model: ModelRecipe
    costs: Costs
    generation_s: float
    training_s: float
    tuning_s: float
    most_visits: int
    compare_direct: bool
    direct_s: float

    @property
    def minutes(self) -> float:
        """The whole."""
        seconds = self.generation_s + self.training_s
        return (seconds / SHARE_OF_STUDENT + self.tuning_s) / SECONDS_PER_MINUTE

    def lines(self) -> list[str]:
        """Return the plan in words."""
        wide, narrow = self.model.num_features
        return [
            f"For each atom, a label of the teacher takes "
            f"{1000 * self.costs.label_s_per_atom:.3g} ms, and a step of training "
            f"{1000 * self.costs.visit_s_per_atom:.3g} ms.",
            f"{self.structures} synthetic structures with the teacher's labels: "
            f"{_minutes(self.generation_s)}.",
            f"Pre-training of a network with {wide} scalars and {narrow} vectors for "
            f"each atom and a cutoff of {self.model.cutoff_A:g} Å, which sees each "
            f"structure {self.epochs} times: {_minutes(self.training_s)}.",
            "Fine-tuning on your structures, and what it is tested and compared with: "
            f"{_minutes(self.tuning_s)}, with {self.most_visits} structures shown to "
            "each fit at most.",
            *self._left_out(),
            f"In all about {self.minutes:.0f} minutes on this machine if it is idle.",
        ]

    def _left_out(self) -> list[str]:
        if self.compare_direct:
            return []
        return [
            "No comparison with training on your structures alone (--compare-direct), "
            f"which would take {_minutes(self.direct_s)}."
        ]


def _minutes(seconds: float) -> str:
    return f"{seconds / SECONDS_PER_MINUTE:.1f} minutes"


def make_plan(request: Request, data: LabelledSet) -> Plan:
    """Return how the time is spent; a few structures are computed to measure costs.

    ``data``: the user's structures, none of them an isolated atom.
    """
    label_s = label_seconds(request.teacher, _resized(data, Around(**AROUND)))
    cutoff_A = cutoff_for(data.structures)
    needed: list[float] = []
    for number, features in enumerate(FEATURES):
        model = ModelRecipe(cutoff_A=cutoff_A, num_features=features)
        costs = Costs(
            label_s_per_atom=label_s, visit_s_per_atom=visit_seconds(model, data)
        )
        plan = spend(request, data, model, costs)
        enough = FEWEST_STRUCTURES if number == len(FEATURES) - 1 else MANY_STRUCTURES
        if plan.structures >= enough:
            return plan
        needed.append(_least_minutes(request, data, plan))
    raise InputError(
        f"{request.minutes:g} minutes are too few for this teacher and these "
        f"structures: {FEWEST_STRUCTURES} synthetic structures, a student and its "
        f"fine-tuning take about {math.ceil(SPARE * needed[-1])} minutes."
    )


def spend(
    request: Request, data: LabelledSet, model: ModelRecipe, costs: Costs
) -> Plan:
    """Return a plan for one network; there may be no time for any structure."""
    asked = request.compare_direct
    plans = [
        _spend(request, data, model, costs, compare=compare, longer=longer)
        for longer in (True, False)
        for compare in ((True, False) if asked is None else (asked,))
    ]
    limit_s = DEAR_COMPARISON * request.minutes * SECONDS_PER_MINUTE
    affordable = (
        plan
        for plan in plans
        if plan.structures >= FEWEST_STRUCTURES
        and (asked or not plan.compare_direct or plan.direct_s <= limit_s)
    )
    return next(affordable, plans[-1])


def _spend(
    request: Request,
    data: LabelledSet,
    model: ModelRecipe,
    costs: Costs,
    *,
    compare: bool,
    longer: bool,
) -> Plan:
    tuning_s, direct_s, most_visits = _tuning(request, data, costs, longer=longer)
    if compare:
        tuning_s += direct_s
    left_s = SHARE_OF_STUDENT * (request.minutes * SECONDS_PER_MINUTE - tuning_s)
    making_s, visit_s = _structure_seconds(request, data, costs)
    structures = math.floor(max(0.0, left_s) / (making_s + EPOCHS * visit_s))
    structures = _rounded_down(min(structures, MOST_STRUCTURES))
    training_s = max(0.0, left_s - structures * making_s)
    epochs = math.floor(training_s / (structures * visit_s)) if structures else 0
    epochs = min(epochs, MOST_EPOCHS)
    dynamics = DYNAMICS_SHARE * structures / DYNAMICS_FRAMES if _cheap(costs) else 0.0
    return Plan(
        structures=structures,
        dynamics=round(dynamics),
        epochs=epochs,
        model=model,
        costs=costs,
        generation_s=structures * making_s,
        training_s=structures * epochs * visit_s,
        tuning_s=tuning_s,
        most_visits=most_visits,
        compare_direct=compare,
        direct_s=direct_s,
    )


def _rounded_down(count: int) -> int:
    """Return a number of two digits and zeros."""
    unit: int = 10 ** max(0, len(str(count)) - 2)
    return count // unit * unit


def _structure_seconds(
    request: Request, data: LabelledSet, costs: Costs
) -> tuple[float, float]:
    """Return what a synthetic structure costs to make and label, and to see once."""
    atoms = _mean_atoms(data, costs)
    calls = THRIFTY_CALLS if _around(costs) else AROUND_CALLS
    if _cheap(costs):
        calls += DYNAMICS_SHARE * (DYNAMICS_CALLS - AROUND_CALLS)
    making_s = (1 + calls) * atoms * costs.label_s_per_atom / request.workers
    return making_s, atoms * costs.visit_s_per_atom


def _around(costs: Costs) -> dict[str, Any]:
    """Return what the part `around` does otherwise than by default."""
    dear = AROUND_CALLS * costs.label_s_per_atom > EPOCHS * costs.visit_s_per_atom
    return THRIFTY if dear else {}


def _mean_atoms(data: LabelledSet, costs: Costs) -> float:
    """Return the mean size of structures around those of the user."""
    part = Around(**AROUND, **_around(costs))
    return float(np.mean([len(atoms) for atoms in _resized(data, part)]))


def _resized(data: LabelledSet, part: Around) -> list[Atoms]:
    """Return the structures of the user as the part starts from them."""
    rng = np.random.default_rng(0)
    return [
        resized(atoms, part.min_atoms, part.max_atoms, rng) for atoms in data.structures
    ]


def _cheap(costs: Costs) -> bool:
    """Return whether the teacher is quick enough for molecular dynamics."""
    dynamics_s = DYNAMICS_SHARE * DYNAMICS_CALLS * costs.label_s_per_atom
    return dynamics_s < DEAR_DYNAMICS * EPOCHS * costs.visit_s_per_atom


def _least_minutes(request: Request, data: LabelledSet, plan: Plan) -> float:
    making_s, visit_s = _structure_seconds(request, data, plan.costs)
    student_s = FEWEST_STRUCTURES * (making_s + EPOCHS * visit_s) / SHARE_OF_STUDENT
    return (student_s + plan.tuning_s) / SECONDS_PER_MINUTE


def _tuning(
    request: Request, data: LabelledSet, costs: Costs, *, longer: bool
) -> tuple[float, float, int]:
    """Return what fine-tuning with its further fits takes, and those from scratch.

    The third number is how many structures a fit may see at most.

    ``longer``: whether there may be more than usual, if trials find it better.
    """
    sizes = [len(atoms) for atoms in data.structures]
    recipe = resolve_recipe(FinetuneRecipe(), sizes)
    usual, fresh = recipe.visits or 0, visits_from_scratch(sizes)
    checks = 0 if request.test else _fits_that_check(recipe)
    at_a_time = min(request.workers, 1 + checks)
    visit_s = data.atoms / len(data) * costs.visit_s_per_atom / at_a_time
    replayed_s = visit_s / (1 - (LACKED_SHARE if _are_alloys(data) else USUAL_SHARE))
    limit_s = LONGER_SHARE * request.minutes * SECONDS_PER_MINUTE if longer else 0.0
    seconds = {
        visits: replayed_s * structures_shown(usual, visits, checks=checks)
        for visits in lengths(usual, fresh if len(sizes) >= FEWEST else usual)
    }
    most = max(
        visits for visits in seconds if seconds[visits] <= limit_s or visits == usual
    )
    return seconds[most], max(1, checks) * fresh * visit_s, most


def _fits_that_check(recipe: FinetuneRecipe) -> int:
    return round(1 / recipe.check_share) if recipe.check_share else 0


def cutoff_for(structures: Sequence[Atoms]) -> float:
    """Return a radius within which atoms have enough neighbours, in Å.

    Examples
    --------
    >>> from ase.build import bulk
    >>> cutoff_for([bulk("W", cubic=True)]), cutoff_for([bulk("Pb", cubic=True)])
    (5.2, 6.0)
    """
    shortest, longest = CUTOFFS_A
    distances = np.sort(
        np.concatenate([find_pairs(atoms, longest).distances_A for atoms in structures])
    )
    wanted = NEIGHBOURS * sum(map(len, structures))
    if wanted > len(distances):
        return longest
    return round(float(np.clip(distances[wanted - 1], shortest, longest)), 1)


def _are_alloys(data: LabelledSet) -> bool:
    """Return whether structures of other compositions are made."""
    return len(data.elements) > 1 and are_metals(data.elements)


def _averaging(plan: Plan, data: LabelledSet) -> float:
    """Return a decay that forgets the first weights of a short fit, too."""
    atoms = plan.epochs * plan.structures * _mean_atoms(data, plan.costs)
    steps = atoms / FitRecipe().batch_atoms
    return round(min(LONGEST_AVERAGE, max(0.0, 1 - AVERAGED_OVER / steps)), 4)


def _distances(structures: float) -> int:
    """Return at how many distances each pair of elements is put.

    ``structures``: how many there are in all for each pair.
    """
    wanted = np.clip(DIMER_SHARE * structures, FEWEST_DISTANCES, MOST_DISTANCES)
    return round(max(FEW_DISTANCES, min(float(wanted), MOST_DIMERS * structures)))


def recipe_of(
    plan: Plan, request: Request, data: LabelledSet, starts: str, squeezed: str
) -> dict[str, Any]:
    """Return the sections of a recipe that `synthzoo build` understands.

    ``starts``: name of the file with the structures of the user, beside the recipe.
    ``squeezed``: name of that with the structures that `squeezable` returns.
    """
    elements = list(data.elements)
    pairs = len(elements) * (len(elements) + 1) // 2
    distances = _distances(plan.structures / pairs)
    dimers = min(pairs * distances, round(MOST_DIMERS * plan.structures))
    around = plan.structures - dimers - DYNAMICS_FRAMES * plan.dynamics
    parts: list[dict[str, Any]] = [{"kind": "dimers", "count": distances}]
    if _are_alloys(data):
        each = round(ALLOY_SHARE * plan.structures / len(ALLOYS["prototypes"]))
        parts.append({"kind": "crystals", "count": each} | ALLOYS)
        around -= each * len(ALLOYS["prototypes"])
    if solids := len(squeezable(data)):
        each = math.ceil(SQUEEZED_SHARE * plan.structures / solids)
        parts.append(
            {"kind": "compressed", "structures": squeezed, "count": each} | SQUEEZED
        )
        around -= each * solids
    around_part = {"kind": "around", "structures": starts, "count": around}
    around_part["open_share"] = OPEN_SHARE
    parts.insert(0, around_part | _around(plan.costs))
    if plan.dynamics:
        dynamics: dict[str, Any] = {"kind": "dynamics", "structures": starts}
        dynamics["trajectories"] = plan.dynamics
        if "H" in elements:
            dynamics["timestep_fs"] = HYDROGEN_STEP_FS
        parts.append(dynamics)
    return {
        "generate": {
            "elements": elements,
            "seed": request.seed,
            "driver": request.teacher,
            "parts": parts,
        },
        "relabel": {"teacher": request.teacher},
        "pretrain": {
            "model": {
                "cutoff_A": plan.model.cutoff_A,
                "num_features": list(plan.model.num_features),
            },
            "fit": {
                "seed": request.seed,
                "max_epochs": plan.epochs,
                "adam_beta2": 0.99,
                "decay_start": 0.4,
                "ema_decay": _averaging(plan, data),
                "gradient_clip": 0.5,
                "energy_huber_eV": 0.1,
                "forces_huber_eV_A": 3.0,
                "keep": "last",
                "threads": 1,
            },
        },
    }
