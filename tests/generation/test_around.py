"""Families of structures: near their start, distinct, and not garbage."""

from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT

from synthzoo.generation.around import Family, Member
from synthzoo.generation.contacts import nearest_share
from synthzoo.generation.kinds.from_file import Around


def part(**changes: Any) -> Around:
    return Around(structures="none.xyz", count=1, **changes)


def alloy() -> Atoms:
    atoms: Atoms = bulk("Cu", cubic=True).repeat((2, 1, 1))
    atoms.symbols[[0, 3, 5]] = "Au"
    return atoms


def family(start: Atoms, count: int, *, seed: int = 1, **changes: Any) -> list[Member]:
    grown = Family(start, EMT(), part(**changes), np.random.default_rng(seed))
    return grown.grow(count)


def volumes(members: list[Member]) -> np.ndarray:
    found = np.array([member.atoms.get_volume() for member in members])
    return np.asarray(found / found[0])


def test_a_family_is_wide_but_sound():
    """Volumes up and down, several generations; no hard contact, no wild force."""
    members = family(alloy(), 20)
    assert len(members) == 20
    assert min(nearest_share(member.atoms) for member in members) > 0.65
    assert max(member.largest_eV_A for member in members) < 10
    assert volumes(members).min() < 0.97
    assert volumes(members).max() > 1.03
    assert max(member.generation for member in members) > 2
    energies = np.array([member.energy_eV for member in members])
    assert np.ptp(energies) > 0.05


def test_forces_and_energies_are_those_of_the_structures():
    """What a parent is drawn by belongs to the positions that are kept."""
    for member in family(alloy(), 5):
        atoms = member.atoms.copy()
        atoms.calc = EMT()
        assert member.energy_eV == pytest.approx(
            atoms.get_potential_energy() / len(atoms)
        )
        assert member.forces_eV_A == pytest.approx(atoms.get_forces())


def test_nothing_but_the_stream_of_random_numbers_decides():
    """The same stream gives the same positions, another one does not."""
    once, again, other = (family(alloy(), 6, seed=seed) for seed in (1, 1, 2))
    for first, second in zip(once, again, strict=True):
        assert np.array_equal(first.atoms.positions, second.atoms.positions)
    assert not np.allclose(once[-1].atoms.positions, other[-1].atoms.positions)


def test_a_slab_keeps_its_vacuum():
    """Strain goes along the surface only; the thickness stays that of the slab."""
    slab = fcc111("Cu", (2, 2, 3), vacuum=6.0, periodic=True)
    members = family(slab, 8, rattle_A=(0.01, 0.02), distinct_A=0.0, relax_steps=0)
    for member in members:
        assert member.atoms.cell.array[2] == pytest.approx(slab.cell.array[2])
        thickness = np.ptp(member.atoms.positions[:, 2])
        assert thickness == pytest.approx(np.ptp(slab.positions[:, 2]), abs=0.15)
    areas = [np.linalg.det(member.atoms.cell.array[:2, :2]) for member in members]
    assert np.ptp(areas) > 0.02 * areas[0]


def test_a_molecule_is_shaken_without_strain():
    """Neither its cell nor its size changes beyond the displacements."""
    water = molecule("H2O", cell=[8] * 3)
    members = family(water, 8, rattle_A=(0.02, 0.06))
    assert len(members) == 8
    for member in members:
        assert np.array_equal(member.deformation, np.eye(3))
        assert np.array_equal(member.atoms.cell.array, water.cell.array)


def test_strain_and_rattle_stay_within_their_ranges():
    """Without a relaxation, both are what was asked for; strains do not add up."""
    members = family(
        alloy().repeat((1, 2, 1)),
        25,
        rattle_A=(0.05, 0.05),
        strain=(0.02, 0.02),
        late_share=1.0,
        relax_steps=0,
        swap_share=0.0,
    )
    strains = [member.deformation - np.eye(3) for member in members[1:]]
    diagonal = np.array([np.diag(strain) for strain in strains])
    assert diagonal.std() == pytest.approx(0.02, rel=0.25)
    assert all(np.array_equal(strain, strain.T) for strain in strains)
    start = members[0].atoms.cell.array
    for member in members:
        assert member.atoms.cell.array == pytest.approx(start @ member.deformation)
    children = [member for member in members if member.generation == 1]
    moved = [child.sites_A - members[0].sites_A for child in children]
    assert np.std(moved) == pytest.approx(0.05, rel=0.15)


def test_steps_along_the_forces_take_off_what_rattling_put_on():
    """Most energy above that of the crystal is gone after some steps."""
    settings: dict[str, Any] = {
        "rattle_A": (0.3, 0.3),
        "strain": None,
        "swap_share": 0.0,
    }
    rises = []
    for steps in (0, 10):
        members = family(
            alloy(), 12, relax_steps=steps, max_force_eV_A=50.0, closest=0.3, **settings
        )
        energies = np.array([member.energy_eV for member in members])
        rises.append(np.median(energies[1:]) - energies[0])
    assert rises[1] < 0.5 * rises[0]


def test_swaps_exchange_unlike_atoms_only():
    """The composition stays; an element alone has nothing to exchange."""
    settings: dict[str, Any] = {
        "rattle_A": (0.02, 0.03),
        "strain": None,
        "swap_share": 1.0,
    }
    start = alloy()
    members = family(start, 6, **settings)
    for member in members[1:]:
        assert np.array_equal(member.atoms.numbers, start.numbers)
        if member.generation == 1:
            far = np.linalg.norm(member.atoms.positions - start.positions, axis=1) > 1
            assert sorted(start.symbols[far]) == ["Au", "Cu"]
    pure = family(bulk("Cu", cubic=True), 4, **settings | {"distinct_A": 0.0})
    moved = [member.atoms.positions - pure[0].atoms.positions for member in pure]
    assert np.abs(moved).max() < 0.5


def test_near_duplicates_are_left_out_but_strained_copies_are_not():
    """A displacement below the limit counts as none; a strain does count."""
    still: dict[str, Any] = {
        "rattle_A": (1e-3, 1e-3),
        "relax_steps": 0,
        "swap_share": 0.0,
    }
    alone = Family(alloy(), EMT(), part(strain=None, **still), np.random.default_rng(1))
    assert len(alone.grow(3)) == 1
    assert alone.refused == {"alike": 30}
    assert len(family(alloy(), 3, strain=(0.03, 0.05), **still)) == 3


def test_parents_are_drawn_by_energy_or_by_generation():
    """A cold family stays with its start; by generation it moves on."""
    settings: dict[str, Any] = {
        "rattle_A": (0.1, 0.1),
        "strain": None,
        "swap_share": 0.0,
    }
    start = bulk("Cu", cubic=True)
    near = family(start, 20, temperature_K=1.0, late_share=0.0, **settings)
    far = family(start, 20, temperature_K=1.0, late_share=1.0, **settings)
    assert max(member.generation for member in near) == 1
    assert max(member.generation for member in far) > 2


def test_a_start_outside_of_the_limits_sets_them():
    """A file of compressed structures gives compressed structures."""
    squeezed = bulk("Cu", "fcc", a=2.9, cubic=True)
    squeezed.rattle(0.05, seed=2)
    assert nearest_share(squeezed) < 0.85
    members = family(squeezed, 5, closest=0.9, max_force_eV_A=0.1)
    assert len(members) == 5
    shares = [nearest_share(member.atoms) for member in members]
    assert min(shares) >= shares[0]
    largest = [member.largest_eV_A for member in members]
    assert max(largest) <= largest[0]
