"""Everything about a fine-tuning that is known before its fit."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from synthzoo.calculator import StartingPointWarning, load_calculator
from synthzoo.energy_reference import (
    EnergyReference,
    Source,
    check_spread,
    check_units,
    find_isolated,
    find_reference,
)
from synthzoo.errors import InputError
from synthzoo.labels import LabelKeys, Labels
from synthzoo.predict import predict_structures
from synthzoo.structures import split_by_group
from synthzoo.tuning_recipe import FinetuneRecipe, resolve_recipe

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.calculator import SynthzooCalculator
    from synthzoo.config import CheckpointConfig
    from synthzoo.tuning_data import LabelledSet


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What will be fitted to what, and from where.

    Attributes
    ----------
    start
        Folder of the checkpoint whose weights the fit starts from.
    config
        Its description.
    recipe
        How to fit, with nothing left open.
    keys
        Where the labels were found.
    reference
        How the labels' energies relate to the checkpoint's.
    training, held_out
        The two sets, on the scale of the labels; isolated atoms are in neither.
    isolated
        Number of isolated atoms that were found.
    """

    start: Path
    config: CheckpointConfig
    recipe: FinetuneRecipe
    keys: LabelKeys
    reference: EnergyReference
    training: LabelledSet
    held_out: LabelledSet
    isolated: int


def make_plan(
    start: Path,
    labelled: LabelledSet,
    keys: LabelKeys,
    recipe: FinetuneRecipe,
    given_eV: Mapping[str, float],
) -> Plan:
    """Return the plan for a set: energy reference, split, and the open settings.

    Parameters
    ----------
    start
        Folder of the checkpoint to start from.
    labelled
        Structures with labels.
    keys
        Where the labels were found.
    recipe
        What was asked for.
    given_eV
        Isolated-atom energies on the scale of the labels, where known.

    Raises
    ------
    InputError
        If the model does not know an element, too few structures are there, or the
        labels cannot be brought onto the model's scale.
    """
    calculator = _calculator(start)
    for atoms, origin in zip(labelled.structures, labelled.origins, strict=True):
        calculator.check(atoms, name=origin)
    elements = calculator.config.elements
    alone = labelled.alone(calculator.config.cutoff_A)
    counts = labelled.counts(elements)
    found = find_isolated(counts, labelled.energies_eV, elements, alone)
    bulk = labelled.part(np.flatnonzero(~alone).tolist())
    if not len(bulk):
        raise InputError(
            f"The data hold {len(labelled)} structure(s), all of them single atoms: "
            "there is nothing to fit."
        )
    resolved = resolve_recipe(recipe, len(bulk))
    training, held_out = split(bulk, resolved)
    known: dict[str, tuple[float, Source]] = {
        name: (energy, "found") for name, energy in found.items()
    } | {name: (energy, "given") for name, energy in given_eV.items()}
    return Plan(
        start=start,
        config=calculator.config,
        recipe=resolved,
        keys=keys,
        reference=_reference(calculator, training, known),
        training=training,
        held_out=held_out,
        isolated=int(alone.sum()),
    )


def split(
    labelled: LabelledSet, recipe: FinetuneRecipe
) -> tuple[LabelledSet, LabelledSet]:
    """Return training and held-out set; frames of one group stay together.

    Parameters
    ----------
    labelled
        Structures with labels.
    recipe
        With the share that is held out.

    Raises
    ------
    InputError
        If structures are to be held out, but all are of one group.
    """
    if not recipe.held_out_share:
        return labelled, labelled.part([])
    training, held_out = split_by_group(
        labelled.structures, recipe.held_out_share, seed=recipe.seed
    )
    return labelled.part(training), labelled.part(held_out)


def on_model_scale(labelled: LabelledSet, plan: Plan) -> list[tuple[Atoms, Labels]]:
    """Return structures with labels whose energies are on the checkpoint's scale.

    Parameters
    ----------
    labelled
        Structures with labels on the user's scale.
    plan
        With the energy reference.
    """
    shifts = np.array([plan.reference.shifts_eV[name] for name in plan.config.elements])
    offsets = labelled.counts(plan.config.elements) @ shifts
    moved = [
        Labels(energy_eV=label.energy_eV - float(offset), forces_eV_A=label.forces_eV_A)
        for label, offset in zip(labelled.labels, offsets, strict=True)
    ]
    return list(zip(labelled.structures, moved, strict=True))


def _calculator(start: Path) -> SynthzooCalculator:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StartingPointWarning)  # it is being fine-tuned
        return load_calculator(start, device="cpu")


def _reference(
    calculator: SynthzooCalculator,
    training: LabelledSet,
    known_eV: Mapping[str, tuple[float, Source]],
) -> EnergyReference:
    config = calculator.config
    predicted = list(predict_structures(training.structures, calculator))
    energies = np.array([atoms.get_potential_energy() for atoms in predicted])
    forces = np.concatenate([atoms.get_forces() for atoms in predicted])
    slope = check_units(training.forces_eV_A, forces)
    reference = find_reference(
        config.elements,
        training.counts(config.elements),
        training.energies_eV,
        energies,
        known_eV=known_eV,
        model_alone_eV=config.isolated_atom_energies_eV,
    )
    if config.kind == "potential":
        check_spread(reference, force_slope=slope)
    return reference
