"""The saved state of a replica: everything from which it goes on as if undisturbed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthzoo.files import new_file
from synthzoo.stability.conservation import Line
from synthzoo.stability.detectors import Memory
from synthzoo.stability.verdict import Drift, Failure

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

STATE_FILE = "state.npz"

_NEXT_FILE = "state-next.npz"
_COMPLETE_FILE = "states-complete"
"""Beside the folders of several replicas: all their next states are written."""


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Where the atoms are and how they move.

    Attributes
    ----------
    positions_A
        Of shape ``(n, 3)``.
    momenta
        In ASE's units, of shape ``(n, 3)``.
    cell_A
        Of shape ``(3, 3)``.
    """

    positions_A: NDArray[np.float64]
    momenta: NDArray[np.float64]
    cell_A: NDArray[np.float64]


def configuration(atoms: Atoms) -> Configuration:
    """Return where the atoms are and how they move.

    Parameters
    ----------
    atoms
        Structure.
    """
    return Configuration(
        positions_A=atoms.get_positions(),
        momenta=atoms.get_momenta(),
        cell_A=atoms.cell.array.copy(),
    )


def set_configuration(atoms: Atoms, wanted: Configuration) -> None:
    """Put the atoms where they were; constraints are taken off.

    Parameters
    ----------
    atoms
        Structure of the same atoms.
    wanted
        Positions, momenta and cell.
    """
    atoms.set_constraint()
    atoms.set_cell(wanted.cell_A, scale_atoms=False)
    atoms.set_positions(wanted.positions_A)
    atoms.set_momenta(wanted.momenta)


@dataclass(kw_only=True)
class State:
    """A replica between two parts of its run.

    Attributes
    ----------
    now, stage_start
        The atoms now, and at the start of the stage.
    rng
        State of the random numbers.
    part
        Number of the next part of the run.
    steps
        Steps done, those of all time steps of a conservation stage.
    time_fs
        Simulated time.
    integrator
        What the integrator carries.
    memory
        What the detectors remember.
    line
        Energy over time in this stage.
    drifts
        Of the stages at constant energy that are done.
    failure
        What has ended the run.
    seconds
        Wall time so far.
    marks
        How long the files are.
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


def write_state(folder: Path, state: State) -> None:
    """Save a state; what was saved before is there until the new one is complete.

    Parameters
    ----------
    folder
        Of the replica.
    state
        What to save.
    """
    _write(folder / STATE_FILE, state)


def write_states(states: Mapping[Path, State]) -> None:
    """Save the states of several replicas: after a kill there are all or none.

    Parameters
    ----------
    states
        By the folders of the replicas, which lie in one folder.
    """
    for folder, state in states.items():
        _write(folder / _NEXT_FILE, state)
    if states:
        (next(iter(states)).parent / _COMPLETE_FILE).touch()
        settle_states(list(states))


def settle_states(folders: Sequence[Path]) -> None:
    """End what a kill has interrupted in `write_states`.

    Parameters
    ----------
    folders
        Of the replicas.
    """
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
    """Return the saved state of a replica; None if there is none.

    Parameters
    ----------
    folder
        Of the replica.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as file:
        values = json.loads(str(file["plain"]))
        for name in _ARRAYS:
            keys = [field.name for field in dataclasses.fields(Configuration)]
            values[name] = Configuration(**{key: file[f"{name}.{key}"] for key in keys})
    values["memory"], values["line"] = (
        Memory(**values["memory"]),
        Line(**values["line"]),
    )
    values["drifts"] = tuple(Drift(**drift) for drift in values["drifts"])
    if values["failure"] is not None:
        atoms = tuple(values["failure"].pop("atoms"))
        values["failure"] = Failure(**values["failure"], atoms=atoms)
    return State(**values)
