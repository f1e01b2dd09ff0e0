"""Verdicts from the file that a run has written."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from synthzoo.errors import InputError
from synthzoo.stability.verdict import (
    VERDICT_FILE,
    Drift,
    Failure,
    ReplicaResult,
    Scan,
    Verdict,
)


def read_verdicts(folder: Path) -> tuple[Verdict, ...]:
    """Return the verdicts of a run, as `check_stability` has returned them.

    Parameters
    ----------
    folder
        Output of that run.

    Raises
    ------
    InputError
        If it is none.
    """
    path = folder / VERDICT_FILE
    if not path.is_file():
        raise InputError(f"{folder} has no {VERDICT_FILE}: no stability check ended.")
    return tuple(
        _verdict(values, folder) for values in json.loads(path.read_text("utf-8"))
    )


def _verdict(values: dict[str, Any], folder: Path) -> Verdict:
    scans = tuple(_scan(scan) for scan in values["scans"])
    replicas = tuple(_replica(replica, folder) for replica in values["replicas"])
    again = {"scans": scans, "replicas": replicas, "notes": tuple(values["notes"])}
    return Verdict(**(values | again))


def _scan(values: dict[str, Any]) -> Scan:
    again = {
        "x": tuple(values["x"]),
        "energies_eV": tuple(map(_number, values["energies_eV"])),
        "failure": _failure(values["failure"]),
    }
    return Scan(**(values | again))


def _replica(values: dict[str, Any], folder: Path) -> ReplicaResult:
    drifts = (
        {key: _number(value) for key, value in d.items()} for d in values["drifts"]
    )
    again = {
        "failure": _failure(values["failure"]),
        "drifts": tuple(Drift(**drift) for drift in drifts),
        "folder": folder / values["folder"],
    }
    return ReplicaResult(**(values | again))


def _failure(values: dict[str, Any] | None) -> Failure | None:
    if values is None:
        return None
    return Failure(**(values | {"atoms": tuple(values["atoms"])}))


def _number(value: Any) -> Any:
    """Return what null stands for in these files: not a number."""
    return math.nan if value is None else value
