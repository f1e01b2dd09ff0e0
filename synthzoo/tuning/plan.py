"""Everything about a fine-tuning that is known before its fit."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms

from synthzoo import unconstrained
from synthzoo.calculator import StartingPointWarning, load_calculator
from synthzoo.errors import InputError
from synthzoo.predict import predict_structures
from synthzoo.tuning.checks import Examined, describe, examine
from synthzoo.tuning.energy_reference import (
    EnergyReference,
    Source,
    check_spread,
    find_isolated,
    find_reference,
)
from synthzoo.tuning.recipe import FinetuneRecipe, resolve_recipe
from synthzoo.tuning.splits import are_related, check_parts, split_set

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.calculator import SynthzooCalculator
    from synthzoo.config import CheckpointConfig
    from synthzoo.frames import FrameSet
    from synthzoo.labelled_sets import LabelledSet
    from synthzoo.labels import LabelKeys, Labels


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
    checks
        Parts of the training set to fit to once more, each with the rest, on which that
        fit is tested: where nothing is held out, or for the members of a committee.
        Each structure is in one of the rests.
    related
        Whether most of the structures are of one group, so that those that test a fit
        are much like some that it has seen.
    isolated
        Number of isolated atoms that were found.
    notes
        What the checks of the set found, in words.
    energies_only
        Whether the forces of the start stand in for forces that the data do not have.
    """

    start: Path
    config: CheckpointConfig
    recipe: FinetuneRecipe
    keys: LabelKeys
    reference: EnergyReference
    training: LabelledSet
    held_out: LabelledSet
    checks: list[tuple[LabelledSet, LabelledSet]]
    related: bool
    isolated: int
    notes: tuple[str, ...]
    energies_only: bool

    def offsets_eV(self, labelled: LabelledSet) -> NDArray[np.float64]:
        """Return what brings the start's energy of each structure nearest to labels.

        Parameters
        ----------
        labelled
            Set of ``n`` structures; the result has the shape ``(n,)``.
        """
        return _offsets_eV(labelled, self.reference.aligned_eV)

    def on_model_scale(self, labelled: LabelledSet) -> list[tuple[Atoms, Labels]]:
        """Return structures with energies on the scale of the start.

        Parameters
        ----------
        labelled
            Structures with labels on the user's scale.
        """
        return take_off(labelled, self.reference.shifts_eV)

    def replayed(self, synthetic: LabelledSet) -> list[tuple[Atoms, Labels]]:
        """Return synthetic structures, bound as strongly as the data bind atoms.

        Parameters
        ----------
        synthetic
            Structures with labels on the scale of the start.
        """
        loosened = {name: -value for name, value in self.reference.binding_eV.items()}
        return take_off(synthetic, loosened)


def take_off(
    labelled: LabelledSet, energies_eV: Mapping[str, float]
) -> list[tuple[Atoms, Labels]]:
    """Return structures with labels from which an energy per atom is taken off.

    Parameters
    ----------
    labelled
        Structures with labels.
    energies_eV
        What is taken off for each atom, by element.
    """
    offsets = _offsets_eV(labelled, energies_eV)
    moved = [
        dataclasses.replace(label, energy_eV=label.energy_eV - float(offset))
        for label, offset in zip(labelled.labels, offsets, strict=True)
    ]
    return list(zip(labelled.structures, moved, strict=True))


def _offsets_eV(
    labelled: LabelledSet, energies_eV: Mapping[str, float]
) -> NDArray[np.float64]:
    if not len(labelled):
        return np.zeros(0)
    offsets: NDArray[np.float64] = labelled.counts(list(energies_eV)) @ np.array(
        list(energies_eV.values())
    )
    return offsets


def make_plan(  # noqa: PLR0913  what decides it
    start: Path,
    frames: FrameSet,
    keys: LabelKeys,
    recipe: FinetuneRecipe,
    *,
    given_eV: Mapping[str, float],
    drop: bool = False,
    tested: bool = False,
) -> Plan:
    """Return the plan for a set: checks, energy reference, split, open settings.

    Parameters
    ----------
    start
        Folder of the checkpoint to start from.
    frames
        Structures with labels.
    keys
        Where the labels are.
    recipe
        What was asked for.
    given_eV
        Isolated-atom energies on the scale of the labels, where known.
    drop
        Leave out the structures with errors.
    tested
        Whether a test set is given, so that nothing need be held out.

    Raises
    ------
    InputError
        If the model does not know an element, too few structures are there, or the
        labels cannot be brought onto the model's scale.
    """
    calculator = starting_calculator(start)
    examined = examine(frames, keys, calculator, drop=drop)
    labelled, config = examined.labelled, calculator.config
    alone = labelled.alone(config.cutoff_A)
    indices = np.flatnonzero(~alone).tolist()
    if not indices:
        raise InputError(
            f"The data hold {len(labelled)} structure(s), all of them single atoms: "
            "there is nothing to fit."
        )
    bulk = labelled.part(indices)
    resolved = _resolved(recipe, bulk, kind=config.kind, tested=tested)
    fitted, kept = _held_out(bulk, resolved)
    training = bulk.part(fitted)
    found = find_isolated(
        labelled.counts(config.elements), labelled.energies_eV, config.elements, alone
    )
    known = {name: (energy, _FOUND) for name, energy in found.items()}
    known |= {name: (energy, _GIVEN) for name, energy in given_eV.items()}
    return Plan(
        start=start,
        config=config,
        recipe=resolved,
        keys=keys,
        reference=_reference(
            calculator,
            training,
            [examined.predicted[indices[index]] for index in fitted],
            known,
        ),
        training=training,
        held_out=bulk.part(kept),
        checks=[
            (training.part(one), training.part(other))
            for one, other in check_parts(training.structures, resolved)
        ],
        related=are_related(bulk.structures),
        isolated=int(alone.sum()),
        notes=_notes(examined, [str(origin) for origin in frames.origins]),
        energies_only=keys.forces is None,
    )


def _held_out(
    bulk: LabelledSet, resolved: FinetuneRecipe
) -> tuple[list[int], list[int]]:
    if not resolved.held_out_share:
        return list(range(len(bulk))), []
    return split_set(bulk.structures, resolved.held_out_share, resolved.seed)


def _resolved(
    recipe: FinetuneRecipe, bulk: LabelledSet, *, kind: str, tested: bool
) -> FinetuneRecipe:
    resolved = resolve_recipe(recipe, list(map(len, bulk.structures)), kind=kind)
    if tested and recipe.held_out_share is None and recipe.seeds == 1:
        return dataclasses.replace(resolved, held_out_share=0.0, check_share=0.0)
    if recipe.seeds > 1 and not resolved.held_out_share:
        raise InputError(
            f"The best of {recipe.seeds} seeds is chosen by held-out structures: give "
            "--held-out-share."
        )
    return resolved


_FOUND: Source = "found"
_GIVEN: Source = "given"


def starting_calculator(start: Path, *, device: str = "cpu") -> SynthzooCalculator:
    """Return a calculator of the checkpoint that is to be fine-tuned.

    Parameters
    ----------
    start
        Its folder; that it may be no potential yet is no reason to warn.
    device
        Where to compute.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StartingPointWarning)
        return load_calculator(start, device=device)


def _reference(
    calculator: SynthzooCalculator,
    training: LabelledSet,
    predicted: Sequence[Atoms],
    known_eV: Mapping[str, tuple[float, Source]],
) -> EnergyReference:
    config = calculator.config
    atoms = [Atoms(name) for name in config.elements]
    alone = predict_structures(atoms, calculator)
    reference = find_reference(
        config.elements,
        training.counts(config.elements),
        training.energies_eV,
        np.array([unconstrained.energy_eV(found) for found in predicted]),
        known_eV=known_eV,
        model_alone_eV={
            name: unconstrained.energy_eV(found)
            for name, found in zip(config.elements, alone, strict=True)
        },
    )
    if config.kind == "potential":
        check_spread(reference)
    return reference


def _notes(examined: Examined, origins: Sequence[str]) -> tuple[str, ...]:
    found = [describe(finding, origins) for finding in examined.findings]
    if examined.dropped:
        found.append(f"Left out: {', '.join(examined.dropped)}.")
    return tuple(found)
