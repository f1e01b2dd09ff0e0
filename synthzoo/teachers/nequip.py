"""Networks that nequip has compiled for ASE."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthzoo.models.portable import refuse_other_machine
from synthzoo.teachers.networks import NetworkCalculator, made_apart, network_teacher

if TYPE_CHECKING:
    from ase import Atoms

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
    theirs.atoms_to_data = partial(_graph_in_double, theirs.transforms)
    return NetworkCalculator(theirs), tuple(theirs.transforms[0].model_type_names)


def _graph_in_double(transforms: Sequence[Any], atoms: Atoms) -> dict[str, Any]:
    """Return a structure as compiled networks read it: in double precision.

    nequip takes torch's default instead, which is that of the caller here. Machine code
    does not look at it, and would read single precision as if it were double.
    """
    import torch
    from nequip.data import AtomicDataDict, from_ase

    graph: dict[str, Any] = from_ase(atoms)
    places, cell = atoms.positions, atoms.cell.array[None]
    graph[AtomicDataDict.POSITIONS_KEY] = torch.tensor(places, dtype=torch.float64)
    graph[AtomicDataDict.CELL_KEY] = torch.tensor(cell, dtype=torch.float64)
    for transform in transforms:
        graph = transform(graph)
    return {
        name: value.double() if torch.is_floating_point(value) else value
        for name, value in graph.items()
    }
