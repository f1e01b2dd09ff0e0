"""What a report shows of each model: series, observables and survival."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.io.trajectory import Trajectory
from scipy.signal import find_peaks

from synthzoo.errors import InputError
from synthzoo.stability.observables import observe_frames
from synthzoo.stability.survival import Lifetimes, survival_curve
from synthzoo.stability.verdict import read_series

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.stability.observables import Observables
    from synthzoo.stability.survival import SurvivalCurve
    from synthzoo.stability.verdict import ReplicaResult, Series, Verdict

MOST_FRAMES = 200
"""Of each replica that are looked at, evenly spaced."""
SETTLED_SHARE = 0.5
"""Of the planned time, after which distances and diffusion are taken."""
PROMINENCE = 0.3
"""Of a peak of g(r), above its surroundings."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One model, as a report shows it.

    Attributes
    ----------
    name
        For people.
    verdict
        What was found.
    series
        Of each replica that wrote one.
    failed_ps
        When that replica failed; None if it lived.
    observables
        Of each replica that has sound frames.
    lifetimes, survival
        Of the replicas; None if there are none.
    """

    name: str
    verdict: Verdict
    series: tuple[Series, ...]
    failed_ps: tuple[float | None, ...]
    observables: tuple[Observables, ...]
    lifetimes: Lifetimes | None
    survival: SurvivalCurve | None

    @property
    def planned_ps(self) -> float:
        """How long the replicas were to live; 0 if there are none."""
        return max((r.planned_fs for r in self.verdict.replicas), default=0.0) / 1000

    @property
    def mean_bonds(self) -> float:
        """Of an atom, in the last frame of each replica that has sound frames."""
        ends = np.mean([found.bond_shares[-1] for found in self.observables], axis=0)
        return float(ends @ np.arange(len(ends)))

    @property
    def is_carbon(self) -> bool:
        """Whether there is nothing else."""
        return self.verdict.formula.strip("0123456789") == "C"


def short_names(models: Sequence[str]) -> list[str]:
    """Return the last parts of references to models, where these differ.

    Parameters
    ----------
    models
        Names, folders or hub references.

    Examples
    --------
    >>> short_names(["carbon", "fits/tuned"])
    ['carbon', 'tuned']
    >>> short_names(["first/tuned", "second/tuned"])
    ['first/tuned', 'second/tuned']
    """
    short = [Path(model).name for model in models]
    return short if len(set(short)) == len(short) else list(models)


def shown_of(verdict: Verdict, name: str) -> Shown:
    """Return what there is to show of a model; its trajectories are read.

    Parameters
    ----------
    verdict
        What was found.
    name
        Of the model, for people.
    """
    every = _stride(verdict.replicas)
    series = [(replica, _series(replica)) for replica in verdict.replicas]
    written = [(replica, found) for replica, found in series if found is not None]
    observed = (_observed(replica, every) for replica in verdict.replicas)
    lifetimes = _lifetimes(verdict) if verdict.replicas else None
    return Shown(
        name=name,
        verdict=verdict,
        series=tuple(found for _, found in written),
        failed_ps=tuple(
            None if replica.survived else replica.simulated_fs / 1000
            for replica, _ in written
        ),
        observables=tuple(found for found in observed if found is not None),
        lifetimes=lifetimes,
        survival=survival_curve(lifetimes) if lifetimes else None,
    )


def _lifetimes(verdict: Verdict) -> Lifetimes:
    return Lifetimes(
        times_ps=tuple(replica.simulated_fs / 1000 for replica in verdict.replicas),
        failed=tuple(not replica.survived for replica in verdict.replicas),
    )


def _series(replica: ReplicaResult) -> Series | None:
    """Return the series of a replica, unless it died before the first line."""
    if not replica.series.is_file():
        return None
    found = read_series(replica.series)
    return found if len(found.times_fs) else None


def _stride(replicas: Sequence[ReplicaResult]) -> int:
    """Return which frames to look at, so that those of all replicas are alike."""
    longest = 0
    for replica in replicas:
        if replica.trajectory.is_file() and replica.trajectory.stat().st_size:
            with Trajectory(replica.trajectory) as frames:
                longest = max(longest, len(frames))
    return max(1, math.ceil(longest / MOST_FRAMES))


def _observed(replica: ReplicaResult, every: int) -> Observables | None:
    if not (replica.trajectory.is_file() and replica.trajectory.stat().st_size):
        return None
    settled_ps = SETTLED_SHARE * replica.planned_fs / 1000
    try:
        return observe_frames(_frames(replica.trajectory, every), settled_ps=settled_ps)
    except InputError:
        return None  # not one sound frame


def _frames(path: Path, every: int) -> Iterator[tuple[float, Atoms]]:
    with Trajectory(path) as frames:
        for place in range(0, len(frames), every):
            atoms = frames[place]
            yield atoms.info["time_fs"] / 1000, atoms


def observed_means(observables: Sequence[Observables]) -> dict[str, Any]:
    """Return means over replicas as plain values that JSON can hold.

    Parameters
    ----------
    observables
        Of at least one replica.
    """
    ends = np.mean([found.bond_shares[-1] for found in observables], axis=0)
    radial = [found.radial for found in observables if found.radial]
    diffusion = [d for found in observables if (d := found.diffusion_cm2_s) is not None]
    rings = [found.rings for found in observables if found.rings is not None]
    sizes = sorted({size for each in rings for size in each})
    peak = None
    if radial:
        mean = np.mean([found.values for found in radial], axis=0)
        peaks, _ = find_peaks(mean, height=1.0, prominence=PROMINENCE)
        peak = float(radial[0].distances_A[peaks[0]]) if len(peaks) else None
    return {
        "bond_shares_at_the_end": ends.tolist(),
        "first_peak_A": peak,
        "diffusion_cm2_s": float(np.mean(diffusion)) if diffusion else None,
        "rings_per_atom_at_the_end": {
            size: float(np.mean([each.get(size, 0.0) for each in rings]))
            for size in sizes
        }
        if rings
        else None,
    }
