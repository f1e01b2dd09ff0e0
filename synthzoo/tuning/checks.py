"""The checks of a user's set before it is fitted, with the model's own judgement."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synthzoo.errors import InputError
from synthzoo.inspection.all_checks import check_set
from synthzoo.inspection.findings import Finding, Reference, Severity
from synthzoo.labelled_sets import LabelledSet
from synthzoo.labels import LabelKeys, Labels, partial_labels
from synthzoo.predict import predict_structures

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.calculator import SynthzooCalculator
    from synthzoo.config import CheckpointConfig
    from synthzoo.frames import FrameSet

SHOWN_FRAMES = 5
MISSING = ("missing_energy", "missing_forces")
"""Kinds of findings about labels that only some structures have."""


@dataclass(frozen=True, kw_only=True)
class Examined:
    """A set that was looked at, and what a model says about it.

    Attributes
    ----------
    labelled
        What is left of it.
    predicted
        The model's prediction for each of its structures.
    findings
        What is worth knowing, without what was dropped.
    dropped
        Names of the frames that were left out.
    """

    labelled: LabelledSet
    predicted: list[Atoms]
    findings: list[Finding]
    dropped: list[str]


def find_faults(
    frames: FrameSet, keys: LabelKeys, calculator: SynthzooCalculator
) -> list[Finding]:
    """Return what is wrong with a set, or worth knowing.

    Parameters
    ----------
    frames
        The set.
    keys
        Where the labels are.
    calculator
        The model that is to be fine-tuned.

    Raises
    ------
    InputError
        If a structure has an element that the model does not know.
    """
    return _findings(frames, keys, calculator)[0]


def _findings(
    frames: FrameSet, keys: LabelKeys, calculator: SynthzooCalculator
) -> tuple[list[Finding], list[Atoms | None]]:
    """Return what is found, and what the model predicts for each sound structure."""
    predicted = _predict(frames, calculator)
    findings = check_set(
        frames.structures,
        keys=keys,
        reference=_judgement(frames, predicted, calculator.config),
        sources=[str(origin.file) for origin in frames.origins],
    )
    return [_as_needed(finding, frames) for finding in findings], predicted


def _judgement(
    frames: FrameSet, predicted: Sequence[Atoms | None], config: CheckpointConfig
) -> Reference | None:
    """Return what the labels are compared with; a mere start has no say in them."""
    if config.kind == "starting-point":
        return None
    return Reference(
        energies_eV=np.array(
            [
                atoms.get_potential_energy() if atoms is not None else np.nan
                for atoms in predicted
            ]
        ),
        forces_eV_A=[
            atoms.get_forces() if atoms is not None else np.zeros((len(original), 3))
            for atoms, original in zip(predicted, frames.structures, strict=True)
        ],
    )


def examine(
    frames: FrameSet,
    keys: LabelKeys,
    calculator: SynthzooCalculator,
    *,
    drop: bool = False,
) -> Examined:
    """Return a set that can be fitted; refuse one with errors, or leave them out.

    Parameters
    ----------
    frames
        The set.
    keys
        Where the labels are.
    calculator
        The model that is to be fine-tuned.
    drop
        Leave out the structures with errors.

    Raises
    ------
    InputError
        If the set has errors: all of them are told.
    """
    findings, predicted = _findings(frames, keys, calculator)
    errors = [finding for finding in findings if finding.severity == "error"]
    bad = {index for finding in errors if drop for index in finding.frames}
    left = [finding for finding in errors if not (drop and finding.frames)]
    if left:
        raise InputError(_told(left, frames))
    kept = [index for index in range(len(predicted)) if index not in bad]
    if not kept:
        raise InputError("Every structure has an error: nothing is left to fit.")
    chosen = [frames.structures[index] for index in kept]
    sound = [atoms for index in kept if (atoms := predicted[index]) is not None]
    return Examined(
        labelled=LabelledSet(
            structures=chosen,
            labels=[
                _labels(atoms, computed, keys)
                for atoms, computed in zip(chosen, sound, strict=True)
            ],
            origins=[str(frames.origins[index]) for index in kept],
        ),
        predicted=sound,
        findings=[found for found in findings if found.severity != "error"],
        dropped=[str(frames.origins[index]) for index in sorted(bad)],
    )


def describe(finding: Finding, origins: Sequence[str]) -> str:
    """Return a finding in words, with the first frames that it is about.

    Parameters
    ----------
    finding
        What was found.
    origins
        Name of each frame of the set.
    """
    if not finding.frames:
        return finding.message
    names = [origins[index] for index in finding.frames[:SHOWN_FRAMES]]
    more = len(finding.frames) - len(names)
    ending = f" and {more} more" if more else ""
    return f"{finding.message} ({', '.join(names)}{ending})"


def _as_needed(finding: Finding, frames: FrameSet) -> Finding:
    """Return a missing label as the error that it is here; atoms need no forces."""
    if finding.kind not in MISSING or not finding.frames:
        return finding
    without = tuple(
        index
        for index in finding.frames
        if finding.kind == "missing_energy" or len(frames.structures[index]) > 1
    )
    severity: Severity = "error" if without else "note"
    return dataclasses.replace(finding, severity=severity, frames=without)


def _told(errors: Sequence[Finding], frames: FrameSet) -> str:
    origins = [str(origin) for origin in frames.origins]
    told = " ".join(describe(finding, origins) for finding in errors)
    if all(finding.frames for finding in errors):
        return f"{told} To leave these structures out: --drop-bad."
    return told


def _predict(frames: FrameSet, calculator: SynthzooCalculator) -> list[Atoms | None]:
    """Return predictions, and None for structures that cannot be computed."""
    from synthzoo.structures import check_structure

    sound: list[int] = []
    for index, atoms in enumerate(frames.structures):
        try:
            check_structure(atoms)
        except InputError:
            continue  # the checks of the set will tell
        calculator.check(atoms, name=str(frames.origins[index]))
        sound.append(index)
    predicted: list[Atoms | None] = [None] * len(frames.structures)
    chosen = (frames.structures[index] for index in sound)
    for index, atoms in zip(sound, predict_structures(chosen, calculator), strict=True):
        predicted[index] = atoms
    return predicted


def _labels(atoms: Atoms, predicted: Atoms, keys: LabelKeys) -> Labels:
    """Return the labels that the checks have seen.

    Where the set has no forces, the model's own stand in for them; one atom alone has
    none.
    """
    found = partial_labels(atoms, keys)
    forces = found.forces_eV_A
    if forces is None:
        forces = predicted.get_forces() if len(atoms) > 1 else np.zeros((1, 3))
    energy = float("nan") if found.energy_eV is None else found.energy_eV
    return Labels(energy_eV=energy, forces_eV_A=forces)
