"""Find the labels of structures, whatever their keys are called."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.stress import full_3x3_to_voigt_6_stress

from synthzoo.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

CALCULATOR = "calculator"
"""Stands for labels where ASE keeps them: in the structure's own calculator."""

VIRIAL = "virial"
"""In a key: minus the volume times the stress, as GAP and MACE write it."""

NOT_TOTAL_ENERGIES = re.compile(
    "sigma|weight|unit|kinetic|per_?atom|isolated|error|std|uncert|variance|shift|delta",
    re.IGNORECASE,
)
"""What a key holds that speaks of energy, forces or stress but is not the label."""


@dataclass(frozen=True, kw_only=True)
class LabelKeys:
    """Where the labels of a set are; None for what it does not have.

    Attributes
    ----------
    energy
        Key in ``Atoms.info``, or ``"calculator"``.
    forces
        Key in ``Atoms.arrays``, or ``"calculator"``.
    stress
        Key in ``Atoms.info``, or ``"calculator"``. What has "virial" in its name is
        minus the volume times the stress.
    """

    energy: str | None
    forces: str | None
    stress: str | None = None


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


@dataclass(frozen=True, kw_only=True)
class PartialLabels:
    """What a structure has of energy, forces and stress.

    Attributes
    ----------
    energy_eV
        Of the whole cell, or None.
    forces_eV_A
        Of shape ``(n_atoms, 3)`` if it is right, or None.
    stress_eV_A3
        Of shape ``(6,)``, in Voigt order and ASE's sign, or None.
    """

    energy_eV: float | None
    forces_eV_A: NDArray[np.float64] | None
    stress_eV_A3: NDArray[np.float64] | None


@dataclass(frozen=True, kw_only=True)
class KeyCounts:
    """Keys that could be labels, and in how many structures they are.

    Attributes
    ----------
    energy, forces, stress
        Number of structures by key, the most frequent key first.
    """

    energy: dict[str, int]
    forces: dict[str, int]
    stress: dict[str, int]


def count_label_keys(structures: Iterable[Atoms]) -> KeyCounts:
    """Return which labels there seem to be.

    Parameters
    ----------
    structures
        Taken one at a time.
    """
    counts: tuple[Counter[str], ...] = (Counter(), Counter(), Counter())
    for atoms in structures:
        counts[0].update(_energy_keys(atoms))
        counts[1].update(_forces_keys(atoms))
        counts[2].update(_stress_keys(atoms))
    energy, forces, stress = (dict(count.most_common()) for count in counts)
    return KeyCounts(energy=energy, forces=forces, stress=stress)


def likely_keys(
    counts: KeyCounts,
    *,
    energy_key: str | None = None,
    forces_key: str | None = None,
    stress_key: str | None = None,
) -> LabelKeys:
    """Return the keys to look at where nothing depends on having chosen right.

    The most frequent key is taken, ASE's own place before others; forces and stress
    whose name fits the energy's before others.

    Parameters
    ----------
    counts
        What there is.
    energy_key, forces_key, stress_key
        What was asked for.

    Raises
    ------
    InputError
        If a key was asked for that no structure has.
    """
    energy = _likely("energy", counts.energy, energy_key, None)
    return LabelKeys(
        energy=energy,
        forces=_likely("forces", counts.forces, forces_key, energy),
        stress=_likely("stress", counts.stress, stress_key, energy),
    )


def _likely(
    what: str, counts: dict[str, int], wanted: str | None, energy: str | None
) -> str | None:
    if wanted is not None and wanted not in counts:
        raise InputError(
            f"No structure has {what} under {wanted!r}. "
            f"Found: {sorted(counts) or 'nothing'}."
        )
    if wanted is not None or not counts:
        return wanted
    return max(
        counts, key=lambda key: (counts[key], _fits(key, energy), key == CALCULATOR)
    )


def _fits(key: str, energy: str | None) -> bool:
    """Return whether two keys are those of one source: ``ace_energy, ace_forces``."""
    if energy is None or CALCULATOR in (key, energy):
        return key == energy
    stem = re.sub("energy|energies", "", energy, flags=re.IGNORECASE)
    return re.sub("forces?|stress|virials?", "", key, flags=re.IGNORECASE) == stem


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
        If no key, or more than one, is present in every structure. Among several keys
        for forces, the one that is named like the energy is meant.
    """
    energy = _choose("energy", _shared(map(_energy_keys, structures)), energy_key)
    found = _shared(map(_forces_keys, structures))
    alike = {key for key in found if _fits(key, energy)}
    forces = _choose("forces", found if forces_key else alike or found, forces_key)
    stress = sorted(_shared(map(_stress_keys, structures)), key=str.lower)
    like_energy = [key for key in stress if _fits(key, energy)]
    return LabelKeys(
        energy=energy, forces=forces, stress=(*like_energy, *stress, None)[0]
    )


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
    energy = _label(atoms, "energy", keys.energy)
    forces = _label(atoms, "forces", keys.forces)
    for what, key, value in (
        ("energy", keys.energy, energy),
        ("forces", keys.forces, forces),
    ):
        if value is None:
            raise InputError(f"{name} has no {what}: there is no label {key!r}.")
    found = Labels(energy_eV=float(energy), forces_eV_A=np.asarray(forces, dtype=float))
    if found.forces_eV_A.shape != (len(atoms), 3):
        raise InputError(
            f"{name}: forces have shape {found.forces_eV_A.shape}, "
            f"expected {(len(atoms), 3)}."
        )
    if not (np.isfinite(found.energy_eV) and np.isfinite(found.forces_eV_A).all()):
        raise InputError(f"{name}: a label is not a finite number.")
    return found


def partial_labels(atoms: Atoms, keys: LabelKeys) -> PartialLabels:
    """Return what a structure has of these labels, without judging it.

    Parameters
    ----------
    atoms
        Structure with ``n`` atoms.
    keys
        Where the labels would be.
    """
    energy = _label(atoms, "energy", keys.energy)
    forces = _label(atoms, "forces", keys.forces)
    return PartialLabels(
        energy_eV=None if energy is None else float(energy),
        forces_eV_A=None if forces is None else np.asarray(forces, dtype=float),
        stress_eV_A3=_stress(atoms, keys.stress),
    )


def _stress(atoms: Atoms, key: str | None) -> NDArray[np.float64] | None:
    value = _label(atoms, "stress", key)
    if value is None or key is None:
        return None
    stress = np.asarray(value, dtype=float)
    if stress.size == 9:
        stress = full_3x3_to_voigt_6_stress(stress.reshape(3, 3))
    if VIRIAL in key.lower():
        stress = -stress / atoms.get_volume()
    return stress.reshape(6)


def _label(atoms: Atoms, what: str, key: str | None) -> Any:
    """Return a label, or None where a structure does not have it."""
    if key is None:
        return None
    if key == CALCULATOR:
        return _results(atoms).get(what)
    place: Mapping[str, Any] = atoms.arrays if what == "forces" else atoms.info
    return place.get(key)


def _results(atoms: Atoms) -> Mapping[str, Any]:
    """Return what the calculator of a structure holds, nothing being computed."""
    results: Mapping[str, Any] = getattr(atoms.calc, "results", {})
    return {key: value for key, value in results.items() if value is not None}


def _energy_keys(atoms: Atoms) -> set[str]:
    keys = {key for key in atoms.info if _means(key, "energy") or key == "E"}
    numbers = {key for key in keys if _is_numeric(atoms.info[key], (1,))}
    return numbers | ({CALCULATOR} if "energy" in _results(atoms) else set())


def _forces_keys(atoms: Atoms) -> set[str]:
    keys = {key for key in atoms.arrays if _means(key, "force")}
    vectors = {key for key in keys if atoms.arrays[key].ndim == 2}
    return vectors | ({CALCULATOR} if "forces" in _results(atoms) else set())


def _stress_keys(atoms: Atoms) -> set[str]:
    keys = {key for key in atoms.info if _means(key, "stress") or _means(key, VIRIAL)}
    tensors = {key for key in keys if _is_numeric(atoms.info[key], (6, 9))}
    cell = atoms.cell.rank == 3
    if not cell:
        tensors = {key for key in tensors if VIRIAL not in key.lower()}
    return tensors | ({CALCULATOR} if "stress" in _results(atoms) else set())


def _means(key: Any, what: str) -> bool:
    return what in str(key).lower() and not NOT_TOTAL_ENERGIES.search(str(key))


def _is_numeric(value: Any, sizes: tuple[int, ...]) -> bool:
    array = np.asarray(value)
    return array.dtype.kind in "fiu" and array.size in sizes


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
    return the_only(candidates, what)


def the_only(candidates: Iterable[str], what: str) -> str:
    """Return the key of a label.

    Parameters
    ----------
    candidates
        Keys that could be it, at least one.
    what
        Name of the label, such as ``energy``.

    Raises
    ------
    InputError
        If there are several.
    """
    first, *others = sorted(candidates)
    if others:
        raise InputError(
            f"Several keys could be the {what}: {[first, *others]}. Choose one with "
            f"--{what}-key."
        )
    return first
