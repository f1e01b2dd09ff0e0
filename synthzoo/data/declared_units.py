"""Units that a structure declares for its labels, converted to eV and Å."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from ase import units

from synthzoo.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms

Kind = Literal["energy", "virial", "forces", "stress", "length"]

_ENERGIES = {
    "ev": 1.0,
    "mev": 1e-3,
    "hartree": units.Hartree,
    "ha": units.Hartree,
    "eh": units.Hartree,
    "au": units.Hartree,
    "ry": units.Ry,
    "rydberg": units.Ry,
    "kcal_mol": units.kcal / units.mol,
    "kj_mol": units.kJ / units.mol,
}
_LENGTHS = {
    "angstrom": 1.0,
    "angstroms": 1.0,
    "ang": 1.0,
    "a": 1.0,
    "å": 1.0,
    "bohr": units.Bohr,
    "a0": units.Bohr,
    "au": units.Bohr,
    "nm": units.nm,
}
_PRESSURES = {
    "gpa": units.GPa,
    "mpa": 1e6 * units.Pascal,
    "pa": units.Pascal,
    "kbar": 1e3 * units.bar,
    "kb": 1e3 * units.bar,
    "bar": units.bar,
}
_POWERS = {"energy": 0, "virial": 0, "forces": 1, "stress": 3}
"""Of the length by which an energy is divided in each kind of label."""

OURS: dict[Kind, str] = {
    "energy": "eV",
    "virial": "eV",
    "forces": "eV/Å",
    "stress": "eV/Å³",
    "length": "Å",
}
"""What labels have after the conversion."""

_WORDS: dict[str, Kind] = {
    "energy": "energy",
    "energies": "energy",
    "virial": "virial",
    "force": "forces",
    "forces": "forces",
    "stress": "stress",
    "stresses": "stress",
    "length": "length",
    "distance": "length",
    "position": "length",
    "positions": "length",
}
_WORD = "|".join(sorted(_WORDS, key=len, reverse=True))
_DECLARATION = re.compile(
    rf"(?P<word>{_WORD})[-_ ]?units?|units?[-_ ](?P<of>{_WORD})", re.IGNORECASE
)
_LABEL = re.compile("virial|stress|force|energ(?:y|ies)", re.IGNORECASE)
_NO_LABEL = re.compile("unit|weight|tol|index|count|kinetic|cut", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class _Unit:
    """A unit that was declared, and what a number in it is multiplied by."""

    text: str
    factor: float


def factor_of(kind: Kind, unit: str) -> float | None:
    """Return what a number in a unit is multiplied by, or None for an unknown unit.

    Examples
    --------
    >>> round(factor_of("forces", "Hartree/Bohr"), 3)
    51.422
    >>> factor_of("energy", "kbar") is None
    True
    """
    text = re.sub(r"a\.u\.|atomic(_?units?)?", "au", unit.strip().lower())
    text = re.sub(r"[\s*]+([a-zå0]+)\^-(?:1|(3))", r"/\1\2", text)  # kcal mol^-1
    text = re.sub(r"[\s_()/]+", "/", text).strip("/").replace("/mol", "_mol")
    if kind == "length":
        return _LENGTHS.get(text)
    if kind == "stress" and text in _PRESSURES:
        return _PRESSURES[text]
    power = _POWERS[kind]
    if text == "au":
        return float(units.Hartree / units.Bohr**power)
    energy, *divisors = text.split("/", 1)
    lengths = [re.sub(r"(\^|\*\*)?[3³]$", "", text) for text in divisors]
    if energy not in _ENERGIES or len(lengths) != bool(power):
        return None
    if (lengths != divisors) != (power == 3) or not set(lengths) <= set(_LENGTHS):
        return None
    return float(
        _ENERGIES[energy] / math.prod(_LENGTHS[text] for text in lengths) ** power
    )


def convert_declared(atoms: Atoms) -> tuple[str, ...]:
    """Convert a structure to eV and Å where it declares other units, in place.

    Declared are units by ``info`` such as ``energy-unit=hartree`` or ``force_unit``,
    and by the name of a label, such as ``energy_kcal_mol``.

    ``atoms``: structure with labels in its calculator, ``info`` or ``arrays``.
    """
    notes = [*_not_understood(atoms), *_rename_units(atoms.info)]
    notes += _rename_units(atoms.arrays)
    declared = _declared(atoms)
    strange = {kind: unit for kind, unit in declared.items() if unit.factor != 1.0}
    if not strange:
        return tuple(notes)
    kinds = set()
    for kind, place, name in list(_labels(atoms)):
        kinds.add(kind)
        unit = declared.get(kind)
        if kind == "virial":  # which is an energy
            unit = unit or declared.get("energy")
        if unit is not None:
            place[name] = np.multiply(place[name], unit.factor)[()]
    _refuse_half_declared(declared, strange, kinds)
    if "length" in strange:
        atoms.arrays["positions"] *= strange["length"].factor
        atoms.cell *= strange["length"].factor
        if atoms.calc is not None:
            atoms.calc.atoms = atoms.copy()  # else ASE takes its results for outdated
    told = ", ".join(
        f"{kind} from {unit.text} to {OURS[kind]}" for kind, unit in strange.items()
    )
    notes.append(f"converted, as it declares: {told}.")
    if "stress" in kinds and "stress" not in declared:
        notes.append("it declares no unit of stress: eV/Å³ was assumed.")
    return tuple(notes)


def _not_understood(atoms: Atoms) -> Iterator[str]:
    """Yield what is said of units and cell in a way that leads nowhere."""
    for key, value in atoms.info.items():
        word = str(key).lower()
        if word in ("unit", "units") and str(value).lower() not in _OURS_AT_LARGE:
            yield f"{key}={value} is not understood: eV and Å were assumed."
        cell = word in _CELLS and _is_numeric(value) and np.size(value) in (3, 6, 9)
        if cell and not atoms.cell.any():
            yield f"{key} is not read as a cell, which is called Lattice: it has none."


_OURS_AT_LARGE = ("metal", "ase", "ev", "ev/å", "ev, å", "ev/angstrom", "ev, angstrom")
_CELLS = ("cell", "box", "unitcell", "unit_cell", "cell_parameters")


def _declared(atoms: Atoms) -> dict[Kind, _Unit]:
    """Return the units that a structure declares; it declares ours from now on."""
    declared = {}
    for key, value in list(atoms.info.items()):
        match = _DECLARATION.fullmatch(str(key))
        if match is None or not isinstance(value, str):
            continue
        kind = _WORDS[(match["word"] or match["of"]).lower()]
        factor = factor_of(kind, value)
        if factor is None:
            raise InputError(
                f"{key}={value!r} is not a unit of {kind} that synthzoo knows, such as "
                f"{OURS[kind]}; convert the labels, or take {key} out."
            )
        declared[kind] = _Unit(text=value, factor=factor)
        if factor != 1.0:
            atoms.info[key] = OURS[kind]
    return declared


def _labels(atoms: Atoms) -> Iterator[tuple[Kind, MutableMapping[str, Any], str]]:
    """Yield kind, place and name of everything that could be a label."""
    results = getattr(atoms.calc, "results", {})
    for place in (results, atoms.info, atoms.arrays):
        for name, value in place.items():
            kind = _kind(name)
            if kind is not None and _is_numeric(value):
                yield kind, place, name


def _is_numeric(value: Any) -> bool:
    try:
        return np.asarray(value).dtype.kind in "iuf"
    except ValueError:  # lists of lists of different lengths
        return False


def _kind(name: Any) -> Kind | None:
    match = _LABEL.search(str(name))
    if str(name) == "E":
        return "energy"
    if match is None or _NO_LABEL.search(str(name)):
        return None
    return _WORDS[match[0].lower()]


def _refuse_half_declared(
    declared: dict[Kind, _Unit], strange: dict[Kind, _Unit], found: set[Kind]
) -> None:
    pair: tuple[Kind, Kind]
    for pair in (("energy", "forces"), ("forces", "energy")):
        one, other = pair
        if one in strange and other in found and other not in declared:
            raise InputError(
                f"it declares {strange[one].text} for {one}, but no unit for {other}: "
                f"add {other.removesuffix('s')}-unit to its comment line."
            )


def _rename_units(place: MutableMapping[Any, Any]) -> list[str]:
    """Convert labels whose names end in a unit, and name them by ours."""
    notes = []
    for name, value in list(place.items()):
        if not _is_numeric(value):
            continue
        parts = re.split("([-_])", str(name))
        for cut in range(1, len(parts), 2):
            stem, unit = "".join(parts[:cut]), "".join(parts[cut + 1 :])
            kind = _kind(stem)
            factor = factor_of(kind, unit.replace("-", "_")) if kind else None
            if kind is None or factor in (None, 1.0):
                continue
            ours = OURS[kind].replace("/", "_").replace("Å", "A").replace("³", "3")
            place[f"{stem}_{ours}"] = np.multiply(place.pop(name), factor)[()]
            notes.append(f"{name} was converted to {stem}_{ours}.")
            break
    return notes
