"""Which model is enough, and what the advice is, each sentence with its evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from synthzoo.advice.curve import Forecast, PowerLaw, fit_power_law
from synthzoo.finetuning.comparison import LEAST_GROUPS, Comparison, compare

if TYPE_CHECKING:
    from synthzoo.advice.trials import Trial

ENERGIES, FORCES = "energy_rmse_meV_per_atom", "force_rmse_eV_A"
"""Fields of the errors that are judged."""

WORTHWHILE = 0.95
"""Twice the structures are worth it if they bring an error below this share of it."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Which of some models to take.

    ``best``: the one with the smallest error of forces; or, of those whose forces are
    not clearly worse, the one with the smallest error of energies, if that is clearly
    smaller.
    ``enough``: the simplest one whose errors, of energies and of forces, are not
    clearly larger.
    ``told``: whether there are enough unrelated structures to tell models apart.
    ``clearly_better``: of what the best one's errors are clearly smaller than those of
    the most complicated model that is not enough: ``energies``, ``forces``.
    """

    best: Trial
    enough: Trial
    told: bool
    clearly_better: tuple[str, ...] = ()


def choose_model(trials: Sequence[Trial]) -> Verdict:
    """Return which model to take.

    ``trials``: of the kinds of models, the simplest first, fitted to as much as can be.
    """
    best = min(trials, key=_force_error)
    if _changes(best, best).groups < LEAST_GROUPS:
        return Verdict(best=best, enough=best, told=False)
    as_good = [each for each in trials if _changes(each, best).forces != "better"]
    rival = min(as_good, key=_energy_error)
    if _changes(best, rival).energy == "better":
        best = rival
    comparisons = [_changes(each, best) for each in trials]
    better: tuple[str, ...] = ()
    for each, found in zip(trials, comparisons, strict=True):
        names = {"energies": found.energy, "forces": found.forces}
        worse = tuple(name for name, sign in names.items() if sign == "better")
        if each is best or not worse:
            return Verdict(best=best, enough=each, told=True, clearly_better=better)
        better = worse
    raise ValueError("The best trial is not among the trials.")


def _changes(before: Trial, after: Trial) -> Comparison:
    """Return what is clearly better or worse with another model."""
    return compare(after.name, after.tested, before.prediction, after.prediction)


def _force_error(trial: Trial) -> float:
    return trial.prediction.errors[0].force_rmse_eV_A


def _energy_error(trial: Trial) -> float:
    return trial.prediction.errors[0].energy_rmse_meV_per_atom


def power_law(trials: Sequence[Trial], quantity: str) -> PowerLaw | None:
    """Return the learning curve of a model; None for fewer than two sizes.

    ``trials``: of one kind of model.
    """
    ordered = sorted(trials, key=lambda trial: trial.size)
    errors = np.array([trial.values(quantity) for trial in ordered]).T
    if len(ordered) < 2 or not (errors > 0).all():
        return None
    return fit_power_law(np.array([trial.size for trial in ordered]), errors)


Worth = Literal["yes", "no", "unclear"]


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What a model is expected to reach, by its learning curves.

    ``now``, ``doubled``: errors of forces with all structures, and with twice as many.
    ``energies_now``, ``energies_doubled``: the same for energies.
    ``worthwhile``: whether twice the structures lower an error noticeably.
    ``goal_eV_A``, ``needed``: an error of forces that is wanted, and how many
    structures it would take; None where it is out of reach, or not asked for.
    """

    now: Forecast
    doubled: Forecast
    energies_now: Forecast
    energies_doubled: Forecast
    worthwhile: Worth
    goal_eV_A: float | None
    needed: int | None


def outlook_of(
    trials: Sequence[Trial], structures: int, goal_eV_A: float | None
) -> Outlook | None:
    """Return what to expect of a model; None where it has no learning curve.

    ``structures``: how many the user has.
    """
    forces, energies = (power_law(trials, each) for each in (FORCES, ENERGIES))
    if forces is None or energies is None:
        return None
    return Outlook(
        now=forces.at(structures),
        doubled=forces.at(2 * structures),
        energies_now=energies.at(structures),
        energies_doubled=energies.at(2 * structures),
        worthwhile=_worthwhile([forces, energies]),
        goal_eV_A=goal_eV_A,
        needed=None if goal_eV_A is None else forces.structures_for(goal_eV_A),
    )


def _worthwhile(laws: Sequence[PowerLaw]) -> Worth:
    expected, at_best = zip(*(law.doubling() for law in laws), strict=True)
    if min(expected) < WORTHWHILE:
        return "yes"
    return "unclear" if min(at_best) < WORTHWHILE else "no"
