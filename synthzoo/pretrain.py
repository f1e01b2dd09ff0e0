"""Stage 3: labelled structures to a checkpoint."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from synthzoo.checkpoint import (
    build_model,
    load_model,
    read_config,
    write_checkpoint,
)
from synthzoo.config import FORMAT_VERSION, CheckpointConfig
from synthzoo.curves import draw_curves
from synthzoo.errors import InputError
from synthzoo.files import hash_files
from synthzoo.hub import find_folder
from synthzoo.isolation import nequip_session
from synthzoo.labels import CALCULATOR, LabelKeys, labels_of
from synthzoo.recipes import PretrainRecipe, recipe_hash, recipe_values
from synthzoo.resumable import open_run
from synthzoo.structures import check_structure, read_structures, split_by_group
from synthzoo.transmute import HISTORY_KEY

if TYPE_CHECKING:
    import torch
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
    epochs, kept_epoch, steps
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
    kept_epoch: int
    steps: int
    energy_rmse_meV_per_atom: float
    force_rmse_eV_A: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class _Split:
    elements: tuple[str, ...]
    training: list[Graph]
    validation: list[Graph]
    golden: list[Atoms]


def pretrain(
    recipe: PretrainRecipe,
    data: Path | Sequence[Path],
    output: Path,
    *,
    start: str | Path | None = None,
) -> PretrainSummary:
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
        Files with structures labelled by `synthzoo.relabel.relabel_file`: energies
        relative to isolated atoms, in ASE's own place.
    output
        Checkpoint folder to make.
    start
        Checkpoint whose network and weights the fit starts from, instead of a new
        network of the recipe's shape.

    Raises
    ------
    InputError
        If the output exists, labels are missing or not finite, the set cannot be split,
        or the start knows other elements.
    SynthzooError
        If the loss stops being a number.
    """
    started = time.monotonic()
    output = Path(output)
    files = [data] if isinstance(data, Path) else list(data)
    made = {"data_sha256": hash_files(files)}
    if start is not None:
        start = find_folder(start)
        begun = read_config(start)
        made["start_weights_sha256"] = begun.weights_sha256
        if "licence" in begun.provenance:
            made["licence"] = begun.provenance["licence"]
    folder = open_run(output, {"recipe": recipe_values(recipe)} | made)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe_values(recipe)))
    structures = [atoms for file in files for atoms in read_structures(file)]
    made |= _provenance(structures)
    with nequip_session():
        split = _split(structures, recipe, _cutoff_A(recipe, start))
        network, config = _network(recipe, split, start)
        result = _fit(network, recipe, split, folder)
        config = _with_result(config, recipe, result, made)
        write_checkpoint(output, model=result.model, config=config, golden=split.golden)
    draw_curves(folder)
    return PretrainSummary(
        output=output,
        parameters=sum(weight.numel() for weight in result.model.parameters()),
        training_structures=len(split.training),
        training_atoms=sum(len(graph["pos"]) for graph in split.training),
        validation_structures=len(split.validation),
        epochs=result.epochs,
        kept_epoch=result.kept_epoch,
        steps=result.steps,
        energy_rmse_meV_per_atom=result.energy_rmse_meV_per_atom,
        force_rmse_eV_A=result.force_rmse_eV_A,
        seconds=time.monotonic() - started,
    )


def _cutoff_A(recipe: PretrainRecipe, start: Path | None) -> float:
    return recipe.model.cutoff_A if start is None else read_config(start).cutoff_A


def _split(
    structures: Sequence[Atoms], recipe: PretrainRecipe, cutoff_A: float
) -> _Split:
    from synthzoo.graphs import to_graph

    elements = tuple(
        sorted({symbol for atoms in structures for symbol in atoms.symbols})
    )
    keys = LabelKeys(energy=CALCULATOR, forces=CALCULATOR)
    graphs = []
    for number, atoms in enumerate(structures, start=1):
        name = f"structure number {number}"
        check_structure(atoms, name=name)
        labels = labels_of(atoms, keys, name=name)
        graphs.append(to_graph(atoms, labels, elements=elements, cutoff_A=cutoff_A))
    training, validation = split_by_group(
        structures, recipe.fit.validation_share, seed=recipe.fit.seed
    )
    small = [index for index in validation if len(structures[index]) <= GOLDEN_ATOMS]
    golden = small[:: max(1, len(small) // GOLDEN_STRUCTURES)][:GOLDEN_STRUCTURES]
    return _Split(
        elements=elements,
        training=[graphs[index] for index in training],
        validation=[graphs[index] for index in validation],
        golden=[structures[index] for index in golden],
    )


def _network(
    recipe: PretrainRecipe, split: _Split, start: Path | None
) -> tuple[torch.nn.Module, CheckpointConfig]:
    """Return a new network, or that of the start, with its description."""
    if start is None:
        config = _config(recipe, split)
        return build_model(config, seed=recipe.fit.seed), config
    network, config = load_model(start)
    if config.elements != split.elements:
        raise InputError(
            f"{start} knows {', '.join(config.elements)}, but the structures are of "
            f"{', '.join(split.elements)}."
        )
    return network.train(), dataclasses.replace(config, kind=recipe.kind)


def _config(recipe: PretrainRecipe, split: _Split) -> CheckpointConfig:
    from synthzoo.graphs import force_rms_eV_A, mean_neighbours

    shape = dataclasses.asdict(recipe.model)
    cutoff_A = shape.pop("cutoff_A")
    shape["num_features"] = list(shape["num_features"])
    zeros = dict.fromkeys(split.elements, 0.0)
    statistics = {
        "avg_num_neighbors": mean_neighbours(split.training),
        "per_type_energy_scales": force_rms_eV_A(split.training),
        "per_type_energy_shifts": zeros,
    }
    return CheckpointConfig(
        format_version=FORMAT_VERSION,
        builder="NequIPGNNModel",
        arguments=shape | statistics,
        elements=split.elements,
        cutoff_A=cutoff_A,
        dtype="float32",
        isolated_atom_energies_eV=zeros,
        labels={},
        kind=recipe.kind,
        provenance={},
    )


def _provenance(structures: Sequence[Atoms]) -> dict[str, str]:
    """Return where the labels come from; one teacher must have made them all."""
    found = {}
    for key in ("teacher", "teacher_sha256", "teacher_software"):
        values = _values(structures, key)
        if len(values) > 1:
            raise InputError(
                f"The structures come from several sources ({key}: "
                f"{', '.join(values)}); train on the labels of one teacher at a time."
            )
        found[key] = values[0]
    if any(HISTORY_KEY in atoms.info for atoms in structures):
        found[HISTORY_KEY] = " or ".join(_values(structures, HISTORY_KEY))
    recipes = ", ".join(_values(structures, "generate_recipe"))
    return found | {"generate_recipe": recipes}


def _values(structures: Sequence[Atoms], key: str) -> list[str]:
    return sorted({str(atoms.info.get(key, "unknown")) for atoms in structures})


def _fit(
    network: torch.nn.Module, recipe: PretrainRecipe, split: _Split, folder: Path
) -> FitResult:
    import torch

    from synthzoo.training import fit

    if recipe.fit.threads is not None:
        torch.set_num_threads(recipe.fit.threads)
    return fit(
        network,
        recipe.fit,
        training=split.training,
        validation=split.validation,
        folder=folder,
    )


def _with_result(
    config: CheckpointConfig,
    recipe: PretrainRecipe,
    result: FitResult,
    made: dict[str, str],
) -> CheckpointConfig:
    labels = {
        "teacher": made["teacher"],
        "energy": "total energy of the cell minus its isolated atoms",
    }
    fitted = {
        "pretrain_recipe": recipe_hash(recipe)[:12],
        "seed": recipe.fit.seed,
        "epochs": result.epochs,
        "kept_epoch": result.kept_epoch,
        "steps": result.steps,
    }
    return dataclasses.replace(config, labels=labels, provenance=made | fitted)
