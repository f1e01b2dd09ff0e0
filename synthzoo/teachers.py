"""Teachers: existing potentials that label structures with energies and forces.

A teacher is named by a reference of the form ``kind:what``, such as
``ace:c_ace.yace``.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms

from synthzoo.errors import InputError, MissingExtraError, TeacherError
from synthzoo.recipes import teacher_name
from synthzoo.structures import label

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

FORCE_TEST_STEP_A = 1e-4
FORCE_TEST_TOLERANCE = 1e-3
"""Largest relative difference of a force from a finite difference of the energy."""


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """A label source, tested, with what is needed to say where a label came from.

    Attributes
    ----------
    reference
        How the user named it.
    software
        Package that evaluates it, with its version.
    sha256
        Of the potential file.
    elements
        Chemical symbols that it knows.
    calculator
        ASE calculator; energies in eV, forces in eV/Å.
    isolated_atom_energies_eV
        Energy that it gives one atom of each element alone.
    gap_A
        Vacuum beyond which atoms do not see each other; it stands in for the open
        directions of a structure that is periodic in some directions only.
    """

    reference: str
    software: str
    sha256: str
    elements: tuple[str, ...]
    calculator: Calculator
    isolated_atom_energies_eV: dict[str, float]
    gap_A: float = 15.0

    @property
    def provenance(self) -> dict[str, str]:
        """Kind, file name, hash and software, free of local paths."""
        return {
            "teacher": teacher_name(self.reference),
            "teacher_sha256": self.sha256,
            "teacher_software": self.software,
        }

    def label(self, atoms: Atoms) -> Atoms:
        """Return a copy with energy (relative to isolated atoms), forces and stress.

        Parameters
        ----------
        atoms
            Structure with ``n`` atoms; stress is labelled where the cell is periodic in
            all directions.

        Raises
        ------
        TeacherError
            If a label is not a finite number.
        """
        computed = _with_gap(atoms, self.gap_A)
        computed.calc = self.calculator
        energies = np.array(computed.get_potential_energies(), dtype=float)
        energies -= [self.isolated_atom_energies_eV[symbol] for symbol in atoms.symbols]
        forces = np.array(computed.get_forces(), dtype=float)
        stress = np.array(computed.get_stress()) if atoms.pbc.all() else None
        if not (np.isfinite(energies).all() and np.isfinite(forces).all()):
            raise TeacherError(f"{self.reference} gave a label that is not a number.")
        return label(
            atoms,
            energy_eV=float(energies.sum()),
            forces_eV_A=forces,
            stress_eV_A3=stress,
            energies_eV=energies,
        )


def load_teacher(reference: str, *, sha256: str | None = None) -> Teacher:
    """Return a teacher, loaded and tested.

    Parameters
    ----------
    reference
        ``ace:FILE``: an ACE potential (``.yace``), evaluated by python-ace.
    sha256
        Hash that the file must have; any file if not given.

    Raises
    ------
    InputError
        If the reference has another form, or the file is missing.
    MissingExtraError
        If the package that evaluates it is not installed.
    TeacherError
        If the file cannot be loaded, has another hash, or the teacher fails its test.
    """
    kind, separator, what = reference.partition(":")
    if not separator or kind not in LOADERS:
        raise InputError(
            f"{reference!r} names no teacher. Expected kind:what, with one of the "
            f"kinds {', '.join(LOADERS)}; for example ace:c_ace.yace."
        )
    found = file_sha256(what)
    if sha256 is not None and found != sha256:
        raise TeacherError(
            f"{what} has SHA-256 {found}, but the recipe asks for {sha256}: this is "
            "another potential."
        )
    teacher = LOADERS[kind](reference, Path(what), found)
    _test(teacher)
    return teacher


@functools.lru_cache(maxsize=4)
def cached_teacher(reference: str, sha256: str) -> Teacher:
    """Return the teacher of this process for a reference; loaded and tested once.

    Parameters
    ----------
    reference, sha256
        As for `load_teacher`.
    """
    return load_teacher(reference, sha256=sha256)


def file_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a potential file.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    InputError
        If there is no such file.
    """
    if not Path(path).is_file():
        raise InputError(f"There is no potential file {path}.")
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _load_ace(reference: str, path: Path, sha256: str) -> Teacher:
    try:
        from pyace import PyACECalculator
    except ImportError as error:
        raise MissingExtraError(
            "ACE teachers need python-ace: pip install 'synthzoo[ace]'."
        ) from error
    try:
        calculator: Any = PyACECalculator(str(path))
        elements = tuple(str(name) for name in calculator.basis.elements_name)
    except Exception as error:  # native code raises whatever it likes
        raise TeacherError(
            f"{path} cannot be loaded as an ACE file: {error}"
        ) from error
    return Teacher(
        reference=reference,
        software=f"python-ace {version('python-ace')}",
        sha256=sha256,
        elements=elements,
        calculator=calculator,
        isolated_atom_energies_eV=_isolated_atoms(calculator, elements),
    )


def _with_gap(atoms: Atoms, gap_A: float) -> Atoms:
    """Return a copy without mixed periodicity, which pyace does not know."""
    copy: Atoms = atoms.copy()
    if copy.pbc.any() and not copy.pbc.all():
        for axis in np.flatnonzero(~copy.pbc):
            copy.center(vacuum=gap_A / 2, axis=int(axis))
        copy.pbc = True
    return copy


def _isolated_atoms(
    calculator: Calculator, elements: tuple[str, ...]
) -> dict[str, float]:
    energies = {}
    for element in elements:
        atom = Atoms(element, cell=[30.0] * 3, pbc=True)
        atom.calc = calculator
        energies[element] = float(atom.get_potential_energy())
    return energies


def _test(teacher: Teacher) -> None:
    """Compare a force with a finite difference of the energy in a small cluster."""
    for element in teacher.elements:
        atoms = Atoms(
            [element] * 3, positions=[[0, 0, 0], [1.7, 0.1, 0], [0.4, 1.9, 0.3]]
        )
        atoms.set_cell([30.0] * 3)
        atoms.pbc = True
        force = teacher.label(atoms).get_forces()[1, 0]
        energies = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[1, 0] += sign * FORCE_TEST_STEP_A
            energies.append(teacher.label(moved).get_potential_energy())
        slope = -(energies[0] - energies[1]) / (2 * FORCE_TEST_STEP_A)
        if abs(force - slope) > FORCE_TEST_TOLERANCE * max(1.0, abs(slope)):
            raise TeacherError(
                f"{teacher.reference} fails its test for {element}: the force is "
                f"{force:.6f} eV/Å, but the energy falls by {slope:.6f} eV/Å."
            )


LOADERS: dict[str, Callable[[str, Path, str], Teacher]] = {"ace": _load_ace}
