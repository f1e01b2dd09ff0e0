"""What is common to teachers that are torch networks of other packages."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from synthzoo.errors import MissingExtraError, TeacherError
from synthzoo.models.isolation import MODEL_GATE, preserved_process_state
from synthzoo.teachers.teacher import Teacher, isolated_atoms

Made = TypeVar("Made")

STEP_A, TOLERANCE = 0.02, 0.02
"""Single precision has seven digits: a smaller step would measure their rounding."""

STRONGEST_BOND_EV = 15.0
"""No crystal binds an atom with more than 9 eV; networks guess."""

APART_A = 30.0
"""Farther than any network of graphs sees."""


LABELS = ("energy", "energies", "forces", "stress")


class NetworkCalculator(Calculator):
    """Another package's calculator, which disturbs nobody while it computes."""

    def __init__(self, theirs: Calculator) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._theirs = theirs
        known = theirs.implemented_properties
        self.implemented_properties = [name for name in LABELS if name in known]

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | tuple[str, ...] = ("energy",),
        system_changes: list[str] = all_changes,
    ) -> None:
        """Compute everything for a structure and keep it in ``results``."""
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        with MODEL_GATE.computing(), _quiet():
            self._theirs.calculate(self.atoms, self.implemented_properties, all_changes)
        found = self._theirs.results
        self.results = {
            name: np.array(found[name], dtype=float)
            for name in self.implemented_properties
        }
        self.results["energy"] = float(self.results["energy"])
        if self.results["stress"].shape == (3, 3):
            self.results["stress"] = full_3x3_to_voigt_6_stress(self.results["stress"])


def network_teacher(
    calculator: NetworkCalculator,
    elements: tuple[str, ...],
    *,
    reference: str,
    software: str,
    sha256: str,
    atoms_eV: Mapping[str, float] | None = None,
) -> Teacher:
    """Return another package's network as a teacher.

    Its isolated atoms are what it gives atoms that do not see each other. Few networks
    were shown any, so they may be eV off; but its molecules fall apart into them, and a
    constant for each element does no harm: fine-tuning fits it to the user's labels.

    ``atoms_eV``: mean energies of atoms in the network's data. One of them stands in
    for an isolated atom that lies farther from it than any crystal binds an atom.
    """
    at_once = "energies" in calculator.implemented_properties
    found = (_in_a_row if at_once else isolated_atoms)(calculator, elements)
    for element, mean_eV in (atoms_eV or {}).items():
        if abs(found[element] - mean_eV) > STRONGEST_BOND_EV:
            found[element] = mean_eV
    return Teacher(
        reference=reference,
        software=software,
        sha256=sha256,
        elements=elements,
        calculator=calculator,
        isolated_atom_energies_eV=found,
        open_directions="filled",
        step_A=STEP_A,
        tolerance=TOLERANCE,
    )


def _in_a_row(calculator: Calculator, elements: tuple[str, ...]) -> dict[str, float]:
    """Return the energies of isolated atoms, all found at once in one long cell."""
    places_A = [(APART_A * index, 0.0, 0.0) for index in range(len(elements))]
    cell_A = [APART_A * len(elements), APART_A, APART_A]
    row = Atoms(elements, positions=places_A, cell=cell_A, pbc=True)
    energies = calculator.get_property("energies", row)
    return dict(zip(elements, energies.tolist(), strict=True))


def made_apart(
    make: Callable[[], Made], *, extra: str, reference: str, nequip: bool = False
) -> Made:
    """Return what a function makes with another package, which may not be installed.

    The process is left as it was: packages seed generators, filter warnings and print
    when they are imported and build a network.

    ``nequip``: whether the package is nequip.
    """
    try:
        with (
            MODEL_GATE.building(),
            preserved_process_state(nequip=nequip),
            _quiet(),
            _torch_as_it_is(),
        ):
            return make()
    except ImportError as error:
        raise missing(extra) from error
    except Exception as error:  # packages raise whatever they like
        raise TeacherError(
            f"{reference} cannot be loaded: {type(error).__name__}: {error}"
        ) from error


def missing(extra: str) -> MissingExtraError:
    """Return the error of an extra that is not installed."""
    return MissingExtraError(
        f"{extra} teachers need another package: pip install 'synthzoo[{extra}]'."
    )


def installed_folder(module: str, *, extra: str) -> Path:
    """Return the folder of a package without importing it."""
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise missing(extra)
    return Path(spec.origin).parent


@contextmanager
def _torch_as_it_is() -> Iterator[None]:
    """Undo what torch_geometric, which SevenNet imports, replaces in torch.

    TorchScript cannot compile the replacements.
    """
    import torch

    kept = {name: getattr(torch, name) for name in ("index_select", "select")}
    try:
        yield
    finally:
        for name, function in kept.items():
            setattr(torch, name, function)


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
