"""Point defects of crystals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase import Atom, Atoms
from ase.geometry import get_distances

from synthzoo.generation.sizes import bond_length_A

if TYPE_CHECKING:
    from collections.abc import Sequence

GAPS_TRIED = 20
"""Of so many random places, an interstitial takes the widest."""


def add_antisite(
    atoms: Atoms, elements: Sequence[str], rng: np.random.Generator
) -> None:
    """Turn one atom into one of another element."""
    index = int(rng.integers(len(atoms)))
    others = [element for element in elements if element != atoms.symbols[index]]
    atoms.symbols[index] = others[int(rng.integers(len(others)))]


def swap_atoms(atoms: Atoms, rng: np.random.Generator) -> None:
    """Exchange two atoms of different elements, if there are any."""
    first = int(rng.integers(len(atoms)))
    others = np.flatnonzero(atoms.numbers != atoms.numbers[first])
    if len(others):
        pair = [first, int(rng.choice(others))]
        atoms.numbers[pair] = atoms.numbers[pair[::-1]]


def add_interstitial(atoms: Atoms, rng: np.random.Generator) -> None:
    """Add one atom of a kind that is there, in a gap between the others."""
    symbol = str(atoms.symbols[int(rng.integers(len(atoms)))])
    places = rng.random((GAPS_TRIED, 3)) @ atoms.cell.array
    _, distances_A = get_distances(places, atoms.positions, atoms.cell, atoms.pbc)
    bonds_A = [bond_length_A(symbol, other) for other in atoms.symbols]
    widest = int((distances_A / bonds_A).min(axis=1).argmax())
    atoms.append(Atom(symbol, places[widest]))
