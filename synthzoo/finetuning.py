"""Fine-tune a checkpoint on a user's labelled structures."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from synthzoo.checkpoint import golden_structures, read_config, write_checkpoint
from synthzoo.files import new_file
from synthzoo.frames import find_files
from synthzoo.hub import find_folder
from synthzoo.recipes import recipe_hash, recipe_values
from synthzoo.resumable import open_run
from synthzoo.tuned_model import with_reference
from synthzoo.tuning_data import hash_files, read_labelled
from synthzoo.tuning_fits import FitJob, run_fit
from synthzoo.tuning_plan import Plan, make_plan, on_model_scale
from synthzoo.tuning_recipe import FinetuneRecipe

if TYPE_CHECKING:
    from synthzoo.config import CheckpointConfig

RECIPE_FILE = "recipe.yaml"
CHECKPOINT_FOLDER = "checkpoint"


@dataclass(frozen=True, kw_only=True)
class FinetuneSummary:
    """What a run of `finetune` made.

    Attributes
    ----------
    output
        Checkpoint folder.
    training_structures, held_out_structures, isolated_atoms
        Sizes of the two sets; isolated atoms are in neither.
    reference
        What was done to the energies, in words.
    seconds
        Wall time of this run; of its last part if it was interrupted.
    """

    output: Path
    training_structures: int
    held_out_structures: int
    isolated_atoms: int
    reference: str
    seconds: float


def finetune(  # noqa: PLR0913  what a user may say
    model: str | Path,
    data: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    recipe: FinetuneRecipe | None = None,
    isolated_energies_eV: Mapping[str, float] | None = None,
    energy_key: str | None = None,
    forces_key: str | None = None,
) -> FinetuneSummary:
    """Fine-tune a checkpoint on labelled structures and write a new checkpoint.

    Energies may be total energies on any scale: what they are measured from is found
    (see `synthzoo.energy_reference`), and the new checkpoint gives them again. The
    state of the fit is kept in ``OUTPUT.parts`` until the checkpoint is complete; a run
    that was killed goes on there and ends in the same weights as one that was not.

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
    files = find_files(data)
    recipe = recipe or FinetuneRecipe()
    given_eV = dict(isolated_energies_eV or {})
    start = find_folder(model)
    inputs = {
        "start_weights_sha256": read_config(start).weights_sha256,
        "data_sha256": hash_files(files),
        "recipe": recipe_values(recipe),
        "isolated_energies_eV": given_eV,
        "keys": [energy_key, forces_key],
    }
    labelled, keys = read_labelled(files, energy_key=energy_key, forces_key=forces_key)
    plan = make_plan(start, labelled, keys, recipe, given_eV)
    run = open_run(output, inputs)
    _write_results(plan, run, inputs)
    (run / CHECKPOINT_FOLDER).replace(output)
    shutil.rmtree(run)
    return FinetuneSummary(
        output=output,
        training_structures=len(plan.training),
        held_out_structures=len(plan.held_out),
        isolated_atoms=plan.isolated,
        reference=plan.reference.summary,
        seconds=time.monotonic() - started,
    )


def _write_results(plan: Plan, run: Path, inputs: dict[str, Any]) -> None:
    """Fit, and write the checkpoint with its report inside the working folder."""
    job = FitJob(
        name="fit",
        start=plan.start,
        recipe=plan.recipe,
        training=on_model_scale(plan.training, plan),
    )
    weights = run_fit(job, run)
    model, config = with_reference(weights, plan.config, plan.reference)
    config = _described(config, plan, inputs)
    folder = run / CHECKPOINT_FOLDER
    if folder.exists():  # left by a run that was killed while it wrote the report
        shutil.rmtree(folder)
    write_checkpoint(
        folder, model=model, config=config, golden=golden_structures(plan.start)
    )
    _write_recipe(folder / RECIPE_FILE, plan.recipe)


def _described(
    config: CheckpointConfig, plan: Plan, inputs: dict[str, Any]
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
        "start": config.labels,
    }
    made = {
        "start_weights_sha256": inputs["start_weights_sha256"],
        "data_sha256": inputs["data_sha256"],
        "finetune_recipe": recipe_hash(plan.recipe)[:12],
        "seed": plan.recipe.seed,
        "training_structures": len(plan.training),
        "held_out_structures": len(plan.held_out),
        "start": config.provenance,
    }
    return dataclasses.replace(config, labels=labels, provenance=made, kind="potential")


def _write_recipe(path: Path, recipe: FinetuneRecipe) -> None:
    text = yaml.safe_dump({"finetune": recipe_values(recipe)}, sort_keys=False)
    with new_file(path) as partial:
        partial.write_text(text, encoding="utf-8")
