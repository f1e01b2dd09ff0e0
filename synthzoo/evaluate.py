"""Errors of a model on labelled structures, by group."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from synthzoo.errors import InputError
from synthzoo.labels import Labels, find_label_keys, labels_of
from synthzoo.structures import read_structures

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

GROUP_KEYS = ("config_type", "kind")
ALL = "all"


@dataclass(frozen=True, kw_only=True)
class GroupErrors:
    """Root-mean-square errors over the structures of one group.

    Attributes
    ----------
    name
        Group, or ``"all"``.
    structures, atoms
        How many there are.
    energy_rmse_meV_per_atom
        After one constant per atom, the same for all groups, was taken off if asked.
    force_rmse_eV_A
        Over all components.
    """

    name: str
    structures: int
    atoms: int
    energy_rmse_meV_per_atom: float
    force_rmse_eV_A: float


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Errors of a model on a set.

    Attributes
    ----------
    model, data
        What was compared.
    energy_shift_eV_per_atom
        Constant that was taken off the labels before the comparison; 0 if not asked.
    groups
        Errors over all structures first, then by group.
    """

    model: str
    data: str
    energy_shift_eV_per_atom: float
    groups: tuple[GroupErrors, ...]

    @property
    def overall(self) -> GroupErrors:
        """The errors over all structures."""
        return self.groups[0]


@dataclass(frozen=True, kw_only=True)
class Residual:
    """Prediction minus label of one structure.

    Attributes
    ----------
    group
        Name of its group; ``"all"`` if it has none.
    energy_eV_per_atom
        Difference of the energies.
    forces_eV_A
        Differences of the forces, of shape ``(n_atoms, 3)``.
    """

    group: str
    energy_eV_per_atom: float
    forces_eV_A: NDArray[np.float64]


def evaluate(
    model: str,
    source: Path,
    *,
    shift: bool = False,
    skip: Sequence[str] = (),
    energy_key: str | None = None,
    forces_key: str | None = None,
) -> Evaluation:
    """Compare a model with the labels of a file.

    Parameters
    ----------
    model
        Name, folder or hub reference of a checkpoint.
    source
        Labelled structures, in any format that ASE reads.
    shift
        Take the mean difference of the energies per atom off the labels, for total
        energies whose isolated atom is not known.
    skip
        Groups that are left out.
    energy_key, forces_key
        Where the labels are; found among the usual names if not given.

    Raises
    ------
    InputError
        If the file cannot be read, nothing is left of it, or its labels are missing or
        ambiguous.
    """
    from synthzoo.calculator import load_calculator
    from synthzoo.predict import predict_structures

    structures = [
        atoms for atoms in read_structures(source) if group_name(atoms) not in skip
    ]
    if not structures:
        raise InputError(f"{source} holds no structure outside of {', '.join(skip)}.")
    keys = find_label_keys(structures, energy_key=energy_key, forces_key=forces_key)
    labels = [
        labels_of(atoms, keys, name=f"structure number {number}")
        for number, atoms in enumerate(structures, start=1)
    ]
    predicted = predict_structures(structures, load_calculator(model))
    progress = tqdm(
        zip(predicted, labels, strict=True),
        total=len(labels),
        desc="evaluate",
        unit="structure",
        disable=None,
    )
    residuals = [residual_of(atoms, label) for atoms, label in progress]
    constant = float(np.mean([found.energy_eV_per_atom for found in residuals]))
    taken_off = constant if shift else 0.0
    return Evaluation(
        model=str(model),
        data=Path(source).name,
        energy_shift_eV_per_atom=-taken_off,
        groups=errors_by_group(residuals, taken_off),
    )


def group_name(atoms: Atoms) -> str:
    """Return the name of the group that a structure belongs to, or ``"all"``.

    Parameters
    ----------
    atoms
        Structure; the first of `GROUP_KEYS` in its ``info`` counts.
    """
    found = [str(atoms.info[key]) for key in GROUP_KEYS if key in atoms.info]
    return found[0] if found else ALL


def residual_of(predicted: Atoms, label: Labels) -> Residual:
    """Return prediction minus label.

    Parameters
    ----------
    predicted
        Structure with the predicted energy and forces.
    label
        What they should be.
    """
    difference = predicted.get_potential_energy() - label.energy_eV
    return Residual(
        group=group_name(predicted),
        energy_eV_per_atom=difference / len(predicted),
        forces_eV_A=predicted.get_forces() - label.forces_eV_A,
    )


def errors_by_group(
    residuals: Sequence[Residual], constant_eV_per_atom: float = 0.0
) -> tuple[GroupErrors, ...]:
    """Return the errors over all structures first, then by group.

    Parameters
    ----------
    residuals
        From `residual_of`.
    constant_eV_per_atom
        Taken off the differences of the energies.
    """
    groups: dict[str, list[Residual]] = defaultdict(list)
    groups[ALL] = list(residuals)
    for found in residuals:
        if found.group != ALL:
            groups[found.group].append(found)
    return tuple(
        _errors(name, group, constant_eV_per_atom) for name, group in groups.items()
    )


def _errors(name: str, group: Sequence[Residual], constant: float) -> GroupErrors:
    energies = np.array([found.energy_eV_per_atom for found in group]) - constant
    forces = np.concatenate([found.forces_eV_A for found in group])
    return GroupErrors(
        name=name,
        structures=len(group),
        atoms=len(forces),
        energy_rmse_meV_per_atom=1000 * _rms(energies),
        force_rmse_eV_A=_rms(forces),
    )


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
