"""Structures made without a potential: crystals, slabs, dimers."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms

from synthzoo.data.pairs import find_pairs
from synthzoo.data.sound import check_structure, min_distance_A
from synthzoo.data.structures import dimer
from synthzoo.errors import InputError
from synthzoo.generation.cutting import widened
from synthzoo.generation.defects import add_antisite, add_interstitial, swap_atoms
from synthzoo.generation.grids import draw
from synthzoo.generation.prototypes import ORDERED, VACUUM_A, sites
from synthzoo.generation.sizes import bond_length_A
from synthzoo.generation.start_files import read_hashed
from synthzoo.generation.starts import bare

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.generation.kinds.from_atoms import Dimers
    from synthzoo.generation.kinds.from_prototypes import (
        Compressed,
        Crystals,
        OfPrototypes,
        Surfaces,
    )
    from synthzoo.generation.species import Species
    from synthzoo.recipes.schema import Range

DIMER_SPREAD = (0.6, 2.5)
"""Default range of the distances of dimers, as shares of the bond length."""
NEAREST = 1.05
"""Atoms up to this many times the nearest distance are nearest neighbours, too."""
REACH = 1.7
"""No atom of a prototype has its neighbours farther than this many bond lengths."""
SEARCHED_A = 6.0
"""How far the nearest neighbour may be in a structure of a file."""


def crystal(
    part: Crystals, prototype: str, species: Species, rng: np.random.Generator
) -> Atoms:
    """Return a strained and rattled crystal, now and then with a defect.

    ``prototype``: one of `crystal_names`.
    """
    atoms, _ = _filled(part, prototype, species, rng)
    cell = strained_cell(atoms, part.stretch, part.max_strain, rng)
    if part.squeeze_c != (1.0, 1.0):  # older recipes draw the same numbers as before
        cell[2] *= draw(part.squeeze_c, rng)
    atoms.set_cell(cell, scale_atoms=True)
    rattle(atoms, draw(part.rattle_A, rng), rng)
    _add_defects(atoms, part, species, rng)
    if part.contact_A is not None:
        _bring_together(atoms, draw(part.contact_A, rng), rng)
    return atoms


def strained_cell(
    atoms: Atoms, stretch: Range, max_strain: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return the cell of a structure, scaled and strained as much as is drawn.

    ``stretch``: range of the factor on all lengths.
    ``max_strain``: largest entry of the symmetric strain on top of it.
    """
    strain = rng.uniform(-max_strain, max_strain, size=(3, 3))
    deformation = np.eye(3) * draw(stretch, rng) + (strain + strain.T) / 2
    return np.asarray(atoms.cell.array @ deformation)


def _bring_together(atoms: Atoms, distance_A: float, rng: np.random.Generator) -> None:
    """Move an atom and its nearest neighbour along their bond, to this distance."""
    pairs = find_pairs(atoms, SEARCHED_A)
    chosen = np.flatnonzero(pairs.first == rng.integers(len(atoms)))
    if len(chosen) == 0:
        return
    nearest = chosen[int(pairs.distances_A[chosen].argmin())]
    move = pairs.vectors_A[nearest] * (1 - distance_A / pairs.distances_A[nearest]) / 2
    atoms.positions[pairs.first[nearest]] += move
    atoms.positions[pairs.second[nearest]] -= move


def _add_defects(
    atoms: Atoms, part: Crystals, species: Species, rng: np.random.Generator
) -> None:
    if len(atoms) > 1 and rng.random() < part.vacancy_share:
        del atoms[int(rng.integers(len(atoms)))]
    if part.antisite_share and rng.random() < part.antisite_share:
        add_antisite(atoms, species.elements, rng)
    if part.swap_share and rng.random() < part.swap_share:
        swap_atoms(atoms, rng)
    if part.interstitial_share and rng.random() < part.interstitial_share:
        add_interstitial(atoms, rng)


def slab(
    part: Surfaces, prototype: str, species: Species, rng: np.random.Generator
) -> Atoms:
    """Return a rattled crystal that is cut open along one of its lattice vectors.

    ``prototype``: one of `crystal_names`.
    """
    atoms, _ = _filled(part, prototype, species, rng)
    axis = int(rng.integers(3))
    atoms.positions += rng.random() * atoms.cell.array[axis]
    atoms = cut_open(atoms, axis, draw(part.vacuum_A, rng))
    rattle(atoms, draw(part.rattle_A, rng), rng)
    return atoms


def compressed(
    part: Compressed, prototype: str, species: Species, rng: np.random.Generator
) -> Atoms:
    """Return a rattled crystal that is scaled until two atoms are too close.

    ``prototype``: one of `crystal_names`.
    """
    atoms, bond_A = _filled(part, prototype, species, rng)
    rattle(atoms, draw(part.rattle_A, rng), rng)
    wanted_A = bond_A * draw(part.shortest, rng)
    found_A = min_distance_A(atoms, cutoff_A=2 * bond_A)
    atoms.set_cell(atoms.cell.array * wanted_A / found_A, scale_atoms=True)
    return atoms


def cut_open(atoms: Atoms, axis: int, vacuum_A: float) -> Atoms:
    """Return a periodic structure with a gap of vacuum across one cell vector.

    ``vacuum_A``: by how much, in Å.
    """
    wrapped: Atoms = atoms.copy()
    wrapped.wrap()
    return widened(wrapped, axis, vacuum_A)


def dimers(part: Dimers, species: Species) -> list[Atoms]:
    """Return all pairs of elements at evenly spaced distances, and isolated atoms."""
    pairs, farthest_A = [], 0.0
    for pair in itertools.combinations_with_replacement(species.elements, 2):
        bond_A = bond_length_A(*pair)
        low, high = part.distance_A or (share * bond_A for share in DIMER_SPREAD)
        farthest_A = max(farthest_A, high)
        pairs += [
            dimer(pair, distance_A, side_A=2 * VACUUM_A + high)
            for distance_A in np.linspace(low, high, part.count)
        ]
    side_A = 2 * VACUUM_A + farthest_A
    atoms = [Atoms(each, cell=[side_A] * 3, pbc=True) for each in species.elements]
    return [*pairs, *atoms]


def dimer_count(part: Dimers, species: Species) -> int:
    """Return how many structures `dimers` makes."""
    number = len(species.elements)
    return part.count * number * (number + 1) // 2 + number


def crystal_names(part: OfPrototypes, species: Species) -> list[str]:
    """Return the names of the prototypes of a part and of the structures of its file.

    A prototype that the elements cannot make is refused.

    ``part``: as `with_hash` returns it.
    """
    for name in part.prototypes:
        sites(name, 1.0)
        needed = ORDERED[name].sublattices if name in ORDERED else 1
        if needed > len(species.elements):
            raise InputError(
                f"The prototype {name} needs {needed} different elements; the recipe "
                f"has only {', '.join(species.elements)}."
            )
    return [*part.prototypes, *_of_file(part, species)]


def crystal_size(part: OfPrototypes, name: str, species: Species) -> int:
    """Return the number of atoms of a crystal before it gets defects."""
    if name in part.prototypes:
        return len(_repeated(sites(name, 1.0), part.max_atoms))
    return len(_repeated(_of_file(part, species)[name], part.max_atoms))


def _of_file(part: OfPrototypes, species: Species) -> Mapping[str, Atoms]:
    if part.structures is None:
        return {}
    return _named(part.structures, part.structures_sha256, species.elements)


@functools.lru_cache(maxsize=4)
def _named(
    path: str, sha256: str | None, elements: tuple[str, ...]
) -> Mapping[str, Atoms]:
    """Return the structures of a file by names that are made of the file's."""
    found = {}
    for index, read in enumerate(read_hashed(path, sha256)):
        check_structure(read, elements=elements, name=f"{path}, structure {index}")
        atoms = bare(read, pbc=read.pbc)
        if not atoms.pbc.all():
            atoms.center(vacuum=VACUUM_A / 2, axis=np.flatnonzero(~atoms.pbc))
        found[f"{Path(path).stem}-{index}"] = atoms
    return found


def _filled(
    part: OfPrototypes, name: str, species: Species, rng: np.random.Generator
) -> tuple[Atoms, float]:
    """Return a crystal with elements on its sites, and its shortest distance in Å."""
    if name not in part.prototypes:
        atoms = _repeated(_of_file(part, species)[name], part.max_atoms)
        return atoms, min_distance_A(atoms, cutoff_A=SEARCHED_A)
    template = _repeated(sites(name, 1.0), part.max_atoms)
    tags = template.get_tags()
    if tags.any():
        sizes = np.bincount(tags).tolist()
        symbols = np.array(species.on_sublattices(sizes, rng))[tags].tolist()
    else:
        symbols = species.on_sites(len(template), rng)
    template.set_chemical_symbols(symbols)
    bond_A = part.prototypes[name] or _bond_A(template)
    atoms = _repeated(sites(name, bond_A), part.max_atoms)
    return Atoms(symbols, atoms.positions, cell=atoms.cell, pbc=True), bond_A


def _bond_A(template: Atoms) -> float:
    """Return the length that stands for 1 Å, so that neighbours are bonded on average.

    ``template``: crystal whose shortest distance is 1 Å.
    """
    pairs = find_pairs(template, REACH)
    nearest = np.full(len(template), np.inf)
    np.minimum.at(nearest, pairs.first, pairs.distances_A)
    bonds = np.flatnonzero(pairs.distances_A < NEAREST * nearest[pairs.first])
    lengths_A = [
        bond_length_A(
            template.symbols[pairs.first[i]], template.symbols[pairs.second[i]]
        )
        for i in bonds
    ]
    return float(np.mean(lengths_A / pairs.distances_A[bonds]))


def _repeated(atoms: Atoms, max_atoms: int) -> Atoms:
    """Return a periodic supercell of up to so many atoms."""
    while True:
        axis = int(np.argmin(np.where(atoms.pbc, atoms.cell.lengths(), np.inf)))
        copies = [2 if index == axis else 1 for index in range(3)]
        if not atoms.pbc.any() or 2 * len(atoms) > max_atoms:
            break
        atoms = atoms.repeat(copies)
    atoms = atoms.copy()
    atoms.pbc = True
    return atoms


def rattle(atoms: Atoms, width_A: float, rng: np.random.Generator) -> None:
    """Displace all atoms at random.

    ``width_A``: standard deviation along each direction.
    """
    atoms.positions += rng.normal(scale=width_A, size=atoms.positions.shape)
