"""Structures made without a potential are what their names say."""

import dataclasses

import numpy as np
import pytest
from ase.neighborlist import neighbor_list

from synthzoo.data.sound import min_distance_A
from synthzoo.data.structures import density_g_cm3
from synthzoo.errors import InputError
from synthzoo.generation.builders import (
    compressed,
    crystal,
    crystal_size,
    cut_open,
    dimers,
    slab,
)
from synthzoo.generation.kinds.from_atoms import Dimers, Packing
from synthzoo.generation.kinds.from_prototypes import Compressed, Crystals, Surfaces
from synthzoo.generation.packing import pack
from synthzoo.generation.prototypes import PROTOTYPES
from synthzoo.generation.species import Species

BOND_A = 1.5
CARBON = Species(("C",))
NEIGHBOURS = {
    "diamond": 4,
    "diamond-111": 4,
    "lonsdaleite": 4,
    "graphite-ab": 3,
    "graphite-aa": 3,
    "layer": 3,
    "simple-cubic": 6,
    "bcc": 8,
    "beta-tin": 6,  # four at the bond length, two 6 % further away
    "fcc": 12,
    "hcp": 12,
    "nanotube": 3,
    "nanotube-6-6": 3,
    "nanotube-7-0": 3,
    "nanotube-10-0": 3,
    "nanotube-6-3": 3,
    "chain": 2,
    "fullerene": 3,
    "prismane-3": 3,
    "prismane-4": 3,
    "prismane-5": 3,
}


def perfect(prototype: str) -> Crystals:
    return Crystals(
        count=1,
        prototypes={prototype: BOND_A},
        stretch=(1.0, 1.0),
        max_strain=0.0,
        rattle_A=(0.0, 0.0),
    )


@pytest.mark.parametrize("prototype", PROTOTYPES)
def test_each_atom_of_a_prototype_has_its_neighbours(prototype: str):
    """Coordination and shortest bond are those of the named crystal or molecule."""
    atoms = crystal(perfect(prototype), prototype, CARBON, np.random.default_rng(0))
    first = neighbor_list("i", atoms, 1.12 * BOND_A)
    counts = np.bincount(first, minlength=len(atoms))
    assert set(counts) == {NEIGHBOURS[prototype]}
    # bonds of a tube are chords of its circle; C60 has shorter bonds, too
    assert min_distance_A(atoms) == pytest.approx(BOND_A, rel=0.05)
    assert atoms.pbc.all()


def test_every_prototype_is_tested():
    """A new prototype needs its coordination in this file."""
    assert set(NEIGHBOURS) == set(PROTOTYPES)


def test_crystals_stay_below_their_size_and_lose_an_atom():
    """Cells are doubled up to the limit; with certainty of a vacancy, one is gone."""
    part = Crystals(
        count=1, prototypes={"diamond": BOND_A}, max_atoms=32, vacancy_share=1.0
    )
    assert len(crystal(part, "diamond", CARBON, np.random.default_rng(0))) == 31


def test_layers_are_brought_together():
    """Squeezing shortens the third cell vector alone, bonds inside of a layer stay."""
    part = Crystals(
        count=1,
        prototypes={"graphite-aa": BOND_A},
        stretch=(1.0, 1.0),
        max_strain=0.0,
        squeeze_c=(0.6, 0.6),
        rattle_A=(0.0, 0.0),
    )
    squeezed = crystal(part, "graphite-aa", CARBON, np.random.default_rng(0))
    free = crystal(
        perfect("graphite-aa"), "graphite-aa", CARBON, np.random.default_rng(0)
    )
    ratios = squeezed.cell.lengths() / free.cell.lengths()
    assert ratios == pytest.approx([1.0, 1.0, 0.6])
    assert min_distance_A(squeezed) == pytest.approx(BOND_A)


def test_two_atoms_are_brought_together():
    """One pair, and no other, is at the distance that was asked for."""
    part = dataclasses.replace(perfect("diamond"), contact_A=(0.8, 0.8), max_atoms=8)
    close = crystal(part, "diamond", CARBON, np.random.default_rng(0))
    assert min_distance_A(close) == pytest.approx(0.8)
    assert len(neighbor_list("i", close, 0.9)) == 2


def test_an_unknown_prototype_names_the_known_ones():
    """A misspelt crystal is an error that lists what there is."""
    part = Crystals(count=1, prototypes={"dimond": BOND_A})
    with pytest.raises(
        InputError, match=r"'dimond'. Did you mean diamond\? Known ones"
    ):
        crystal(part, "dimond", CARBON, np.random.default_rng(0))


def test_a_packing_keeps_its_distance_and_density():
    """Size, density and distance lie inside of the ranges that were asked for."""
    part = Packing(
        count=1, atoms=(20, 30), density_g_cm3=(2.0, 2.2), min_distance_A=1.3
    )
    atoms = pack(part, CARBON, np.random.default_rng(1))
    assert 20 <= len(atoms) <= 30
    assert 2.0 <= density_g_cm3(atoms) <= 2.2
    assert min_distance_A(atoms) >= 1.3


def test_the_same_seed_gives_the_same_packing():
    """Nothing but the generator that is passed in is random."""
    part = Packing(count=1, atoms=(8, 9), density_g_cm3=(1.0, 3.0), min_distance_A=1.2)
    first, second = (pack(part, CARBON, np.random.default_rng(5)) for _ in range(2))
    assert first == second


def test_a_packing_that_cannot_be_is_refused():
    """Too dense for its distance: the message gives both."""
    part = Packing(count=1, atoms=(9, 9), density_g_cm3=(3.5, 3.5), min_distance_A=2.5)
    with pytest.raises(
        InputError, match=r"9 atoms of C at 3\.50 g/cm³ cannot be placed"
    ):
        pack(part, CARBON, np.random.default_rng(0))


def test_a_slab_has_its_vacuum():
    """The cell grows by the gap, and nothing lies in the gap."""
    part = Surfaces(
        count=1,
        prototypes={"diamond": BOND_A},
        max_atoms=8,
        vacuum_A=(6.0, 6.0),
        rattle_A=(0.0, 0.0),
    )
    atoms = slab(part, "diamond", CARBON, np.random.default_rng(0))
    lengths = np.sort(atoms.cell.lengths())
    assert lengths[2] - lengths[0] == pytest.approx(6.0)
    axis = int(np.argmax(atoms.cell.lengths()))
    heights = np.sort(atoms.get_scaled_positions()[:, axis]) * lengths[2]
    gaps = np.diff([*heights, heights[0] + lengths[2]])
    assert gaps.max() > 6.0


def test_cutting_keeps_the_atoms_in_place():
    """Only the cell changes: distances inside of the slab are those of the bulk."""
    bulk = crystal(perfect("diamond"), "diamond", CARBON, np.random.default_rng(0))
    bulk.wrap()
    np.testing.assert_array_equal(cut_open(bulk, 2, 5.0).positions, bulk.positions)


def test_dimers_span_their_range_and_end_with_one_atom():
    """Distances are evenly spaced; the last structure is the isolated atom."""
    *pairs, alone = dimers(Dimers(count=4, distance_A=(1.0, 4.0)), Species(("Si",)))
    assert [pair.get_distance(0, 1) for pair in pairs] == [1.0, 2.0, 3.0, 4.0]
    assert len(alone) == 1
    assert min(alone.cell.lengths()) > 20


@pytest.mark.parametrize("prototype", PROTOTYPES)
def test_compressed_crystals_have_the_distance_that_was_asked_for(prototype: str):
    """The shortest distance is a share of the bond; the atoms are all there."""
    part = Compressed(count=1, prototypes={prototype: BOND_A}, shortest=(0.7, 0.7))
    atoms = compressed(part, prototype, CARBON, np.random.default_rng(2))
    assert min_distance_A(atoms) == pytest.approx(0.7 * BOND_A, rel=1e-6)
    assert len(atoms) == crystal_size(part, prototype, CARBON)
