"""How long replicas live: survival with its uncertainty, and one model over another."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import CensoredData, binomtest, ecdf, logrank

from synthzoo.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Lifetimes:
    """How long each replica was seen, and whether it failed then.

    ``times_ps``: of the failure, or of the end of a replica that lived.
    """

    times_ps: tuple[float, ...]
    failed: tuple[bool, ...]

    def __post_init__(self) -> None:
        if len(self.times_ps) != len(self.failed) or not self.times_ps:
            raise InputError(
                f"{len(self.times_ps)} times and {len(self.failed)} outcomes; survival "
                "needs one of each for at least one replica."
            )

    @property
    def failures(self) -> int:
        """How many failed."""
        return sum(self.failed)

    def censored(self) -> CensoredData:
        """Return the times as scipy's survival functions want them."""
        times, failed = np.array(self.times_ps), np.array(self.failed)
        return CensoredData(uncensored=times[failed], right=times[~failed])


@dataclass(frozen=True, kw_only=True)
class SurvivalCurve:
    """Share of the replicas that live, a step function of time, and its uncertainty.

    ``times_ps``: zero, each failure, and the end of the longest replica.
    ``shares``: of the replicas, which live from each of these times on (Kaplan and
    Meier); with `CONFIDENCE` it is between ``lowest`` and ``highest``.
    ``replicas``, ``failures``: how many there were, and how many failed.
    ``median_ps``: when half had failed; None if more live.
    """

    times_ps: tuple[float, ...]
    shares: tuple[float, ...]
    lowest: tuple[float, ...]
    highest: tuple[float, ...]
    replicas: int
    failures: int
    median_ps: float | None


def survival_curve(lifetimes: Lifetimes) -> SurvivalCurve:
    """Return the Kaplan–Meier estimate with its confidence band.

    The band is that of the "log-log" formula of scipy; where all or none live, it knows
    no answer, and the exact binomial one of Clopper and Pearson is taken.

    ``lifetimes``: of at least one replica.

    Examples
    --------
    >>> lives = Lifetimes(times_ps=(1.0, 2.0, 5.0), failed=(True, True, False))
    >>> tuple(round(share, 3) for share in survival_curve(lives).shares)
    (1.0, 0.667, 0.333, 0.333)
    >>> survival_curve(lives).median_ps
    2.0
    """
    living = ecdf(lifetimes.censored()).sf
    with warnings.catch_warnings():  # undefined where all or none live; see `_exact`
        warnings.simplefilter("ignore", RuntimeWarning)
        band = living.confidence_interval(CONFIDENCE, method="log-log")
    shares = np.array([1.0, *living.probabilities])
    low, high = (
        np.array([np.nan, *edge.probabilities]) for edge in (band.low, band.high)
    )
    replicas = len(lifetimes.times_ps)
    for place in np.flatnonzero(np.isnan(low)):
        low[place], high[place] = _exact(float(shares[place]), replicas)
    times = np.array([0.0, *living.quantiles])
    half = np.flatnonzero(shares <= 0.5)
    return SurvivalCurve(
        times_ps=_plain(times),
        shares=_plain(shares),
        lowest=_plain(low),
        highest=_plain(high),
        replicas=replicas,
        failures=lifetimes.failures,
        median_ps=float(times[half[0]]) if len(half) else None,
    )


def _exact(share: float, replicas: int) -> tuple[float, float]:
    """Return the interval of a share that is 1 or 0."""
    living = round(share * replicas)
    interval = binomtest(living, replicas).proportion_ci(CONFIDENCE, method="exact")
    return float(interval.low), float(interval.high)


def _plain(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(values.tolist())


def survival_p_value(first: Lifetimes, second: Lifetimes) -> float:
    """Return how likely such a difference is between replicas of equal models.

    That is the two-sided log-rank test; 1 where none of them failed.

    ``first``, ``second``: of two models, run for the same duration.

    Examples
    --------
    >>> dies = Lifetimes(times_ps=(1.0, 2.0, 2.0, 3.0, 4.0), failed=(True,) * 5)
    >>> lives = Lifetimes(times_ps=(5.0,) * 5, failed=(False,) * 5)
    >>> round(survival_p_value(dies, lives), 4)
    0.0018
    """
    with warnings.catch_warnings():  # none failed: nought over nought
        warnings.simplefilter("ignore", RuntimeWarning)
        p_value = float(logrank(first.censored(), second.censored()).pvalue)
    return 1.0 if np.isnan(p_value) else p_value


def describe_survival(lifetimes: Lifetimes, duration_ps: float) -> str:
    """Return in words how many live, and what that says about the next ones.

    ``lifetimes``: of at least one replica.

    Examples
    --------
    >>> describe_survival(Lifetimes(times_ps=(5.0,) * 5, failed=(False,) * 5), 5)
    '5 of 5 replicas lived for 5 ps (95 % interval of the share: 48–100 %).'
    >>> describe_survival(Lifetimes(times_ps=(5.0,), failed=(False,)), 5)
    'One replica lived for 5 ps; several would show how certain that is.'
    """
    curve = survival_curve(lifetimes)
    if curve.replicas == 1 and not curve.failures:
        lived = f"One replica lived for {duration_ps:g} ps"
        return f"{lived}; several would show how certain that is."
    low, high = 100 * curve.lowest[-1], 100 * curve.highest[-1]
    living = curve.replicas - curve.failures
    text = (
        f"{living} of {curve.replicas} replicas lived for {duration_ps:g} ps "
        f"({100 * CONFIDENCE:g} % interval of the share: {low:.0f}–{high:.0f} %)"
    )
    if curve.median_ps is None:
        return f"{text}."
    return f"{text}; half had failed after {curve.median_ps:.3g} ps."


def compare_survival(models: Sequence[tuple[str, Lifetimes]]) -> list[str]:
    """Return in words for each pair of models whether one outlives the other."""
    texts = []
    for place, (name, lives) in enumerate(models):
        for other, others in models[place + 1 :]:
            p_value = survival_p_value(lives, others)
            known = "differ" if p_value < 1 - CONFIDENCE else "cannot be told apart"
            texts.append(
                f"{name} and {other} {known} (log-rank test, p = {p_value:.2g})."
            )
    return texts
