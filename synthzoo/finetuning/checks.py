"""The checks of a user's set before it is fitted, with the model's own judgement."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synthzoo.data import unconstrained
from synthzoo.data.labelled_set import LabelledSet
from synthzoo.data.labels import (
    LabelKeys,
    Labels,
    bulk_stress_eV_A3,
    partial_labels,
)
from synthzoo.data.sound import check_structure
from synthzoo.data.structures import GROUP_KEY, group_of
from synthzoo.errors import InputError
from synthzoo.generation.starts import is_alone
from synthzoo.inspection.checks import all_findings
from synthzoo.inspection.findings import CheckedSet, Finding, Reference, Severity
from synthzoo.inspection.related import near_duplicates
from synthzoo.models.predict import predict_structures

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.data.frames import FrameSet
    from synthzoo.models.calculator import SynthzooCalculator
    from synthzoo.models.config import CheckpointConfig

SHOWN_FRAMES = 5
MISSING = ("missing_energy", "missing_forces")
"""Kinds of findings about labels that only some structures have."""
DOUBTS_OF_STRESS = ("stress_units", "stress_sign", "stress_order")


@dataclass(frozen=True, kw_only=True)
class Examination:
    """A set, and what the model that is to be fine-tuned says about it.

    Attributes
    ----------
    frames
        The set.
    data
        The same, as the checks see it.
    calculator
        Of the model.
    predicted
        The model's prediction for each structure; None where it has none.
    findings
        What is wrong with the set, or worth knowing.
    """

    frames: FrameSet
    data: CheckedSet
    calculator: SynthzooCalculator
    predicted: list[Atoms | None]
    findings: list[Finding]

    @property
    def keys(self) -> LabelKeys:
        """Where the labels are that are to be fitted."""
        return _keys_to_fit(self.data.keys, self.findings)


@dataclass(frozen=True, kw_only=True)
class Examined:
    """The structures of a set that can be fitted, and what a model says about them.

    ``predicted``: the model's prediction for each of its structures.
    ``findings``: what is worth knowing, without what was dropped.
    ``dropped``: names of the frames that were left out.
    """

    labelled: LabelledSet
    predicted: list[Atoms]
    findings: list[Finding]
    dropped: list[str]


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A set that no model has seen yet, and what the checks say about it.

    ``data``: the set, as the checks see it.
    ``keys``: where the labels are that are to be fitted.
    ``bulk``: numbers of the structures that can be used, without isolated atoms.
    ``isolated``: numbers of isolated atoms.
    ``notes``: what is worth knowing, in words.
    """

    data: CheckedSet
    keys: LabelKeys
    bulk: list[int]
    isolated: list[int]
    notes: tuple[str, ...]


def check_without_model(frames: FrameSet, keys: LabelKeys, *, drop: bool) -> Checked:
    """Return what is in a set; refuse one with errors, or leave them out."""
    data = as_checked(frames, keys)
    findings = findings_of(data, frames)
    kept = usable_frames(findings, frames, drop=drop)
    isolated = [index for index in kept if is_alone(frames.structures[index])]
    origins = [str(origin) for origin in frames.origins]
    return Checked(
        data=data,
        keys=_keys_to_fit(keys, findings),
        bulk=[index for index in kept if index not in set(isolated)],
        isolated=isolated,
        notes=tuple(
            describe(finding, origins)
            for finding in findings
            if finding.severity != "error"
        ),
    )


def _keys_to_fit(keys: LabelKeys, findings: Sequence[Finding]) -> LabelKeys:
    """Return keys without that of a stress which a check doubts.

    It is left out as well where only energies are fitted.
    """
    doubted = any(finding.kind in DOUBTS_OF_STRESS for finding in findings)
    if doubted or keys.forces is None:
        return dataclasses.replace(keys, stress=None)
    return keys


def as_checked(
    frames: FrameSet, keys: LabelKeys, reference: Reference | None = None
) -> CheckedSet:
    """Return a set as the checks see it."""
    return CheckedSet(
        structures=frames.structures,
        keys=keys,
        reference=reference,
        sources=[str(origin.file) for origin in frames.origins],
    )


def examine(
    frames: FrameSet, keys: LabelKeys, calculator: SynthzooCalculator
) -> Examination:
    """Return what a model and the checks say about a set, each structure computed."""
    predicted = _predict(frames, calculator)
    data = as_checked(frames, keys, _judgement(frames, predicted, calculator.config))
    return Examination(
        frames=frames,
        data=data,
        calculator=calculator,
        predicted=predicted,
        findings=findings_of(data, frames),
    )


def findings_of(data: CheckedSet, frames: FrameSet) -> list[Finding]:
    """Return what is wrong with a set that is to be fitted, or worth knowing.

    ``data``: the structures of ``frames``, as the checks see them.
    """
    return [_as_needed(finding, frames) for finding in all_findings(data)]


def _judgement(
    frames: FrameSet, predicted: Sequence[Atoms | None], config: CheckpointConfig
) -> Reference | None:
    """Return what the labels are compared with; a mere start has no say in them."""
    if config.kind == "starting-point":
        return None
    return Reference(
        energies_eV=np.array(
            [
                unconstrained.energy_eV(atoms) if atoms is not None else np.nan
                for atoms in predicted
            ]
        ),
        forces_eV_A=[
            unconstrained.forces_eV_A(atoms)
            if atoms is not None
            else np.zeros((len(original), 3))
            for atoms, original in zip(predicted, frames.structures, strict=True)
        ],
    )


def fit_for_use(examination: Examination, *, drop: bool = False) -> Examined:
    """Return a set that can be fitted; refuse one with errors, or leave them out."""
    frames, findings = examination.frames, examination.findings
    predicted = examination.predicted
    kept = usable_frames(findings, frames, drop=drop)
    structures = joined(frames.structures, near_duplicates(examination.data))
    chosen = [structures[index] for index in kept]
    sound = [atoms for index in kept if (atoms := predicted[index]) is not None]
    return Examined(
        labelled=LabelledSet(
            structures=chosen,
            labels=[
                known_labels(atoms, computed, examination.keys)
                for atoms, computed in zip(chosen, sound, strict=True)
            ],
            origins=[str(frames.origins[index]) for index in kept],
        ),
        predicted=sound,
        findings=[found for found in findings if found.severity != "error"],
        dropped=[
            str(origin)
            for index, origin in enumerate(frames.origins)
            if index not in set(kept)
        ],
    )


def usable_frames(
    findings: Sequence[Finding], frames: FrameSet, *, drop: bool
) -> list[int]:
    """Return the numbers of the frames without errors; refuse others, or drop them."""
    errors = [finding for finding in findings if finding.severity == "error"]
    left = [finding for finding in errors if not (drop and finding.frames)]
    if left:
        raise InputError(_told(left, frames))
    bad = {index for finding in errors for index in finding.frames}
    kept = [index for index in range(len(frames.structures)) if index not in bad]
    if not kept:
        raise InputError("Every structure has an error: nothing is left to fit.")
    return kept


def joined(structures: Sequence[Atoms], alike: Sequence[Sequence[int]]) -> list[Atoms]:
    """Return the structures, those that are nearly the same in one group.

    The groups that they belonged to become one: no split may part their frames.
    """
    names = {index: group_of(atoms) for index, atoms in enumerate(structures)}
    for members in alike:
        merged = {names[index] for index in members}
        first = min(merged)
        names = {
            index: first if name in merged else name for index, name in names.items()
        }
    return [
        atoms if names[index] == group_of(atoms) else _in_group(atoms, names[index])
        for index, atoms in enumerate(structures)
    ]


def _in_group(atoms: Atoms, name: str) -> Atoms:
    copy: Atoms = atoms.copy()
    copy.calc = atoms.calc
    copy.info[GROUP_KEY] = name
    return copy


def describe(finding: Finding, origins: Sequence[str]) -> str:
    """Return a finding in words, with the first frames that it is about."""
    if not finding.frames:
        return finding.message
    names = [origins[index] for index in finding.frames[:SHOWN_FRAMES]]
    more = len(finding.frames) - len(names)
    ending = f" and {more} more" if more else ""
    return f"{finding.message} ({', '.join(names)}{ending})"


def _as_needed(finding: Finding, frames: FrameSet) -> Finding:
    """Return a finding with the severity that it has for a fit.

    A missing label is an error, but atoms need no forces. Doubts of stress are none,
    since it is then left out.
    """
    if finding.kind in DOUBTS_OF_STRESS:
        message = f"{finding.message} Stress is not fitted."
        return dataclasses.replace(finding, severity="warning", message=message)
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


def known_labels(atoms: Atoms, predicted: Atoms, keys: LabelKeys) -> Labels:
    """Return the labels that the checks have seen.

    Where the set has no forces, the model's own stand in for them; one atom alone has
    none.
    """
    found = partial_labels(atoms, keys)
    forces = found.forces_eV_A
    if forces is None:
        forces = (
            unconstrained.forces_eV_A(predicted) if len(atoms) > 1 else np.zeros((1, 3))
        )
    energy = float("nan") if found.energy_eV is None else found.energy_eV
    return Labels(
        energy_eV=energy,
        forces_eV_A=forces,
        stress_eV_A3=bulk_stress_eV_A3(atoms, found.stress_eV_A3),
    )
