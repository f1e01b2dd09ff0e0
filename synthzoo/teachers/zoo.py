"""Checkpoints of the zoo as teachers: distillation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthzoo.teachers.teacher import Teacher, files_sha256

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.models.calculator import SynthzooCalculator


def zoo_sha256(what: str) -> str:
    """Return the hash of a checkpoint's description and weights."""
    from synthzoo.models.config import CONFIG_FILE, WEIGHTS_FILE

    folder = _folder(what)
    return files_sha256([folder / CONFIG_FILE, folder / WEIGHTS_FILE])


def load_zoo(reference: str, what: str, sha256: str) -> Teacher:
    """Return a checkpoint as a teacher, computing in double precision.

    Its energies are relative to isolated atoms as they are: nothing is taken off.
    """
    from synthzoo import __version__
    from synthzoo.zoo.load import load_calculator

    calculator = load_calculator(_folder(what), device="cpu", dtype="float64")
    elements = calculator.config.elements
    return Teacher(
        reference=reference,
        software=f"synthzoo {__version__}",
        sha256=sha256,
        elements=elements,
        calculator=calculator,
        isolated_atom_energies_eV=dict.fromkeys(elements, 0.0),
        open_directions="kept",
        together=partial(_compute, calculator),
    )


def _compute(
    calculator: SynthzooCalculator, structures: Sequence[Atoms]
) -> list[dict[str, Any]]:
    for atoms in structures:
        calculator.check(atoms)
    return calculator.compute(structures)


def _folder(what: str) -> Path:
    from synthzoo.zoo.find import find_folder

    return find_folder(what)
