"""Any ASE calculator as a teacher, codes for density functional theory included."""

from __future__ import annotations

import functools
import json
import re
from importlib import import_module
from importlib.metadata import packages_distributions, requires, version
from types import FunctionType
from typing import TYPE_CHECKING, Any

from ase.calculators.calculator import BaseCalculator
from ase.data import atomic_numbers

from synthzoo.errors import InputError, MissingExtraError, TeacherError
from synthzoo.models.architecture import is_number
from synthzoo.teachers.self_consistent import PerStructure
from synthzoo.teachers.teacher import Teacher, isolated_atoms, text_sha256

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

ALONE_KEY = "isolated_atom_energies_eV"
ALONE_ARGUMENTS_KEY = "isolated_atom_arguments"
SELF_CONSISTENT_KEY = "self_consistent"
EXAMPLE = f'ase:ase.calculators.emt.EMT{{"{ALONE_KEY}": {{"Cu": null}}}}'
STEP_A = 0.005
TOLERANCE = 0.02
"""Self-consistent energies are not converged to the last digit."""


def ase_sha256(what: str) -> str:
    """Return the hash of a calculator's name, version and arguments.

    Files that an argument points to are not part of it.

    Parameters
    ----------
    what
        Class and arguments, see `load_ase`.
    """
    name, arguments = _parse(what)
    text = json.dumps(arguments, sort_keys=True)
    return text_sha256(name, _software(name), text)


def load_ase(reference: str, what: str, sha256: str) -> Teacher:
    """Return any ASE calculator as a teacher.

    Parameters
    ----------
    reference, what, sha256
        As the user named it; the class with its arguments as JSON; and their hash.
        Three arguments are not the calculator's: ``isolated_atom_energies_eV``, the
        energy of one atom of each element that is to be labelled, or null where the
        calculator shall compute it; ``isolated_atom_arguments``, what shall be
        different then, such as spin; and ``self_consistent``, true for codes that
        iterate to a density, see `PerStructure`.

    Raises
    ------
    InputError
        If the text has another form, or names no ASE calculator.
    TeacherError
        If the calculator cannot be made.
    """
    name, arguments = _parse(what)
    given: dict[str, float | None] = arguments.pop(ALONE_KEY)
    alone = arguments.pop(ALONE_ARGUMENTS_KEY, {})
    iterates = bool(arguments.pop(SELF_CONSISTENT_KEY, False))
    calculator = _make(name, arguments)
    if iterates:
        calculator = PerStructure(
            make=functools.partial(_make, name, arguments),
            alone=functools.partial(_make, name, arguments | alone),
            atom_energies_eV=given,
        )
    elif alone:
        raise InputError(f"{ALONE_ARGUMENTS_KEY} needs {SELF_CONSISTENT_KEY}: true.")
    return Teacher(
        reference=reference,
        software=_software(name),
        sha256=sha256,
        elements=tuple(given),
        calculator=calculator,
        isolated_atom_energies_eV=_atom_energies(name, calculator, given),
        open_directions="kept",
        step_A=STEP_A,
        tolerance=TOLERANCE,
        self_consistent=iterates,
    )


def _atom_energies(
    name: str, calculator: Calculator, given: dict[str, float | None]
) -> dict[str, float]:
    unknown = tuple(element for element, energy in given.items() if energy is None)
    try:
        found = isolated_atoms(calculator, unknown)
    except Exception as error:  # any code may be behind it
        raise TeacherError(
            f"{name} cannot compute one atom alone ({error}); give its energy in "
            f"{ALONE_KEY}."
        ) from error
    return found | {
        element: energy for element, energy in given.items() if energy is not None
    }


def _parse(what: str) -> tuple[str, dict[str, Any]]:
    name, brace, text = what.partition("{")
    try:
        arguments = json.loads(brace + text)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{what!r} does not end in JSON arguments ({error}). Expected something "
            f"like {EXAMPLE}."
        ) from error
    if not _is_energy_table(arguments.get(ALONE_KEY)):
        raise InputError(
            f"{what!r} does not say which elements it labels: {ALONE_KEY} should hold "
            f"the energy of one atom of each, or null, as in {EXAMPLE}."
        )
    if not isinstance(arguments.get(ALONE_ARGUMENTS_KEY, {}), dict):
        raise InputError(f"{what!r}: {ALONE_ARGUMENTS_KEY} should hold arguments.")
    return name, arguments


def _is_energy_table(given: Any) -> bool:
    return (
        isinstance(given, dict)
        and bool(given)
        and all(atomic_numbers.get(symbol) for symbol in given)
        and all(energy is None or is_number(energy) for energy in given.values())
    )


def _make(name: str, arguments: dict[str, Any]) -> Calculator:
    module, _, cls = name.rpartition(".")
    try:
        found = getattr(import_module(module), cls)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{name} cannot be imported: install the package that has {error.name}."
        ) from error
    except (AttributeError, ValueError) as error:
        raise InputError(f"There is no calculator {name}: {error}.") from error
    _refuse_no_calculator(name, found)
    try:
        calculator: Calculator = found(**arguments)
    except Exception as error:  # any code may be behind it
        raise TeacherError(f"{name} cannot be made: {error}") from error
    return calculator


def _refuse_no_calculator(name: str, found: Any) -> None:
    """Refuse whatever is not a class derived from ASE's calculator.

    A function that makes one, such as `gpaw.GPAW`, cannot be told from any other before
    it is called; it has to come from a package that itself depends on ASE.
    """
    if isinstance(found, type):
        sound = issubclass(found, BaseCalculator)
    else:
        sound = isinstance(found, FunctionType) and _builds_on_ase(name)
    if not sound:
        raise InputError(
            f"{name} is not an ASE calculator and was not called. Expected a class "
            "derived from ase.calculators.calculator.Calculator."
        )


def _builds_on_ase(name: str) -> bool:
    package = _package(name)
    if package in {"ase", None}:
        return package == "ase"
    needed = (re.split(r"[^\w.-]", text)[0].lower() for text in requires(package) or ())
    return "ase" in needed


@functools.cache
def _software(name: str) -> str:
    """Return the package that a class comes from, with its version."""
    package = _package(name)
    return f"{package} {version(package)}" if package else name.partition(".")[0]


def _package(name: str) -> str | None:
    """Return the distribution that a class comes from, if it is installed."""
    packages = packages_distributions().get(name.partition(".")[0], [])
    return packages[0] if packages else None
