"""Find the labels of structures, whatever their keys are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.stress import full_3x3_to_voigt_6_stress

from synthzoo.data.label_names import (
    PREDICTED_BY,
    VIRIAL,
    Standing,
    could_be,
    is_free_energy,
    source,
    standing,
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

TEACHER = "teacher"
"""Key in ``Atoms.info``: who made the labels in ASE's own place."""

SAME_ENERGY_EV_PER_ATOM = 1e-5
SAME_FORCE_EV_A = 1e-4
SAME_SHARE = 2.5e-7
"""Labels that differ by less are one: some files hold single precision."""


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
    """Energy and forces of one structure.

    ``forces_eV_A``: of shape ``(n_atoms, 3)``.
    """

    energy_eV: float
    forces_eV_A: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class PartialLabels:
    """What a structure has of energy, forces and stress.

    ``forces_eV_A``: of shape ``(n_atoms, 3)`` if it is right, or None.
    ``stress_eV_A3``: of shape ``(6,)``, in Voigt order and ASE's sign, or None.
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
        Number of structures by key, the most frequent key first, among equally frequent
        ones those of a reference first.
    """

    energy: dict[str, int]
    forces: dict[str, int]
    stress: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class KeyChoice:
    """Which keys are read, and what else there is.

    ``rivals``: for energy or forces, the keys of several references that differ: which
    of them is meant, only the user knows.
    """

    keys: LabelKeys
    counts: KeyCounts
    rivals: dict[str, tuple[str, ...]]


def count_label_keys(structures: Sequence[Atoms]) -> KeyCounts:
    """Return which labels there seem to be."""
    counts = {
        what: Counter(key for atoms in structures for key in _candidates(atoms, what))
        for what in ("energy", "forces", "stress")
    }
    if _all_smeared(structures):
        counts["energy"][FREE_ENERGY] = counts["energy"].pop(CALCULATOR)
    rank = _ranking(structures)
    return KeyCounts(
        **{
            what: dict(
                sorted(count.items(), key=lambda item: (-item[1], rank(item[0])))
            )
            for what, count in counts.items()
        }
    )


def choose_label_keys(
    structures: Sequence[Atoms],
    *,
    energy_key: str | None = None,
    forces_key: str | None = None,
    stress_key: str | None = None,
) -> KeyChoice:
    """Return which keys are read; the same for every command that reads the set.

    The most frequent key is read, unless one that ranks higher disagrees with it
    anywhere. Labels of a reference (DFT) rank first, then those in ASE's own place or
    under unmarked names, then those of models. Forces and stress whose name fits the
    energy's come before all others.

    In ASE's own place, the energy is the one whose derivative the forces are. Where all
    structures have a free energy of smeared electrons, its key is ``free_energy``.

    ``energy_key``, ``forces_key``, ``stress_key``: what was asked for; in ASE's own
    place, ``calculator`` or ASE's own names.
    """
    counts, rank = count_label_keys(structures), _ranking(structures)

    def choose(what: str, wanted: str | None, energy: str | None) -> _Choice:
        candidates: dict[str, int] = getattr(counts, what)
        if wanted is None:
            return _choose(structures, what, _fitting(candidates, energy), rank)
        number = sum(_label(atoms, what, wanted) is not None for atoms in structures)
        if not number:
            raise InputError(
                f"No structure has {what} under {wanted!r}. "
                f"{_found(list(candidates), structures)}"
            )
        candidates.setdefault(wanted, number)
        return _Choice(wanted)

    energy = choose("energy", energy_key, None)
    forces = choose("forces", forces_key, energy.key)
    stress = choose("stress", stress_key, energy.key)
    rivals = {"energy": energy.rivals, "forces": forces.rivals}
    return KeyChoice(
        keys=LabelKeys(energy=energy.key, forces=forces.key, stress=stress.key),
        counts=counts,
        rivals={what: keys for what, keys in rivals.items() if keys},
    )


def find_label_keys(
    structures: Sequence[Atoms],
    *,
    energy_key: str | None = None,
    forces_key: str | None = None,
    energies_only: bool = False,
    advice: Mapping[str, str] | None = None,
) -> LabelKeys:
    """Return where the labels are, as `choose_label_keys` does; refuse what is unclear.

    ``energies_only``: whether forces are not needed, and not looked for.
    ``advice``: what to add to the message where ``"energy"`` or ``"forces"`` are
    missing.
    """
    choice = choose_label_keys(structures, energy_key=energy_key, forces_key=forces_key)
    for what in ("energy",) if energies_only else ("energy", "forces"):
        if getattr(choice.keys, what) is None:
            raise InputError(
                f"No structure has {what} labels under a known key. "
                f"{_found([], structures)} Name the right one with --{what}-key. "
                f"{(advice or {}).get(what, '')}".rstrip()
            )
        if what in choice.rivals:
            raise InputError(
                f"Several keys could be the {what}: {list(choice.rivals[what])}, and "
                f"their values differ. Choose one with --{what}-key."
            )
    return replace(choice.keys, forces=None) if energies_only else choice.keys


_Rank = tuple[Standing, bool, bool, str]


@dataclass(frozen=True)
class _Choice:
    """The key of one label, and those of references that differ from each other."""

    key: str | None
    rivals: tuple[str, ...] = ()


def _ranking(structures: Sequence[Atoms]) -> Callable[[str], _Rank]:
    """Return what sorts keys: whose they are, then ASE's own place, then the names."""
    own = _standing_of_own_place(structures)

    def rank(key: str) -> _Rank:
        if key in (CALCULATOR, FREE_ENERGY):
            return own, False, False, key
        return standing(key), True, not is_free_energy(key), key.lower() + key

    return rank


def _all_smeared(structures: Sequence[Atoms]) -> bool:
    """Return whether all energies in ASE's own place come with another free energy."""
    pairs = [
        own_energies_eV(atoms)
        for atoms in structures
        if "energy" in own_labels(atoms) and len(atoms)
    ]
    return any(pair is not None and pair[0] != pair[1] for pair in pairs) and all(
        pair is not None for pair in pairs
    )


def _standing_of_own_place(structures: Sequence[Atoms]) -> Standing:
    """Return whose the labels in ASE's own place are, as far as the structures say."""
    if any(PREDICTED_BY in atoms.info for atoms in structures):
        return Standing.MODEL
    if any(TEACHER in atoms.info for atoms in structures):
        return Standing.TAUGHT
    return Standing.UNMARKED


def _choose(
    structures: Sequence[Atoms],
    what: str,
    counts: Mapping[str, int],
    rank: Callable[[str], _Rank],
) -> _Choice:
    """Return the most frequent key, or one of higher rank that disagrees with it."""
    if not counts:
        return _Choice(None)
    ordered = sorted(counts, key=rank)
    best = max(ordered, key=counts.__getitem__)
    better = (
        key
        for key in ordered
        if rank(key)[0] < rank(best)[0] and _disagree(structures, what, best, key)
    )
    best = next(better, best)
    rivals = [
        key
        for key in ordered
        if standing(key) is standing(best) is Standing.REFERENCE
        and not _same_source(key, best)
        and _disagree(structures, what, best, key)
    ]
    return _Choice(best, tuple(sorted([best, *rivals])) if rivals else ())


def _same_source(one: str, other: str) -> bool:
    """Return whether two keys hold the energy and the free energy of one source."""
    return source(one) == source(other) and is_free_energy(one) != is_free_energy(other)


def _disagree(structures: Sequence[Atoms], what: str, one: str, other: str) -> bool:
    return any(_differ(atoms, what, one, other) for atoms in structures)


def _differ(atoms: Atoms, what: str, one: str, other: str) -> bool:
    """Return whether a structure has a label twice, with different values."""
    values = [_label(atoms, what, key) for key in (one, other)]
    if one == other or any(value is None for value in values):
        return False
    first, second = map(_numbers, values)
    limit = (
        SAME_ENERGY_EV_PER_ATOM * len(atoms) if what == "energy" else SAME_FORCE_EV_A
    )
    return first.shape != second.shape or not np.allclose(
        first, second, atol=limit, rtol=SAME_SHARE, equal_nan=True
    )


def _fitting(counts: Mapping[str, int], energy: str | None) -> Mapping[str, int]:
    """Return the keys that are named like the energy's, or all if there are none."""
    if energy is None:
        return counts
    alike = {key: n for key, n in counts.items() if _source(key) == _source(energy)}
    return alike or counts


def _source(key: str) -> str:
    return "" if key == CALCULATOR else source(key)


def _place(key: str | None) -> str:
    if key is None:
        return "not read"
    return "in ASE's own place" if key == CALCULATOR else f"under {key}"


def _found(candidates: Sequence[str], structures: Sequence[Atoms]) -> str:
    """Return which keys there are: those of the label, or all of them."""
    if candidates:
        return f"Found: {sorted(candidates)}."
    names = {str(key) for atoms in structures for key in atoms.info}
    arrays = {str(key) for atoms in structures for key in atoms.arrays}
    arrays -= {"numbers", "positions"}
    return (
        f"Keys there are: {sorted(names) or 'none'} (of structures), "
        f"{sorted(arrays) or 'none'} (of atoms)."
    )


def labels_of(atoms: Atoms, keys: LabelKeys, *, name: str = "the structure") -> Labels:
    """Return the labels of one structure.

    ``name``: what to call the structure in the message.
    """
    energy = _label(atoms, "energy", keys.energy)
    forces = _label(atoms, "forces", keys.forces)
    for what, key, value in (
        ("energy", keys.energy, energy),
        ("forces", keys.forces, forces),
    ):
        if value is None:
            raise InputError(
                f"{name} has no {what}: there is no label {key!r}. Leave it out, or "
                "choose another key for all structures."
            )
    labels = Labels(energy_eV=_energy(energy), forces_eV_A=_numbers(forces))
    if labels.forces_eV_A.shape != (len(atoms), 3):
        raise InputError(
            f"{name}: forces have shape {labels.forces_eV_A.shape}, "
            f"expected {(len(atoms), 3)}."
        )
    if not (np.isfinite(labels.energy_eV) and np.isfinite(labels.forces_eV_A).all()):
        raise InputError(f"{name}: a label is not a finite number.")
    return labels


def partial_labels(atoms: Atoms, keys: LabelKeys) -> PartialLabels:
    """Return what a structure has of these labels, without judging it.

    What is no number is NaN.
    """
    energy = _label(atoms, "energy", keys.energy)
    forces = _label(atoms, "forces", keys.forces)
    return PartialLabels(
        energy_eV=None if energy is None else _energy(energy),
        forces_eV_A=None if forces is None else _numbers(forces),
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


def _energy(value: Any) -> float:
    numbers = _numbers(value)
    return float(numbers.reshape(-1)[0]) if numbers.size == 1 else float("nan")


def _numbers(value: Any) -> NDArray[np.float64]:
    """Return a label as numbers, or NaN if it is none."""
    try:
        return np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        return np.array(np.nan)


def _stress(atoms: Atoms, key: str | None) -> NDArray[np.float64] | None:
    value = _label(atoms, "stress", key)
    if value is None or key is None:
        return None
    stress = _numbers(value)
    if stress.size == 9:
        stress = full_3x3_to_voigt_6_stress(stress.reshape(3, 3))
    if stress.size != 6:
        return None
    if VIRIAL in key.lower():
        if atoms.cell.rank < 3:  # there is no volume to divide it by
            return None
        stress = -stress / atoms.get_volume()
    return stress.reshape(6)


def _label(atoms: Atoms, what: str, key: str | None) -> Any:
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


def _candidates(atoms: Atoms, what: str) -> set[str]:
    """Return the keys that could hold a label of a structure."""
    places = {**atoms.info, **atoms.arrays} if what == "forces" else atoms.info
    keys = {
        key
        for key, value in places.items()
        if isinstance(key, str) and could_be(what, key) and _fits(atoms, what, value)
    }
    if what == "stress" and atoms.cell.rank < 3:
        keys = {key for key in keys if VIRIAL not in key.lower()}
    return keys | (
        {CALCULATOR} if _label(atoms, what, CALCULATOR) is not None else set()
    )


def _fits(atoms: Atoms, what: str, value: Any) -> bool:
    """Return whether a value has the shape of a label."""
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths
        return False
    if array.dtype.kind not in "fiu":
        return False
    if what == "forces":
        return array.shape == (len(atoms), 3)
    return array.size in ((1,) if what == "energy" else (6, 9))
