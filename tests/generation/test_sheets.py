"""Stacks of layers and flat networks are what their recipes ask for."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.calculators.lj import LennardJones
from ase.neighborlist import neighbor_list

from synthzoo.data.sound import min_distance_A
from synthzoo.errors import InputError
from synthzoo.generation.kinds.sheets import Layers, Networks
from synthzoo.generation.sheets import jobs, network, stack
from synthzoo.generation.species import Species

CARBON = Species(("C",))
BOND_A = 1.42
PERFECT = Layers(
    count=1,
    bond_A=BOND_A,
    distance_A=(3.0, 3.0),
    layers=(2, 2),
    open_share=0.0,
    stackings=("ab",),
    stretch=(1.0, 1.0),
    max_strain=0.0,
    rattle_A=(0.0, 0.0),
)
FLAT = Networks(
    count=1,
    atoms=(40, 40),
    area_A2=(2.7, 2.7),
    packed_share=0.0,
    relax_steps=(0, 0),
    stretch=(1.0, 1.0),
    max_strain=0.0,
    rattle_A=(0.0, 0.0),
)


def made(seed: int = 0, **changes: Any) -> Atoms:
    part = dataclasses.replace(PERFECT, **changes)
    return stack(part, CARBON, np.random.default_rng(seed))


def flat(seed: int = 0, driver: Calculator | None = None, **changes: Any) -> Atoms:
    part = dataclasses.replace(FLAT, **changes)
    driver = driver or LennardJones(sigma=1.2, epsilon=1.0, rc=3.0)
    return network(part, CARBON, driver, np.random.default_rng(seed))


def heights_A(atoms: Atoms) -> list[float]:
    heights: list[float] = np.unique(atoms.positions[:, 2].round(6)).tolist()
    return heights


def over_each_other(atoms: Atoms) -> int:
    """Return how many atoms have one of the other layer straight above them."""
    return len(neighbor_list("i", atoms, 3.001)) - len(neighbor_list("i", atoms, 2.99))


@pytest.mark.parametrize(("stacking", "share"), [("aa", 1.0), ("ab", 0.5)])
def test_layers_lie_over_each_other_as_their_stacking_says(stacking: str, share: float):
    """Of each layer, all atoms (AA) or every second one (AB) have neighbours above."""
    atoms = made(stackings=(stacking,))
    assert heights_A(atoms) == [0.0, 3.0]
    assert atoms.cell[2, 2] == pytest.approx(6.0)
    assert np.bincount(neighbor_list("i", atoms, 1.5)).tolist() == [3] * len(atoms)
    assert over_each_other(atoms) == 2 * share * len(atoms)  # above and below


def test_three_layers_of_abc_come_back_to_the_first():
    """Each layer lies like the one before, also across the cell's border."""
    atoms = made(layers=(3, 3), stackings=("abc",))
    assert over_each_other(atoms) == len(atoms)


def test_slid_layers_have_no_symmetry():
    """Any stacking: bonds and distances stay, no atom is above another one."""
    atoms = made(stackings=("any",))
    assert min_distance_A(atoms) == pytest.approx(BOND_A)
    assert over_each_other(atoms) == 0


def test_open_and_uneven_stacks():
    """Vacuum lies above the last layer; uneven distances differ inside of the range."""
    assert made(open_share=1.0).cell[2, 2] == pytest.approx(13.0)
    atoms = made(layers=(4, 4), distance_A=(2.4, 4.0), uneven_share=1.0)
    gaps = np.diff(heights_A(atoms))
    assert len(set(gaps.round(3))) == 3
    assert 2.4 <= gaps.min() < gaps.max() <= 4.0


@pytest.mark.parametrize("seed", range(5))
def test_stacks_stay_below_their_size(seed: int):
    """Sides are drawn for the number of layers; vacancies are taken out."""
    atoms = made(seed, layers=(1, 5), max_atoms=30)
    assert len(atoms) <= 30
    assert len(made(seed, layers=(1, 5), max_atoms=30, vacancies=(1, 1))) == (
        len(atoms) - 1
    )


def test_buckled_layers_keep_their_bonds():
    """A wave moves atoms across the layer by its height at most."""
    atoms = made(max_atoms=72, buckle_A=(0.4, 0.4))
    lower = atoms.positions[: len(atoms) // 2, 2]
    assert 0.3 < np.abs(lower).max() <= 0.4
    assert min_distance_A(atoms) < 1.1 * BOND_A


def test_rotated_bonds_make_other_rings():
    """A network without rotated bonds is a honeycomb; with them, bonds have moved."""
    plain, turned = flat(rotated_share=(0.0, 0.0)), flat(rotated_share=(0.2, 0.2))
    assert len(plain) == 40
    assert np.ptp(neighbor_list("d", plain, 1.6)) == pytest.approx(0.0, abs=1e-9)
    moved = np.linalg.norm(plain.positions - turned.positions, axis=1) > 0.1
    assert moved.sum() == 2 * round(0.2 * 60)


def test_a_network_relaxes_in_its_plane():
    """Forces across a plane are zero; along it they fall, and the cell stays."""
    driver = LennardJones(sigma=1.2, epsilon=1.0, rc=3.0)
    packed = flat(packed_share=1.0, driver=driver)
    assert packed.get_volume() / packed.cell[2, 2] == pytest.approx(40 * 2.7)
    assert min_distance_A(packed) >= FLAT.min_distance_A
    relaxed = flat(packed_share=1.0, driver=driver, relax_steps=(20, 20))
    assert np.ptp(relaxed.positions[:, 2]) == pytest.approx(0.0, abs=1e-9)
    energies = []
    for atoms in (packed, relaxed):
        atoms.calc = driver
        energies.append(atoms.get_potential_energy())
    assert energies[1] < energies[0]


def test_a_plane_without_room_is_refused():
    """The message says how many atoms were to be placed, and what to change."""
    with pytest.raises(InputError, match=r"4 atoms cannot be placed 1.1 Å apart on 4"):
        flat(atoms=(4, 4), packed_share=1.0, area_A2=(1.0, 1.0))


def test_networks_are_made_in_shares():
    """Jobs are short enough to be shared by workers, and none is lost."""
    counts = [part.count for part in jobs(dataclasses.replace(FLAT, count=120), (1, 0))]
    assert counts == [50, 50, 20]
