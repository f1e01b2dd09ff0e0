"""Put the weights of a fine-tuning through molecular dynamics, and rank them."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from synthzoo.files import new_file
from synthzoo.tuning.selection import (
    PROTOCOL,
    Candidate,
    judged,
    ranked,
    starting_structures,
)

if TYPE_CHECKING:
    from synthzoo.tuning.judge import Judge

DYNAMICS_FOLDER = "dynamics"
"""In the working folder of a run: the trajectories, until a choice is made."""


def select_by_md(judge: Judge, folder: Path, *, workers: int = 1) -> list[Candidate]:
    """Return what the weights of a run are worth in dynamics, the best first.

    Parameters
    ----------
    judge
        With the weights: of fits that have ended, and those they had on the way.
    folder
        For trajectories and results; a run that was killed goes on there.
    workers
        Replicas that run at a time.

    Raises
    ------
    SynthzooError
        If the dynamics cannot be run.
    """
    folder.mkdir(exist_ok=True)
    found = [_candidate(judge, name, folder, workers) for name in judge.candidates]
    return ranked(found)


def _candidate(judge: Judge, name: str, folder: Path, workers: int) -> Candidate:
    """Return what some weights are worth; keep it for a run that goes on later."""
    from synthzoo.stability.check import check_stability

    place = folder / name.replace(" ", "-")
    record = place.with_suffix(".json")
    if record.is_file():
        return Candidate(**json.loads(record.read_text(encoding="utf-8")))
    shutil.rmtree(place, ignore_errors=True)  # killed before the record was written
    verdict = check_stability(
        judge.calculator(name),
        starting_structures(judge.plan.training),
        place,
        protocol=PROTOCOL,
        workers=workers,
    )
    candidate = judged(name, verdict, judge.force_rmse_eV_A(name))
    with new_file(record) as partial:
        partial.write_text(json.dumps(dataclasses.asdict(candidate)), encoding="utf-8")
    return candidate
