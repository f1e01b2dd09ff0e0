"""The user's structures of lowest energy, from which dynamics and squeezing start."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from synthzoo.generation.starts import bare, vacuum_axes

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.data.labelled_set import LabelledSet

DYNAMICS_ATOMS = 32
"""Smaller cells are repeated for the dynamics."""

MOST_SQUEEZED = 20
"""Compositions of which a structure is squeezed."""


def calm_start(data: LabelledSet) -> Atoms:
    """Return the structure of lowest energy, repeated if it is small.

    Only the composition counts of which there are most structures.
    """
    atoms, *_ = calmest(data)
    while atoms.pbc.any() and len(atoms) < DYNAMICS_ATOMS:
        lengths = np.where(atoms.pbc, atoms.cell.lengths(), np.inf)
        copies = [1, 1, 1]
        copies[int(np.argmin(lengths))] = 2
        atoms = atoms.repeat(copies)
    return atoms


def squeezable(data: LabelledSet) -> list[Atoms]:
    """Return the structures of lowest energy that have no vacuum, of each composition.

    Squeezed, they tell a network that atoms repel each other in all of them.
    """
    solid = [atoms for atoms in calmest(data) if not vacuum_axes(atoms).any()]
    return [bare(atoms, pbc=atoms.pbc) for atoms in solid[:MOST_SQUEEZED]]


def calmest(data: LabelledSet) -> list[Atoms]:
    """Return the structure of lowest energy per atom of each composition.

    The composition of which there are most structures comes first. Small forces would
    not do as a measure: strained crystals have none by symmetry.
    """
    energies = data.energies_eV / [len(atoms) for atoms in data.structures]
    formulas = np.array(
        [
            atoms.get_chemical_formula(mode="hill", empirical=True)
            for atoms in data.structures
        ]
    )
    calm = []
    for formula, _ in Counter(formulas.tolist()).most_common():
        index = int(np.argmin(np.where(formulas == formula, energies, np.inf)))
        atoms: Atoms = data.structures[index].copy()
        atoms.set_constraint()
        calm.append(atoms)
    return calm
