"""From the files of a run to verdicts, and verdicts as JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthzoo.errors import InputError, SynthzooError
from synthzoo.runs.files import new_file, read_record
from synthzoo.stability.detectors import energy_order
from synthzoo.stability.protocol import Conservation, planned_fs
from synthzoo.stability.state import read_state
from synthzoo.stability.verdict import (
    VERDICT_FILE,
    ReplicaResult,
    Scan,
    Verdict,
)

if TYPE_CHECKING:
    from synthzoo.stability.protocol import MdRecipe
    from synthzoo.stability.replica import ReplicaJob
    from synthzoo.stability.state import State


SCANS_FILE = "scans.json"


def replica_result(
    job: ReplicaJob, *, model: str, replica: int, start: int
) -> ReplicaResult:
    """Return what a replica that has ended has shown.

    ``replica``, ``start``: its number, and that of its starting structure.
    """
    state = read_state(job.folder)
    if state is None:
        raise SynthzooError(f"There is no state of a replica in {job.folder}.")
    failure = state.failure
    return ReplicaResult(
        model=model,
        replica=replica,
        start=start,
        seed=job.seed,
        survived=failure is None,
        planned_fs=planned_fs(job.recipe),
        simulated_fs=state.time_fs if failure is None else failure.time_fs,
        steps=state.steps,
        failure=failure,
        doubt_eV_A=state.memory.doubt_eV_A,
        doubt_fs=state.memory.doubt_fs,
        drifts=state.drifts,
        order=_order(state, job.recipe),
        seconds=state.seconds,
        folder=job.folder,
    )


def _order(state: State, recipe: MdRecipe) -> float | None:
    """Return the order that the first conservation stage shows."""
    for stage in recipe.moving:
        if isinstance(stage, Conservation):
            same = [drift for drift in state.drifts if drift.stage == stage.name]
            if len(same) == len(stage.factors):
                return energy_order(same)
    return None


def write_scans(folder: Path, scans: Sequence[Scan]) -> None:
    """Keep the curves of a model."""
    _write_json(folder / SCANS_FILE, [dataclasses.asdict(scan) for scan in scans])


def read_scans(folder: Path) -> tuple[Scan, ...] | None:
    """Return the curves of a model; None if they are not there yet."""
    path = folder / SCANS_FILE
    if not path.is_file():
        return None
    return read_record(path, tuple[Scan, ...], of_objects=_nan_for_null)


def write_verdicts(folder: Path, verdicts: Sequence[Verdict]) -> None:
    """Write verdicts as JSON; the folders of replicas are relative to that file."""
    values = [verdict_values(verdict, relative_to=folder) for verdict in verdicts]
    _write_json(folder / VERDICT_FILE, values)


def verdict_values(verdict: Verdict, *, relative_to: Path | None = None) -> Any:
    """Return a verdict as plain values, for JSON.

    ``relative_to``: folder from which those of the replicas are given.
    """
    values = dataclasses.asdict(verdict)
    for replica in values["replicas"]:
        if relative_to is not None:
            replica["folder"] = replica["folder"].relative_to(relative_to)
    return _plain(values)


def _plain(value: Any) -> Any:
    """Return what JSON can hold: NaN and infinity are null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def _write_json(path: Path, values: Any) -> None:
    text = json.dumps(_plain(values), indent=1, ensure_ascii=False)
    with new_file(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


def read_verdicts(folder: str | Path) -> tuple[Verdict, ...]:
    """Return the verdicts of a run, as `run_md` has returned them.

    Parameters
    ----------
    folder
        Output folder of that run.

    Raises
    ------
    InputError
        If the folder is not the output of a run.

    Examples
    --------
    >>> [verdict.passed for verdict in read_verdicts("md")]  # doctest: +SKIP
    [True]
    """
    folder = Path(folder)
    path = folder / VERDICT_FILE
    if not path.is_file():
        raise InputError(f"{folder} has no {VERDICT_FILE}: no stability check ended.")
    return read_record(
        path,
        tuple[Verdict, ...],
        of_objects=_nan_for_null,
        of_types=lambda _, place: folder / place,  # the only one is `Path`
    )


_NUMBERS = {
    "energies_eV",
    "timestep_fs",
    "duration_fs",
    "drift_meV_per_atom_ps",
    "fluctuation_meV_per_atom",
}
"""Where null stands for a number that is none."""


def _nan_for_null(values: dict[str, Any]) -> dict[str, Any]:
    for key in _NUMBERS & values.keys():
        if isinstance(values[key], list):
            values[key] = [math.nan if x is None else x for x in values[key]]
        elif values[key] is None:
            values[key] = math.nan
    return values
