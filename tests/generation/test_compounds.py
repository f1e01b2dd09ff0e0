"""Crystals of several elements are what their names say, defects included."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import write

from synthzoo.data.pairs import find_pairs
from synthzoo.data.sound import min_distance_A
from synthzoo.errors import InputError
from synthzoo.generation.builders import (
    compressed,
    crystal,
    crystal_names,
    crystal_size,
    dimer_count,
    dimers,
    slab,
)
from synthzoo.generation.kinds.from_atoms import Dimers
from synthzoo.generation.kinds.from_prototypes import Compressed, Crystals, Surfaces
from synthzoo.generation.prototypes import ORDERED, sites
from synthzoo.generation.sizes import bond_length_A
from synthzoo.generation.species import Species
from synthzoo.generation.start_files import with_hash

INP = Species(("In", "P"), ("InP",))

NEIGHBOURS = {
    "rocksalt": {0: {1: 6}, 1: {0: 6}},
    "zincblende": {0: {1: 4}, 1: {0: 4}},
    "wurtzite": {0: {1: 4}, 1: {0: 4}},
    "cesiumchloride": {0: {1: 8}, 1: {0: 8}},
    "fluorite": {0: {1: 8}, 1: {0: 4}},
    "rutile": {0: {1: 6}, 1: {0: 3}},
    "perovskite": {0: {2: 12}, 1: {2: 6}, 2: {1: 2}},
    "L1_2": {0: {1: 12}, 1: {0: 4, 1: 8}},
    "L1_0": {0: {0: 4, 1: 8}, 1: {0: 8, 1: 4}},
}
"""Nearest neighbours of each sublattice, counted by sublattice."""


def still(prototype: str, bond_A: float | None = None, **shares: Any) -> Crystals:
    return Crystals(
        count=1,
        prototypes={prototype: bond_A},
        stretch=(1.0, 1.0),
        max_strain=0.0,
        rattle_A=(0.0, 0.0),
        **shares,
    )


def made(part: Crystals, species: Species, seed: int = 0) -> Atoms:
    (name,) = crystal_names(part, species)
    return crystal(part, name, species, np.random.default_rng(seed))


@pytest.mark.parametrize("prototype", ORDERED)
def test_sublattices_have_the_neighbours_of_the_named_crystal(prototype: str):
    """Their number and sublattice; the shortest distance is the bond length."""
    atoms = sites(prototype, 2.0)
    pairs = find_pairs(atoms, 4.0)
    found: dict[int, dict[int, int]] = {}
    for index, tag in enumerate(atoms.get_tags()):
        of_this = pairs.first == index
        distances_A = pairs.distances_A[of_this]
        near = pairs.second[of_this][distances_A < 1.04 * distances_A.min()]
        found[int(tag)] = dict(Counter(atoms.get_tags()[near].tolist()))
    assert found == NEIGHBOURS[prototype]
    assert min_distance_A(atoms, cutoff_A=3.0) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("elements", "formula", "prototype", "a_A"),
    [
        (("In", "P"), "InP", "zincblende", 5.87),
        (("Na", "Cl"), "NaCl", "rocksalt", 5.64),
        (("Cs", "Cl"), "CsCl", "cesiumchloride", 4.12),
        (("Ca", "F"), "CaF2", "fluorite", 5.46),
        (("Ba", "Ti", "O"), "BaTiO3", "perovskite", 4.01),
        (("Cu", "Au"), "Cu3Au", "L1_2", 3.75),
        (("Mo", "W"), "MoW", "bcc", 3.16),
    ],
)
def test_lattice_constants_follow_from_the_elements(
    elements: tuple[str, ...], formula: str, prototype: str, a_A: float
):
    """Without a bond length, they are within a few per cent of the measured ones."""
    part = still(prototype)
    species = Species(elements, (formula,))
    atoms = made(part, species)
    cells = len(atoms) / len(sites(prototype, 1.0))
    assert (atoms.get_volume() / cells) ** (1 / 3) == pytest.approx(a_A, rel=0.07)
    units = len(atoms) // len(Atoms(formula))
    assert Counter(atoms.symbols) == Counter(units * list(Atoms(formula).symbols))
    assert len(atoms) == crystal_size(part, prototype, species)


def test_a_bond_length_that_is_given_is_kept():
    """The shortest distance of the crystal is the number of the recipe."""
    atoms = made(still("zincblende", 2.54), INP)
    assert min_distance_A(atoms, cutoff_A=3.0) == pytest.approx(2.54)
    assert set(atoms.symbols) == {"In", "P"}
    assert set(atoms.arrays) == {"numbers", "positions"}


def test_alloys_sit_on_their_sites_at_random():
    """Another seed gives another order; the sites are those of the crystal."""
    species = Species(("Mo", "Ta", "W"), ("MoTaW",))
    first, second = (made(still("bcc", 2.8), species, seed) for seed in (0, 1))
    assert sorted(Counter(first.symbols).values()) == [10, 11, 11]
    assert np.allclose(first.positions, second.positions)
    assert list(first.symbols) != list(second.symbols)


def test_an_antisite_is_one_atom_of_another_element():
    """Nothing else changes."""
    numbers = Counter(made(still("rocksalt", antisite_share=1.0), INP).symbols)
    assert sorted(numbers.values()) == [15, 17]


def test_a_swap_puts_two_atoms_on_the_wrong_sublattice():
    """The composition stays."""
    perfect = made(still("rocksalt"), INP)
    swapped = made(still("rocksalt", swap_share=1.0), INP)
    assert sorted(perfect.symbols) == sorted(swapped.symbols)
    assert (perfect.numbers != swapped.numbers).sum() == 2


@pytest.mark.parametrize("prototype", ["fcc", "bcc", "diamond"])
def test_an_interstitial_sits_in_a_gap(prototype: str):
    """No neighbour is nearer than half a bond, which a random place would often be."""
    silicon = Species(("Si",))
    part = still(prototype, interstitial_share=1.0)
    for seed in range(10):
        atoms = made(part, silicon, seed)
        assert len(atoms) == crystal_size(part, prototype, silicon) + 1
        assert min_distance_A(atoms, cutoff_A=3) > 0.48 * bond_length_A("Si", "Si")


def test_a_prototype_of_more_elements_than_there_are_is_refused():
    """The message has both numbers."""
    with pytest.raises(
        InputError, match=r"perovskite needs 3 different elements; .* only In, P"
    ):
        crystal_names(still("perovskite"), INP)


@pytest.fixture
def cif(tmp_path: Path) -> Path:
    path = tmp_path / "sic.cif"
    write(path, bulk("SiC", "zincblende", a=4.36, cubic=True))
    return path


def test_structures_of_a_file_are_taken_like_prototypes(cif: Path):
    """With their own elements and bond length, in all parts that take prototypes."""
    species, rng = Species(("C", "Si")), np.random.default_rng(0)
    squeezed = Compressed(count=1, structures=str(cif), shortest=(0.8, 0.8))
    part = with_hash(squeezed)
    assert crystal_names(part, species) == ["sic-0"]
    atoms = compressed(part, "sic-0", species, rng)
    assert Counter(atoms.symbols) == {"Si": 16, "C": 16}
    bond_A = 4.36 * 3**0.5 / 4
    assert min_distance_A(atoms) == pytest.approx(0.8 * bond_A)
    cut = Surfaces(count=1, prototypes={"rocksalt": None}, structures=str(cif))
    both = with_hash(cut)
    assert crystal_names(both, species) == ["rocksalt", "sic-0"]
    assert slab(both, "sic-0", species, rng).get_volume() > 4 * 4.36**3


def test_a_file_that_changes_on_the_way_is_refused(cif: Path):
    """A run does not go on with other structures than it began with."""
    part = with_hash(Crystals(count=1, structures=str(cif)))
    write(cif, bulk("SiC", "zincblende", a=4.40, cubic=True))
    with pytest.raises(InputError, match=r"sic\.cif has changed since the run began"):
        crystal_names(part, Species(("C", "Si")))


def test_a_molecule_of_a_file_gets_room(tmp_path: Path):
    """Structures without a cell are set into one, as calculators need it."""
    write(tmp_path / "water.xyz", molecule("H2O"))
    part = with_hash(Crystals(count=1, structures=str(tmp_path / "water.xyz")))
    atoms = crystal(part, "water-0", Species(("H", "O")), np.random.default_rng(0))
    assert len(atoms) == 3
    assert atoms.pbc.all()
    assert min(atoms.cell.lengths()) > 5


def test_a_file_with_another_element_is_refused(cif: Path):
    """Before anything is made, with its name."""
    part = with_hash(Crystals(count=1, structures=str(cif)))
    with pytest.raises(InputError, match=r"sic\.cif, structure 0 contains C; only Si"):
        crystal_names(part, Species(("Si",)))


def test_dimers_of_all_pairs_and_isolated_atoms_of_all_elements():
    """Distances follow from the bond length of each pair."""
    part, species = Dimers(count=3), Species(("Mo", "Ta", "W"))
    found = dimers(part, species)
    assert len(found) == dimer_count(part, species) == 6 * 3 + 3
    assert len({"".join(sorted(set(atoms.symbols))) for atoms in found}) == 6
    assert [len(atoms) for atoms in found[-3:]] == [1, 1, 1]
    bond_A = bond_length_A("Mo", "Ta")
    lengths_A = [
        atoms.get_distance(0, 1)
        for atoms in found[:-3]
        if set(atoms.symbols) == {"Mo", "Ta"}
    ]
    assert lengths_A == pytest.approx([0.6 * bond_A, 1.55 * bond_A, 2.5 * bond_A])
