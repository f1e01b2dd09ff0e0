"""What is vacuum, and structures of a workable size."""

from collections import Counter

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule, nanotube

from synthzoo.generation.contacts import nearest_share
from synthzoo.generation.cutting import SEAM_SHARE, opened
from synthzoo.generation.starts import (
    resized,
    vacuum_axes,
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def glass() -> Atoms:
    """Return atoms in disorder: no plane cuts it so that the sides fit."""
    atoms: Atoms = bulk("Cu", cubic=True).repeat(4)
    atoms.rattle(0.35, seed=1)
    return atoms


@pytest.mark.parametrize(
    ("atoms", "expected"),
    [
        (bulk("Cu"), [False, False, False]),
        (fcc111("Cu", (1, 1, 3), vacuum=6.0), [False, False, True]),
        (fcc111("Cu", (1, 1, 3), vacuum=6.0, periodic=True), [False, False, True]),
        (nanotube(4, 4, vacuum=6.0), [True, True, False]),
        (molecule("H2O"), [True, True, True]),
        (Atoms("Cu", cell=[12] * 3, pbc=True), [True, True, True]),
    ],
)
def test_vacuum_is_found_whatever_the_periodic_flags_say(
    atoms: Atoms, expected: list[bool]
):
    """Wherever in the cell the matter lies."""
    assert vacuum_axes(atoms).tolist() == expected
    atoms.positions += [0.3, 0.2, atoms.cell.lengths()[2] / 2]
    atoms.wrap()
    assert vacuum_axes(atoms).tolist() == expected


def test_a_small_cell_is_repeated_along_matter_only():
    """A slab gets no second layer behind its vacuum; a molecule stays."""
    cell = resized(bulk("Cu"), 16, 96, rng())
    assert 16 <= len(cell) <= 32
    slab = fcc111("Cu", (1, 1, 3), vacuum=6.0)
    larger = resized(slab, 16, 96, rng())
    assert len(larger) == 24
    assert larger.cell.lengths()[2] == slab.cell.lengths()[2]
    water = molecule("H2O")
    assert resized(water, 16, 96, rng()) == water


def test_a_crystal_is_cut_to_a_smaller_crystal():
    """All atoms still have their twelve neighbours at the same distance."""
    part = resized(bulk("Cu", cubic=True).repeat(3), 1, 60, rng())
    assert len(part) == 48
    assert len(np.unique(np.round(part.get_all_distances(mic=True)[0], 3))) < 10
    assert nearest_share(part) == pytest.approx(nearest_share(bulk("Cu")))


def test_a_thermal_crystal_is_cut_between_its_planes():
    """No plane is missing or there twice, though its atoms are displaced."""
    whole = bulk("NaCl", "rocksalt", a=5.64, cubic=True).repeat(3)
    whole.rattle(0.1, seed=4)
    part = resized(whole, 1, 100, rng(2))
    assert len(part) in {72, 96}
    assert Counter(part.symbols)["Na"] == len(part) / 2
    assert len(part) / part.get_volume() == pytest.approx(
        len(whole) / whole.get_volume()
    )
    assert nearest_share(part) >= SEAM_SHARE * nearest_share(whole)


def test_molecules_are_not_cut():
    """Every oxygen of a box of water keeps its two hydrogens."""
    part = resized(liquid_water(4), 1, 100, rng(6))
    assert 30 < len(part) <= 100
    assert_whole_molecules(part)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slab_of_a_liquid_has_whole_molecules(axis: int):
    """Wherever molecules lie across the sides of the cell that is opened."""
    box = liquid_water(2)
    slab = opened(box, axis, 10.0, rng())
    assert vacuum_axes(slab).tolist() == [each == axis for each in range(3)]
    assert slab.cell.lengths()[axis] == pytest.approx(box.cell.lengths()[axis] + 10)
    assert_whole_molecules(slab)


def liquid_water(side: int) -> Atoms:
    """Return so many molecules along each side of a cube, turned at random."""
    draws = rng(5)
    box = Atoms(cell=[3.1 * side] * 3, pbc=True)
    for place in np.ndindex(side, side, side):
        water = molecule("H2O")
        water.euler_rotate(*draws.uniform(0, 360, size=3))
        water.translate(3.1 * (np.array(place) + draws.uniform(-0.1, 0.1, size=3)))
        box += water
    box.wrap()
    return box


def assert_whole_molecules(part: Atoms) -> None:
    distances = part.get_all_distances(mic=True)
    hydrogens = np.flatnonzero(part.numbers == 1)
    for oxygen in np.flatnonzero(part.numbers == 8):
        assert (distances[oxygen, hydrogens] < 1.2).sum() == 2
    assert len(hydrogens) == 2 * (len(part) - len(hydrogens))


def test_no_atoms_meet_where_a_glass_is_cut():
    """Sides that do not fit lose the atoms that are too close."""
    whole = glass()
    part = resized(whole, 1, 100, rng(3))
    assert 50 < len(part) <= 100
    assert nearest_share(part) >= SEAM_SHARE * nearest_share(whole)
    assert part.pbc.all()
    density = len(part) / part.get_volume()
    assert density == pytest.approx(len(whole) / whole.get_volume(), rel=0.15)


def test_the_nearest_share_sees_images_and_elements():
    """0.7 of the radii's sum, through the side of a cell; 1 if nothing is near."""
    sum_A = 0.31 + 0.66
    atoms = Atoms(
        "HO", [[0.1, 5, 5], [0.1 - 0.7 * sum_A, 5, 5]], cell=[10] * 3, pbc=True
    )
    atoms.wrap()
    assert nearest_share(atoms) == pytest.approx(0.7)
    assert nearest_share(Atoms("Cu")) == 1.0
