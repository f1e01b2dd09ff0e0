"""Which of the weights of a fine-tuning to keep: those that survive dynamics."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthzoo.runs.files import new_file, read_record

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from ase import Atoms

    from synthzoo.data.labelled_set import LabelledSet
    from synthzoo.finetuning.judge import Judge
    from synthzoo.stability.verdict import Verdict


PROTOCOL = "select"
"""What candidates have to survive: the recipe ``md-select``."""


STARTS = 2
MOST_ATOMS = 100
LEAST_ATOMS = 32
"""Smaller cells are repeated."""

DRIFT_STEP_MEV_PER_ATOM_PS = 0.1
"""Drifts that differ by less are alike."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """What some weights are worth.

    ``name``: of the fit, with the number of epochs if there were more.
    ``survived``: share of the planned time that its replicas lived, in the mean.
    ``drift_meV_per_atom_ps``: largest slope of the total energy at constant energy,
    without its sign; None if no replica came so far.
    ``force_rmse_eV_A``: on the held-out structures; on those that were fitted if there
    are none.
    ``kept``: whether these weights are the ones that are kept.
    """

    name: str
    survived: float
    drift_meV_per_atom_ps: float | None
    force_rmse_eV_A: float
    kept: bool = False


def judged(name: str, verdict: Verdict, force_rmse_eV_A: float) -> Candidate:
    """Return what a verdict says about a candidate."""
    shares = [found.simulated_fs / found.planned_fs for found in verdict.replicas]
    drifts = [
        abs(drift.drift_meV_per_atom_ps)
        for found in verdict.replicas
        for drift in found.drifts
    ]
    return Candidate(
        name=name,
        survived=float(np.mean(shares)),
        drift_meV_per_atom_ps=max(drifts, default=None),
        force_rmse_eV_A=force_rmse_eV_A,
    )


def ranked(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return candidates, the best first and marked as kept.

    Longer survival counts first, then the smaller drift, then the smaller error.

    Examples
    --------
    >>> dies = Candidate(
    ...     name="a", survived=0.7, drift_meV_per_atom_ps=0.0, force_rmse_eV_A=0.1
    ... )
    >>> lives = dataclasses.replace(dies, name="b", survived=1.0, force_rmse_eV_A=0.5)
    >>> [found.name for found in ranked([dies, lives])]
    ['b', 'a']
    """
    best, *others = sorted(candidates, key=_key)
    return [dataclasses.replace(best, kept=True), *others]


def _key(candidate: Candidate) -> tuple[float, float, float]:
    drift = candidate.drift_meV_per_atom_ps
    level = math.inf if drift is None else drift // DRIFT_STEP_MEV_PER_ATOM_PS
    return -candidate.survived, level, candidate.force_rmse_eV_A


def starting_structures(labelled: LabelledSet) -> list[Atoms]:
    """Return structures for the dynamics: the largest affordable, calmest of them.

    ``labelled``: training set; small periodic cells of it are repeated.
    """
    sizes = np.array([len(atoms) for atoms in labelled.structures])
    affordable = np.flatnonzero(sizes <= MOST_ATOMS)
    if not len(affordable):
        affordable = np.array([int(np.argmin(sizes))])
    forces = [np.sqrt(np.mean(label.forces_eV_A**2)) for label in labelled.labels]
    order = sorted(
        affordable.tolist(), key=lambda index: (-sizes[index], forces[index])
    )
    return [_repeated(labelled.structures[index]) for index in order[:STARTS]]


def _repeated(atoms: Atoms) -> Atoms:
    """Return a cell that is large enough, doubled where it is shortest."""
    found: Atoms = atoms.copy()
    while found.pbc.any() and len(found) < LEAST_ATOMS:
        lengths = np.where(found.pbc, found.cell.lengths(), np.inf)
        repeats = np.ones(3, dtype=int)
        repeats[int(np.argmin(lengths))] = 2
        found = found.repeat(tuple(repeats.tolist()))
    return found


DYNAMICS_FOLDER = "dynamics"
"""In the working folder of a run: the trajectories, until a choice is made."""


def select_by_md(
    judge: Judge, folder: Path, *, workers: int = 1, executor: Executor | None = None
) -> list[Candidate]:
    """Return what the weights of a run are worth in dynamics, the best first.

    ``judge``: with the weights: of fits that have ended, and those they had on the way.
    ``folder``: for trajectories and results; a run that was killed goes on there.
    ``executor``: where they run instead of on this machine.
    """
    folder.mkdir(exist_ok=True)
    where: dict[str, Any] = {"workers": workers, "executor": executor}
    found = [_candidate(judge, name, folder, where) for name in judge.candidates]
    return ranked(found)


def _candidate(
    judge: Judge, name: str, folder: Path, where: Mapping[str, Any]
) -> Candidate:
    """Return what some weights are worth; keep it for a run that goes on later."""
    from synthzoo.stability.check import run_md

    place = folder / name.replace(" ", "-")
    record = place.with_suffix(".json")
    if record.is_file():
        return read_record(record, Candidate)
    shutil.rmtree(place, ignore_errors=True)  # killed before the record was written
    verdict = run_md(
        judge.calculator(name),
        starting_structures(judge.plan.training),
        place,
        protocol=PROTOCOL,
        **where,
    )
    candidate = judged(name, verdict, judge.force_rmse_eV_A(name))
    with new_file(record) as partial:
        partial.write_text(json.dumps(dataclasses.asdict(candidate)), encoding="utf-8")
    return candidate
