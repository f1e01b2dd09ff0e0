"""A toy recipe of the whole chain, small enough for every test run."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from synthzoo.data.stored_set import StoredSet, open_set
from synthzoo.finetuning.checks import examine
from synthzoo.finetuning.plan import Plan, make_plan, starting_calculator
from synthzoo.generation.kinds.from_atoms import Dimers, MeltQuench, Packing
from synthzoo.generation.kinds.from_prototypes import Crystals, Surfaces
from synthzoo.generation.recipe import GenerateRecipe
from synthzoo.models.checkpoint import as_checkpoint
from synthzoo.models.recipe import ModelRecipe
from synthzoo.training.recipe import FitRecipe, PretrainRecipe
from synthzoo.training.stored_sets import write_set

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

    from synthzoo.data.frames import FrameSet
    from synthzoo.data.labels import LabelKeys
    from synthzoo.finetuning.recipe import FinetuneRecipe


def generate_recipe(driver: str) -> GenerateRecipe:
    """Return a recipe with every kind of part."""
    return GenerateRecipe(
        element="C",
        seed=7,
        driver=driver,
        parts=(
            MeltQuench(
                trajectories=2,
                atoms=(6, 8),
                density_g_cm3=(2.0, 3.0),
                min_distance_A=1.3,
                melt_K=(5000, 6000),
                melt_fs=20,
                quench_fs=20,
                anneal_K=(2000, 3000),
                anneal_fs=20,
                cool_fs=20,
                surface_fs=20,
                sample_fs=10,
            ),
            Packing(
                count=4, atoms=(4, 8), density_g_cm3=(1.0, 2.0), min_distance_A=1.3
            ),
            Crystals(count=2, prototypes={"diamond": 1.54, "layer": 1.42}, max_atoms=8),
            Surfaces(count=2, prototypes={"diamond": 1.54}, max_atoms=8),
            Dimers(count=3, distance_A=(0.7, 2.0)),
        ),
    )


def pretrain_recipe(**fit: object) -> PretrainRecipe:
    """Return a recipe for a very small network and a few epochs."""
    shape = ModelRecipe(
        num_layers=2,
        num_features=(4, 4),
        type_embed_num_features=4,
        radial_mlp_width=8,
        num_bessels=4,
    )
    settings = {
        "batch_atoms": 40,
        "max_epochs": 3,
        "warmup_steps": 3,
        "validation_share": 0.2,
        "threads": 1,
    } | fit
    return PretrainRecipe(model=shape, fit=FitRecipe(**settings))  # type: ignore[arg-type]


def finetuning_plan(
    folder: Path, frames: FrameSet, keys: LabelKeys, recipe: FinetuneRecipe
) -> Plan:
    """Return what `finetune` would do with structures, from the checkpoint there."""
    start = as_checkpoint(folder)
    examination = examine(frames, keys, starting_calculator(start))
    return make_plan(start, examination, recipe, given_eV={})


def stored(structures: Sequence[Atoms], folder: Path) -> StoredSet:
    """Return labelled structures as a set in a new folder inside of another one."""
    place = Path(tempfile.mkdtemp(prefix="set-", dir=folder))
    write_set(structures, place)
    found = open_set(place)
    assert found is not None
    return found
