"""Any ASE calculator as a teacher, codes for density functional theory included."""

from __future__ import annotations

import functools
import json
import re
from importlib import import_module
from importlib.metadata import packages_distributions, requires, version
from types import FunctionType
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from ase.calculators.calculator import BaseCalculator, Calculator, all_changes

from synthzoo.data import unconstrained
from synthzoo.data.structures import is_isolated_atom
from synthzoo.errors import InputError, MissingExtraError, TeacherError
from synthzoo.recipes.schema import Number, Symbol
from synthzoo.teachers.teacher import Teacher, isolated_atoms, text_sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ase import Atoms

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
    """
    name, arguments = _parse(what)
    text = json.dumps(arguments, sort_keys=True)
    return text_sha256(name, _software(name), text)


def load_ase(reference: str, what: str, sha256: str) -> Teacher:
    """Return any ASE calculator as a teacher.

    ``reference``, ``what``, ``sha256``: as the user named it; the class with its
    arguments as JSON; and their hash. Three arguments are not the calculator's:
    ``isolated_atom_energies_eV``, the energy of one atom of each element that is to be
    labelled, or null where the calculator shall compute it;
    ``isolated_atom_arguments``, what shall be different then, such as spin; and
    ``self_consistent``, true for codes that iterate to a density, see `PerStructure`.
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
            f"{name} cannot compute an isolated atom ({error}); give its energy in "
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
    try:
        return bool(msgspec.convert(given, dict[Symbol, Number | None]))
    except msgspec.ValidationError:
        return False


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


COMPUTED = ("energy", "forces", "stress")
"""What is asked of a code, as far as it has it."""

ALONE_A = 8.0
"""An atom whose periodic images are further away than this (Å) is alone."""

BOX_A = (12.0, 12.5, 13.0)
"""Cell of an isolated atom; its sides differ, or p orbitals could not choose."""


class PerStructure(Calculator):
    """A calculator that is made anew for each structure.

    No density is handed from one structure to the next, so that a label does not depend
    on the order of the file. The energy is the free energy of the electrons where the
    code has it: that is what the forces are the derivative of.

    An atom alone may need other arguments (spin, integer occupation). Where its energy
    is known, that is its energy in any cell in which it is alone; where not, it is
    computed with those arguments in a cell of `BOX_A`.

    ``make``, ``alone``: make a calculator for structures, and for an isolated atom.
    ``atom_energies_eV``: energy of an isolated atom by symbol, or None where it is to
    be computed.
    """

    def __init__(
        self,
        *,
        make: Callable[[], Calculator],
        alone: Callable[[], Calculator],
        atom_energies_eV: Mapping[str, float | None],
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._make, self._alone = make, alone
        self._atom_energies_eV = dict(atom_energies_eV)
        self._known = set(make().implemented_properties)
        self.implemented_properties = [name for name in COMPUTED if name in self._known]

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | tuple[str, ...] = ("energy",),
        system_changes: list[str] = all_changes,
    ) -> None:
        """Compute energy, forces and stress at once and keep them in ``results``."""
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        computed: Atoms = self.atoms.copy()  # type: ignore[union-attr]  # set just now
        if is_isolated_atom(computed, ALONE_A):
            self.results = self._atom(computed)
            return
        computed.calc = self._make()
        self.results = {"energy": self._energy(computed)}
        self.results["forces"] = unconstrained.forces_eV_A(computed)
        if "stress" in self._known and computed.pbc.all():
            self.results["stress"] = unconstrained.stress_eV_A3(computed)

    def _energy(self, atoms: Atoms) -> float:
        consistent = "free_energy" in self._known
        return unconstrained.energy_eV(atoms, force_consistent=consistent)

    def _atom(self, atoms: Atoms) -> dict[str, Any]:
        symbol = atoms[0].symbol
        if self._atom_energies_eV.get(symbol) is None:
            box = atoms.copy()
            box.set_cell(BOX_A)
            box.center()
            box.pbc = True
            box.calc = self._alone()
            self._atom_energies_eV[symbol] = self._energy(box)
        return {
            "energy": self._atom_energies_eV[symbol],
            "forces": np.zeros((1, 3)),
            "stress": np.zeros(6),
        }
