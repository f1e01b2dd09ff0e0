"""Find the labels of structures, whatever their keys are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.stress import full_3x3_to_voigt_6_stress

from synthzoo.data.label_names import (
    VIRIAL,
)
from synthzoo.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

CALCULATOR = "calculator"
"""Stands for labels where ASE keeps them: in the structure's own calculator.

The energy there is the free energy of the electrons, where a structure has one.
"""
FREE_ENERGY = "free_energy"
"""What ASE calls the energy whose derivative the forces are; electrons are smeared."""

SAME_SUM_EV_PER_ATOM = 1e-4
"""Energies of atoms with another sum than the energy are not parts of it."""

TEACHER = "teacher"
"""Key in ``Atoms.info``: who made the labels in ASE's own place."""


@dataclass(frozen=True, kw_only=True)
class LabelKeys:
    """Where the labels of a set are; None for what it does not have.

    Attributes
    ----------
    energy
        Key in ``Atoms.info``, or ``"calculator"``.
    forces
        Key in ``Atoms.arrays`` or ``Atoms.info``, or ``"calculator"``.
    stress
        Key in ``Atoms.info``, or ``"calculator"``. What has "virial" in its name is
        minus the volume times the stress.
    """

    energy: str | None
    forces: str | None
    stress: str | None = None

    def __str__(self) -> str:
        """Return where energies and forces are, in words."""
        places = (("energies", self.energy), ("forces", self.forces))
        return ", ".join(f"{what} {_place(key)}" for what, key in places)


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Energy, forces and perhaps stress of one structure.

    ``forces_eV_A``: of shape ``(n_atoms, 3)``.
    ``stress_eV_A3``: of shape ``(6,)``, in Voigt order and ASE's sign; None where it is
    not known, or the cell is not periodic in all directions.
    ``atomic_energies_eV``: of shape ``(n_atoms,)``, with the energy as their sum; None
    where the source has none.
    """

    energy_eV: float
    forces_eV_A: NDArray[np.float64]
    stress_eV_A3: NDArray[np.float64] | None = None
    atomic_energies_eV: NDArray[np.float64] | None = None


@dataclass(frozen=True, kw_only=True)
class PartialLabels:
    """What a structure has of energy, forces and stress.

    ``forces_eV_A``: of shape ``(n_atoms, 3)`` if it is right, or None.
    ``stress_eV_A3``: of shape ``(6,)``, in Voigt order and ASE's sign, or None.
    """

    energy_eV: float | None
    forces_eV_A: NDArray[np.float64] | None
    stress_eV_A3: NDArray[np.float64] | None


def _place(key: str | None) -> str:
    if key is None:
        return "not read"
    return "in ASE's own place" if key == CALCULATOR else f"under {key}"


def labels_of(atoms: Atoms, keys: LabelKeys, *, name: str = "the structure") -> Labels:
    """Return the labels of one structure.

    ``name``: what to call the structure in the message.
    """
    energy = label_of(atoms, "energy", keys.energy)
    forces = label_of(atoms, "forces", keys.forces)
    for what, key, value in (
        ("energy", keys.energy, energy),
        ("forces", keys.forces, forces),
    ):
        if value is None:
            raise InputError(
                f"{name} has no {what}: there is no label {key!r}. Leave it out, or "
                "choose another key for all structures."
            )
    labels = Labels(
        energy_eV=_energy(energy),
        forces_eV_A=as_numbers(forces),
        stress_eV_A3=bulk_stress_eV_A3(atoms, _stress(atoms, keys.stress)),
        atomic_energies_eV=_atomic_energies(atoms, keys.energy),
    )
    if labels.forces_eV_A.shape != (len(atoms), 3):
        raise InputError(
            f"{name}: forces have shape {labels.forces_eV_A.shape}, "
            f"expected {(len(atoms), 3)}."
        )
    if not (np.isfinite(labels.energy_eV) and np.isfinite(labels.forces_eV_A).all()):
        raise InputError(f"{name}: a label is not a finite number.")
    return labels


def bulk_stress_eV_A3(
    atoms: Atoms, stress_eV_A3: NDArray[np.float64] | None
) -> NDArray[np.float64] | None:
    """Return a stress if it is one of a material: finite, in a cell without an end."""
    if stress_eV_A3 is None or not (atoms.pbc.all() and atoms.cell.rank == 3):
        return None
    return stress_eV_A3 if np.isfinite(stress_eV_A3).all() else None


def partial_labels(atoms: Atoms, keys: LabelKeys) -> PartialLabels:
    """Return what a structure has of these labels, without judging it.

    What is no number is NaN.
    """
    energy = label_of(atoms, "energy", keys.energy)
    forces = label_of(atoms, "forces", keys.forces)
    return PartialLabels(
        energy_eV=None if energy is None else _energy(energy),
        forces_eV_A=None if forces is None else as_numbers(forces),
        stress_eV_A3=_stress(atoms, keys.stress),
    )


def own_labels(atoms: Atoms) -> dict[str, Any]:
    """Return the labels in ASE's own place, by ASE's names; nothing is computed.

    The energy is the one whose derivative the forces are: the free energy of the
    electrons, where the code has one. VASP and others extrapolate what ASE calls
    ``energy`` to electrons without smearing.
    """
    results = _results(atoms)
    if "free_energy" in results:
        results["energy"] = results["free_energy"]
    return results


def own_energies_eV(atoms: Atoms) -> tuple[float, float] | None:
    """Return the two energies in ASE's own place, or None if there is only one.

    Returns ``energies``: what ASE calls ``energy``, and the free energy.
    """
    results = _results(atoms)
    if not {"energy", "free_energy"} <= results.keys():
        return None
    return _energy(results["energy"]), _energy(results["free_energy"])


def _atomic_energies(atoms: Atoms, key: str | None) -> NDArray[np.float64] | None:
    """Return the energies of atoms that add up to the label of the energy."""
    if key != CALCULATOR:
        return None
    own = own_labels(atoms)
    found = as_numbers(own.get("energies"))
    if found.shape != (len(atoms),) or not np.isfinite(found).all():
        return None
    difference = abs(found.sum() - _energy(own["energy"]))
    return found if difference < SAME_SUM_EV_PER_ATOM * len(atoms) else None


def _energy(value: Any) -> float:
    numbers = as_numbers(value)
    return float(numbers.reshape(-1)[0]) if numbers.size == 1 else float("nan")


def as_numbers(value: Any) -> NDArray[np.float64]:
    """Return a label as numbers, or NaN if it is none."""
    try:
        return np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        return np.array(np.nan)


def _stress(atoms: Atoms, key: str | None) -> NDArray[np.float64] | None:
    value = label_of(atoms, "stress", key)
    if value is None or key is None:
        return None
    stress = as_numbers(value)
    if stress.size == 9:
        stress = full_3x3_to_voigt_6_stress(stress.reshape(3, 3))
    if stress.size != 6:
        return None
    if VIRIAL in key.lower():
        if atoms.cell.rank < 3:  # there is no volume to divide it by
            return None
        stress = -stress / atoms.get_volume()
    return stress.reshape(6)


def label_of(atoms: Atoms, what: str, key: str | None) -> Any:
    """Return a label, or None where a structure does not have it."""
    if key is None:
        return None
    if key == CALCULATOR:
        return own_labels(atoms).get(what)
    if what == "forces" and key in atoms.arrays:
        return atoms.arrays[key]
    return atoms.info.get(key, _results(atoms).get(key))


def _results(atoms: Atoms) -> dict[str, Any]:
    """Return what the calculator of a structure holds, nothing being computed."""
    held: Mapping[str, Any] = getattr(atoms.calc, "results", {})
    results = {key: value for key, value in held.items() if value is not None}
    parts = getattr(atoms.calc, "energy_contributions", None)
    if isinstance(parts, dict) and "free energy" in parts and "energy" in results:
        # ASE reads GPAW's text and leaves the free energy among the contributions
        at_zero = parts.get("extrapolated", parts.get("zero kelvin"))
        if at_zero is not None:
            smeared = float(parts["free energy"] - at_zero)
            results.setdefault("free_energy", results["energy"] + smeared)
    return results
