"""Gaussian approximation potentials (GAP), evaluated by quippy."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.parsers import expat

import numpy as np
from ase.data import chemical_symbols

from synthzoo.errors import MissingExtraError, TeacherError, one_line
from synthzoo.runs.files import hash_files
from synthzoo.teachers.teacher import (
    Teacher,
    file_sha256,
    files_sha256,
    isolated_atoms,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

VARIANCE_NAME = "gap_local_variance_eV2"
QUIP_VARIANCE = "local_gap_variance"
CALC_ARGS = f"local_energy virial {QUIP_VARIANCE}={QUIP_VARIANCE}"
"""Computed each time, so that one call gives every label."""


SPECIES = re.compile(r"(?:\b|species_)Z\d*=\{*([\d ,]+)")
"""Atomic numbers in a descriptor, such as ``Z1=6``, ``Z={{6 6}}``, ``species_Z=6``."""

ANALYTIC = re.compile(r"(Sum|IP (?!KIM)\w+|(?!command)\w+=[\w.+-]*)?", re.IGNORECASE)
"""A part of ``IP GAP label=…``, or of its sum with other potentials of QUIP's own."""


@dataclass
class _Coordinates:
    """One descriptor of a GAP file with the sparse points that it needs."""

    points: int
    file: str | None
    md5: str | None
    found: int = 0
    text: list[str] = field(default_factory=list)


def gap_sha256(what: str) -> str:
    """Return the hash of a GAP file together with its files of sparse points.

    ``what``: path of the ``.xml`` file.
    """
    file_sha256(what)
    path = Path(what)
    extra = [path.with_name(part.file) for part in _read(path) if part.file is not None]
    return files_sha256([path, *extra])


def load_gap(reference: str, what: str, sha256: str) -> Teacher:
    """Return a GAP teacher; its uncertainty is the local variance of the process."""
    try:
        from quippy.potential import Potential
    except ImportError as error:
        raise MissingExtraError(
            "GAP teachers need quippy-ase: pip install 'synthzoo[gap]'."
        ) from error
    elements = _elements(what, _read(Path(what)))
    try:
        calculator = Potential(param_filename=what, calc_args=CALC_ARGS)
        alone = isolated_atoms(calculator, elements)
    except Exception as error:  # native code raises whatever it likes
        raise TeacherError(
            f"{what} cannot be loaded as a GAP file: {one_line(error)}."
        ) from error
    return Teacher(
        reference=reference,
        software=f"quippy-ase {version('quippy-ase')}",
        sha256=sha256,
        elements=elements,
        calculator=calculator,
        isolated_atom_energies_eV=alone,
        open_directions="filled",
        uncertainty_name=VARIANCE_NAME,
        uncertainty=_local_variance,
        forces_only=lambda: Potential(param_filename=what),
    )


def _local_variance(calculator: Any) -> NDArray[np.float64]:
    variance = calculator.extra_results["atoms"][QUIP_VARIANCE]
    return np.array(variance, dtype=float)


def _read(path: Path) -> list[_Coordinates]:
    """Return what a GAP file says about its descriptors, checked.

    quippy takes a cut file without a word and computes with memory that was never set.
    """
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.StartElementHandler = reader.start
    parser.CharacterDataHandler = reader.text
    try:
        with path.open("rb") as stream:
            parser.ParseFile(stream)
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise TeacherError(f"{path} is not a whole GAP file: {error}.") from error
    if not reader.parts:
        raise TeacherError(f"{path} is not a GAP file: it has no gpCoordinates.")
    for part in reader.parts:
        _check_points(path, part)
    return reader.parts


class _Reader:
    """Collects the descriptors while a GAP file, which may be large, goes by."""

    def __init__(self) -> None:
        self.parts: list[_Coordinates] = []
        self._inside = ""

    def start(self, name: str, values: dict[str, str]) -> None:
        self._inside = name
        if name == "Potential":
            refuse_programs(values.get("init_args", ""))
        if name == "gpCoordinates":
            self.parts.append(
                _Coordinates(
                    points=int(values["n_sparseX"]),
                    file=values.get("sparseX_filename"),
                    md5=values.get("sparseX_md5sum"),
                )
            )
        elif name == "sparseX":
            self.parts[-1].found += 1

    def text(self, data: str) -> None:
        if self._inside == "descriptor":
            self.parts[-1].text.append(data)


def refuse_programs(arguments: str) -> None:
    """Refuse whatever else than potentials of its own QUIP is asked for.

    A potential file may also name a program, which QUIP would run (``FilePot``).

    ``arguments``: the ``init_args`` of the file.
    Raises `ValueError` if a part of them is unknown.
    """
    parts = re.sub(r"\bIP\s+", "IP ", arguments, flags=re.IGNORECASE)
    for part in re.split(r"(?<!\bIP)\s+|[{}]", parts, flags=re.IGNORECASE):
        if not ANALYTIC.fullmatch(part):
            raise ValueError(
                f"its init_args {arguments[:60]!r} ask for more than a potential"
            )


def _check_points(path: Path, part: _Coordinates) -> None:
    if part.found != part.points:
        raise TeacherError(
            f"{path} announces {part.points} sparse points, but has {part.found}."
        )
    if part.file is None:
        return
    if Path(part.file).name != part.file:
        raise TeacherError(
            f"{path} needs the sparse points in {part.file}; put that file beside it."
        )
    beside = path.with_name(part.file)
    if not beside.is_file():
        raise TeacherError(
            f"{path} needs the sparse points in {beside.name}; put that file beside it."
        )
    if part.md5 is None:
        return
    md5 = hash_files([beside], algorithm="md5")
    if md5 != part.md5.lower():
        raise TeacherError(
            f"{beside} is damaged or belongs to another potential: it has MD5 {md5}, "
            f"but {path.name} asks for {part.md5}."
        )


def _elements(what: str, parts: list[_Coordinates]) -> tuple[str, ...]:
    numbers: set[int] = set()
    for part in parts:
        for words in SPECIES.findall("".join(part.text)):
            numbers.update(int(word) for word in re.findall(r"\d+", words))
    numbers.discard(0)
    if not numbers:
        raise TeacherError(f"{what} does not say for which elements it is.")
    return tuple(chemical_symbols[number] for number in sorted(numbers))
