"""The teacher: a calculator with what is needed to say where a label came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress

from synthzoo.data import unconstrained
from synthzoo.data.sound import check_structure
from synthzoo.data.structures import label
from synthzoo.errors import InputError, SynthzooError, TeacherError
from synthzoo.recipes.loading import teacher_name
from synthzoo.runs.files import hash_content, hash_files, is_there

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator
    from numpy.typing import NDArray


Uncertainty = Callable[["Calculator"], "NDArray[np.float64]"]
"""Reads the teacher's own uncertainty about each atom after a calculation."""

Together = Callable[[Sequence[Atoms]], list[dict[str, Any]]]
"""Returns the results of several structures, by ASE's names."""

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
    together
        Computes several structures at a time; None if that is no faster.
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
    together: Together | None = None
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
        (labelled,) = self.label_checked([atoms])
        return labelled

    def label_checked(self, structures: Sequence[Atoms]) -> list[Atoms]:
        """Return labelled copies of structures that `check_structure` has passed.

        Several are computed at a time if the teacher can: up to rounding, labels are
        those of `label`, which see. An error does not say which structure is to blame.
        """
        try:
            labelled = list(map(self._labelled, structures, self._computed(structures)))
        except SynthzooError:
            raise
        except Exception as error:  # native code raises whatever it likes
            raise TeacherError(
                f"{self.reference} could not label this structure: "
                f"{type(error).__name__}: {error}"
            ) from error
        for atoms in labelled:
            self._check(atoms)
        return labelled

    def _computed(self, structures: Sequence[Atoms]) -> list[dict[str, Any]]:
        """Return what the calculator finds, and the teacher's uncertainty."""
        if self.together is None or len(structures) == 1:
            return list(map(self._alone, structures))
        return self.together(list(map(self.with_gap, structures)))

    def _alone(self, atoms: Atoms) -> dict[str, Any]:
        known = self.calculator.implemented_properties
        computed = self.with_gap(atoms)
        computed.calc = self.calculator
        # The energy first: asking for it computes, and all else is then there already.
        found = {"energy": self.calculator.get_property("energy", computed)}
        names = ["energies"] if "energies" in known else []
        names += ["forces"]
        names += ["stress"] if "stress" in known and atoms.pbc.all() else []
        for name in names:
            value = getattr(self.calculator, "results", {}).get(name)
            if value is None:
                value = self.calculator.get_property(name, computed)
            found[name] = np.array(value, dtype=float)
        if self.uncertainty is not None and self.uncertainty_name is not None:
            found[self.uncertainty_name] = self.uncertainty(self.calculator)
        return found

    def _labelled(self, atoms: Atoms, found: Mapping[str, Any]) -> Atoms:
        """Return a copy with what was found; energies become relative."""
        alone = np.array(
            [self.isolated_atom_energies_eV[name] for name in atoms.symbols]
        )
        energy = whole = float(found["energy"] - alone.sum())
        energies = found.get("energies")
        if energies is not None:
            energies = energies - alone
            energy = float(energies.sum())
        if abs(energy - whole) > ENERGIES_ADD_UP_TO_EV * len(atoms):
            raise TeacherError(
                f"{self.reference} gave energies per atom with the sum {energy:.6f} "
                f"eV, but {whole:.6f} eV for the structure."
            )
        has_stress = "stress" in found and atoms.pbc.all()
        labelled = label(
            atoms,
            energy_eV=energy,
            forces_eV_A=found["forces"],
            stress_eV_A3=_voigt(found["stress"]) if has_stress else None,
            energies_eV=energies,
        )
        name = self.uncertainty_name
        if name is not None and name in found:
            labelled.set_array(name, found[name])
            labelled.info[f"max_{name}"] = float(found[name].max())
        return labelled

    def _check(self, labelled: Atoms) -> None:
        for name, values in labelled.calc.results.items():
            if not np.isfinite(values).all():
                raise TeacherError(
                    f"{self.reference} gave a label that is not a number ({name})."
                )

    def with_gap(self, atoms: Atoms) -> Atoms:
        """Return a copy that the calculator can do, without constraints.

        Open directions that it cannot do are periodic there, with a gap of vacuum.

        Parameters
        ----------
        atoms
            Structure, periodic or not.
        """
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


def _voigt(stress: NDArray[np.float64]) -> NDArray[np.float64]:
    if stress.shape == (3, 3):
        return np.asarray(full_3x3_to_voigt_6_stress(stress))
    return stress


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
