"""What describes the environments of atoms."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk, graphene

from synthzoo import SynthzooError, features, load_calculator
from synthzoo.environments.descriptors import learned_features
from synthzoo.models import hidden

ROTATION = 40.0
NOISE_A = 0.1


def shaken(repeat: int = 2, seed: int = 0):
    atoms = bulk("C", cubic=True) * (repeat, repeat, repeat)
    atoms.rattle(NOISE_A, seed=seed)
    return atoms


def test_features_belong_to_atoms_wherever_the_structure_lies():
    """Rotated, moved out of its cell and with its atoms reversed, it is the same."""
    atoms = shaken()
    other = atoms[::-1]
    other.rotate(ROTATION, (1, 2, 3), rotate_cell=True)
    other.positions += (30.0, -11.0, 2.0)
    found = features("carbon-ace-2k", atoms)
    assert found.shape == (64, 32)
    assert np.ptp(found, axis=0).max() > 0.1
    assert features("carbon-ace-2k", other)[::-1] == pytest.approx(found, abs=1e-4)


def test_energies_of_atoms_are_read_from_features():
    """Atoms with the same features have the same energy, linearly for this network."""
    calculator = load_calculator("carbon-ace-2k")
    structures = [shaken(2, seed) for seed in range(2)] + [graphene(vacuum=8.0)]
    rows = learned_features(calculator, structures)
    energies = np.concatenate(
        [results["energies"] for results in calculator.compute(structures)]
    )
    columns = np.hstack([rows, np.ones((len(rows), 1))])
    weights, *_ = np.linalg.lstsq(columns.astype(float), energies, rcond=None)
    assert columns @ weights == pytest.approx(energies, abs=1e-3)


def test_torch_and_engine_agree():
    """Networks that the engine does not know have the same features."""
    calculator = load_calculator("carbon-ace-2k")
    structures = [shaken(1), graphene(vacuum=8.0)]
    by_engine = hidden.hidden_features(calculator, structures)
    by_torch = hidden._by_torch(calculator, structures)
    for one, other in zip(by_engine, by_torch, strict=True):
        assert one == pytest.approx(other, abs=1e-5)


def test_a_teacher_has_no_features():
    """Only networks have them; the message says what to name."""
    with pytest.raises(SynthzooError, match="no network of synthzoo"):
        features("lammps:lcbop", bulk("C"))


def test_other_elements_are_refused():
    """As by the calculator."""
    with pytest.raises(SynthzooError, match="Si"):
        features("carbon-ace-2k", bulk("Si"))
