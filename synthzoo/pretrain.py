"""Stage 3: labelled structures to a checkpoint."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from synthzoo.checkpoint import write_checkpoint
from synthzoo.config import FORMAT_VERSION, CheckpointConfig
from synthzoo.curves import draw_curves
from synthzoo.errors import InputError
from synthzoo.isolation import nequip_session
from synthzoo.labels import CALCULATOR, LabelKeys, labels_of
from synthzoo.recipes import PretrainRecipe, recipe_hash, recipe_values
from synthzoo.resumable import open_run
from synthzoo.structures import check_structure, read_structures, split_by_group

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.graphs import Graph
    from synthzoo.training import FitResult

GOLDEN_STRUCTURES = 5
GOLDEN_ATOMS = 40
"""Golden predictions are kept for structures up to this size."""


@dataclass(frozen=True, kw_only=True)
class PretrainSummary:
    """What a run of `pretrain` made.

    Attributes
    ----------
    output
        Checkpoint folder.
    parameters
        Number of trained weights.
    training_structures, training_atoms, validation_structures
        Sizes of the two sets.
    epochs, best_epoch, steps
        Length of the fit, and the epoch whose weights were kept.
    energy_rmse_meV_per_atom, force_rmse_eV_A
        Errors on the validation set, against the labels.
    seconds
        Wall time of this run; of its last part if it was interrupted.
    """

    output: Path
    parameters: int
    training_structures: int
    training_atoms: int
    validation_structures: int
    epochs: int
    best_epoch: int
    steps: int
    energy_rmse_meV_per_atom: float
    force_rmse_eV_A: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class _Split:
    training: list[Graph]
    validation: list[Graph]
    golden: list[Atoms]


def pretrain(recipe: PretrainRecipe, data: Path, output: Path) -> PretrainSummary:
    """Train a network on labelled structures and write it as a checkpoint.

    The state of the fit, its logs and the resolved recipe are kept in ``OUTPUT.parts``,
    with a figure of the errors over the epochs;
    a run that was killed goes on there after its last whole epoch and ends in the same
    weights as one that was not.

    Parameters
    ----------
    recipe
        Network and fit.
    data
        Structures labelled by `synthzoo.relabel.relabel_file`: energies relative to
        isolated atoms, in ASE's own place.
    output
        Checkpoint folder to make.

    Raises
    ------
    InputError
        If the output exists, labels are missing or not finite, or the set cannot be
        split.
    SynthzooError
        If the loss stops being a number.
    """
    started = time.monotonic()
    data, output = Path(data), Path(output)
    digest = hashlib.sha256(_read_bytes(data)).hexdigest()
    folder = open_run(output, {"recipe": recipe_values(recipe), "data_sha256": digest})
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe_values(recipe)))
    structures = read_structures(data)
    elements = tuple(
        sorted({symbol for atoms in structures for symbol in atoms.symbols})
    )
    with nequip_session():
        split = _split(structures, elements, recipe)
        config = _config(
            recipe, elements, split.training, _provenance(structures, digest)
        )
        result = _fit(config, recipe, split, folder)
        config = _with_result(config, recipe, result)
        write_checkpoint(output, model=result.model, config=config, golden=split.golden)
    draw_curves(folder)
    return PretrainSummary(
        output=output,
        parameters=sum(weight.numel() for weight in result.model.parameters()),
        training_structures=len(split.training),
        training_atoms=sum(len(graph["pos"]) for graph in split.training),
        validation_structures=len(split.validation),
        epochs=result.epochs,
        best_epoch=result.best_epoch,
        steps=result.steps,
        energy_rmse_meV_per_atom=result.energy_rmse_meV_per_atom,
        force_rmse_eV_A=result.force_rmse_eV_A,
        seconds=time.monotonic() - started,
    )


def _read_bytes(data: Path) -> bytes:
    if not data.is_file():
        raise InputError(f"There is no file {data}.")
    return data.read_bytes()


def _split(
    structures: Sequence[Atoms], elements: tuple[str, ...], recipe: PretrainRecipe
) -> _Split:
    from synthzoo.graphs import to_graph

    keys = LabelKeys(energy=CALCULATOR, forces=CALCULATOR)
    graphs = []
    for number, atoms in enumerate(structures, start=1):
        name = f"structure number {number}"
        check_structure(atoms, name=name)
        labels = labels_of(atoms, keys, name=name)
        graphs.append(
            to_graph(atoms, labels, elements=elements, cutoff_A=recipe.model.cutoff_A)
        )
    rng = np.random.default_rng(recipe.fit.seed)
    training, validation = split_by_group(structures, recipe.fit.validation_share, rng)
    small = [index for index in validation if len(structures[index]) <= GOLDEN_ATOMS]
    golden = small[:: max(1, len(small) // GOLDEN_STRUCTURES)][:GOLDEN_STRUCTURES]
    return _Split(
        training=[graphs[index] for index in training],
        validation=[graphs[index] for index in validation],
        golden=[structures[index] for index in golden],
    )


def _config(
    recipe: PretrainRecipe,
    elements: tuple[str, ...],
    training: list[Graph],
    provenance: dict[str, Any],
) -> CheckpointConfig:
    from synthzoo.graphs import force_rms_eV_A, mean_neighbours

    shape = dataclasses.asdict(recipe.model)
    cutoff_A = shape.pop("cutoff_A")
    shape["num_features"] = list(shape["num_features"])
    statistics = {
        "avg_num_neighbors": mean_neighbours(training),
        "per_type_energy_scales": force_rms_eV_A(training),
        "per_type_energy_shifts": dict.fromkeys(elements, 0.0),
    }
    return CheckpointConfig(
        format_version=FORMAT_VERSION,
        builder="NequIPGNNModel",
        arguments=shape | statistics,
        elements=elements,
        cutoff_A=cutoff_A,
        dtype="float32",
        isolated_atom_energies_eV=dict.fromkeys(elements, 0.0),
        labels={
            "teacher": provenance["teacher"],
            "energy": "total energy of the cell minus its isolated atoms",
        },
        kind=recipe.kind,
        provenance=provenance,
    )


def _provenance(structures: Sequence[Atoms], data_sha256: str) -> dict[str, Any]:
    keys = ("teacher", "teacher_sha256", "teacher_software", "generate_recipe")
    found: dict[str, Any] = {}
    for key in keys:
        values = sorted({str(atoms.info.get(key, "unknown")) for atoms in structures})
        if len(values) > 1:
            raise InputError(
                f"The structures come from several sources ({key}: "
                f"{', '.join(values)}); train on the labels of one teacher at a time."
            )
        found[key] = values[0]
    return found | {"data_sha256": data_sha256}


def _fit(
    config: CheckpointConfig, recipe: PretrainRecipe, split: _Split, folder: Path
) -> FitResult:
    import torch

    from synthzoo.training import fit

    if recipe.fit.threads is not None:
        torch.set_num_threads(recipe.fit.threads)
    return fit(
        config,
        recipe.fit,
        training=split.training,
        validation=split.validation,
        folder=folder,
    )


def _with_result(
    config: CheckpointConfig, recipe: PretrainRecipe, result: FitResult
) -> CheckpointConfig:
    made = {
        "pretrain_recipe": recipe_hash(recipe)[:12],
        "seed": recipe.fit.seed,
        "epochs": result.epochs,
        "best_epoch": result.best_epoch,
        "steps": result.steps,
    }
    return dataclasses.replace(config, provenance=config.provenance | made)
