"""Fine-tune a checkpoint on a user's labelled structures."""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from synthzoo.checkpoint import golden_structures, read_config, write_checkpoint
from synthzoo.curves import read_losses
from synthzoo.errors import InputError
from synthzoo.files import hash_files, new_file, refuse_existing
from synthzoo.frames import find_files
from synthzoo.hub import find_folder
from synthzoo.labelled_sets import LabelledSet, as_labelled, read_labelled
from synthzoo.provenance import installed_versions
from synthzoo.recipes import recipe_hash, recipe_values
from synthzoo.resumable import exclusive, open_run
from synthzoo.structures import split_by_group
from synthzoo.tuning.checks import describe, find_faults
from synthzoo.tuning.committee import MEMBERS_FOLDER
from synthzoo.tuning.fits import FitJob, run_fits
from synthzoo.tuning.judge import (
    DIRECT,
    FIT,
    Judge,
    check_name,
    direct_reference,
)
from synthzoo.tuning.plan import Plan, make_plan, on_scale, starting_calculator
from synthzoo.tuning.recipe import FinetuneRecipe
from synthzoo.tuning.report import MARKDOWN_FILE, Results, card_text, write_report

if TYPE_CHECKING:
    from synthzoo.config import CheckpointConfig

RECIPE_FILE = "recipe.yaml"
CHECKPOINT_FOLDER = "checkpoint"

SYNTHETIC_SHARE = 0.2
MAX_SYNTHETIC = 200
"""Of the replayed structures, so many are kept to measure what is forgotten."""


@dataclass(frozen=True, kw_only=True)
class FinetuneSummary:
    """What a run of `finetune` made.

    Attributes
    ----------
    output
        Checkpoint folder.
    report
        What was found, done, gained and forgotten, for people.
    training_structures, held_out_structures, isolated_atoms
        Sizes of the two sets; isolated atoms are in neither.
    verdict
        Whether it helped, in words.
    reference
        What was done to the energies, in words.
    findings
        What the checks of the data found, in words.
    seconds
        Wall time of this run; of its last part if it was interrupted.
    """

    output: Path
    report: Path
    training_structures: int
    held_out_structures: int
    isolated_atoms: int
    verdict: str
    reference: str
    findings: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class DataCheck:
    """What `check_data` found.

    Attributes
    ----------
    structures
        How many there are.
    energy_key, forces_key
        Where the labels are.
    errors
        What must be mended before the data can be fitted, in words.
    findings
        What else is worth knowing.
    reference
        What would be done to the energies; None if there are errors.
    """

    structures: int
    energy_key: str | None
    forces_key: str | None
    errors: tuple[str, ...]
    findings: tuple[str, ...]
    reference: str | None


@dataclass(frozen=True, kw_only=True)
class _Request:
    """What was asked for; see `finetune`."""

    name: str
    model: str
    start: Path
    files: list[Path]
    test: list[Path]
    replay: list[Path]
    recipe: FinetuneRecipe
    isolated_energies_eV: dict[str, float]
    energy_key: str | None
    forces_key: str | None
    energies_only: bool
    drop_bad: bool
    compare_direct: bool
    workers: int

    def manifest(self) -> dict[str, Any]:
        """Return what decides the result."""
        return {
            "start_weights_sha256": read_config(self.start).weights_sha256,
            "data_sha256": hash_files(self.files),
            "test_sha256": hash_files(self.test),
            "replay_sha256": hash_files(self.replay),
            "recipe": recipe_values(self.recipe),
            "isolated_energies_eV": self.isolated_energies_eV,
            "keys": [self.energy_key, self.forces_key],
            "energies_only": self.energies_only,
            "drop_bad": self.drop_bad,
            "compare_direct": self.compare_direct,
        }


def finetune(  # noqa: PLR0913  what a user may say
    model: str | Path,
    data: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    recipe: FinetuneRecipe | None = None,
    isolated_energies_eV: Mapping[str, float] | None = None,
    energy_key: str | None = None,
    forces_key: str | None = None,
    test: str | Path | Sequence[str | Path] = (),
    replay: str | Path | Sequence[str | Path] = (),
    energies_only: bool = False,
    drop_bad: bool = False,
    compare_direct: bool = False,
    workers: int | None = None,
) -> FinetuneSummary:
    """Fine-tune a checkpoint on labelled structures and write a new checkpoint.

    Energies may be total energies on any scale: what they are measured from is found
    (see `synthzoo.tuning.energy_reference`), and the new checkpoint gives them again.
    Its folder holds a report, too. The state of the fit is kept in ``OUTPUT.parts``
    until all is complete; a run that was killed goes on there and ends in the same
    weights as one that was not.

    Parameters
    ----------
    model
        Where to start: name, folder or hub reference of a checkpoint.
    data
        Labelled structures: one or several files in any format that ASE reads, or
        patterns.
    output
        Checkpoint folder to make.
    recipe
        How; what it leaves open follows from the number of structures.
    isolated_energies_eV
        Energy of the free atom of an element on the scale of the labels; where not
        given, it is found among the structures or fitted.
    energy_key, forces_key
        Where the labels are; found among the usual names if not given.
    test
        Labelled structures on which the result is measured; with them, none of the
        data are kept from the fit.
    replay
        Synthetic structures, labelled by the teacher of the start, that are mixed into
        the fit so that less is forgotten; a part of them measures how much is.
    energies_only
        Fit to energies: the forces of the start stand in for those of the data.
    drop_bad
        Leave out structures in which the checks find errors.
    compare_direct
        Also train a new network of the same shape on the same data for as long.
    workers
        Fits that run at a time; one for each core if not given.

    Raises
    ------
    InputError
        If the output exists, the data cannot be used, or the energies cannot be brought
        onto one scale.
    SynthzooError
        If the loss stops being a number.
    """
    started = time.monotonic()
    output = Path(output)
    refuse_existing(output)
    request = _Request(
        name=output.name,
        model=model.name if isinstance(model, Path) else model.rpartition("/")[2],
        start=find_folder(model),
        files=find_files(data),
        test=_files(test),
        replay=_files(replay),
        recipe=recipe or FinetuneRecipe(),
        isolated_energies_eV=dict(isolated_energies_eV or {}),
        energy_key=energy_key,
        forces_key=forces_key,
        energies_only=energies_only,
        drop_bad=drop_bad,
        compare_direct=compare_direct,
        workers=workers or os.cpu_count() or 1,
    )
    manifest = request.manifest()
    sets = _read(request)
    plan = sets.plan
    run = open_run(output, manifest)
    with exclusive(run):
        results = _make(request, sets, run, manifest, started)
        (run / CHECKPOINT_FOLDER).replace(output)
    shutil.rmtree(run)
    return FinetuneSummary(
        output=output,
        report=output / MARKDOWN_FILE,
        training_structures=len(plan.training),
        held_out_structures=len(plan.held_out),
        isolated_atoms=plan.isolated,
        verdict=results.verdict,
        reference=plan.reference.summary,
        findings=plan.notes,
        seconds=time.monotonic() - started,
    )


def check_data(
    model: str | Path,
    data: str | Path | Sequence[str | Path],
    *,
    isolated_energies_eV: Mapping[str, float] | None = None,
    energy_key: str | None = None,
    forces_key: str | None = None,
) -> DataCheck:
    """Look at labelled structures as `finetune` would, and stop there.

    Parameters
    ----------
    model, data, isolated_energies_eV, energy_key, forces_key
        As for `finetune`.

    Raises
    ------
    InputError
        If files cannot be read, there are no labels, or the model does not know an
        element.
    """
    start = find_folder(model)
    frames, keys = read_labelled(
        find_files(data), energy_key=energy_key, forces_key=forces_key
    )
    found = find_faults(frames, keys, starting_calculator(start))
    origins = [str(origin) for origin in frames.origins]
    told = [(each.severity, describe(each, origins)) for each in found]
    errors = [text for severity, text in told if severity == "error"]
    reference = None
    if not errors:
        try:
            plan = make_plan(
                start,
                frames,
                keys,
                FinetuneRecipe(),
                given_eV=isolated_energies_eV or {},
            )
            reference = plan.reference.summary
        except InputError as error:
            errors.append(str(error))
    return DataCheck(
        structures=len(frames.structures),
        energy_key=keys.energy,
        forces_key=keys.forces,
        errors=tuple(errors),
        findings=tuple(text for severity, text in told if severity != "error"),
        reference=reference,
    )


def _files(sources: str | Path | Sequence[str | Path]) -> list[Path]:
    return find_files(sources) if sources else []


@dataclass(frozen=True, kw_only=True)
class _Sets:
    """All structures of a run: to fit, to test with, to mix in, to remember."""

    plan: Plan
    test: LabelledSet
    replay: LabelledSet
    synthetic: LabelledSet


def _read(request: _Request) -> _Sets:
    """Read everything before anything is written."""
    plan = _plan(request)
    replay, synthetic = _replay(request)
    test = _labelled(request.test, request, plan)
    return _Sets(plan=plan, test=test, replay=replay, synthetic=synthetic)


def _plan(request: _Request) -> Plan:
    frames, keys = read_labelled(
        request.files,
        energy_key=request.energy_key,
        forces_key=request.forces_key,
        energies_only=request.energies_only,
    )
    return make_plan(
        request.start,
        frames,
        keys,
        request.recipe,
        given_eV=request.isolated_energies_eV,
        drop=request.drop_bad,
        tested=bool(request.test),
    )


def _make(
    request: _Request,
    sets: _Sets,
    run: Path,
    manifest: dict[str, Any],
    started: float,
) -> Results:
    """Fit, and write checkpoint and report inside the working folder."""
    plan = sets.plan
    jobs = _jobs(request, plan, sets.replay)
    judge = Judge(
        plan=plan,
        weights=run_fits(jobs, run, workers=request.workers),
        test=sets.test,
        synthetic=sets.synthetic,
    )
    config = _described(judge.tuned.config, plan, manifest)
    results = Results(
        model=request.model,
        plan=plan,
        losses=read_losses(run / FIT),
        training=judge.training(),
        unseen=judge.unseen(),
        synthetic=judge.forgotten(),
        direct=judge.direct(),
        curves=judge.curves(),
        provenance=config.provenance | {"versions": installed_versions()},
        seconds=time.monotonic() - started,
    )
    _write(run, judge, config, results, request.name)
    return results


def _write(
    run: Path, judge: Judge, config: CheckpointConfig, results: Results, name: str
) -> None:
    """Write checkpoint, committee, recipe and report in the working folder."""
    folder = run / CHECKPOINT_FOLDER
    if folder.exists():  # left by a run that was killed while it wrote the report
        shutil.rmtree(folder)
    write_checkpoint(
        folder,
        model=judge.tuned.model,
        config=config,
        golden=golden_structures(judge.plan.start),
        card=card_text(results, name),
    )
    if judge.plan.recipe.committee:
        _write_committee(folder, judge)
    _write_recipe(folder / RECIPE_FILE, judge.plan.recipe)
    write_report(folder, results)


def _write_committee(folder: Path, judge: Judge) -> None:
    golden = golden_structures(judge.plan.start)
    (folder / MEMBERS_FOLDER).mkdir()
    for number, member in enumerate(judge.members(), start=1):
        place = folder / MEMBERS_FOLDER / str(number)
        write_checkpoint(place, model=member.model, config=member.config, golden=golden)


def _jobs(request: _Request, plan: Plan, replay: LabelledSet) -> list[FitJob]:
    """Return the fits to make, the one that is kept first."""
    mixed = list(zip(replay.structures, replay.labels, strict=True))
    first = FitJob(
        name=FIT,
        start=plan.start,
        recipe=plan.recipe,
        training=plan.on_model_scale(plan.training),
        replay=mixed,
    )
    jobs = [first]
    for number, (part, _) in enumerate(plan.checks):
        jobs.append(
            dataclasses.replace(
                first, name=check_name(number), training=plan.on_model_scale(part)
            )
        )
    if request.compare_direct:
        fitted = plan.checks[0][0] if plan.checks else plan.training
        scratch = on_scale(fitted, plan.config.elements, direct_reference(plan))
        jobs.append(
            dataclasses.replace(
                first, name=DIRECT, training=scratch, replay=(), fresh=True
            )
        )
    return jobs


def _labelled(files: Sequence[Path], request: _Request, plan: Plan) -> LabelledSet:
    """Return a set to look at; its labels are where those of the fit are."""
    if not files:
        return plan.training.part([])
    frames, keys = read_labelled(
        files, energy_key=request.energy_key, forces_key=request.forces_key
    )
    labelled = as_labelled(frames, keys)
    alone = labelled.alone(plan.config.cutoff_A)
    return labelled.part(np.flatnonzero(~alone).tolist())


def _replay(request: _Request) -> tuple[LabelledSet, LabelledSet]:
    """Return the synthetic structures to mix in, and those to measure with."""
    if not request.replay:
        empty = LabelledSet(structures=[], labels=[], origins=[])
        return empty, empty
    labelled = as_labelled(*read_labelled(request.replay))
    mixed, kept = split_by_group(labelled.structures, SYNTHETIC_SHARE, seed=0)
    return labelled.part(mixed), labelled.part(kept[:MAX_SYNTHETIC])


def _described(
    config: CheckpointConfig, plan: Plan, manifest: dict[str, Any]
) -> CheckpointConfig:
    """Return the description of the tuned model: its labels, and what made it."""
    reference = plan.reference
    labels = {
        "source": "labels of the user's own",
        "energy": "total energy of the cell, as in the labels",
        "energy_shifts_eV": reference.shifts_eV,
        "isolated_atoms": reference.sources,
        "spread_eV_per_atom": reference.spread_eV_per_atom,
        "undetermined": list(reference.undetermined),
        "start": plan.config.labels,
    }
    hashes = {name: value for name, value in manifest.items() if "sha256" in name}
    made = hashes | {
        "finetune_recipe": recipe_hash(plan.recipe)[:12],
        "seed": plan.recipe.seed,
        "training_structures": len(plan.training),
        "held_out_structures": len(plan.held_out),
        "start": plan.config.provenance,
    }
    return dataclasses.replace(config, labels=labels, provenance=made, kind="potential")


def _write_recipe(path: Path, recipe: FinetuneRecipe) -> None:
    text = yaml.safe_dump({"finetune": recipe_values(recipe)}, sort_keys=False)
    with new_file(path) as partial:
        partial.write_text(text, encoding="utf-8")
