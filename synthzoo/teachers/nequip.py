"""Networks that nequip has compiled for ASE."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from synthzoo.models.portable import refuse_other_machine
from synthzoo.teachers.networks import NetworkCalculator, made_apart, network_teacher

if TYPE_CHECKING:
    from synthzoo.teachers.teacher import Teacher


def load_nequip(reference: str, what: str, sha256: str) -> Teacher:
    """Return a network of nequip or allegro as a teacher.

    ``what``: file that ``nequip-compile --target ase --device cpu`` has written.
    """
    refuse_other_machine(Path(what))
    make = partial(_make, what)
    calculator, elements = made_apart(
        make, extra="nequip", reference=reference, nequip=True
    )
    return network_teacher(
        calculator,
        elements,
        reference=reference,
        software=f"nequip {version('nequip')}",
        sha256=sha256,
    )


def _make(file: str) -> tuple[NetworkCalculator, tuple[str, ...]]:
    from nequip.integrations.ase import NequIPCalculator

    theirs = NequIPCalculator.from_compiled_model(
        file, device="cpu", chemical_species_to_atom_type_map=True
    )
    return NetworkCalculator(theirs), tuple(theirs.transforms[0].model_type_names)
