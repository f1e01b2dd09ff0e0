"""Which fits a fine-tuning needs, and what they are called."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from synthzoo.errors import InputError
from synthzoo.finetuning.energy_reference import EnergyReference, find_reference
from synthzoo.finetuning.fits import FitJob, LevelPart, fit_recipe
from synthzoo.finetuning.plan import take_off
from synthzoo.finetuning.recipe import times_seen

if TYPE_CHECKING:
    from synthzoo.data.labelled_set import LabelledSet
    from synthzoo.finetuning.plan import Plan
    from synthzoo.finetuning.recipe import FinetuneRecipe
    from synthzoo.finetuning.request import Request, Sets

SNAPSHOT_SHARES = (0.6, 0.8)
"""Weights are kept after these shares of the epochs; the last ones are, anyway."""

FIT, ALONE, DIRECT = "fit", "alone", "direct"
"""Names of the first fit, which is kept if it is the only one, of those to one of
several levels of theory alone, and of those from scratch."""


DIRECT_VISITS = 6000
DIRECT_EPOCHS = 20
"""What a fit from scratch sees: so many structures, and each so often, at least."""


def check_name(number: int) -> str:
    """Return the name of one of the further fits.

    ``number``: its place in the plan's checks, from zero.
    """
    return f"check-{number + 1}"


def seed_names(count: int) -> list[str]:
    """Return the names of the fits of which the best is kept.

    Examples
    --------
    >>> seed_names(3)
    ['fit', 'seed-2', 'seed-3']
    """
    return [FIT, *(f"seed-{number + 2}" for number in range(count - 1))]


def planned_fit(plan: Plan, replay: LabelledSet) -> FitJob:
    """Return the fit of a plan's start to all structures that are not held out."""
    return FitJob(
        name=FIT,
        start=plan.start,
        recipe=plan.recipe,
        training=plan.on_model_scale(plan.training),
        replay=plan.replayed(replay),
        levels=_level_parts(plan, replayed=len(replay) > 0),
        binding_eV=plan.reference.binding_eV,
    )


def mixed_in(request: Request, sets: Sets) -> LabelledSet:
    """Return the synthetic structures that are mixed into the fit that is kept.

    Another level of theory takes the place of those that nobody has named.
    """
    mixed = sets.synthetic.mixed
    if sets.plan.levels and not request.replay_asked:
        return mixed.part([])
    return mixed


def _level_parts(plan: Plan, *, replayed: bool) -> list[LevelPart]:
    """Return what a fit sees of the other levels: shares by their numbers of atoms."""
    recipe = plan.recipe
    replay_share = recipe.replay_share if replayed else 0.0
    if plan.levels and recipe.level_share + replay_share >= 1:
        raise InputError(
            f"level_share {recipe.level_share} and replay_share {replay_share} "
            "leave no share of a batch to the level that the model is for: make them "
            "smaller."
        )
    atoms = sum(level.training.atoms for level in plan.levels)
    weights = recipe.level_weights or {}
    return [
        LevelPart(
            name=level.name,
            training=level.on_model_scale(),
            share=recipe.level_share * level.training.atoms / atoms,
            weight=weights.get(level.name, 1.0),
            binding_eV=level.reference.binding_eV,
        )
        for level in plan.levels
    ]


def fit_from_scratch(
    job: FitJob, labelled: LabelledSet, reference: EnergyReference
) -> FitJob:
    """Return the same fit by a new network, which begins with a reference's energies.

    ``job``: a fit; its training set is replaced.
    """
    return dataclasses.replace(
        job,
        training=take_off(labelled, reference.shifts_eV),
        replay=(),
        levels=(),
        binding_eV={},
        fresh=True,
    )


def make_jobs(request: Request, sets: Sets) -> list[FitJob]:
    """Return the fits to make, the first of those to keep first."""
    plan = sets.plan
    first = dataclasses.replace(
        planned_fit(plan, mixed_in(request, sets)), place=request.place
    )
    by_md = plan.recipe.select_by == "md"
    jobs = [
        dataclasses.replace(
            first,
            name=name,
            recipe=_seeded(first, number),
            snapshots=SNAPSHOT_SHARES if by_md else (),
        )
        for number, name in enumerate(seed_names(plan.recipe.seeds))
    ]
    for number, (part, _) in enumerate(plan.checks):
        jobs.append(
            dataclasses.replace(
                first, name=check_name(number), training=plan.on_model_scale(part)
            )
        )
    if plan.levels:
        jobs += _alone(first, sets)
    return [*jobs, *_from_scratch(first, sets)] if request.compare_direct else jobs


def _alone(first: FitJob, sets: Sets) -> list[FitJob]:
    """Return the fits to the default level alone, as without other levels."""
    alone = sets.plan.alone
    fit = planned_fit(alone, sets.synthetic.mixed)
    parts = {ALONE: alone.training}
    parts |= compared_parts(ALONE, alone, tested=len(sets.test) > 0)
    return [
        dataclasses.replace(
            fit,
            name=name,
            training=alone.on_model_scale(part),
            place=first.place,
        )
        for name, part in parts.items()
    ]


def compared_parts(name: str, plan: Plan, *, tested: bool) -> dict[str, LabelledSet]:
    """Return what each fit of another kind sees, by its name.

    It is what the fits see that are compared with it: all that is fitted, or one part
    after the other where each structure is tested by the fit that has not seen it.

    ``name``: of the first fit; if there are several, they have a number behind it.
    """
    if tested or len(plan.held_out) or not plan.checks:
        return {name: plan.training}
    return {
        f"{name}-{number}": fitted
        for number, (fitted, _) in enumerate(plan.checks, start=1)
    }


def describe_jobs(jobs: Sequence[FitJob], workers: int) -> str:
    """Return what the fits will cost, in words."""
    first = jobs[0]
    texts = [f"{first.recipe.visits} structures are shown to the fit that is kept"]
    seeds = sum(job.name.startswith("seed-") for job in jobs)
    checks = sum(job.name.startswith("check-") for job in jobs)
    direct = [job for job in jobs if job.fresh]
    if seeds:
        texts.append(f"as many to each of {seeds} with other seeds")
    if checks:
        texts.append(
            f"as many to each of {checks} that leave out a part of the data, to test "
            "each structure once"
        )
    alone = sum(job.name.startswith(ALONE) for job in jobs)
    if alone:
        texts.append(f"as many to each of {alone} to one level of theory alone")
    if direct:
        texts.append(f"{direct[0].recipe.visits} to each of {len(direct)} from scratch")
    text = ", ".join(texts)
    if len(jobs) == 1:
        return f"{text}."
    times = sum(_work(job) for job in jobs) / _work(first)
    return (
        f"{text}: {times:.1f} times the work of the first fit, {workers} fit(s) at a "
        "time."
    )


def _work(job: FitJob) -> int:
    """Return how many atoms a fit sees, but for replayed ones."""
    own = fit_recipe(job).max_epochs * sum(len(atoms) for atoms, _ in job.training)
    return round(own / (1 - sum(part.share for part in job.levels)))


def _seeded(job: FitJob, number: int) -> FinetuneRecipe:
    return dataclasses.replace(job.recipe, seed=job.recipe.seed + number)


def _from_scratch(first: FitJob, sets: Sets) -> list[FitJob]:
    plan, recipe = sets.plan, first.recipe
    elements = plan.config.elements
    reference = direct_reference(elements, plan.training)
    jobs = []
    for name, part in compared_parts(DIRECT, plan, tested=len(sets.test) > 0).items():
        sizes = [len(atoms) for atoms in part.structures]
        visits = recipe.direct_visits or visits_from_scratch(sizes)
        named = dataclasses.replace(
            first, name=name, recipe=dataclasses.replace(recipe, visits=visits)
        )
        jobs.append(fit_from_scratch(named, part, reference))
    return jobs


def visits_from_scratch(sizes: Sequence[int]) -> int:
    """Return how many structures a fit from scratch sees; small ones more often.

    Examples
    --------
    >>> visits_from_scratch([64] * 25), visits_from_scratch([64] * 500)
    (6000, 10000)
    """
    visits = max(DIRECT_VISITS, DIRECT_EPOCHS * len(sizes))
    return math.ceil(visits * times_seen(sizes))


def direct_reference(elements: Sequence[str], labelled: LabelledSet) -> EnergyReference:
    """Return the energies per element that a network without any start begins with."""
    return find_reference(
        elements,
        labelled.counts(elements),
        labelled.energies_eV,
        np.zeros(len(labelled)),
        known_eV={},
        model_isolated_eV=dict.fromkeys(elements, 0.0),
    )
