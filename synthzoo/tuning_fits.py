"""The fits of a fine-tuning: each in a folder of its own, resumed where it was."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from synthzoo.checkpoint import load_model
from synthzoo.files import new_file
from synthzoo.isolation import nequip_session
from synthzoo.recipes import FitRecipe

if TYPE_CHECKING:
    import torch
    from ase import Atoms

    from synthzoo.graphs import Graph
    from synthzoo.labels import Labels
    from synthzoo.tuning_recipe import FinetuneRecipe

WEIGHTS_FILE = "weights.safetensors"
"""In the folder of a fit that has ended."""


@dataclass(frozen=True, kw_only=True)
class FitJob:
    """One fit.

    Attributes
    ----------
    name
        Of its folder.
    start
        Folder of the checkpoint whose weights it starts from.
    recipe
        How to fit, with nothing left open.
    training
        Structures with labels on the checkpoint's scale.
    """

    name: str
    start: Path
    recipe: FinetuneRecipe
    training: Sequence[tuple[Atoms, Labels]]


def run_fit(job: FitJob, folder: Path) -> dict[str, torch.Tensor]:
    """Return the weights that a fit ends with; go on where it was killed before.

    Parameters
    ----------
    job
        What to fit.
    folder
        Working folder of the whole run.

    Raises
    ------
    SynthzooError
        If the loss stops being a number.
    """
    import safetensors.torch

    place = folder / job.name
    done = place / WEIGHTS_FILE
    if not done.is_file():
        place.mkdir(exist_ok=True)
        weights = _fitted(job, place)
        with new_file(done) as partial:
            safetensors.torch.save_file(weights, partial)
    return safetensors.torch.load_file(done)


def fit_recipe(recipe: FinetuneRecipe, structures: int) -> FitRecipe:
    """Return the fit that a resolved recipe means for so many training structures.

    Parameters
    ----------
    recipe
        With nothing left open.
    structures
        Number of training structures.
    """
    if recipe.visits is None or recipe.learning_rate is None:
        raise ValueError("The recipe is not resolved.")
    return FitRecipe(
        seed=recipe.seed,
        batch_atoms=recipe.batch_atoms,
        max_epochs=math.ceil(recipe.visits / structures),
        learning_rate=recipe.learning_rate,
        warmup_steps=recipe.warmup_steps,
        decay_start=recipe.decay_start,
        ema_decay=recipe.ema_decay,
        gradient_clip=recipe.gradient_clip,
        energy_weight=recipe.energy_weight,
        forces_weight=recipe.forces_weight,
        keep="last",
        threads=recipe.threads,
    )


def _fitted(job: FitJob, folder: Path) -> dict[str, torch.Tensor]:
    with nequip_session():
        import torch

        from synthzoo.training import fit

        recipe = fit_recipe(job.recipe, len(job.training))
        if recipe.threads is not None:
            torch.set_num_threads(recipe.threads)
        network, config = load_model(job.start)
        graphs = _graphs(job.training, config.elements, config.cutoff_A)
        result = fit(
            network.train(), recipe, training=graphs, validation=[], folder=folder
        )
        return {
            name: value.detach().clone().contiguous()
            for name, value in result.model.state_dict().items()
        }


def _graphs(
    labelled: Sequence[tuple[Atoms, Labels]],
    elements: Sequence[str],
    cutoff_A: float,
) -> list[Graph]:
    from synthzoo.graphs import to_graph

    return [
        to_graph(atoms, labels, elements=elements, cutoff_A=cutoff_A)
        for atoms, labels in labelled
    ]
