"""What a trajectory shows beside that it survived: bonds, distances, motion, rings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.io.trajectory import Trajectory
from scipy.stats import linregress

from synthzoo.data.pairs import bonded, coordination, find_pairs, longest_bond_A
from synthzoo.errors import InputError
from synthzoo.stability.distances import (
    RadialDistribution,
    bonds_by_pair,
    mean_distribution,
    mean_partials,
    partial_distributions,
    radial_distribution,
)
from synthzoo.stability.survival import Lifetimes, survival_curve
from synthzoo.stability.verdict import read_series

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    from synthzoo.data.pairs import Pairs
    from synthzoo.stability.survival import SurvivalCurve
    from synthzoo.stability.verdict import ReplicaResult, Series, Verdict


MOST_BONDS = 13
"""More bonds of an atom are counted as this many: no packing of spheres has more."""

LONGEST_RING = 10
MAX_RING_ATOMS = 1000
"""The ring search keeps the distance of any two atoms along the bonds."""
MAX_RING_BONDS = 4.5
"""Of an atom, in the mean: rings tell networks apart; dense packings have too many."""

FIT_POINTS = 5
"""A slope through fewer points of the mean-squared displacement says nothing."""
SWING_A2 = 1.0
"""Nor does one of atoms that have moved by less: they swing about their places."""

CM2_S_PER_A2_PS = 1e-4


@dataclass(frozen=True, kw_only=True)
class Observables:
    """What the frames of one trajectory show.

    Attributes
    ----------
    times_ps
        Of the ``f`` frames whose atoms are all somewhere, of shape ``(f,)``.
    bond_shares
        Share of the atoms with 0, 1, 2 ... `MOST_BONDS` or more bonds, of shape
        ``(f, MOST_BONDS + 1)``.
    squared_displacements_A2
        Mean over the atoms since the first frame, drift of the centre of mass taken
        off, of shape ``(f,)``.
    settled_ps
        From here on the distribution and the diffusion are taken.
    radial
        None without a frame that is periodic in three directions.
    partial
        The same for each pair of elements; empty for one element.
    bonds_by_pair
        Bonds of an atom of the first element to the second one, in the last frame;
        empty for one element.
    diffusion_cm2_s
        From the slope of the squared displacements; None with fewer than `FIT_POINTS`
        frames, or where these stay below `SWING_A2`.
    rings
        Number of shortest-path rings of each size per atom in the last frame; None for
        structures of more than `MAX_RING_ATOMS`, or `MAX_RING_BONDS` in the mean.
    """

    times_ps: NDArray[np.float64]
    bond_shares: NDArray[np.float64]
    squared_displacements_A2: NDArray[np.float64]
    settled_ps: float
    radial: RadialDistribution | None
    partial: dict[str, RadialDistribution]
    bonds_by_pair: dict[str, float]
    diffusion_cm2_s: float | None
    rings: dict[int, float] | None


def observe_frames(
    frames: Iterable[tuple[float, Atoms]], *, settled_ps: float = 0.0
) -> Observables:
    """Measure bonds, distances, diffusion and rings along a trajectory.

    Parameters
    ----------
    frames
        Times in ps and structures. Positions must not be wrapped into the cell; frames
        with a coordinate that is not finite are left out.
    settled_ps
        Time from which on distances and diffusion are measured.

    Raises
    ------
    InputError
        If no frame has finite positions.

    Examples
    --------
    >>> from ase.build import bulk
    >>> diamond = bulk("C", cubic=True)
    >>> found = observe_frames([(0.0, diamond), (1.0, diamond)])
    >>> float(found.bond_shares[-1][4])  # share of atoms with four bonds
    1.0
    """
    times, shares, squares, settled = [], [], [], []
    first = last = None
    for time_ps, atoms in frames:
        if not np.isfinite(atoms.positions).all():
            continue
        places = atoms.positions - atoms.get_center_of_mass()
        first, last = places if first is None else first, atoms
        times.append(time_ps)
        shares.append(bond_shares(atoms))
        squares.append(float(((places - first) ** 2).sum(axis=1).mean()))
        if time_ps >= settled_ps and atoms.pbc.all():
            settled.append((radial_distribution(atoms), partial_distributions(atoms)))
    if last is None:
        raise InputError("No frame of this trajectory has finite positions.")
    return Observables(
        times_ps=np.array(times),
        bond_shares=np.array(shares),
        squared_displacements_A2=np.array(squares),
        settled_ps=settled_ps,
        radial=mean_distribution([radial for radial, _ in settled]),
        partial=mean_partials([partial for _, partial in settled]),
        bonds_by_pair=bonds_by_pair(last),
        diffusion_cm2_s=diffusion_cm2_s(times, squares, start_ps=settled_ps),
        rings=ring_counts(last) if _is_network(last, shares[-1]) else None,
    )


def _is_network(atoms: Atoms, shares: NDArray[np.float64]) -> bool:
    mean = float(shares @ np.arange(len(shares)))
    return len(atoms) <= MAX_RING_ATOMS and mean <= MAX_RING_BONDS


def bond_shares(atoms: Atoms) -> NDArray[np.float64]:
    """Return the share of the atoms with 0, 1, 2 ... `MOST_BONDS` or more bonds.

    In carbon the shares of 2, 3 and 4 bonds are those of sp, sp² and sp³ atoms.

    Examples
    --------
    >>> from ase.build import bulk
    >>> bond_shares(bulk("C", "diamond", a=3.57)).tolist()
    [0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    """
    bonds = coordination(atoms, _bond_pairs(atoms))
    counts = np.bincount(np.minimum(bonds, MOST_BONDS), minlength=MOST_BONDS + 1)
    shares: NDArray[np.float64] = counts / len(atoms)
    return shares


def diffusion_cm2_s(
    times_ps: Iterable[float],
    squared_displacements_A2: Iterable[float],
    *,
    start_ps: float = 0.0,
) -> float | None:
    """Return the diffusion coefficient: a sixth of the slope of the displacements.

    Examples
    --------
    >>> diffusion_cm2_s(range(10), [6.0 * time for time in range(10)])
    0.0001
    >>> diffusion_cm2_s([0, 1], [0, 6]) is None
    True
    >>> diffusion_cm2_s(range(10), [0.01 * time for time in range(10)]) is None
    True
    """
    times, squares = np.array(list(times_ps)), np.array(list(squared_displacements_A2))
    taken = times >= start_ps
    if taken.sum() < FIT_POINTS or squares[taken].max() < SWING_A2:
        return None
    slope = float(linregress(times[taken], squares[taken]).slope)
    return slope / 6 * CM2_S_PER_A2_PS


def ring_counts(atoms: Atoms) -> dict[int, float]:
    """Return the number of shortest-path rings of each size, per atom.

    Rings are those of doi 10.1103/PhysRevB.44.4925, found by matscipy, up to
    `LONGEST_RING` atoms.

    Memory grows with the square of its size.

    Examples
    --------
    >>> from ase.build import bulk
    >>> ring_counts(bulk("C", "diamond", a=3.57, cubic=True).repeat(3))
    {6: 2.0}
    """
    from matscipy.ffi import distances_on_graph, find_sp_rings

    pairs = _bond_pairs(atoms)
    taken = bonded(atoms, pairs)
    first, second = pairs.first[taken], pairs.second[taken]
    if not len(first):
        return {}
    steps = distances_on_graph(first, second)
    found = find_sp_rings(first, second, pairs.vectors_A[taken], steps, LONGEST_RING)
    return {
        size: float(count / len(atoms)) for size, count in enumerate(found) if count
    }


def _bond_pairs(atoms: Atoms) -> Pairs:
    return find_pairs(atoms, longest_bond_A(atoms))


MOST_FRAMES = 200
"""Of each replica that are looked at, evenly spaced."""
SETTLED_SHARE = 0.5
"""Of the planned time, after which distances and diffusion are taken."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One model, as a report shows it.

    ``series``: of each replica that wrote one.
    ``failed_ps``: when that replica failed; None if it lived.
    ``observables``: of each replica that has sound frames.
    ``lifetimes``, ``survival``: of the replicas; None if there are none.
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
    """Return what there is to show of a model; its trajectories are read."""
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

    ``observables``: of at least one replica.
    """
    ends = np.mean([found.bond_shares[-1] for found in observables], axis=0)
    radial = [found.radial for found in observables if found.radial]
    diffusion = [d for found in observables if (d := found.diffusion_cm2_s) is not None]
    rings = [found.rings for found in observables if found.rings is not None]
    sizes = sorted({size for each in rings for size in each})
    mean = mean_distribution(radial)
    partial = mean_partials([found.partial for found in observables])
    return {
        "bond_shares_at_the_end": ends.tolist(),
        "first_peak_A": mean and mean.first_peak_A,
        "first_peaks_by_pair_A": {
            name: found.first_peak_A for name, found in partial.items()
        },
        "bonds_by_pair_at_the_end": {
            name: float(np.mean([found.bonds_by_pair[name] for found in observables]))
            for name in observables[0].bonds_by_pair
        },
        "diffusion_cm2_s": float(np.mean(diffusion)) if diffusion else None,
        "rings_per_atom_at_the_end": {
            size: float(np.mean([each.get(size, 0.0) for each in rings]))
            for size in sizes
        }
        if rings
        else None,
    }
