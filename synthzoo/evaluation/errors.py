"""Errors of a model on labelled structures, by group."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase.units import GPa

from synthzoo.data import unconstrained
from synthzoo.data.flat import stack_stresses
from synthzoo.data.labelled_set import rms
from synthzoo.data.labels import own_labels
from synthzoo.data.structures import kind_of
from synthzoo.models.uncertainty import ENERGY, FORCES

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    from synthzoo.data.labelled_set import LabelledSet
    from synthzoo.data.labels import Labels


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
        After one constant per element, the same for all groups, was taken off if asked.
    force_rmse_eV_A
        Over all components.
    stress_rmse_GPa
        Over all components of the structures with stress labels; None if no structure
        has one, or the model gives no stress.
    """

    name: str
    structures: int
    atoms: int
    energy_rmse_meV_per_atom: float
    force_rmse_eV_A: float
    stress_rmse_GPa: float | None = None


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
    stress_eV_A3
        Differences of the stress, of shape ``(6,)``; NaN if there is none.
    energy_deviation_eV, force_deviations_eV_A
        Standard deviations that the model gave, of the energy of the structure and of
        force components, of shape ``(n_atoms,)``; None if it gave none.
    """

    group: str
    energy_eV_per_atom: float
    forces_eV_A: NDArray[np.float64]
    stress_eV_A3: NDArray[np.float64]
    energy_deviation_eV: float | None = None
    force_deviations_eV_A: NDArray[np.float64] | None = None


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a model says about a labelled set.

    Attributes
    ----------
    energies_eV_per_atom
        Of shape ``(n_structures,)``.
    forces_eV_A
        All forces, one structure after the other, of shape ``(n_atoms, 3)``.
    stresses_eV_A3
        Of shape ``(n_structures, 6)``; NaN where the model gives none.
    residuals
        Prediction minus label of each structure.
    """

    energies_eV_per_atom: NDArray[np.float64]
    forces_eV_A: NDArray[np.float64]
    stresses_eV_A3: NDArray[np.float64]
    residuals: list[Residual]

    @property
    def errors(self) -> tuple[GroupErrors, ...]:
        """The errors over all structures first, then by group."""
        return errors_by_group(self.residuals)

    def part(self, indices: Sequence[int]) -> Prediction:
        """Return what is said about some of the structures.

        Parameters
        ----------
        indices
            Of the structures, in the order of the set.
        """
        sizes = [len(found.forces_eV_A) for found in self.residuals]
        forces = np.split(self.forces_eV_A, np.cumsum(sizes)[:-1])
        return Prediction(
            energies_eV_per_atom=self.energies_eV_per_atom[list(indices)],
            forces_eV_A=np.concatenate([forces[0][:0], *(forces[i] for i in indices)]),
            stresses_eV_A3=self.stresses_eV_A3[list(indices)],
            residuals=[self.residuals[index] for index in indices],
        )

    def moved(self, constants_eV_per_atom: NDArray[np.float64]) -> Prediction:
        """Return it with all energies moved by constants.

        Parameters
        ----------
        constants_eV_per_atom
            Added to the energy per atom of each structure, of shape ``(n,)``.
        """
        return dataclasses.replace(
            self,
            energies_eV_per_atom=self.energies_eV_per_atom + constants_eV_per_atom,
            residuals=[
                dataclasses.replace(
                    found, energy_eV_per_atom=found.energy_eV_per_atom + constant
                )
                for found, constant in zip(
                    self.residuals, constants_eV_per_atom.tolist(), strict=True
                )
            ],
        )


def shifts_eV(labelled: LabelledSet, found: Prediction) -> dict[str, float]:
    """Return a constant for each element that brings predictions closest to labels.

    Least squares of the energies per atom; of several solutions the smallest.
    """
    elements = labelled.elements
    residuals = np.array([each.energy_eV_per_atom for each in found.residuals])
    shares = _shares(labelled, elements)
    constants = np.linalg.lstsq(shares, -residuals, rcond=1e-8)[0]
    return dict(zip(elements, constants.tolist(), strict=True))


def shifted(
    labelled: LabelledSet, found: Prediction, constants_eV: Mapping[str, float]
) -> Prediction:
    """Return predictions with a constant for each element added."""
    shares = _shares(labelled, list(constants_eV))
    return found.moved(shares @ np.array(list(constants_eV.values())))


def _shares(labelled: LabelledSet, elements: Sequence[str]) -> NDArray[np.float64]:
    """Return the share of each element in each structure."""
    sizes = np.array([len(atoms) for atoms in labelled.structures])
    shares: NDArray[np.float64] = labelled.counts(elements) / sizes[:, None]
    return shares


def judge_set(labelled: LabelledSet, predicted: Iterable[Atoms]) -> Prediction:
    """Return predictions of a set with their residuals.

    ``predicted``: the structures, labelled by a model, in order.
    """
    energies, forces, stresses, residuals = [], [], [], []
    for atoms, label in zip(predicted, labelled.labels, strict=True):
        energies.append(unconstrained.energy_eV(atoms) / len(atoms))
        forces.append(unconstrained.forces_eV_A(atoms))
        stresses.append(_stress_eV_A3(atoms))
        residuals.append(residual_of(atoms, label))
    return Prediction(
        energies_eV_per_atom=np.array(energies),
        forces_eV_A=np.concatenate(forces),
        stresses_eV_A3=np.array(stresses).reshape(-1, 6),
        residuals=residuals,
    )


def _stress_eV_A3(predicted: Atoms) -> NDArray[np.float64]:
    """Return the stress that a model gave with the energy; NaN if it gave none."""
    return np.asarray(own_labels(predicted).get("stress", np.full(6, np.nan)))


def residual_of(predicted: Atoms, label: Labels) -> Residual:
    """Return prediction minus label."""
    difference = unconstrained.energy_eV(predicted) - label.energy_eV
    (stress,) = stack_stresses([label])
    return Residual(
        group=kind_of(predicted, unnamed=ALL),
        energy_eV_per_atom=difference / len(predicted),
        forces_eV_A=unconstrained.forces_eV_A(predicted) - label.forces_eV_A,
        stress_eV_A3=_stress_eV_A3(predicted) - stress,
        energy_deviation_eV=predicted.info.get(ENERGY),
        force_deviations_eV_A=predicted.arrays.get(FORCES),
    )


def errors_by_group(residuals: Sequence[Residual]) -> tuple[GroupErrors, ...]:
    """Return the errors over all structures first, then by group."""
    groups: dict[str, list[Residual]] = defaultdict(list)
    groups[ALL] = list(residuals)
    for found in residuals:
        if found.group != ALL:
            groups[found.group].append(found)
    return tuple(_errors(name, group) for name, group in groups.items())


def _errors(name: str, group: Sequence[Residual]) -> GroupErrors:
    energies = np.array([found.energy_eV_per_atom for found in group])
    forces = np.concatenate([found.forces_eV_A for found in group])
    stresses = np.array([found.stress_eV_A3 for found in group])
    stresses = stresses[np.isfinite(stresses)]
    return GroupErrors(
        name=name,
        structures=len(group),
        atoms=len(forces),
        energy_rmse_meV_per_atom=1000 * rms(energies),
        force_rmse_eV_A=rms(forces),
        stress_rmse_GPa=rms(stresses) / GPa if len(stresses) else None,
    )


def error_columns(errors: Sequence[GroupErrors]) -> dict[str, list[str]]:
    """Return the errors of some groups in words, by what they are of.

    Stress is left out where no group has an error of it.
    """
    columns = {
        "Energy RMSE (meV/atom)": [f"{e.energy_rmse_meV_per_atom:.1f}" for e in errors],
        "Force RMSE (eV/Å)": [f"{e.force_rmse_eV_A:.3f}" for e in errors],
    }
    stresses = [e.stress_rmse_GPa for e in errors]
    if any(stress is not None for stress in stresses):
        columns["Stress RMSE (GPa)"] = [
            "–" if stress is None else f"{stress:.2f}" for stress in stresses
        ]
    return columns
