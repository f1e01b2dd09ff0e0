"""Find the labels of structures, whatever their keys are called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from synthzoo.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

ENERGY_KEYS = ("REF_energy", "dft_energy", "DFT_energy", "total_energy", "ref_energy")
FORCES_KEYS = ("REF_forces", "dft_forces", "DFT_forces", "force", "ref_forces")
CALCULATOR = "calculator"
"""Stands for labels where ASE keeps them: in the structure's own calculator."""


@dataclass(frozen=True, kw_only=True)
class LabelKeys:
    """Where the labels of a set are.

    Attributes
    ----------
    energy
        Key in ``Atoms.info``, or ``"calculator"``.
    forces
        Key in ``Atoms.arrays``, or ``"calculator"``.
    """

    energy: str
    forces: str


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Energy and forces of one structure.

    Attributes
    ----------
    energy_eV
        Of the whole cell.
    forces_eV_A
        Of shape ``(n_atoms, 3)``.
    """

    energy_eV: float
    forces_eV_A: NDArray[np.float64]


def find_label_keys(
    structures: Sequence[Atoms],
    *,
    energy_key: str | None = None,
    forces_key: str | None = None,
) -> LabelKeys:
    """Return where the labels are; the same keys must serve every structure.

    Parameters
    ----------
    structures
        The whole set.
    energy_key, forces_key
        Keys to use; found among the usual names if not given.

    Raises
    ------
    InputError
        If no key, or more than one, is present in every structure.
    """
    energy = _choose("energy", _shared(map(_energy_keys, structures)), energy_key)
    forces = _choose("forces", _shared(map(_forces_keys, structures)), forces_key)
    return LabelKeys(energy=energy, forces=forces)


def labels_of(atoms: Atoms, keys: LabelKeys, *, name: str = "the structure") -> Labels:
    """Return the labels of one structure.

    Parameters
    ----------
    atoms
        Structure with ``n`` atoms.
    keys
        Where the labels are.
    name
        What to call the structure in the message.

    Raises
    ------
    InputError
        If a label is missing, not a finite number, or of the wrong shape.
    """
    energy = _label(atoms, "energy", keys.energy, atoms.info, name)
    forces = _label(atoms, "forces", keys.forces, atoms.arrays, name)
    found = Labels(energy_eV=float(energy), forces_eV_A=np.asarray(forces, dtype=float))
    if found.forces_eV_A.shape != (len(atoms), 3):
        raise InputError(
            f"{name}: forces have shape {found.forces_eV_A.shape}, "
            f"expected {(len(atoms), 3)}."
        )
    if not (np.isfinite(found.energy_eV) and np.isfinite(found.forces_eV_A).all()):
        raise InputError(f"{name}: a label is not a finite number.")
    return found


def _label(
    atoms: Atoms, what: str, key: str, place: Mapping[str, Any], name: str
) -> Any:
    if key == CALCULATOR:
        key, place = what, atoms.calc.results if atoms.calc is not None else {}
    if key not in place:
        raise InputError(f"{name} has no {what}: there is no label {key!r}.")
    return place[key]


def _energy_keys(atoms: Atoms) -> set[str]:
    keys = {key for key in ENERGY_KEYS if key in atoms.info}
    if atoms.calc is not None and "energy" in atoms.calc.results:
        keys.add(CALCULATOR)
    return keys | {key for key in atoms.info if "energy" in key.lower()}


def _forces_keys(atoms: Atoms) -> set[str]:
    keys = {key for key in FORCES_KEYS if key in atoms.arrays}
    if atoms.calc is not None and "forces" in atoms.calc.results:
        keys.add(CALCULATOR)
    return keys | {key for key in atoms.arrays if "force" in key.lower()}


def _shared(key_sets: Iterable[set[str]]) -> set[str]:
    sets = list(key_sets)
    return set.intersection(*sets) if sets else set()


def _choose(what: str, candidates: set[str], wanted: str | None) -> str:
    if wanted is not None:
        if wanted not in candidates:
            raise InputError(
                f"Not every structure has {what} under {wanted!r}. "
                f"Found in all of them: {sorted(candidates) or 'nothing'}."
            )
        return wanted
    if not candidates:
        raise InputError(
            f"No {what} labels found in every structure. Name the key with "
            f"--{what}-key."
        )
    if len(candidates) > 1:
        raise InputError(
            f"Several keys could be the {what}: {sorted(candidates)}. Choose one with "
            f"--{what}-key."
        )
    return candidates.pop()
