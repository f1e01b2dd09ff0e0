"""How long to fit, where trials say more than the number of structures."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import TYPE_CHECKING

from synthzoo.finetuning.comparison import predict_set
from synthzoo.finetuning.energy_reference import with_reference
from synthzoo.finetuning.jobs import check_name, visits_from_scratch
from synthzoo.finetuning.plan import check_parts, starting_calculator
from synthzoo.finetuning.recipe import CHECKED
from synthzoo.models.calculator import SynthzooCalculator

if TYPE_CHECKING:
    import torch

    from synthzoo.data.labelled_set import LabelledSet
    from synthzoo.finetuning.fits import FitJob
    from synthzoo.finetuning.plan import Plan
    from synthzoo.finetuning.recipe import FinetuneRecipe

FEWEST = 5
"""Structures without which there is nothing to leave out."""

TRIALS = 3
"""Fits of the usual length, each without another part of the structures: one part alone
may hold a few crystals only, and mislead."""

LEAST_TRANSFER = 0.6
"""They may be too short if so much of what they gain on the structures that they see,
or more, is gained on structures that they left out, too."""

STEP = 4
"""Then a trial is made that is so many times as long..."""

LEAST_GAIN = 0.15
"""... and if its loss on structures that were left out is smaller by this share, it is
better, and the next one is made."""

Weights = Mapping[str, "torch.Tensor"]
RunFits = Callable[[Sequence["FitJob"]], Mapping[str, Weights]]
Parts = tuple["LabelledSet", "LabelledSet"]
"""What a trial fits, and what it leaves out."""


@dataclass(frozen=True, kw_only=True)
class Losses:
    """Errors on one part of the structures, weighed as in a fit.

    ``start``: of the model that the fit starts from. ``end``: of the fit.
    """

    start: float
    end: float

    @property
    def gain(self) -> float:
        """The share that the fit has taken away."""
        return 1 - self.end / self.start


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A fit to a part of the structures.

    ``fold``: which part is left out, from zero.
    ``visits``: structures that it saw in all.
    ``fitted``, ``left_out``: on the structures that it saw, and on the others.
    """

    fold: int
    visits: int
    fitted: Losses
    left_out: Losses

    def gains(self, shorter: Trial) -> bool:
        """Return whether it is clearly better than a shorter one."""
        return self.left_out.end <= (1 - LEAST_GAIN) * shorter.left_out.end


@dataclass(frozen=True, kw_only=True)
class Trials:
    """All trials for a plan; none where its length is not in doubt.

    ``usual``: of the usual length. ``longer``: the others, each longer than the last.
    """

    usual: tuple[Trial, ...] = ()
    longer: tuple[Trial, ...] = ()

    @property
    def fitted(self) -> Losses:
        """Of the usual ones: the means on the structures that they saw."""
        return _mean([trial.fitted for trial in self.usual])

    @property
    def left_out(self) -> Losses:
        """Of the usual ones: the means on the structures that they left out."""
        return _mean([trial.left_out for trial in self.usual])

    @property
    def may_be_short(self) -> bool:
        """Whether most is gained on structures that were left out, too."""
        return self.left_out.gain >= LEAST_TRANSFER * self.fitted.gain > 0


def _mean(losses: Sequence[Losses]) -> Losses:
    return Losses(
        start=mean(loss.start for loss in losses), end=mean(loss.end for loss in losses)
    )


@dataclass(frozen=True, kw_only=True)
class Length:
    """How long the fits of a plan are to be, and why.

    ``plan``: the plan with the visits that were found.
    ``trials``: what said so.
    ``weights``: of trials that are among the further fits of the plan, by their names.
    """

    plan: Plan
    trials: Trials = Trials()
    weights: Mapping[str, Weights] = field(default_factory=dict)


def most_visits(plan: Plan, asked: FinetuneRecipe) -> int:
    """Return how many structures fits may see, if trials find it better.

    It is no more than the usual number where trials are not needed: the number was
    given, or is large already, or there are other levels of theory, no forces, or too
    few structures.

    ``asked``: the recipe as it was given.
    """
    usual = plan.recipe.visits or 0  # resolved: not None
    sizes = [len(atoms) for atoms in plan.training.structures]
    plain = asked.visits is None and not plan.levels and not plan.energies_only
    if not plain or len(trial_parts(plan)) < TRIALS or len(sizes) < FEWEST:
        return usual
    return max(usual, asked.most_visits or visits_from_scratch(sizes))


def find_length(plan: Plan, first: FitJob, *, most: int, run: RunFits) -> Length:
    """Return a plan whose fits are as long as pays.

    Fits of the usual length are tried first. Where structures that they left out gain
    much of what those gain that they saw, the worst fit is made longer, step by step.

    ``first``: the fit that is to be kept.
    ``most``: see `most_visits`.
    ``run``: returns the weights of fits by their names.
    """
    usual, *longer = lengths(plan.recipe.visits or 0, most)  # resolved: not None
    if not longer:
        return Length(plan=plan)
    weights: dict[tuple[int, int], Weights] = {}

    def tried(folds: Sequence[int], visits: int) -> list[Trial]:
        jobs = {fold: trial_job(plan, first, fold, visits) for fold in folds}
        found = run(list(jobs.values()))
        for fold, job in jobs.items():
            weights[fold, visits] = found[job.name]
        return [
            judge_trial(plan, fold, visits, weights[fold, visits]) for fold in folds
        ]

    trials = Trials(usual=tuple(tried(range(TRIALS), usual)))
    best = max(trials.usual, key=lambda trial: trial.left_out.end)
    for visits in longer if trials.may_be_short else ():
        (made,) = tried([best.fold], visits)
        trials = dataclasses.replace(trials, longer=(*trials.longer, made))
        if not made.gains(best):
            break
        best = made
    recipe = dataclasses.replace(plan.recipe, visits=best.visits)
    return Length(
        plan=dataclasses.replace(plan, recipe=recipe),
        trials=trials,
        weights={
            check_name(fold): found
            for (fold, seen), found in weights.items()
            if plan.checks and seen == best.visits
        },
    )


def lengths(usual: int, most: int) -> list[int]:
    """Return the numbers of structures that trials may choose, the usual one first.

    Examples
    --------
    >>> lengths(250, 6000), lengths(3000, 6000)
    ([250, 1000, 4000], [3000])
    """
    found = [usual]
    while STEP * found[-1] <= most:
        found.append(STEP * found[-1])
    return found


def structures_shown(usual: int, most: int, *, checks: int) -> int:
    """Return how many structures all fits see, if the longest trial is the best.

    ``most``: that a fit may see; `usual` if there are no trials.
    ``checks``: number of further fits that test the result.

    Examples
    --------
    >>> structures_shown(100, 100, checks=5), structures_shown(100, 400, checks=5)
    (600, 2700)
    """
    tried = lengths(usual, most)
    if len(tried) == 1:
        return (1 + checks) * usual
    kept = (1 + checks) * tried[-1]
    made = TRIALS * usual + sum(tried[1:])
    return made + kept - (tried[-1] if checks else 0)  # one of the trials is a check


def describe_trials(plan: Plan, most: int) -> str:
    """Return in words that trials will be made, if they will be.

    ``most``: see `most_visits`.
    """
    usual, *longer = lengths(plan.recipe.visits or 0, most)  # resolved: not None
    if not longer:
        return ""
    return (
        f"First, {TRIALS} fits that leave out a part of the data say whether longer "
        f"ones would be better, up to {longer[-1] // usual} times as long."
    )


def trial_parts(plan: Plan) -> list[Parts]:
    """Return what trials fit and what they leave out; nothing for a single group."""
    if plan.checks:
        return plan.checks
    share = CHECKED["check_share"]
    checked = dataclasses.replace(
        plan.recipe, committee=0, held_out_share=0.0, check_share=share
    )
    return [
        (plan.training.part(fitted), plan.training.part(left_out))
        for fitted, left_out in check_parts(plan.training.structures, checked)
    ]


def trial_job(plan: Plan, first: FitJob, fold: int, visits: int) -> FitJob:
    """Return the fit of a trial.

    ``first``: the fit that is to be kept.
    """
    fitted, _ = trial_parts(plan)[fold]
    return dataclasses.replace(
        first,
        name=f"trial-{visits}-{fold + 1}",
        recipe=dataclasses.replace(first.recipe, visits=visits),
        training=plan.on_model_scale(fitted),
        snapshots=(),
    )


def judge_trial(plan: Plan, fold: int, visits: int, weights: Weights) -> Trial:
    """Return what the weights of a trial are worth."""
    start = starting_calculator(plan.start)
    tuned = SynthzooCalculator(with_reference(weights, plan.config, plan.reference))
    fitted, left_out = (
        _losses(plan, part, start, tuned) for part in trial_parts(plan)[fold]
    )
    return Trial(fold=fold, visits=visits, fitted=fitted, left_out=left_out)


def _losses(
    plan: Plan,
    labelled: LabelledSet,
    start: SynthzooCalculator,
    tuned: SynthzooCalculator,
) -> Losses:
    before = predict_set(labelled, start, offsets_eV=plan.offsets_eV(labelled))
    after = predict_set(labelled, tuned)
    return Losses(
        start=plan.recipe.loss(before.errors[0]), end=plan.recipe.loss(after.errors[0])
    )
