"""Looks at a structure every few steps and says what has gone wrong, if anything."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from ase import units

from synthzoo.data import unconstrained
from synthzoo.models.doubt import largest_doubt
from synthzoo.models.uncertainty import FORCES
from synthzoo.stability.contacts import Contacts, Surroundings
from synthzoo.stability.fixed import degrees_of_freedom

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    from synthzoo.stability.protocol import Limits
    from synthzoo.stability.verdict import Drift, FailureKind


NAMED_ATOMS = 5
"""At most so many atoms are named in a failure."""

UNCHANGED_BONDS = 3
"""An atom that had many bonds at the start may have so many more."""

TEMPERATURE_SIGMAS = 6.0
"""A few atoms have a temperature that fluctuates by much; so many standard deviations
are added to the limit."""

THERMOSTAT_SHARE = 3.0
"""The heat that a thermostat exchanges is at most about this many times the friction,
the time and the kinetic energy."""


class Finding(NamedTuple):
    """What is wrong.

    Attributes
    ----------
    kind
        Kind of failure.
    detail
        With numbers and units.
    atoms
        Some of the atoms concerned.
    since_fs
        When it began, if that was earlier.
    """

    kind: FailureKind
    detail: str
    atoms: tuple[int, ...] = ()
    since_fs: float | None = None


@dataclass(frozen=True, kw_only=True)
class Look:
    """A structure with its numbers at one moment.

    ``time_fs``: since the start of the replica.
    ``target_K``: temperature of the thermostat; None at constant energy.
    ``forces_eV_A``: of shape ``(n, 3)``.
    ``deviations_eV_A``: the model's own standard deviations of force components, of
    shape ``(n,)``; None if it gives none.
    """

    atoms: Atoms
    time_fs: float
    target_K: float | None
    potential_eV: float
    forces_eV_A: NDArray[np.float64]
    kinetic_eV: float
    deviations_eV_A: NDArray[np.float64] | None = None

    @property
    def temperature_K(self) -> float:
        """Of atoms whose centre of mass rests, or of those that are not fixed."""
        freedom = degrees_of_freedom(self.atoms)
        return 2 * self.kinetic_eV / (freedom * units.kB)

    @property
    def total_eV(self) -> float:
        """Potential and kinetic energy."""
        return self.potential_eV + self.kinetic_eV

    @property
    def max_force_eV_A(self) -> float:
        """Length of the longest force vector."""
        return float(np.linalg.norm(self.forces_eV_A, axis=1).max())


def look_at(atoms: Atoms, *, time_fs: float, target_K: float | None) -> Look:
    """Return a structure with its numbers, which its calculator has at hand."""
    return Look(
        atoms=atoms,
        time_fs=time_fs,
        target_K=target_K,
        potential_eV=unconstrained.energy_eV(atoms),
        forces_eV_A=unconstrained.forces_eV_A(atoms),
        kinetic_eV=float(atoms.get_kinetic_energy()),
        deviations_eV_A=atoms.calc.results.get(FORCES),
    )


@dataclass(kw_only=True)
class Memory:
    """What the detectors remember between two looks; plain values only.

    ``alone``, ``bonds``: atoms that were alone, and the bonds of each atom, at the
    start of the replica.
    ``volume_A3``: at the start of the replica; 0 without a cell.
    ``stage_total_eV``, ``stage_K``: total energy and temperature when the stage began.
    ``last_total_eV``, ``last_fs``: total energy and time of the last look.
    ``doubt_eV_A``, ``doubt_fs``: largest standard deviation of a force component that
    the model gave, and when.
    ``suspects``: for each kind of failure that has to persist: the atoms, and since
    when.
    """

    alone: list[int] = field(default_factory=list)
    bonds: list[int] = field(default_factory=list)
    volume_A3: float = 0.0
    stage_total_eV: float = 0.0
    stage_K: float = 0.0
    last_total_eV: float = 0.0
    last_fs: float = 0.0
    doubt_eV_A: float | None = None
    doubt_fs: float | None = None
    suspects: dict[str, dict[str, float]] = field(default_factory=dict)


class Detectors:
    """All that can go wrong in dynamics, except what only a whole stage shows.

    ``memory``: of an earlier part of the same replica.
    """

    def __init__(
        self, atoms: Atoms, limits: Limits, memory: Memory, friction_per_fs: float
    ) -> None:
        self._limits, self._friction_per_fs = limits, friction_per_fs
        self._contacts = Contacts(atoms, limits)
        self.memory = memory

    def begin(self, look: Look) -> None:
        """Remember the structure with which a replica starts."""
        surroundings = self._contacts.look(look.atoms)
        self.memory.alone = np.flatnonzero(surroundings.alone).tolist()
        self.memory.bonds = surroundings.bonds.tolist()
        self.memory.volume_A3 = _volume_A3(look.atoms)

    def begin_stage(self, look: Look) -> None:
        """Remember the energy with which a stage starts."""
        self.memory.stage_total_eV = self.memory.last_total_eV = look.total_eV
        self.memory.stage_K, self.memory.last_fs = look.temperature_K, look.time_fs

    def check(self, look: Look, *, ensemble: str) -> Finding | None:
        """Return what is wrong with a structure, causes before their effects."""
        finding = self._numbers(look) or self._doubt(look)
        if finding is None and ensemble == "npt":
            finding = self._cell(look.atoms)
        if finding is None:
            around = self._contacts.look(look.atoms)
            finding = (
                self._fused(look.atoms, around)
                or self._force(look)
                or (None if ensemble == "npt" else self._jump(look))
                or self._temperature(look)
                or self._change(look)
                or self._lost(look.atoms, around, look.time_fs)
                or self._crowded(look.atoms, around, look.time_fs)
            )
        self.memory.last_total_eV, self.memory.last_fs = look.total_eV, look.time_fs
        return finding

    def explain(self, atoms: Atoms, ensemble: str) -> Finding | None:
        """Return what is wrong with a structure that the calculator refused.

        Its energy is not asked for.
        """
        if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell).all()):
            bad = np.flatnonzero(~np.isfinite(atoms.positions).all(axis=1))
            return Finding("nan", "positions or cell are not finite", _some(bad))
        finding = self._cell(atoms) if ensemble == "npt" else None
        return finding or self._fused(atoms, self._contacts.look(atoms))

    def _numbers(self, look: Look) -> Finding | None:
        if not math.isfinite(look.potential_eV):
            return Finding("nan", f"the energy is {look.potential_eV}")
        bad = np.flatnonzero(~np.isfinite(look.forces_eV_A).all(axis=1))
        if len(bad):
            return Finding("nan", f"forces on {len(bad)} atoms", _some(bad))
        if not math.isfinite(look.kinetic_eV):
            return Finding("nan", f"the kinetic energy is {look.kinetic_eV}")
        return None

    def _doubt(self, look: Look) -> Finding | None:
        """Return whether the model is less sure than is allowed, before atoms fuse."""
        if look.deviations_eV_A is None:
            return None
        found = largest_doubt(look.deviations_eV_A)
        if found.deviation_eV_A > (self.memory.doubt_eV_A or 0.0):
            self.memory.doubt_eV_A = found.deviation_eV_A
            self.memory.doubt_fs = look.time_fs
        limit = self._limits.uncertainty_eV_A
        if limit is None or not found.passes(limit):
            return None
        detail = found.text(_name(look.atoms, found.atom), limit)
        return Finding("unsure", detail, (found.atom,))

    def _temperature(self, look: Look) -> Finding | None:
        limits = self._limits
        reference_K = self.memory.stage_K if look.target_K is None else look.target_K
        freedom = degrees_of_freedom(look.atoms)
        spread = 1 + TEMPERATURE_SIGMAS * math.sqrt(2 / freedom) / 3
        most_K = spread * limits.temperature_factor * reference_K
        most_K += limits.temperature_margin_K
        if look.temperature_K <= most_K:
            return None
        kept = "the start of the stage" if look.target_K is None else "the thermostat"
        return Finding(
            "temperature",
            f"{look.temperature_K:.0f} K, with {reference_K:.0f} K at {kept}",
        )

    def _force(self, look: Look) -> Finding | None:
        longest = look.max_force_eV_A
        if longest <= self._limits.force_eV_A:
            return None
        atom = int(np.linalg.norm(look.forces_eV_A, axis=1).argmax())
        detail = f"{longest:.0f} eV/Å on {_name(look.atoms, atom)}"
        return Finding("force", detail, (atom,))

    def _jump(self, look: Look) -> Finding | None:
        change = look.total_eV - self.memory.last_total_eV
        allowed = self._limits.energy_jump_eV
        elapsed_fs = look.time_fs - self.memory.last_fs
        if look.target_K is not None:
            hotter_K = max(look.temperature_K, look.target_K)
            heat = 1.5 * units.kB * hotter_K * len(look.atoms)
            allowed += THERMOSTAT_SHARE * self._friction_per_fs * elapsed_fs * heat
        if abs(change) > allowed:
            detail = (
                f"the total energy changed by {change:+.1f} eV in {elapsed_fs:g} fs"
            )
            return Finding("energy-jump", detail)
        return None

    def _change(self, look: Look) -> Finding | None:
        if look.target_K is not None:
            return None
        change_meV = 1000 * (look.total_eV - self.memory.stage_total_eV)
        change_meV /= len(look.atoms)
        if abs(change_meV) <= self._limits.energy_change_meV_per_atom:
            return None
        detail = f"{change_meV:+.0f} meV/atom since the start of the stage"
        return Finding("drift", detail)

    def _cell(self, atoms: Atoms) -> Finding | None:
        ratio = _volume_A3(atoms) / self.memory.volume_A3
        smallest, largest = self._limits.volume_ratio
        if smallest <= ratio <= largest:
            return None
        return Finding("cell", f"the volume is {ratio:.2f} times that at the start")

    def _fused(self, atoms: Atoms, found: Surroundings) -> Finding | None:
        pair = found.nearest
        if pair is None or pair.ratio >= self._limits.fused_ratio:
            return None
        names = f"{_name(atoms, pair.first)} and {_name(atoms, pair.second)}"
        detail = f"{names} are {pair.distance_A:.2f} Å apart"
        return Finding("fused", detail, (pair.first, pair.second))

    def _lost(
        self, atoms: Atoms, found: Surroundings, time_fs: float
    ) -> Finding | None:
        alone = set(np.flatnonzero(found.alone).tolist()) - set(self.memory.alone)
        lost = self._persisting("lost", alone, time_fs)
        if not lost:
            return None
        detail = f"{_names(atoms, lost)}: no neighbour within bonding distance"
        return Finding("lost", detail, _some(lost), min(lost.values()))

    def _crowded(
        self, atoms: Atoms, found: Surroundings, time_fs: float
    ) -> Finding | None:
        at_start = np.array(self.memory.bonds, int)
        most = np.maximum(self._contacts.most_bonds, at_start + UNCHANGED_BONDS)
        over = set(np.flatnonzero(found.bonds >= most).tolist())
        crowded = self._persisting("crowded", over, time_fs)
        if not crowded:
            return None
        worst = int(found.bonds[list(crowded)].max())
        detail = f"{_names(atoms, crowded)}: up to {worst} bonds"
        return Finding("crowded", detail, _some(crowded), min(crowded.values()))

    def _persisting(
        self, kind: str, atoms: set[int], time_fs: float
    ) -> dict[int, float]:
        """Return those atoms that have been suspects for long enough, since when."""
        before = self.memory.suspects.get(kind, {})
        since = {str(atom): before.get(str(atom), time_fs) for atom in sorted(atoms)}
        self.memory.suspects[kind] = since
        enough_fs = time_fs - self._limits.persist_fs
        return {int(atom): begun for atom, begun in since.items() if begun <= enough_fs}


def _volume_A3(atoms: Atoms) -> float:
    return float(atoms.cell.volume) if atoms.cell.rank == 3 else 0.0


def _some(atoms: Any) -> tuple[int, ...]:
    return tuple(int(atom) for atom in list(atoms)[:NAMED_ATOMS])


def _name(atoms: Atoms, atom: int) -> str:
    return f"{atoms.symbols[atom]} {atom}"


def _names(atoms: Atoms, numbers: Any) -> str:
    names = ", ".join(_name(atoms, atom) for atom in _some(numbers))
    return names if len(numbers) <= NAMED_ATOMS else f"{names} and others"


SMALLEST_FLUCTUATION_MEV = 1e-3
"""Energies per atom that fluctuate by less show rounding, and no order."""

NOISE_FACTOR = 2.0


@dataclass(kw_only=True)
class Line:
    """A straight line through points that come one by one; none is kept.

    ``xx``, ``xy``, ``yy``: sums of products of deviations from the means.
    """

    count: int = 0
    mean_x: float = 0.0
    mean_y: float = 0.0
    xx: float = 0.0
    xy: float = 0.0
    yy: float = 0.0

    def add(self, x: float, y: float) -> None:
        """Take a point into account (Welford's update)."""
        self.count += 1
        dx, dy = x - self.mean_x, y - self.mean_y
        self.mean_x += dx / self.count
        self.mean_y += dy / self.count
        self.xx += dx * (x - self.mean_x)
        self.xy += dx * (y - self.mean_y)
        self.yy += dy * (y - self.mean_y)

    @property
    def slope(self) -> float:
        """Of the line; 0 with fewer than two points."""
        return self.xy / self.xx if self.xx > 0 else 0.0

    @property
    def deviation(self) -> float:
        """Standard deviation of y."""
        return math.sqrt(self.yy / self.count) if self.count else 0.0

    @property
    def scatter(self) -> float:
        """Standard deviation of y from the line."""
        left = self.yy - self.slope * self.xy
        return math.sqrt(max(left, 0.0) / self.count) if self.count else 0.0


def energy_order(drifts: Sequence[Drift]) -> float | None:
    """Return the power of the time step with which the energy fluctuates.

    ``drifts``: of one stage, with several time steps. None is returned where the
    fluctuations are too small to tell.
    """
    fluctuations = [drift.fluctuation_meV_per_atom for drift in drifts]
    if len(fluctuations) < 2 or min(fluctuations) < SMALLEST_FLUCTUATION_MEV:
        return None
    steps = [drift.timestep_fs for drift in drifts]
    return float(np.polyfit(np.log(steps), np.log(fluctuations), 1)[0])


def judge_drift(line: Line, limits: Limits) -> Finding | None:
    """Return what is wrong with the energy of a stage, in meV/atom over ps."""
    duration_ps = math.sqrt(12 * line.xx / line.count) if line.count else 0.0
    noise = NOISE_FACTOR * line.scatter / duration_ps if duration_ps else 0.0
    if abs(line.slope) <= limits.drift_meV_per_atom_ps + noise:
        return None
    return Finding("drift", f"{line.slope:+.1f} meV/atom/ps at constant energy")


def judge_order(drifts: Sequence[Drift], limits: Limits) -> Finding | None:
    """Return what is wrong with energies at several time steps."""
    order = energy_order(drifts)
    if order is None or order >= limits.order:
        return None
    by_step = sorted(drifts, key=lambda drift: drift.timestep_fs)
    texts = ", ".join(
        f"{drift.fluctuation_meV_per_atom:.2g} meV/atom at {drift.timestep_fs:g} fs"
        for drift in by_step
    )
    return Finding(
        "order",
        f"the energy fluctuates with the time step to the power {order:.1f}, not 2 "
        f"({texts}): the forces are not the derivative of the energy",
    )
