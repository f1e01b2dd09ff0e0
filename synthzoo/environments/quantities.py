"""What environments are coloured by: one number, or one kind, for each atom."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.build import bulk
from ase.lattice.hexagonal import Graphite

from synthzoo.data.label_choice import find_label_keys
from synthzoo.data.labels import partial_labels
from synthzoo.data.pairs import coordination, find_pairs, longest_bond_A
from synthzoo.data.structures import read_structures
from synthzoo.environments.descriptors import soap_features
from synthzoo.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    from synthzoo.environments.descriptors import Computed
    from synthzoo.environments.sample import Sample

SIMILARITY_POWER = 4
"""Of the overlap of two spectra (doi 10.1103/PhysRevB.87.184115), as usual for SOAP."""
MOST_BONDS = 12
CRYSTALS: dict[str, Callable[[], Atoms]] = {
    "diamond": lambda: bulk("C", "diamond", a=3.567),
    "graphite": lambda: Graphite("C", latticeconstant={"a": 2.461, "c": 6.709}),
}
"""Crystals of carbon that environments can be compared with by name."""


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A value of each atom.

    ``name``: with its unit.
    ``values``: of shape ``(n_atoms,)``; NaN where there is none.
    ``categories``: what the values number, if they are kinds.
    """

    name: str
    values: NDArray[np.float64]
    categories: tuple[str, ...] | None = None


def kinds(name: str, values: Sequence[str]) -> Quantity:
    """Return a quantity of names."""
    categories, numbers = np.unique(np.array(values), return_inverse=True)
    return Quantity(
        name=name, values=numbers.astype(float), categories=tuple(categories.tolist())
    )


def geometry_of(sample: Sample, bonds: NDArray[np.int64]) -> Iterator[Quantity]:
    """Yield set and element, where there are several, and the number of bonds.

    ``bonds``: of each atom, from `bonds_of`.
    """
    if len(sample.sets) > 1:
        yield Quantity(
            name="set",
            values=sample.by_atom(sample.owners).astype(float),
            categories=sample.sets,
        )
    if len(sample.elements) > 1:
        symbols = [symbol for atoms in sample.structures for symbol in atoms.symbols]
        yield kinds("element", symbols)
    yield Quantity(
        name="bonds",
        values=bonds.astype(float),
        categories=(*map(str, range(MOST_BONDS)), f"{MOST_BONDS} or more"),
    )


def bonds_of(structures: Sequence[Atoms]) -> NDArray[np.int64]:
    """Return the number of bonds of each atom, at most `MOST_BONDS`."""
    counts = [
        coordination(atoms, find_pairs(atoms, longest_bond_A(atoms)))
        for atoms in structures
    ]
    return np.minimum(np.concatenate(counts), MOST_BONDS)


def predictions_of(sample: Sample, computed: Computed) -> Iterator[Quantity]:
    """Yield a model's energies of atoms, and its errors of forces where it has labels.

    Energies are relative to the mean of the atoms of the same element.
    """
    energies = computed.energies_eV.astype(float)
    numbers = np.concatenate([atoms.numbers for atoms in sample.structures])
    for number in np.unique(numbers):
        energies[numbers == number] -= energies[numbers == number].mean()
    yield Quantity(name="local energy (eV, mean 0)", values=energies)
    errors = _force_errors(sample, computed.forces_eV_A)
    if errors is not None:
        yield Quantity(name="force error (eV/Å)", values=errors)


def _force_errors(
    sample: Sample, forces_eV_A: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Return how long the errors of the forces are; None if there are no labels.

    Each set may have its labels under keys of its own.
    """
    owners = np.asarray(sample.owners)
    labels = [
        forces
        for number in range(len(sample.sets))
        for forces in _forces_of(
            [sample.structures[index] for index in np.flatnonzero(owners == number)]
        )
    ]
    if all(forces is None for forces in labels):
        return None
    known = [
        np.full((len(atoms), 3), np.nan) if forces is None else forces
        for atoms, forces in zip(sample.structures, labels, strict=True)
    ]
    return np.asarray(np.linalg.norm(forces_eV_A - np.concatenate(known), axis=1))


def _forces_of(structures: Sequence[Atoms]) -> list[NDArray[np.float64] | None]:
    """Return the labelled forces of each structure of a set, or None."""
    try:
        keys = find_label_keys(structures)
    except InputError:  # no labels, or none that all agree on: nothing to compare
        return [None] * len(structures)
    return [partial_labels(atoms, keys).forces_eV_A for atoms in structures]


def similarity_to(
    like: str, spectra: NDArray[np.float32], sample: Sample, soap: Any
) -> Quantity:
    """Return how similar environments are to those of a crystal, from 0 to 1.

    ``like``: a name of `CRYSTALS`, or a file of structures.
    ``spectra``: of the atoms of the sample, unit vectors, by ``soap``.
    """
    if like in CRYSTALS:
        if sample.elements != ["C"]:
            raise InputError(
                f"{like} is known as a crystal of carbon; name a file with the crystal "
                "of your own elements."
            )
        crystals = [CRYSTALS[like]()]
    else:
        crystals = read_structures(like)
    unknown = {symbol for atoms in crystals for symbol in atoms.symbols}
    unknown -= set(sample.elements)
    if unknown:
        raise InputError(
            f"{like} has {', '.join(sorted(unknown))}, which the structures of the map "
            "do not have."
        )
    overlaps = spectra @ soap_features(crystals, soap).T
    return Quantity(
        name=f"similarity to {like}",
        values=(overlaps.max(axis=1) ** SIMILARITY_POWER).astype(float),
    )


def column_of(sample: Sample, key: str) -> Quantity:
    """Return what files hold under a key: numbers, or names, of atoms or structures."""
    found = [_column(atoms, key) for atoms in sample.structures]
    if all(column is None for column in found):
        raise InputError(f"No structure has a value for each atom under {key!r}.")
    kept = [column for column in found if column is not None]
    if any(column.dtype.kind not in "fiub" for column in kept):
        names = [
            np.full(len(atoms), "none") if column is None else column.astype(str)
            for atoms, column in zip(sample.structures, found, strict=True)
        ]
        return kinds(key, np.concatenate(names).tolist())
    numbers = [
        np.full(len(atoms), np.nan) if column is None else column.astype(float)
        for atoms, column in zip(sample.structures, found, strict=True)
    ]
    return Quantity(name=key, values=np.concatenate(numbers))


def _column(atoms: Atoms, key: str) -> NDArray[Any] | None:
    """Return one value of each atom, or None."""
    value = atoms.arrays.get(key, atoms.info.get(key))
    if value is None:
        return None
    column = np.asarray(value)
    if column.ndim == 0:
        column = np.full(len(atoms), column)
    return column if column.shape == (len(atoms),) else None
