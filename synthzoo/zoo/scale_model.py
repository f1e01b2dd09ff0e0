"""A checkpoint of some elements made into a start for others: scaled and renamed.

Where the energy of a structure with positions r is E(r), the new network gives exactly
f E(r / s), with factors f of energies and s of lengths: what a fit to structures that
`synthzoo.data.transmute` has scaled would aim at, without a fit.

What is left to fine-tuning is the constant per atom, which `finetuning` takes off
first. Where it is left to the fit, the start is lost: `docs/another-element.md`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from synthzoo.data.transmute import HISTORY_KEY, Transmutation, transmute_structure
from synthzoo.errors import CheckpointError
from synthzoo.models.architectures import architecture_of
from synthzoo.models.checkpoint import Checkpoint, load_model, write_checkpoint
from synthzoo.models.interface import EnergyTerms, Scaling
from synthzoo.models.network import build_model, load_weights
from synthzoo.runs.files import refuse_existing
from synthzoo.zoo.find import find_checkpoint

if TYPE_CHECKING:
    from ase import Atoms
    from torch.nn import Module

    from synthzoo.models.config import CheckpointConfig

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
    model: str | Path | Checkpoint,
    output: str | Path,
    *,
    element: str | None = None,
    elements: Mapping[str, str] | None = None,
    scale: float,
    energy_factor: float = 1.0,
) -> ModelTransmutation:
    """Turn a checkpoint of some elements into a starting point for others.

    Its energies are relative to isolated atoms, whatever those of the old checkpoint
    were. It has to be fine-tuned before use.

    Parameters
    ----------
    model
        Name, folder or hub reference of a checkpoint.
    output
        Checkpoint folder to make.
    element
        Chemical symbol of the new element, for a checkpoint of one element.
    elements
        New symbol of each element instead, such as ``{"Ga": "In", "As": "P"}``.
    scale
        Factor of all lengths, including the cutoff.
    energy_factor
        Factor of all energies; forces follow, by ``energy_factor / scale``.

    Raises
    ------
    InputError
        If the output exists, an element is unknown or has no new symbol, a factor is
        not positive, or the model has a part with lengths of its own.
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
    checkpoint = find_checkpoint(model)
    old, config = load_model(checkpoint)
    change = Transmutation(
        element=element,
        elements=elements or {},
        scale=scale,
        energy_factor=energy_factor,
    )
    before = checkpoint.golden
    after = [transmute_structure(atoms, change=change) for atoms in before]
    history = after[0].info[HISTORY_KEY]
    scaling = _scaling(old, config, change, str(model))
    moved = _described(config, scaling, history)
    network = build_model(moved)
    weights = architecture_of(config.builder).scaled_weights(
        old.state_dict(), network, scaling
    )
    load_weights(network, weights, where=str(model))
    _check((old, config, before), (network, moved, after), energy_factor)
    write_checkpoint(output, model=network, config=moved, golden=after)
    return ModelTransmutation(
        output=output,
        change=history,
        cutoff_A=moved.cutoff_A,
        parameters=sum(weight.numel() for weight in network.parameters()),
    )


def _scaling(
    model: Module, config: CheckpointConfig, change: Transmutation, name: str
) -> Scaling:
    """Return what changes in the network; its energies are of isolated atoms then."""
    renaming = change.renaming(config.elements, name)
    architecture = architecture_of(config.builder)
    scales, shifts_eV = architecture.energy_terms(model.state_dict(), config.elements)
    alone_eV = [config.isolated_atom_energies_eV[each] for each in config.elements]
    terms = EnergyTerms(
        scales=tuple(change.energy_factor * scale for scale in scales),
        shifts_eV=tuple(
            change.energy_factor * (shift - alone)
            for shift, alone in zip(shifts_eV, alone_eV, strict=True)
        ),
    )
    new = {element: renaming[element] for element in config.elements}
    return Scaling(new, change.scale, terms)


def _described(
    config: CheckpointConfig, scaling: Scaling, history: str
) -> CheckpointConfig:
    """Return the description of the new model and of what it comes from."""
    architecture = architecture_of(config.builder)
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
    new = tuple(scaling.elements.values())
    return dataclasses.replace(
        config,
        arguments=architecture.scaled(config.arguments, scaling),
        elements=new,
        cutoff_A=scaling.lengths * config.cutoff_A,
        isolated_atom_energies_eV=dict.fromkeys(new, 0.0),
        labels=labels,
        provenance=provenance,
        kind="starting-point",
    )


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
    from synthzoo.models.calculator import calculator_of

    calculator = calculator_of(model.eval(), config)
    energies = []
    for atoms in structures:
        calculator.calculate(atoms)
        alone = sum(config.isolated_atom_energies_eV[each] for each in atoms.symbols)
        energies.append((calculator.results["energy"] - alone) / len(atoms))
    return energies
