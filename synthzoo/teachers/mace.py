"""MACE networks, by name or file. Written from MACE's documentation, and untried."""

from __future__ import annotations

from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from ase.data import chemical_symbols

from synthzoo.runs.files import is_there
from synthzoo.teachers.networks import (
    NetworkCalculator,
    made_apart,
    missing,
    network_teacher,
)
from synthzoo.teachers.teacher import file_sha256, text_sha256

if TYPE_CHECKING:
    from synthzoo.teachers.teacher import Teacher

EXTRA = "mace"
PACKAGE = "mace-torch"


def mace_sha256(what: str) -> str:
    """Return the hash of a file, or of the name that MACE has for one."""
    if is_there(Path(what)):
        return file_sha256(what)
    return text_sha256(what, _version())


def load_mace(reference: str, what: str, sha256: str) -> Teacher:
    """Return a MACE network as a teacher, computing in single precision.

    ``what``: a file, or a name that ``mace_mp`` takes, such as ``medium-mpa-0``; MACE
    then downloads the file unless it has it already.
    """
    software = f"{PACKAGE} {_version()}"
    calculator, elements = made_apart(
        partial(_make, what), extra=EXTRA, reference=reference
    )
    return network_teacher(
        calculator, elements, reference=reference, software=software, sha256=sha256
    )


def _make(what: str) -> tuple[NetworkCalculator, tuple[str, ...]]:
    from mace.calculators import mace_mp

    theirs = mace_mp(model=what, device="cpu", default_dtype="float32")
    elements = tuple(chemical_symbols[number] for number in theirs.z_table.zs)
    return NetworkCalculator(theirs), elements


def _version() -> str:
    try:
        return version(PACKAGE)
    except PackageNotFoundError as error:
        raise missing(EXTRA) from error
