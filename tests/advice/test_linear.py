"""Linear models: their functions, the fit, and what they cannot know."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones

from synthzoo.advice.invariants import Invariants
from synthzoo.advice.pair_functions import PairFunctions
from synthzoo.advice.simple_models import Constants, LinearKind, cutoff_of
from synthzoo.data.labelled_set import LabelledSet
from synthzoo.data.labels import Labels
from tests.extras import need

if TYPE_CHECKING:
    from synthzoo.advice.rows import Basis

STEP_A = 1e-4


def zincblende(seed: int) -> Atoms:
    atoms = bulk("SiC", "zincblende", a=4.2, cubic=True)
    atoms.rattle(0.1, seed=seed)
    return atoms


def bases() -> list[Basis]:
    return [
        PairFunctions(["C", "Si"], 4.0, 1.4),
        Invariants(["C", "Si"], 4.0, ([4, 2, 1], [0, 2, 1])),
    ]


@pytest.mark.parametrize("place", [0, 1], ids=["pairs", "invariants"])
def test_forces_are_the_derivatives_of_energies(place: int):
    """Central differences of each function, an atom moved along each axis."""
    if place:
        need("pyace", "ace")
    basis, atoms = bases()[place], zincblende(0)
    found = basis.rows(atoms).forces.reshape(len(atoms), 3, -1)
    for axis in range(3):
        ends = []
        for step in (STEP_A, -STEP_A):
            moved = atoms.copy()
            moved.positions[2, axis] += step
            ends.append(len(atoms) * basis.rows(moved).energy)
        expected = (ends[1] - ends[0]) / (2 * STEP_A)
        assert found[2, axis] == pytest.approx(expected, abs=2e-4, rel=1e-4)
    assert np.abs(found).max() > 0.1


def test_invariants_do_not_change_when_a_structure_is_turned_or_mirrored():
    need("pyace", "ace")
    basis, atoms = (
        bases()[1],
        Atoms("SiC4", np.random.default_rng(0).normal(size=(5, 3))),
    )
    turned = atoms.copy()
    turned.rotate(40, (1, 2, 3))
    turned.positions[:, 0] *= -1
    assert basis.rows(turned).energy == pytest.approx(basis.rows(atoms).energy)


def test_a_slab_is_described_like_the_same_slab_in_a_large_cell():
    need("pyace", "ace")
    slab = zincblende(1)
    slab.pbc = (True, True, False)
    large = slab.copy()
    large.center(vacuum=6.0, axis=2)
    large.pbc = True
    basis = bases()[1]
    assert basis.rows(slab).energy == pytest.approx(basis.rows(large).energy)


def test_a_linear_model_is_written_as_a_potential(tmp_path: Path):
    """What python-ace reads gives its energies, with the constants, and its forces."""
    need("pyace", "ace")
    from pyace import PyACECalculator

    basis, atoms = bases()[1], zincblende(2)
    assert isinstance(basis, Invariants)
    coefficients = np.random.default_rng(0).normal(size=len(basis))
    basis.write(tmp_path / "all.yace", coefficients, {"C": -148.0, "Si": -158.0})
    atoms.calc = PyACECalculator(str(tmp_path / "all.yace"))
    rows = basis.rows(atoms)
    energy_eV = 8 * (rows.energy @ coefficients) - 4 * 148 - 4 * 158
    assert atoms.get_potential_energy() == pytest.approx(energy_eV)
    assert atoms.get_forces().ravel() == pytest.approx(
        rows.forces @ coefficients, abs=1e-4
    )


def lennard_jones(count: int) -> LabelledSet:
    structures, labels = [], []
    for seed in range(count):
        atoms = bulk("Ar", a=5.3 * (0.97 + 0.01 * (seed % 7)), cubic=True)
        atoms.rattle(0.15, seed=seed)
        atoms.calc = LennardJones(
            sigma=3.4, epsilon=0.0104, rc=5.0, smooth=True, ro=4.0
        )
        structures.append(atoms)
        labels.append(
            Labels(
                energy_eV=atoms.get_potential_energy() - 20.0 * len(atoms),
                forces_eV_A=atoms.get_forces(),
            )
        )
    return LabelledSet(
        structures=structures, labels=labels, origins=[str(n) for n in range(count)]
    )


def test_a_pair_potential_is_learnt_from_a_pair_potential():
    """Its splines reach a few per cent of the forces; constants reach none of them."""
    data = lennard_jones(16)
    basis = PairFunctions(["Ar"], 5.0, 2.8)
    model = LinearKind([basis.rows(atoms) for atoms in data.structures])
    training, tested = range(12), range(12, 16)
    part = data.part(tested)
    found = model.fit_and_say(data, training, tested, 0).judged(part).errors[0]
    useless = Constants().fit_and_say(data, training, tested, 0).judged(part).errors[0]
    assert found.force_rmse_eV_A < 0.1 * useless.force_rmse_eV_A
    assert found.energy_rmse_meV_per_atom < 0.1 * useless.energy_rmse_meV_per_atom


def test_the_cutoff_follows_the_density():
    dense, light = bulk("Cu", cubic=True), bulk("Al", cubic=True)
    assert cutoff_of([dense]) < cutoff_of([light])
    assert cutoff_of([Atoms("C")]) == cutoff_of([Atoms("C2", [[0, 0, 0], [1, 0, 0]])])
