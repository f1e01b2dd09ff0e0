"""The folder that a fine-tuning makes: checkpoint, committee, recipe, report."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from synthzoo.checkpoint import golden_structures, write_checkpoint
from synthzoo.files import new_file
from synthzoo.recipes import recipe_hash, recipe_values
from synthzoo.tuning.committee import MEMBERS_FOLDER
from synthzoo.tuning.report import card_text, write_report

if TYPE_CHECKING:
    from synthzoo.config import CheckpointConfig
    from synthzoo.tuning.judge import Judge
    from synthzoo.tuning.plan import Plan
    from synthzoo.tuning.recipe import FinetuneRecipe
    from synthzoo.tuning.results import Results

RECIPE_FILE = "recipe.yaml"


def write_tuned(
    folder: Path, judge: Judge, config: CheckpointConfig, results: Results, name: str
) -> None:
    """Write checkpoint, committee, recipe and report.

    Parameters
    ----------
    folder
        To make; what a run that was killed has left there is removed.
    judge
        Has the tuned models.
    config
        Description of the tuned model.
    results
        What the fine-tuning gave.
    name
        Of the checkpoint.
    """
    if folder.exists():
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


def described(
    config: CheckpointConfig, plan: Plan, manifest: dict[str, Any]
) -> CheckpointConfig:
    """Return the description of the tuned model: its labels, and what made it.

    Parameters
    ----------
    config
        Of the tuned model, the rest as in its start.
    plan
        What was fitted to what.
    manifest
        What decided the result.
    """
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


def _write_committee(folder: Path, judge: Judge) -> None:
    golden = golden_structures(judge.plan.start)
    (folder / MEMBERS_FOLDER).mkdir()
    for number, member in enumerate(judge.members(), start=1):
        place = folder / MEMBERS_FOLDER / str(number)
        write_checkpoint(place, model=member.model, config=member.config, golden=golden)


def _write_recipe(path: Path, recipe: FinetuneRecipe) -> None:
    text = yaml.safe_dump({"finetune": recipe_values(recipe)}, sort_keys=False)
    with new_file(path) as partial:
        partial.write_text(text, encoding="utf-8")
