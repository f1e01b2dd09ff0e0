"""Fine-tune a checkpoint on a user's labelled structures."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

import yaml

from synthzoo.finetuning.certainty import find_certainty
from synthzoo.finetuning.committee import MEMBERS_FOLDER
from synthzoo.finetuning.fits import (
    WEIGHTS_FILE,
    fit_recipe,
    read_batch_atoms,
    read_snapshots,
    run_fits,
)
from synthzoo.finetuning.gain import find_gain
from synthzoo.finetuning.jobs import ALONE, describe_jobs, make_jobs, mixed_in
from synthzoo.finetuning.judge import Judge
from synthzoo.finetuning.length import describe_trials, find_length, most_visits
from synthzoo.finetuning.recipe import FinetuneRecipe
from synthzoo.finetuning.report import card_text, write_report
from synthzoo.finetuning.report_text import ALONE_FOLDER
from synthzoo.finetuning.request import Request, find_request, read_sets
from synthzoo.finetuning.results import DirectTraining, Results
from synthzoo.finetuning.select_by_md import DYNAMICS_FOLDER, select_by_md
from synthzoo.models.checkpoint import write_checkpoint
from synthzoo.models.config import GUESSED
from synthzoo.models.levels import NewLevels
from synthzoo.recipes.loading import recipe_hash, recipe_values, settle_recipe
from synthzoo.reports.document import MARKDOWN_FILE
from synthzoo.runs.files import new_file
from synthzoo.runs.progress import keep_silent
from synthzoo.runs.provenance import installed_versions
from synthzoo.runs.resumable import open_run, refuse_finished
from synthzoo.training.curves import read_losses
from synthzoo.training.place import TrainingPlace

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from synthzoo.finetuning.energy_reference import EnergyReference
    from synthzoo.finetuning.fits import FitJob
    from synthzoo.finetuning.length import Length, RunFits
    from synthzoo.finetuning.plan import Plan
    from synthzoo.finetuning.request import Sets, Sources
    from synthzoo.finetuning.select_by_md import Candidate
    from synthzoo.models.config import CheckpointConfig
    from synthzoo.models.place import Kernels
    from synthzoo.potentials import Model


RECIPE_FILE = "recipe.yaml"


def write_tuned(
    folder: Path, judge: Judge, config: CheckpointConfig, results: Results, name: str
) -> None:
    """Write checkpoint, committee, recipe and report.

    ``folder``: to make; what a run that was killed has left there is removed.
    """
    if folder.exists():
        shutil.rmtree(folder)
    write_checkpoint(
        folder,
        model=judge.tuned.model,
        config=config,
        golden=judge.plan.start.golden,
        card=card_text(results, name),
        uncertainty=results.certainty.uncertainty if results.certainty else None,
        levels=_new_levels(judge),
    )
    if judge.plan.levels:
        _write_alone(folder / ALONE_FOLDER, judge, config)
    if judge.plan.recipe.committee:
        _write_committee(folder, judge)
    _write_recipe(folder / RECIPE_FILE, judge.plan.recipe)
    write_report(folder, results)


def described(
    config: CheckpointConfig, plan: Plan, manifest: dict[str, Any]
) -> CheckpointConfig:
    """Return the description of the tuned model: its labels, and what made it.

    ``config``: of the tuned model, the rest as in its start.
    """
    labels = _labels(plan.reference, plan)
    hashes = {name: value for name, value in manifest.items() if "sha256" in name}
    made = hashes | {
        "finetune_recipe": recipe_hash(plan.recipe)[:12],
        "seed": plan.recipe.seed,
        "training_structures": len(plan.training),
        "held_out_structures": len(plan.held_out),
        "start": plan.config.provenance,
    }
    return dataclasses.replace(config, labels=labels, provenance=made, kind="potential")


def _labels(reference: EnergyReference, plan: Plan) -> dict[str, Any]:
    """Return what the energies of a level of theory are."""
    return {
        "source": "labels of the user's own",
        "energy": "total energy of the cell, as in the labels",
        "energy_shifts_eV": reference.shifts_eV,
        "isolated_atoms": reference.sources,
        "spread_eV_per_atom": reference.spread_eV_per_atom,
        "undetermined": list(reference.undetermined),
        GUESSED: list(reference.guessed),
        "start": plan.config.labels,
    }


def _new_levels(judge: Judge) -> NewLevels | None:
    """Return the other levels of theory of the tuned model, if there are any."""
    plan = judge.plan
    if plan.level is None:
        return None
    others = {}
    for level in plan.levels:
        stored = judge.level(level.name).stored
        labels = _labels(level.reference, plan)
        config = dataclasses.replace(stored.config, labels=labels, kind="potential")
        others[level.name] = dataclasses.replace(stored, config=config)
    return NewLevels(default=plan.level, others=others)


def _write_alone(folder: Path, judge: Judge, config: CheckpointConfig) -> None:
    """Write the model of the fit to the default level alone.

    ``config``: of the tuned model.
    """
    alone = judge.calculator(ALONE)
    described = dataclasses.replace(
        alone.config,
        labels=config.labels,
        kind="potential",
        provenance=config.provenance,
    )
    golden = judge.plan.start.golden
    write_checkpoint(folder, model=alone.model, config=described, golden=golden)


def _write_committee(folder: Path, judge: Judge) -> None:
    golden = judge.plan.start.golden
    (folder / MEMBERS_FOLDER).mkdir()
    for number, member in enumerate(judge.members, start=1):
        place = folder / MEMBERS_FOLDER / str(number)
        config = dataclasses.replace(member.config, kind="potential")
        write_checkpoint(place, model=member.model, config=config, golden=golden)


def _write_recipe(path: Path, recipe: FinetuneRecipe) -> None:
    text = yaml.safe_dump({"finetune": recipe_values(recipe)}, sort_keys=False)
    with new_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


CHECKPOINT_FOLDER = "checkpoint"
RESULTS = ("*/*.ckpt", f"*/{WEIGHTS_FILE}")
"""In the working folder: what is worth going on from."""


@dataclass(frozen=True, kw_only=True)
class FinetuneSummary:
    """What a run of `finetune` made.

    Attributes
    ----------
    output
        Checkpoint folder.
    report
        What was found, done, gained and forgotten, for people.
    labels
        Where energies and forces were read.
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
    labels: str
    training_structures: int
    held_out_structures: int
    isolated_atoms: int
    verdict: str
    reference: str
    findings: tuple[str, ...]
    seconds: float


def finetune(  # noqa: PLR0913  what a user may say
    model: Model,
    data: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    recipe: FinetuneRecipe | str | Path | None = None,
    isolated_energies_eV: Mapping[str, float] | None = None,
    energy_key: str | None = None,
    forces_key: str | None = None,
    format: str | None = None,
    test: str | Path | Sequence[str | Path] = (),
    replay: str | Path | Sequence[str | Path] | None = None,
    levels: Mapping[str, Sources] | Sources | None = None,
    level: str | None = None,
    before: Model | None = None,
    energies_only: bool = False,
    drop_bad: bool = False,
    compare_direct: bool = False,
    device: str = "cpu",
    compile: bool = False,
    kernels: Kernels | None = None,
    workers: int | None = None,
    executor: Executor | None = None,
    tell: Callable[[str], object] | None = None,
    **settings: Any,
) -> FinetuneSummary:
    """Fine-tune a checkpoint on labelled structures and write a new checkpoint.

    Energies may be total energies on any scale. The constant between them and the model
    is found, and the new checkpoint predicts energies on your scale. Its folder also
    holds a report. The state of the fit is kept in ``OUTPUT.parts`` until all is
    complete. If a call was interrupted, the same call continues it and ends with the
    same weights.

    Parameters
    ----------
    model
        Where to start: a checkpoint, as for `synthzoo.potentials.resolve`.
    data
        Labelled structures: one or several files in any format that ASE reads, or
        patterns.
    output
        Checkpoint folder to make.
    recipe
        How to fit: a recipe, its file, or the name of one that comes with synthzoo.
        What it leaves open follows from the number of structures. Where these are few
        and much alike, trial fits say how long to fit.
    isolated_energies_eV
        Energy of the isolated atom of each element, on the scale of the labels. If not
        given, it is found among the structures or fitted.
    energy_key, forces_key
        Where the labels are; found among the usual names if not given.
    format
        Of the files of data and test, as ASE calls it, such as ``vasp-xml``; guessed
        for each if not given.
    test
        Labelled structures on which the errors are measured; all other data are then
        fitted.
    replay
        Synthetic structures that are also fitted, so that the model forgets less. A
        part of them is used to measure how much it forgets. Their labels, if they have
        any, come from the teacher of the start. ``"zoo"`` names those that come with
        synthzoo, for carbon. They are the default if the start is a potential of
        carbon. A `replay_share` of zero in the recipe switches replay off.
    levels
        Labelled structures of other levels of theory, by the names of the levels; one
        level without a name is ``low``. The model learns all levels at once, with a
        last layer and constants of the energy for each, and each level from what labels
        it has: many cheap energies and forces help where costly energies are few. A
        text ``level`` in the ``info`` of a structure says its level, too.
    level
        What to call the level of data, which the model predicts if not asked for
        another one; ``high`` if not given.
    before
        A model that was fitted to the first of the files of data, and to nothing else.
        The report then says what the other files have bought: errors of both models on
        structures that neither has seen.
    energies_only
        Fit to energies alone. The forces of the start replace those of the data, unless
        there are other levels.
    drop_bad
        Leave out structures in which the checks find errors.
    compare_direct
        Also train a new network of the same shape on the same data, for comparison.
    device
        Where to fit: ``cpu``, ``cuda``, ``cuda:1`` … or ``auto`` for CUDA where there
        is one. Fits on a GPU have not been tried.
    compile
        Let torch compile the network for the fits, on a GPU; each fit then starts with
        minutes of compiling.
    kernels
        Library that computes the tensor products in the fits, on a GPU:
        ``openequivariance`` or ``cuequivariance``, which has to be installed.
    workers
        Fits that run at a time; one for each core if not given.
    executor
        Where fits and dynamics run instead of on this machine; its workers must see the
        folder of the output and the checkpoint.
    tell
        Function that is called with a text: what is about to be fitted, and what it
        costs.
    **settings
        Values of `synthzoo.finetuning.recipe.FinetuneRecipe` that replace those of the
        recipe, such as ``committee=4``, ``seed=1`` or ``select_by="md"``.

    Raises
    ------
    InputError
        If the output exists, the data cannot be used, the energies cannot be brought
        onto one scale, levels of theory cannot be told apart or are of other elements,
        compiling or kernels are asked for on the CPU or with several levels, or the
        model `before` was not fitted to the first files.
    MissingExtraError
        If the kernels are not installed.
    SynthzooError
        If the loss becomes NaN.

    Examples
    --------
    >>> made = finetune("carbon", "my-dft.xyz", "my-carbon")  # doctest: +SKIP
    >>> print(made.verdict)  # doctest: +SKIP
    >>> calculator = synthzoo.load_calculator("my-carbon")  # doctest: +SKIP
    """
    started = time.monotonic()
    output = Path(output)
    refuse_finished(output)  # before anything slow; `open_run` looks again
    request = find_request(
        model,
        data,
        name=output.name,
        recipe=settle_recipe(FinetuneRecipe, recipe, **settings),
        isolated_energies_eV=isolated_energies_eV,
        energy_key=energy_key,
        forces_key=forces_key,
        format=format,
        test=test,
        replay=replay,
        levels=levels,
        level=level,
        before=before,
        energies_only=energies_only,
        drop_bad=drop_bad,
        compare_direct=compare_direct,
        place=TrainingPlace(device=device, compiled=compile, kernels=kernels),
        workers=workers,
        executor=executor,
    )
    manifest = request.manifest()
    with open_run(output, manifest, results=RESULTS) as run:
        made = run.folder / CHECKPOINT_FOLDER
        found = run.summary
        if found is None or not (made.exists() or output.exists()):
            sets = read_sets(request)
            length = _find_length(request, sets, run.folder, tell or keep_silent)
            found = run.complete(_make(request, sets, length, run.folder, started))
        if made.exists():
            made.replace(output)
        run.close()
    found["findings"] = tuple(found["findings"])
    return FinetuneSummary(output=output, report=output / MARKDOWN_FILE, **found)


def _find_length(
    request: Request, sets: Sets, run: Path, tell: Callable[[str], object]
) -> Length:
    """Say what will be fitted; return how long, by trials where that is in doubt."""
    plan, jobs = sets.plan, make_jobs(request, sets)
    most = most_visits(plan, request.recipe)
    tell(
        f"{describe_jobs(jobs, request.workers)} {describe_trials(plan, most)}".strip()
    )
    length = find_length(plan, jobs[0], most=most, run=_fitting(request, run))
    if length.plan.recipe != plan.recipe:
        longer = make_jobs(request, dataclasses.replace(sets, plan=length.plan))
        tell(f"Longer fits are better: {describe_jobs(longer, request.workers)}")
    return length


def _fitting(request: Request, run: Path) -> RunFits:
    return partial(
        run_fits, folder=run, workers=request.workers, executor=request.executor
    )


def _make(
    request: Request, sets: Sets, length: Length, run: Path, started: float
) -> dict[str, Any]:
    """Fit, write checkpoint and report in the working folder; return the summary."""
    sets = dataclasses.replace(sets, plan=length.plan)
    plan, jobs = sets.plan, make_jobs(request, sets)
    left = [job for job in jobs if job.name not in length.weights]
    judge = Judge(
        plan=plan,
        weights={
            **length.weights,
            **_fitting(request, run)(left),
            **read_snapshots(left, run),
        },
        test=sets.test,
        test_forces=sets.test_forces,
        synthetic=sets.synthetic.kept,
        device=request.place.device,
    )
    selection: list[Candidate] = []
    if plan.recipe.select_by == "md":
        selection = select_by_md(
            judge,
            run / DYNAMICS_FOLDER,
            workers=request.workers,
            executor=request.executor,
        )
        judge = dataclasses.replace(judge, choice=selection[0].name)
    config = described(judge.tuned.config, plan, request.manifest())
    results = Results(
        model=Path(request.start.name).name,
        plan=plan,
        batch_atoms=read_batch_atoms(run / judge.kept_fit) or plan.recipe.batch_atoms,
        losses=read_losses(run / judge.kept_fit),
        trials=length.trials,
        seeds=judge.seeds,
        selection=selection,
        replay=dataclasses.replace(sets.synthetic, mixed=mixed_in(request, sets)),
        training=judge.training,
        unseen=judge.unseen,
        synthetic=judge.forgotten(),
        direct=_direct(judge, jobs, run),
        alone=judge.alone(),
        levels=judge.levels(),
        curves=judge.curves(),
        physics=judge.physics(),
        certainty=find_certainty(judge),
        gain=find_gain(judge, request.earlier) if request.earlier else None,
        provenance=config.provenance | {"versions": installed_versions()},
        seconds=time.monotonic() - started,
    )
    write_tuned(run / CHECKPOINT_FOLDER, judge, config, results, request.name)
    return {
        "labels": str(plan.keys),
        "training_structures": len(plan.training),
        "held_out_structures": len(plan.held_out),
        "isolated_atoms": plan.isolated,
        "verdict": results.verdict,
        "reference": plan.reference.summary,
        "findings": plan.notes,
        "seconds": time.monotonic() - started,
    }


def _direct(judge: Judge, jobs: Sequence[FitJob], run: Path) -> DirectTraining | None:
    """Return what the fits from scratch gave, and how far they went."""
    comparison = judge.direct()
    if comparison is None:
        return None
    fresh = [job for job in jobs if job.fresh]
    ends = [read_losses(run / job.name)[-1] for job in fresh]
    return DirectTraining(
        comparison=comparison,
        visits=fresh[0].recipe.visits or 0,  # resolved: not None
        epochs=fit_recipe(fresh[0]).max_epochs,
        energy_rmse_meV_per_atom=mean(end.energy_rmse_meV_per_atom for end in ends),
        force_rmse_eV_A=mean(end.force_rmse_eV_A for end in ends),
    )
