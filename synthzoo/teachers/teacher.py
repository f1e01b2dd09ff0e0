"""The teacher: a calculator with what is needed to say where a label came from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress

from synthzoo.data import unconstrained
from synthzoo.data.structures import check_structure, label
from synthzoo.errors import InputError, SynthzooError, TeacherError
from synthzoo.recipes.loading import teacher_name
from synthzoo.runs.files import hash_content, hash_files, is_there

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator
    from numpy.typing import NDArray


Uncertainty = Callable[["Calculator"], "NDArray[np.float64]"]
"""Reads the teacher's own uncertainty about each atom after a calculation."""

OpenDirections = Literal["kept", "filled", "filled if mixed"]
"""What happens to the directions in which a structure is not periodic."""

ENERGIES_ADD_UP_TO_EV = 1e-4
"""Energies per atom whose sum is further off than this (eV per atom) are a fault."""


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
        Of the potential file; of what stands in for it where there is none.
    elements
        Chemical symbols that it knows.
    calculator
        ASE calculator; energies in eV, forces in eV/Å.
    isolated_atom_energies_eV
        Energy that it gives an isolated atom of each element.
    gap_A
        Vacuum beyond which atoms do not see each other; it stands in for the open
        directions of a structure.
    open_directions
        Whether that gap is used never, in every open direction, or only where other
        directions are periodic.
    uncertainty_name, uncertainty
        Name of the per-atom array that holds the teacher's own uncertainty, with its
        unit, and what reads it; None if the teacher has none.
    forces_only
        Makes another calculator for dynamics, which needs energy and forces alone;
        None if ``calculator`` serves there, too.
    step_A, tolerance
        Displacement for finite differences, and the largest relative error of a
        derivative found with it that rounding or convergence explains.
    self_consistent
        Whether each label takes a code minutes rather than milliseconds; only what is
        affordable is tested then.
    """

    reference: str
    software: str
    sha256: str
    elements: tuple[str, ...]
    calculator: Calculator
    isolated_atom_energies_eV: dict[str, float]
    gap_A: float = 15.0
    open_directions: OpenDirections = "filled if mixed"
    uncertainty_name: str | None = None
    uncertainty: Uncertainty | None = None
    forces_only: Callable[[], Calculator] | None = None
    step_A: float = 1e-4
    tolerance: float = 1e-3
    self_consistent: bool = False

    @property
    def provenance(self) -> dict[str, str]:
        """Kind, file name, hash and software, free of local paths."""
        return {
            "teacher": teacher_name(self.reference),
            "teacher_sha256": self.sha256,
            "teacher_software": self.software,
        }

    @cached_property
    def forces_calculator(self) -> Calculator:
        """Calculator for dynamics, which need no more than energy and forces."""
        return self.calculator if self.forces_only is None else self.forces_only()

    def label(self, atoms: Atoms) -> Atoms:
        """Return a copy with energy (relative to isolated atoms), forces and stress.

        Energies per atom and stress are there if the teacher has them; its uncertainty
        is an array under ``uncertainty_name``, and the largest value is in ``info``.

        Parameters
        ----------
        atoms
            Structure with ``n`` atoms; stress is labelled where the cell is periodic in
            all directions.

        Raises
        ------
        InputError
            If the structure has an element that the teacher does not know, or no energy
            is defined for it.
        TeacherError
            If the teacher breaks down, or a label is not a finite number.
        """
        check_structure(atoms, elements=self.elements, overlaps=False)
        computed = self._with_gap(atoms)
        computed.calc = self.calculator
        try:
            labelled = self._labelled(atoms, computed)
        except SynthzooError:
            raise
        except Exception as error:  # native code raises whatever it likes
            raise TeacherError(
                f"{self.reference} could not label this structure: "
                f"{type(error).__name__}: {error}"
            ) from error
        self._check(labelled)
        return labelled

    def _labelled(self, atoms: Atoms, computed: Atoms) -> Atoms:
        known = self.calculator.implemented_properties
        alone = np.array(
            [self.isolated_atom_energies_eV[name] for name in atoms.symbols]
        )
        # The energy first: asking for it computes, and all else is then there already.
        whole = self.calculator.get_property("energy", computed) - float(alone.sum())
        energies, energy = None, 0.0
        if "energies" in known:
            energies = self._result("energies", computed) - alone
            energy = float(energies.sum())
        if energies is None:
            energy = float(whole)
        elif abs(energy - whole) > ENERGIES_ADD_UP_TO_EV * len(atoms):
            raise TeacherError(
                f"{self.reference} gave energies per atom with the sum {energy:.6f} "
                f"eV, but {whole:.6f} eV for the structure."
            )
        has_stress = "stress" in known and atoms.pbc.all()
        labelled = label(
            atoms,
            energy_eV=energy,
            forces_eV_A=self._result("forces", computed),
            stress_eV_A3=self._stress(computed) if has_stress else None,
            energies_eV=energies,
        )
        if self.uncertainty is not None and self.uncertainty_name is not None:
            uncertainty = self.uncertainty(self.calculator)
            labelled.set_array(self.uncertainty_name, uncertainty)
            labelled.info[f"max_{self.uncertainty_name}"] = float(uncertainty.max())
        return labelled

    def _result(self, name: str, computed: Atoms) -> NDArray[np.float64]:
        """Return what was computed with the energy, or is computed now."""
        value = getattr(self.calculator, "results", {}).get(name)
        if value is None:
            value = self.calculator.get_property(name, computed)
        return np.array(value, dtype=float)

    def _stress(self, computed: Atoms) -> NDArray[np.float64]:
        stress = self._result("stress", computed)
        if stress.shape == (3, 3):
            return np.asarray(full_3x3_to_voigt_6_stress(stress))
        return stress

    def _check(self, labelled: Atoms) -> None:
        for name, values in labelled.calc.results.items():
            if not np.isfinite(values).all():
                raise TeacherError(
                    f"{self.reference} gave a label that is not a number ({name})."
                )

    def _with_gap(self, atoms: Atoms) -> Atoms:
        """Return a free copy in which open directions that it cannot do are filled."""
        copy: Atoms = atoms.copy()
        copy.set_constraint()  # it would change forces
        mixed = bool(copy.pbc.any())
        if copy.pbc.all() or self.open_directions == "kept":
            return copy
        if mixed or self.open_directions == "filled":
            for axis in np.flatnonzero(~copy.pbc):
                copy.center(vacuum=self.gap_A / 2, axis=int(axis))
            copy.pbc = True
        return copy


def isolated_atoms(
    calculator: Calculator, elements: tuple[str, ...]
) -> dict[str, float]:
    """Return the energy in eV that a calculator gives isolated atoms."""
    energies = {}
    for element in elements:
        atom = Atoms(element, cell=[30.0] * 3, pbc=True)
        atom.calc = calculator
        energies[element] = unconstrained.energy_eV(atom)
    return energies


def file_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a potential file."""
    file = Path(path)
    if not (is_there(file) and file.is_file()):
        raise InputError(f"There is no potential file {file}.")
    return hash_files([file])


def files_sha256(paths: Sequence[Path]) -> str:
    """Return one hash for several files that belong together, or that of a single one.

    It is the SHA-256 of what the command ``sha256sum`` prints for the names without
    their folder, in this order.

    ``paths``: the files, at least one.
    """
    hashes = [file_sha256(path) for path in paths]
    if len(hashes) == 1:
        return hashes[0]
    return text_sha256(
        *(f"{digest}  {path.name}" for digest, path in zip(hashes, paths, strict=True))
    )


def text_sha256(*lines: str) -> str:
    """Return the SHA-256 of lines of text."""
    return hash_content("".join(f"{line}\n" for line in lines))
