"""Many structures through one model: batched, streamed, one file out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from synthzoo.data.label_names import PREDICTED_BY
from synthzoo.errors import InputError
from synthzoo.models.uncertainty import ENERGY, FORCES

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.models.calculator import SynthzooCalculator

BATCH_ATOMS = 256
"""Atoms in one evaluation: more is no faster on a CPU, and takes more memory."""


REFERENCE = "reference_"
"""What the labels that came with a structure are called beside the predicted ones."""


def predict_structures(
    structures: Iterable[Atoms],
    calculator: SynthzooCalculator,
    *,
    batch_atoms: int = BATCH_ATOMS,
) -> Iterator[Atoms]:
    """Yield a copy of each structure with energy, forces and stress, in order.

    Small structures are computed together, which is faster than one by one; the results
    are the same up to rounding. Labels that a structure already has are kept as
    ``info["reference_energy"]``, ``arrays["reference_forces"]`` and so on.

    Parameters
    ----------
    structures
        Structures.
    calculator
        Calculator made by `load_calculator`.
    batch_atoms
        Atoms computed at a time; a larger structure is computed alone.

    Yields
    ------
    atoms
        Copy with energy, forces, energies per atom and, where the cell has a volume,
        stress, in a `SinglePointCalculator`. Where the model knows how sure it is,
        there are ``info["energy_uncertainty"]`` and ``arrays["forces_uncertainty"]``.

    Raises
    ------
    InputError
        If a structure cannot be computed; the message says which (from 0).

    Examples
    --------
    >>> from ase.build import bulk
    >>> from synthzoo import load_calculator
    >>> diamond = [bulk("C", a=a) for a in (3.5, 3.6)]
    >>> predicted = list(predict_structures(diamond, load_calculator("carbon")))
    >>> [round(atoms.get_potential_energy(), 1) for atoms in predicted]
    [-17.8, -17.8]
    """
    if batch_atoms < 1:
        raise InputError(f"batch_atoms must be at least 1, not {batch_atoms}.")
    for batch in checked_batches(structures, calculator, batch_atoms):
        yield from _predict_batch(batch, calculator)


def checked_batches(
    structures: Iterable[Atoms], calculator: SynthzooCalculator, batch_atoms: int
) -> Iterator[list[tuple[str, Atoms]]]:
    """Yield runs of checked structures, with what to call them in messages."""
    batch: list[tuple[str, Atoms]] = []
    size = 0
    for index, atoms in enumerate(structures):
        name = f"Structure number {index + 1} (index {index})"
        calculator.check(atoms, name=name)
        if batch and size + len(atoms) > batch_atoms:
            yield batch
            batch, size = [], 0
        batch.append((name, atoms))
        size += len(atoms)
    if batch:
        yield batch


def _predict_batch(
    batch: Sequence[tuple[str, Atoms]], calculator: SynthzooCalculator
) -> Iterator[Atoms]:
    from synthzoo.data.sound import check_structure
    from synthzoo.models.calculator import OverlapError

    try:
        computed = calculator.compute([atoms for _, atoms in batch])
    except OverlapError:
        for name, atoms in batch:
            check_structure(atoms, name=name)  # says which
        raise
    for (_, atoms), results in zip(batch, computed, strict=True):
        yield _labelled(atoms, results)


def _labelled(atoms: Atoms, results: Mapping[str, Any]) -> Atoms:
    from ase.calculators.singlepoint import SinglePointCalculator

    labelled: Atoms = atoms.copy()
    _keep_labels(labelled, atoms.calc.results if atoms.calc else {})
    places: dict[str, dict[str, Any]] = {ENERGY: labelled.info, FORCES: labelled.arrays}
    for name, place in places.items():
        place.pop(name, None)
        if name in results:
            place[name] = results[name]
    known = {name: value for name, value in results.items() if name not in places}
    labelled.calc = SinglePointCalculator(labelled, **known)
    return labelled


def _keep_labels(atoms: Atoms, brought: Mapping[str, Any]) -> None:
    """Move the labels that came with a structure to names that are free.

    Those of an earlier prediction are dropped.
    """
    from ase.io.extxyz import per_atom_properties, per_config_properties

    old = PREDICTED_BY in atoms.info
    for places, names in (
        (atoms.info, per_config_properties),
        (atoms.arrays, per_atom_properties),
    ):
        for name in names:
            if name in places:
                places[_free_name(places, name)] = places.pop(name)
            if name in brought and not old:
                places[_free_name(places, name)] = brought[name]


def _free_name(places: Mapping[str, Any], name: str) -> str:
    name = REFERENCE + name
    return name if name not in places else _free_name(places, name)
