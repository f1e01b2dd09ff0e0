"""The saved state of a replica: everything from which it goes on as if undisturbed."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.io.trajectory import TrajectoryWriter

from synthzoo.runs.files import named_faults, new_file
from synthzoo.stability.detectors import Line, Memory
from synthzoo.stability.fixed import fixed_atoms
from synthzoo.stability.verdict import (
    FAILURE_FILE,
    SERIES_COLUMNS,
    SERIES_FILE,
    TRAJECTORY_FILE,
    Drift,
    Failure,
)

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    from synthzoo.stability.detectors import Look


STATE_FILE = "state.npz"

_NEXT_FILE = "state-next.npz"
_COMPLETE_FILE = "states-complete"
"""Beside the folders of several replicas: all their next states are written."""


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Where the atoms are and how they move.

    ``positions_A``: of shape ``(n, 3)``.
    ``momenta``: in ASE's units, of shape ``(n, 3)``.
    ``cell_A``: of shape ``(3, 3)``.
    """

    positions_A: NDArray[np.float64]
    momenta: NDArray[np.float64]
    cell_A: NDArray[np.float64]


def configuration(atoms: Atoms) -> Configuration:
    """Return where the atoms are and how they move."""
    return Configuration(
        positions_A=atoms.get_positions(),
        momenta=atoms.get_momenta(),
        cell_A=atoms.cell.array.copy(),
    )


def set_configuration(atoms: Atoms, wanted: Configuration) -> None:
    """Put the atoms where they were; fixed ones are fixed again afterwards."""
    fixed = FixAtoms(fixed_atoms(atoms))
    atoms.set_constraint()
    atoms.set_cell(wanted.cell_A, scale_atoms=False)
    atoms.set_positions(wanted.positions_A)
    atoms.set_momenta(wanted.momenta)
    atoms.set_constraint(fixed if len(fixed.index) else None)


@dataclass(kw_only=True)
class State:
    """A replica between two parts of its run.

    ``now``, ``stage_start``: the atoms now, and at the start of the stage.
    ``part``: number of the next part of the run.
    ``steps``: steps done, those of all time steps of a conservation stage.
    ``line``: energy over time in this stage.
    ``drifts``: of the stages at constant energy that are done.
    """

    now: Configuration
    stage_start: Configuration
    rng: dict[str, Any]
    part: int = 0
    steps: int = 0
    time_fs: float = 0.0
    integrator: dict[str, Any] = field(default_factory=dict)
    memory: Memory = field(default_factory=Memory)
    line: Line = field(default_factory=Line)
    drifts: tuple[Drift, ...] = ()
    failure: Failure | None = None
    seconds: float = 0.0
    marks: dict[str, Any] = field(default_factory=dict)


_ARRAYS = ("now", "stage_start")
_RECORDS: dict[str, Any] = {
    "memory": Memory,
    "line": Line,
    "drifts": tuple[Drift, ...],
    "failure": Failure | None,
}


def write_state(folder: Path, state: State) -> None:
    """Save a state; what was saved before is there until the new one is complete."""
    _write(folder / STATE_FILE, state)


def write_states(states: Mapping[Path, State]) -> None:
    """Save the states of several replicas: after a kill there are all or none.

    ``states``: by the folders of the replicas, which lie in one folder.
    """
    for folder, state in states.items():
        _write(folder / _NEXT_FILE, state)
    if states:
        (next(iter(states)).parent / _COMPLETE_FILE).touch()
        settle_states(list(states))


def settle_states(folders: Sequence[Path]) -> None:
    """End what a kill has interrupted in `write_states`."""
    complete = folders[0].parent / _COMPLETE_FILE
    written = [path for f in folders if (path := f / _NEXT_FILE).exists()]
    for path in written:
        if complete.exists():
            path.replace(path.with_name(STATE_FILE))
        else:
            path.unlink()
    complete.unlink(missing_ok=True)


def _write(path: Path, state: State) -> None:
    values = dataclasses.asdict(state)
    arrays = {
        f"{name}.{key}": array
        for name in _ARRAYS
        for key, array in values.pop(name).items()
    }
    with new_file(path) as partial, partial.open("wb") as stream:
        np.savez(stream, plain=json.dumps(values), **arrays)


def read_state(folder: Path) -> State | None:
    """Return the saved state of a replica; None if there is none."""
    path = folder / STATE_FILE
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as file:
        values = json.loads(str(file["plain"]))
        for name in _ARRAYS:
            keys = [field.name for field in dataclasses.fields(Configuration)]
            values[name] = Configuration(**{key: file[f"{name}.{key}"] for key in keys})
    for name, kind in _RECORDS.items():
        values[name] = msgspec.convert(values[name], kind)
    return State(**values)


Marks = dict[str, Any]
"""How long the files were when a state was saved."""

_COUNTS = slice(32, 48)
"""Where a trajectory (ASE's ulm format) counts its frames and says where they are."""


class Recorder:
    """Writes the trajectory and the series of a replica.

    ``marks``: of the saved state from which it goes on; what was written later is cut
    off.
    """

    def __init__(self, folder: Path, marks: Marks) -> None:
        self._trajectory = folder / TRAJECTORY_FILE
        self._series = folder / SERIES_FILE
        _cut(self._trajectory, marks.get(TRAJECTORY_FILE), marks.get("counts"))
        _cut(self._series, marks.get(SERIES_FILE))
        self._writer = TrajectoryWriter(self._trajectory, "a")
        self._lines = self._series.open("a", encoding="utf-8", buffering=1)
        if self._lines.tell() == 0:
            self._lines.write(",".join(SERIES_COLUMNS) + "\n")

    def sample(self, look: Look, stage: int) -> None:
        """Add a line to the series."""
        count, volume_A3 = len(look.atoms), float("nan")
        if look.atoms.cell.rank == 3:
            volume_A3 = look.atoms.cell.volume
        values = (
            look.time_fs,
            stage,
            look.temperature_K,
            float("nan") if look.target_K is None else look.target_K,
            look.potential_eV / count,
            look.total_eV / count,
            look.max_force_eV_A,
            volume_A3 / count,
        )
        with named_faults(self._series):
            self._lines.write(",".join(f"{value:.10g}" for value in values) + "\n")

    def frame(self, structure: Atoms) -> None:
        """Add a structure to the trajectory.

        Raises `OSError` if there is no room; numpy does not give the reason.
        """
        with named_faults(self._trajectory):
            try:
                self._writer.write(structure)
            except OSError as error:
                if error.errno is not None:
                    raise
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error

    def marks(self) -> Marks:
        """Return how long the files are."""
        self._lines.flush()
        marks: Marks = {SERIES_FILE: self._series.stat().st_size}
        if self._trajectory.exists():
            with self._trajectory.open("rb") as stream:
                counts = stream.read(_COUNTS.stop)[_COUNTS]
            marks[TRAJECTORY_FILE] = self._trajectory.stat().st_size
            marks["counts"] = counts.hex()
        return marks

    def close(self) -> None:
        """Close the files."""
        self._writer.close()
        self._lines.close()


def snapshot(look: Look, stage: str) -> Atoms:
    """Return a copy of a structure with its energy, forces, time and stage."""
    copy: Atoms = look.atoms.copy()
    copy.set_constraint()
    copy.info.update(time_fs=look.time_fs, stage=stage)
    copy.calc = SinglePointCalculator(
        copy, energy=look.potential_eV, forces=look.forces_eV_A.copy()
    )
    return copy


def write_failure(folder: Path, before: Atoms | None, after: Atoms) -> None:
    """Write the last sound structure and the one in which a failure was seen."""
    with new_file(folder / FAILURE_FILE) as partial:
        writer = TrajectoryWriter(partial, "w")
        for atoms in (before, after):
            if atoms is not None:
                writer.write(atoms)
        writer.close()


def last_time_fs(path: Path) -> float:
    """Return the time in the last whole line of a series; 0 without one."""
    if not path.is_file():
        return 0.0
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - 1000))
        lines = stream.read().decode(errors="replace").split("\n")[:-1]
    first = lines[-1].split(",")[0] if lines else ""
    return float(first) if first.replace(".", "").isdecimal() else 0.0


def _cut(path: Path, size: int | None, counts: str | None = None) -> None:
    """Bring a file back to what it was; one that was not there goes."""
    if size is None:
        path.unlink(missing_ok=True)
        return
    with path.open("r+b") as stream:
        stream.truncate(size)
        if counts is not None:
            stream.seek(_COUNTS.start)
            stream.write(bytes.fromhex(counts))
