"""One run of a learning curve: fit a start to a few structures, measure on many."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthzoo.data import unconstrained
from synthzoo.errors import SynthzooError
from synthzoo.evaluation.errors import GroupErrors  # noqa: TC001  msgspec reads it
from synthzoo.finetuning.energy_reference import EnergyReference, find_reference
from synthzoo.finetuning.fits import FitJob, fit_in_child, run_fits
from synthzoo.finetuning.jobs import (
    FIT,
    direct_reference,
    fit_from_scratch,
    planned_fit,
)
from synthzoo.runs.files import new_file, read_record
from synthzoo.runs.provenance import installed_versions

if TYPE_CHECKING:
    import torch

    from synthzoo.benchmarking.jobs import Job
    from synthzoo.data.frames import FrameSet
    from synthzoo.data.labelled_set import LabelledSet
    from synthzoo.data.labels import LabelKeys
    from synthzoo.models.calculator import SynthzooCalculator


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one run found.

    Attributes
    ----------
    model
        Name of the start.
    size, draw
        Number of structures, and which.
    errors
        On the test files: over all structures first, then by group; empty if it failed.
    failed
        Why there is no result, in words.
    seconds, cpu_seconds
        What it took, the measuring included; of its last part if it was interrupted.
    """

    model: str
    size: int
    draw: int
    errors: tuple[GroupErrors, ...]
    failed: str | None
    seconds: float
    cpu_seconds: float


@dataclass(frozen=True, kw_only=True)
class _Record:
    """What is read of the file of a run."""

    result: Result


@dataclass(frozen=True, kw_only=True)
class _Fitted:
    weights: dict[str, torch.Tensor]
    reference: EnergyReference


def read_result(path: Path) -> Result:
    """Return the result in a file that `SingleRun` has written."""
    return read_record(path, _Record).result


@dataclass(frozen=True)
class SingleRun:
    """One run, done in a child process.

    ``key``: what decides the result, for the record.
    ``path``: file for the result; a folder beside it holds the state of the fit until
    the result is there, and a run that was killed goes on from it.
    """

    job: Job
    key: dict[str, Any]
    path: Path

    def is_done(self) -> bool:
        """Return whether the result is there."""
        return self.path.is_file()

    def __call__(self) -> None:
        """Do the run and write its result."""
        name = f"{self.job.start.name} on {self.job.size} structures"
        fit_in_child(partial(run, self.job, self.key, self.path), name=name)


def run(job: Job, key: dict[str, Any], path: Path) -> Result:
    """Do a run in this process, write its result, and return it."""
    started, cpu_started = time.monotonic(), time.process_time()
    folder = path.with_suffix(".parts")
    folder.mkdir(exist_ok=True)
    errors: tuple[GroupErrors, ...] = ()
    failed = None
    try:
        errors = _measured(job, folder)
    except SynthzooError as error:  # such as a fit that diverges: that is a result
        failed = str(error)
    result = Result(
        model=job.start.name,
        size=job.size,
        draw=job.draw,
        errors=errors,
        failed=failed,
        seconds=round(time.monotonic() - started, 1),
        cpu_seconds=round(time.process_time() - cpu_started, 1),
    )
    record = {"result": asdict(result), "key": key, "versions": installed_versions()}
    with new_file(path) as partial_file:
        partial_file.write_text(json.dumps(record, indent=1))
    shutil.rmtree(folder)
    return result


def _measured(job: Job, folder: Path) -> tuple[GroupErrors, ...]:
    from synthzoo.finetuning.comparison import predict_set

    _use_threads(job.recipe.threads)
    frames, keys = job.training()
    fitted = _fit(job, frames, keys, folder)
    return predict_set(job.test(), _calculator(job, fitted)).errors


def _use_threads(count: int | None) -> None:
    import torch

    if count is not None:
        torch.set_num_threads(count)


def _fit(job: Job, frames: FrameSet, keys: LabelKeys, folder: Path) -> _Fitted:
    """Return weights and energy reference, from the drawn structures alone."""
    from synthzoo.data.labelled_set import as_labelled
    from synthzoo.finetuning.checks import examine
    from synthzoo.finetuning.plan import make_plan, starting_calculator

    if job.size == 0:
        return _untuned(job, frames, keys)
    start = job.start.checkpoint
    if job.start.fresh:
        labelled = as_labelled(frames, keys)
        elements = start.config.elements
        reference = direct_reference(elements, labelled)
        whole = FitJob(name=FIT, start=start, recipe=job.recipe, training=())
        fit = fit_from_scratch(whole, labelled, reference)
    else:
        examination = examine(frames, keys, starting_calculator(start))
        plan = make_plan(start, examination, job.recipe, given_eV={}, tested=True)
        fit, reference = planned_fit(plan, _replay(job)), plan.reference
    return _Fitted(weights=run_fits([fit], folder)[FIT], reference=reference)


def _replay(job: Job) -> LabelledSet:
    from synthzoo.finetuning.plan import starting_calculator
    from synthzoo.finetuning.replay import NOTHING, read_synthetic

    if not job.replay:
        return NOTHING.mixed
    start = starting_calculator(job.start.checkpoint)
    return read_synthetic(job.replay, start, labels=job.recipe.replay_labels).mixed


def _untuned(job: Job, frames: FrameSet, keys: LabelKeys) -> _Fitted:
    """Return the start as it is; one constant per atom is fitted to all structures."""
    from synthzoo.data.labelled_set import as_labelled
    from synthzoo.finetuning.plan import starting_calculator
    from synthzoo.models.predict import predict_structures

    calculator = starting_calculator(job.start.checkpoint)
    labelled = as_labelled(frames, keys)
    predicted = predict_structures(labelled.structures, calculator)
    elements = calculator.config.elements
    reference = find_reference(
        elements,
        labelled.counts(elements),
        labelled.energies_eV,
        np.array([unconstrained.energy_eV(atoms) for atoms in predicted]),
        known_eV={},
        model_isolated_eV=calculator.config.isolated_atom_energies_eV,
    )
    weights = job.start.checkpoint.network().state_dict()
    return _Fitted(weights=weights, reference=reference)


def _calculator(job: Job, fitted: _Fitted) -> SynthzooCalculator:
    from synthzoo.finetuning.energy_reference import with_reference
    from synthzoo.models.calculator import SynthzooCalculator
    from synthzoo.models.place import Place

    config = job.start.checkpoint.config
    stored = with_reference(fitted.weights, config, fitted.reference)
    return SynthzooCalculator(stored, place=Place(device="cpu"))
