"""What ASE's readers make of the outputs of some codes, set right or refused.

Checked against ASE 3.29; the page on reading files says what is known of each code.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ase.io
import numpy as np
from ase.io.formats import open_with_compression
from ase.units import Bohr

from synthzoo.data.extended_xyz import Frame
from synthzoo.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms

PEEKED_BYTES = 50_000
"""Of a file, to find out what it is."""

_LAMMPS_COLUMNS = re.compile(rb"^ITEM: ATOMS (.*)$", re.MULTILINE)
_LAMMPS_UNITS = re.compile(rb"^ITEM: UNITS\s+(\w+)", re.MULTILINE)
_LAMMPS_KINDS = re.compile(rb"^ *(Masses|Atom Type Labels)\b", re.MULTILINE)
_ABINIT_CELL = re.compile(
    rb"echo values of preprocessed input variables.*?"
    rb"^ *acell +(?P<lengths>\S+ +\S+ +\S+) *(?P<unit>[A-Za-z]*)",
    re.MULTILINE | re.DOTALL,
)
_ABINIT_RELAXED_CELL = re.compile(rb"^ *optcell +[1-9]", re.MULTILINE)
_VASP_LEARNED = re.compile(rb"ML TOTEN|ML_LMLFF\W.{0,20}?\bT\b")


def peek(path: Path, size: int = PEEKED_BYTES) -> bytes:
    """Return the beginning of a file, unpacked if it is compressed.

    ``size``: number of bytes; all if negative.
    """
    with open_with_compression(str(path), "rb") as stream:
        head: bytes = stream.read(size)
    return head


def frames_of_code(path: Path, name: str) -> Iterator[Frame]:
    """Yield the structures of a file that ASE reads as a whole."""
    if name in _READERS:
        yield from _READERS[name](path, name)
        return
    for atoms in _by_ase(path, name):
        yield Frame(atoms, ())


def way_out(path: Path, name: str) -> str:
    """Return what can be done where ASE fails on a file, if that is known."""
    with contextlib.suppress(Exception):  # the file may be damaged
        if name in ("vasp-out", "vasp-xml") and _VASP_LEARNED.search(peek(path, -1)):
            return (
                "It holds steps of VASP's machine-learned force field (ML_LMLFF), "
                "which are no labels of DFT: give calculations without it."
            )
    return _WAYS_OUT.get(name, "")


_WAYS_OUT = {
    "vasp-out": "If the run was cut short, its vasprun.xml gives the complete steps.",
    "castep-castep": "If ASE does not know this version of CASTEP, try its .geom or "
    ".md file.",
}


def _by_ase(path: Path, name: str, **options: Any) -> Iterator[Atoms]:
    """Yield what ASE reads; an "@" in the file's name is a part of it."""
    yield from ase.io.iread(
        path, index=":", format=name, do_not_split_by_at_sign=True, **options
    )


def _lammps_dump(path: Path, name: str) -> Iterator[Frame]:
    """Yield what a dump holds: elements and units if it says so, never an energy."""
    head = peek(path)
    columns = (_LAMMPS_COLUMNS.search(head) or [b"", b""])[1].split()
    if b"element" not in columns and b"mass" not in columns:
        raise InputError(
            "it has LAMMPS's atom types, but no elements. Dump the column `element` "
            "(dump custom … element x y z) and name them: dump_modify ID element C Si."
        )
    declared = _LAMMPS_UNITS.search(head)
    units = "metal" if declared is None else declared[1].decode()
    note = "it declares no units: LAMMPS's metal units (Å, eV) were assumed."
    if declared is not None:
        note = f"converted from LAMMPS's units {units!r}." if units != "metal" else ""
    for atoms in _by_ase(path, name, units=units):
        if atoms.calc is not None:
            del atoms.calc.results["energy"]  # ASE's stand-in: 0
        yield Frame(atoms, (note,) if note else ())


def _lammps_data(path: Path, name: str) -> Iterator[Frame]:
    if not _LAMMPS_KINDS.search(peek(path)):
        raise InputError(
            "it has LAMMPS's atom types, but neither masses nor labels that tell the "
            "elements: write_data with `labelmap`, or with masses."
        )
    for atoms in _by_ase(path, name):
        yield Frame(atoms, ("LAMMPS's metal units (Å, eV) were assumed.",))


def _castep(path: Path, name: str) -> Iterator[Frame]:
    """Yield frames with the energies to which CASTEP's forces belong.

    ASE 3.29 stores the dispersion-corrected ones as ``…_correlation``, but looks for
    ``…_correction``: it gives those without dispersion.
    """
    for atoms in _by_ase(path, name):
        results = atoms.calc.results
        for key, stem in (("energy", "energy_zero"), ("free_energy", "free_energy")):
            for stored in (f"{stem}_with_dispersion_correlation", _CASTEP_CORRECTED):
                if stored in results:
                    results[key] = results[stored]
                    break
        yield Frame(atoms, ())


_CASTEP_CORRECTED = "energy_with_dispersion_correlation"


def _abinit(path: Path, name: str) -> Iterator[Frame]:
    """Yield structures in cells of the right size: ASE 3.29 reads no ``acell``."""
    text = peek(path, -1)
    match = _ABINIT_CELL.search(text)
    if match is None or _ABINIT_RELAXED_CELL.search(text):
        raise InputError(
            "ASE reads the cell of ABINIT's output only from `rprim`. Here `acell` is "
            "missing (as with several datasets), or the cell was relaxed (optcell): "
            "give one output for each structure, or the file *o_GSR.nc."
        )
    unit = 1.0 if match["unit"].lower().startswith(b"ang") else Bohr
    lengths = np.array([float(word) for word in match["lengths"].split()]) * unit
    for atoms in _by_ase(path, name):
        atoms.set_cell(atoms.cell.array * lengths[:, None])
        atoms.calc.atoms = atoms.copy()  # else ASE takes its results for outdated
        yield Frame(atoms, ())


_READERS: dict[str, Callable[[Path, str], Iterator[Frame]]] = {
    "lammps-dump-text": _lammps_dump,
    "lammps-dump-binary": _lammps_dump,
    "lammps-data": _lammps_data,
    "castep-castep": _castep,
    "abinit-out": _abinit,
}
