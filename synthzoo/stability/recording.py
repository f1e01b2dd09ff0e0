"""The files of a replica: streamed, and cut back to the last state on resuming."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.trajectory import TrajectoryWriter

from synthzoo.files import named_faults, new_file
from synthzoo.stability.verdict import (
    FAILURE_FILE,
    SERIES_COLUMNS,
    SERIES_FILE,
    TRAJECTORY_FILE,
)

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.stability.detectors import Look

Marks = dict[str, Any]
"""How long the files were when a state was saved."""

_COUNTS = slice(32, 48)
"""Where a trajectory (ASE's ulm format) counts its frames and says where they are."""


class Recorder:
    """Writes the trajectory and the series of a replica.

    Parameters
    ----------
    folder
        Of the replica.
    marks
        Of the saved state from which it goes on; what was written later is cut off.
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
        """Add a line to the series.

        Parameters
        ----------
        look
            The structure.
        stage
            Number of the stage.
        """
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

        Parameters
        ----------
        structure
            From `snapshot`.

        Raises
        ------
        OSError
            If there is no room; numpy does not give the reason.
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
    """Return a copy of a structure with its energy, forces, time and stage.

    Parameters
    ----------
    look
        The structure.
    stage
        Name of the stage.
    """
    copy: Atoms = look.atoms.copy()
    copy.set_constraint()
    copy.info.update(time_fs=look.time_fs, stage=stage)
    copy.calc = SinglePointCalculator(
        copy, energy=look.potential_eV, forces=look.forces_eV_A.copy()
    )
    return copy


def write_failure(folder: Path, before: Atoms | None, after: Atoms) -> None:
    """Write the last sound structure and the one in which a failure was seen.

    Parameters
    ----------
    folder
        Of the replica.
    before, after
        The structures.
    """
    with new_file(folder / FAILURE_FILE) as partial:
        writer = TrajectoryWriter(partial, "w")
        for atoms in (before, after):
            if atoms is not None:
                writer.write(atoms)
        writer.close()


def last_time_fs(path: Path) -> float:
    """Return the time in the last whole line of a series; 0 without one.

    Parameters
    ----------
    path
        CSV file.
    """
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
