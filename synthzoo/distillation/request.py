"""What a distillation is asked for, and the structures that it starts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthzoo.data import unconstrained
from synthzoo.data.frames import read_frames
from synthzoo.data.label_choice import find_label_keys
from synthzoo.data.labelled_set import LabelledSet, as_labelled
from synthzoo.data.labels import partial_labels
from synthzoo.data.level_frames import part_of_level
from synthzoo.data.sound import listed
from synthzoo.errors import InputError
from synthzoo.finetuning.checks import (
    as_checked,
    check_without_model,
    findings_of,
    usable_frames,
)
from synthzoo.finetuning.recipe import FinetuneRecipe, resolve_recipe
from synthzoo.generation.starts import is_alone, vacuum_axes
from synthzoo.inspection.findings import Reference
from synthzoo.runs.files import hash_files

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.data.frames import FrameSet
    from synthzoo.data.labels import LabelKeys

CHARGE_KEYS = ("charge", "total_charge")
"""In ``Atoms.info``."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked for; the fields are those of `synthzoo.distill`."""

    files: list[Path]
    teacher: str
    minutes: float
    test: list[Path]
    energy_key: str | None
    forces_key: str | None
    format: str | None
    drop_bad: bool
    compare_direct: bool | None
    seed: int
    workers: int

    def manifest(self) -> dict[str, Any]:
        """Return what decides the result."""
        return {
            "data": hash_files(self.files),
            "test": hash_files(self.test),
            "teacher": self.teacher,
            "minutes": self.minutes,
            "energy_key": self.energy_key,
            "forces_key": self.forces_key,
            "format": self.format,
            "drop_bad": self.drop_bad,
            "compare_direct": self.compare_direct,
            "seed": self.seed,
        }


@dataclass(frozen=True, kw_only=True)
class UserData:
    """The structures of the user that other structures can be made from.

    ``frames``: all but isolated atoms.
    ``bulk``: the same with their labels.
    ``isolated_eV``: labels of isolated atoms, by element.
    ``test``: those that are kept for testing, if there are any.
    ``notes``: what the checks found, in words.
    """

    frames: FrameSet
    keys: LabelKeys
    bulk: LabelledSet
    isolated_eV: dict[str, float]
    test: LabelledSet | None
    notes: tuple[str, ...]


def read_data(request: Request) -> UserData:
    """Return the structures that can be used, checked as for fine-tuning."""
    frames, keys = _read(request, request.files)
    checked = check_without_model(frames, keys, drop=request.drop_bad)
    if not checked.bulk:
        raise InputError(
            f"The data hold {len(checked.isolated)} structure(s), all of them isolated "
            "atoms: there is nothing to make other structures from."
        )
    chosen = frames.part(checked.bulk)
    labelled = as_labelled(chosen, checked.keys)
    return UserData(
        frames=chosen,
        keys=checked.keys,
        bulk=labelled,
        isolated_eV=_isolated_eV(frames.part(checked.isolated).structures, keys),
        test=_read_test(request, labelled),
        notes=(
            _facts(labelled, checked.keys),
            *_few(request, labelled),
            *checked.notes,
            *_ignored_states(frames.structures),
        ),
    )


def _isolated_eV(atoms: Sequence[Atoms], keys: LabelKeys) -> dict[str, float]:
    """Return the energies of isolated atoms, which need no forces."""
    energies = {each.symbols[0]: partial_labels(each, keys).energy_eV for each in atoms}
    return {name: value for name, value in energies.items() if value is not None}


def _read_test(request: Request, data: LabelledSet) -> LabelledSet | None:
    """Return the structures for testing; refuse elements that are not in the data."""
    if not request.test:
        return None
    frames, keys = _read(request, request.test)
    bulk = [i for i, atoms in enumerate(frames.structures) if not is_alone(atoms)]
    test = as_labelled(frames.part(bulk), keys)
    others = set(test.elements) - set(data.elements)
    if others:
        names = ", ".join(path.name for path in request.test)
        raise InputError(
            f"{names} (--test) has {listed(others)}, which your data do not have: a "
            f"potential of {listed(data.elements)} cannot be tested on it."
        )
    return test


def _facts(data: LabelledSet, keys: LabelKeys) -> str:
    sizes = [len(atoms) for atoms in data.structures]
    gaps = sum(bool(vacuum_axes(atoms).any()) for atoms in data.structures)
    text = (
        f"{len(data)} structures of {listed(data.elements)}, {min(sizes)} to "
        f"{max(sizes)} atoms; labels: {keys}."
    )
    if gaps:
        text += f" {gaps} are surfaces or molecules: their vacuum is kept."
    return text


def _few(request: Request, data: LabelledSet) -> list[str]:
    recipe = resolve_recipe(FinetuneRecipe(), [len(a) for a in data.structures])
    if request.test or recipe.held_out_share or recipe.check_share:
        return []
    return [
        "So few structures are all needed for the fit: nothing is left to test the "
        "potential on, and its report gives no errors. Give --test, or more structures."
    ]


def _read(request: Request, files: Sequence[Path]) -> tuple[FrameSet, LabelKeys]:
    frames = part_of_level(read_frames(files, format=request.format), None)
    keys = find_label_keys(
        frames.structures,
        energy_key=request.energy_key,
        forces_key=request.forces_key,
        advice={
            "forces": "A potential is learnt from forces: give data that have some."
        },
    )
    return frames, keys


def check_against(
    data: UserData, numbers: Sequence[int], computed: Sequence[Atoms]
) -> None:
    """Refuse labels whose units, signs or order a potential contradicts.

    ``numbers``: which of the structures were computed.
    ``computed``: these, with what the potential says.
    """
    frames = data.frames.part(numbers)
    reference = Reference(
        energies_eV=np.array([unconstrained.energy_eV(atoms) for atoms in computed]),
        forces_eV_A=[unconstrained.forces_eV_A(atoms) for atoms in computed],
    )
    checked = as_checked(frames, data.keys, reference)
    usable_frames(findings_of(checked, frames), frames, drop=False)


def _ignored_states(structures: Sequence[Atoms]) -> list[str]:
    """Return what the structures say of electrons, which no potential here knows."""
    charged = sum(
        any(np.any(atoms.info.get(key, 0) != 0) for key in CHARGE_KEYS)
        for atoms in structures
    )
    magnetic = sum(
        bool(atoms.get_initial_magnetic_moments().any()) for atoms in structures
    )
    return [
        f"{count} structure(s) have {what}, which {verb} ignored: teacher and student "
        "see positions and elements only."
        for count, what, verb in (
            (charged, "a charge", "is"),
            (magnetic, "magnetic moments", "are"),
        )
        if count
    ]
