"""Which fits a fine-tuning needs, and what they are called."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from synthzoo.tuning.energy_reference import find_reference
from synthzoo.tuning.fits import FitJob
from synthzoo.tuning.plan import on_scale
from synthzoo.tuning.selection import SNAPSHOT_SHARES

if TYPE_CHECKING:
    from synthzoo.tuning.energy_reference import EnergyReference
    from synthzoo.tuning.plan import Plan
    from synthzoo.tuning.recipe import FinetuneRecipe
    from synthzoo.tuning.request import Request
    from synthzoo.tuning.sets import Sets

FIT, DIRECT = "fit", "direct"
"""Names of the first fit, which is kept if it is the only one, and of the one from
scratch."""


def check_name(number: int) -> str:
    """Return the name of one of the further fits.

    Parameters
    ----------
    number
        Its place in the plan's checks, from zero.
    """
    return f"check-{number + 1}"


def seed_names(count: int) -> list[str]:
    """Return the names of the fits of which the best is kept.

    Parameters
    ----------
    count
        How many there are.

    Examples
    --------
    >>> seed_names(3)
    ['fit', 'seed-2', 'seed-3']
    """
    return [FIT, *(f"seed-{number + 2}" for number in range(count - 1))]


def make_jobs(request: Request, sets: Sets) -> list[FitJob]:
    """Return the fits to make, the first of those to keep first.

    Parameters
    ----------
    request
        What was asked for.
    sets
        What there is.
    """
    plan, mixed = sets.plan, sets.synthetic.mixed
    first = FitJob(
        name=FIT,
        start=plan.start,
        recipe=plan.recipe,
        training=plan.on_model_scale(plan.training),
        replay=list(zip(mixed.structures, mixed.labels, strict=True)),
        device=request.device,
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
    return [*jobs, _from_scratch(first, plan)] if request.compare_direct else jobs


def direct_reference(plan: Plan) -> EnergyReference:
    """Return the energies per element that a network without any start begins with.

    Parameters
    ----------
    plan
        With the training set.
    """
    elements, training = plan.config.elements, plan.training
    return find_reference(
        elements,
        training.counts(elements),
        training.energies_eV,
        np.zeros(len(training)),
        known_eV={},
        model_alone_eV=dict.fromkeys(elements, 0.0),
    )


def _seeded(job: FitJob, number: int) -> FinetuneRecipe:
    return dataclasses.replace(job.recipe, seed=job.recipe.seed + number)


def _from_scratch(first: FitJob, plan: Plan) -> FitJob:
    fitted = plan.checks[0][0] if plan.checks else plan.training
    scratch = on_scale(fitted, plan.config.elements, direct_reference(plan))
    return dataclasses.replace(
        first, name=DIRECT, training=scratch, replay=(), fresh=True
    )
