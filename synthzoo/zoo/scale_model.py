"""A checkpoint of one element made into a start for another: scaled and renamed.

Where the energy of a structure with positions r is E(r), the new network gives exactly
f E(r / s), with factors f of energies and s of lengths: what a fit to structures that
`synthzoo.data.transmute` has scaled would aim at, without a fit.

What is left to fine-tuning is the constant per atom, which `finetuning` takes off
first. Where it is left to the fit, the start is lost: `docs/another-element.md`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthzoo.data.transmute import HISTORY_KEY, Transmutation, transmute_structure
from synthzoo.errors import CheckpointError, InputError
from synthzoo.models.checkpoint import golden_structures, load_model, write_checkpoint
from synthzoo.models.network import build_model, load_weights
from synthzoo.runs.files import refuse_existing
from synthzoo.zoo.find import find_folder

if TYPE_CHECKING:
    from ase import Atoms
    from torch import Tensor
    from torch.nn import Module

    from synthzoo.models.config import CheckpointConfig

SCALES, SHIFTS = "per_type_energy_scales", "per_type_energy_shifts"
CUTOFFS, NEIGHBOURS = "per_edge_type_cutoff", "avg_num_neighbors"

DESCRIBED = (
    "edge_norm._rmax_recip",
    "per_type_energy_scale_shift.scales",
    "per_type_energy_scale_shift.shifts",
)
"""How the names of weights end that follow from the description."""

FIRST_RADIAL = ".edge_mlp.mlp.0.weight"
"""How the name of the first layer of a radial network ends."""

TOLERANCE_EV_PER_ATOM = 1e-4


@dataclass(frozen=True, kw_only=True)
class ModelTransmutation:
    """What `transmute_model` made.

    Attributes
    ----------
    output
        The checkpoint, a starting point for fine-tuning.
    change
        What was done, in words.
    cutoff_A
        Radius within which its atoms see each other.
    parameters
        Number of weights; they are as many as before.
    """

    output: Path
    change: str
    cutoff_A: float
    parameters: int


def transmute_model(
    model: str | Path,
    output: str | Path,
    *,
    element: str,
    scale: float,
    energy_factor: float = 1.0,
) -> ModelTransmutation:
    """Turn a checkpoint of one element into a starting point for another.

    Its energies are relative to isolated atoms, whatever those of the old checkpoint
    were. It has to be fine-tuned before use.

    Parameters
    ----------
    model
        Name, folder or hub reference of a checkpoint of one element.
    output
        Checkpoint folder to make.
    element
        Chemical symbol of the new element.
    scale
        Factor of all lengths, including the cutoff.
    energy_factor
        Factor of all energies; forces follow, by ``energy_factor / scale``.

    Raises
    ------
    InputError
        If the output exists, the element is unknown, a factor is not positive, or the
        model has several elements or a part with lengths of its own.
    CheckpointError
        If the model cannot be loaded, or the new one does not predict the scaled
        energies of the old one.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = transmute_model(
    ...         "carbon-ace-2k", f"{folder}/silicon", element="Si", scale=1.5
    ...     )
    >>> made.cutoff_A
    6.0
    """
    output = Path(output)
    refuse_existing(output)
    folder = find_folder(model)
    old, config = load_model(folder)
    _refuse_others(config, str(model))
    change = Transmutation(element=element, scale=scale, energy_factor=energy_factor)
    before = golden_structures(folder)
    after = [transmute_structure(atoms, change=change) for atoms in before]
    history = after[0].info[HISTORY_KEY]
    moved = _described(config, _energy_terms(old, config), change, history)
    network = build_model(moved)
    load_weights(network, _weights(old, network, scale), where=str(model))
    _check((old, config, before), (network, moved, after), energy_factor)
    write_checkpoint(output, model=network, config=moved, golden=after)
    return ModelTransmutation(
        output=output,
        change=history,
        cutoff_A=moved.cutoff_A,
        parameters=sum(weight.numel() for weight in network.parameters()),
    )


def _refuse_others(config: CheckpointConfig, name: str) -> None:
    if len(config.elements) != 1:
        raise InputError(
            f"{name} knows {', '.join(config.elements)}; only models of one element "
            "can be transmuted."
        )
    if config.arguments.get("pair_potential") is not None:
        raise InputError(
            f"{name} has a pair potential of its element, which does not scale with "
            "lengths; choose a model without."
        )


def _energy_terms(model: Module, config: CheckpointConfig) -> tuple[float, float]:
    """Return factor and constant (eV) of the energy of each atom, as they are now.

    The constant is relative to the isolated atom.
    """
    found = {SCALES: 1.0, SHIFTS: 0.0}
    for name, values in model.state_dict().items():
        for ending, key in ((DESCRIBED[1], SCALES), (DESCRIBED[2], SHIFTS)):
            if name.endswith(ending) and values.numel():
                found[key] = float(values.reshape(-1)[0])
    alone = config.isolated_atom_energies_eV.get(config.elements[0], 0.0)
    return found[SCALES], found[SHIFTS] - alone


def _described(
    config: CheckpointConfig,
    energy_terms: tuple[float, float],
    change: Transmutation,
    history: str,
) -> CheckpointConfig:
    """Return the description of the new model and of what it comes from."""
    element = change.element
    arguments = dict(config.arguments)
    for key, value in zip((SCALES, SHIFTS), energy_terms, strict=True):
        arguments[key] = {element: change.energy_factor * value}
    for key, factor in ((CUTOFFS, change.scale), (NEIGHBOURS, 1.0)):
        if arguments.get(key) is not None:
            arguments[key] = _renamed(arguments[key], element, factor)
    labels = {
        "energy": "total energy of the cell minus its isolated atoms",
        HISTORY_KEY: history,
        "start": config.labels,
    }
    provenance = {
        HISTORY_KEY: history,
        "start_weights_sha256": config.weights_sha256,
        "start": config.provenance,
    }
    return dataclasses.replace(
        config,
        arguments=arguments,
        elements=(element,),
        cutoff_A=change.scale * config.cutoff_A,
        isolated_atom_energies_eV={element: 0.0},
        labels=labels,
        provenance=provenance,
        kind="starting-point",
    )


def _renamed(value: Any, element: str, factor: float) -> Any:
    """Return a number, or a table of the one element, times a factor."""
    if isinstance(value, dict):
        (entry,) = value.values()
        return {element: _renamed(entry, element, factor)}
    return factor * value


def _weights(old: Module, new: Module, scale: float) -> dict[str, Tensor]:
    """Return the weights of the new model.

    nequip divides the radial functions, which depend on lengths over the cutoff, by the
    square of the cutoff; the layer that comes next takes that back.
    """
    weights: dict[str, Tensor] = old.state_dict()
    described = new.state_dict()
    for name, value in weights.items():
        if name.endswith(FIRST_RADIAL):
            weights[name] = scale**2 * value
        elif name.endswith(DESCRIBED):
            weights[name] = described[name]
    return weights


_Side = tuple["Module", "CheckpointConfig", "Sequence[Atoms]"]


def _check(before: _Side, after: _Side, energy_factor: float) -> None:
    """Refuse a new model whose energies are not those of the old one, scaled."""
    expected, found = _energies_eV_per_atom(*before), _energies_eV_per_atom(*after)
    for old, new in zip(expected, found, strict=True):
        difference = abs(new - energy_factor * old)
        if difference > TOLERANCE_EV_PER_ATOM * max(1.0, energy_factor * abs(old)):
            raise CheckpointError(
                f"The network of {before[1].builder} does not scale as expected: "
                f"energies differ by {difference:.1g} eV/atom from those of the model "
                "it was made of. It was not written; please report this."
            )


def _energies_eV_per_atom(
    model: Module, config: CheckpointConfig, structures: Sequence[Atoms]
) -> list[float]:
    """Return energies relative to isolated atoms."""
    from synthzoo.models.calculator import SynthzooCalculator

    calculator = SynthzooCalculator(model.eval(), config, device="cpu")
    energies = []
    for atoms in structures:
        calculator.calculate(atoms)
        energies.append(calculator.results["energy"] / len(atoms))
    alone = config.isolated_atom_energies_eV.get(config.elements[0], 0.0)
    return [energy - alone for energy in energies]
