"""What a stability check says: frozen dataclasses, and the files of a replica."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


TRAJECTORY_FILE = "trajectory.traj"
SERIES_FILE = "series.csv"
FAILURE_FILE = "failure.traj"
VERDICT_FILE = "verdict.json"

FailureKind = Literal[
    "nan",
    "unsure",
    "fused",
    "lost",
    "crowded",
    "temperature",
    "drift",
    "order",
    "energy-jump",
    "force",
    "cell",
    "dimer",
    "wall",
    "calculator",
    "crash",
]

IN_WORDS: dict[FailureKind, str] = {
    "nan": "a number that is not finite",
    "unsure": "the model became unsure of its forces",
    "fused": "atoms fused",
    "lost": "atoms lost",
    "crowded": "too many neighbours",
    "temperature": "temperature runaway",
    "drift": "energy drift",
    "order": "energy error that a shorter time step does not cure",
    "energy-jump": "energy jump",
    "force": "force jump",
    "cell": "collapse or expansion of the cell",
    "dimer": "unphysical dimer curve",
    "wall": "no repulsive wall",
    "calculator": "the calculator raised an error",
    "crash": "the calculator ended its process",
}
"""What each kind of failure is called in text and figures."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """The first thing that went wrong.

    Attributes
    ----------
    kind
        One of `IN_WORDS`.
    stage
        Stage of the protocol in which it was seen.
    time_fs
        Simulated time since the start of the replica; 0 for a scan.
    step
        Steps of dynamics since the start of the replica; 0 for a scan.
    detail
        What was seen, with numbers and units, in one sentence.
    atoms
        Atoms concerned, counted from 0; at most a few.
    """

    kind: FailureKind
    stage: str
    time_fs: float
    step: int
    detail: str
    atoms: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Drift:
    """How well the energy was kept at one time step.

    Attributes
    ----------
    stage
        Stage of the protocol.
    timestep_fs
        Step of the integrator.
    duration_fs
        Length of the dynamics at constant energy.
    drift_meV_per_atom_ps
        Slope of a straight line through the total energy.
    fluctuation_meV_per_atom
        Standard deviation of the total energy, the drift included.
    """

    stage: str
    timestep_fs: float
    duration_fs: float
    drift_meV_per_atom_ps: float
    fluctuation_meV_per_atom: float


@dataclass(frozen=True, kw_only=True)
class Scan:
    """Energies along a path on which nothing is random.

    Attributes
    ----------
    kind
        ``dimer`` (energy over the distance of two atoms) or ``squeeze`` (energy over
        the linear scale of the structure, 1 at the start).
    name
        The pair, such as ``C–O``, or the structure.
    x
        Distances in Å, or linear scales; falling.
    energies_eV
        Of the dimer, or for each atom of the structure; NaN where there was none.
    failure
        What is wrong with the curve, if anything.
    """

    kind: Literal["dimer", "squeeze"]
    name: str
    x: tuple[float, ...]
    energies_eV: tuple[float, ...]
    failure: Failure | None = None


@dataclass(frozen=True, kw_only=True)
class ReplicaResult:
    """One run of molecular dynamics.

    Attributes
    ----------
    model
        As it was asked for.
    replica
        Number, from 0. Equal numbers of several models have start and seed in common.
    start
        Number of the starting structure, from 0.
    seed
        Of the velocities and the thermostat.
    survived
        Whether all stages were run without a failure.
    planned_fs, simulated_fs
        Time to simulate, and time after which the run ended (that of the failure).
    steps
        Steps done.
    failure
        What ended it, if anything.
    doubt_eV_A, doubt_fs
        Largest standard deviation of a force component that the model itself gave, and
        when; None if it gave none.
    drifts
        Of the stages at constant energy, one for each time step.
    order
        Power of the time step with which the energy fluctuates; 2 is right. None
        without a stage that measures it.
    seconds
        Wall time.
    folder
        Holds `TRAJECTORY_FILE`, `SERIES_FILE` and, after a failure, `FAILURE_FILE`:
        the last structure that was sound and the one that was not.
    """

    model: str
    replica: int
    start: int
    seed: int
    survived: bool
    planned_fs: float
    simulated_fs: float
    steps: int
    failure: Failure | None
    doubt_eV_A: float | None = None
    doubt_fs: float | None = None
    drifts: tuple[Drift, ...] = ()
    order: float | None = None
    seconds: float
    folder: Path

    @property
    def trajectory(self) -> Path:
        """The structures, in ASE's own format, with ``time_fs`` in ``info``."""
        return self.folder / TRAJECTORY_FILE

    @property
    def series(self) -> Path:
        """Temperature, energies and more over time; see `read_series`."""
        return self.folder / SERIES_FILE


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a model survived a protocol.

    Attributes
    ----------
    model
        As it was asked for.
    protocol
        Name of the protocol.
    formula
        Of the starting structure.
    passed
        Whether every scan and every replica did.
    scans
        Dimer curves and squeezed structures.
    replicas
        Runs of molecular dynamics, in order.
    notes
        What the user should know, such as a time step that is long.
    provenance
        Versions, hashes and the resolved recipe.
    """

    model: str
    protocol: str
    formula: str
    passed: bool
    scans: tuple[Scan, ...]
    replicas: tuple[ReplicaResult, ...]
    notes: tuple[str, ...] = ()
    provenance: dict[str, Any]

    @property
    def failures(self) -> tuple[Failure, ...]:
        """All failures, those of the scans first."""
        scans = [scan.failure for scan in self.scans]
        failures = [*scans, *(replica.failure for replica in self.replicas)]
        return tuple(failure for failure in failures if failure is not None)


@dataclass(frozen=True, kw_only=True)
class Series:
    """What a replica wrote down while it ran; all arrays are of one length.

    ``times_fs``: since the start of the replica.
    ``stages``: number of the stage, from 0.
    ``targets_K``: of the thermostat; NaN at constant energy.
    ``max_force_eV_A``: length of the longest force vector.
    """

    times_fs: NDArray[np.float64]
    stages: NDArray[np.int64]
    temperatures_K: NDArray[np.float64]
    targets_K: NDArray[np.float64]
    potential_eV_per_atom: NDArray[np.float64]
    total_eV_per_atom: NDArray[np.float64]
    max_force_eV_A: NDArray[np.float64]
    volumes_A3_per_atom: NDArray[np.float64]


SERIES_COLUMNS = tuple(Series.__dataclass_fields__)


def read_series(path: Path) -> Series:
    """Return what a replica wrote down while it ran.

    ``path``: CSV file; see `ReplicaResult.series`.
    """
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.reader(stream))[1:]
    columns = np.array(rows, float).reshape(-1, len(SERIES_COLUMNS)).T
    values = dict(zip(SERIES_COLUMNS, columns, strict=True))
    stages = values.pop("stages").astype(int)
    return Series(stages=stages, **values)


def verdict_lines(verdict: Verdict) -> Iterator[str]:
    """Yield what was found, the verdict first."""
    word = "PASSED" if verdict.passed else "FAILED"
    yield f"{word}  {verdict.model}: {verdict.protocol}, {verdict.formula}"
    for scan in verdict.scans:
        yield f"  {_scan(scan)}"
    for replica in verdict.replicas:
        yield f"  {_replica(replica)}"
        yield from (f"    {line}" for line in _drifts(replica))
    for note in verdict.notes:
        yield f"  note: {note}"


def failure_text(failure: Failure) -> str:
    """Return kind, stage, time and detail of a failure."""
    place = f"in stage {failure.stage}"
    if failure.step or failure.time_fs:
        place += f" at {failure.time_fs / 1000:.3f} ps, step {failure.step}"
    return f"{IN_WORDS[failure.kind]} {place}: {failure.detail.rstrip('.')}."


def _scan(scan: Scan) -> str:
    name = f"dimer {scan.name}" if scan.kind == "dimer" else f"squeezed {scan.name}"
    if scan.failure is not None:
        return f"{name}: {failure_text(scan.failure)}"
    unit = "Å" if scan.kind == "dimer" else "of its length"
    return f"{name}: a wall, down to {scan.x[-1]:.2f} {unit}"


def _replica(replica: ReplicaResult) -> str:
    name = f"replica {replica.replica} (seed {replica.seed})"
    if replica.failure is not None:
        return f"{name}: {failure_text(replica.failure)}"
    return f"{name}: survived {replica.simulated_fs / 1000:g} ps"


def _drifts(replica: ReplicaResult) -> Iterator[str]:
    for drift in replica.drifts:
        yield (
            f"{drift.stage}, {drift.timestep_fs:g} fs: energy drifts by "
            f"{drift.drift_meV_per_atom_ps:+.3f} meV/atom/ps and fluctuates by "
            f"{drift.fluctuation_meV_per_atom:.2g} meV/atom"
        )
    if replica.order is not None:
        yield f"fluctuation grows with the time step to the power {replica.order:.2f}"
