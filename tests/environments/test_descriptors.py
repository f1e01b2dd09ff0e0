"""What describes the environments of atoms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase.build import bulk, graphene

from synthzoo import SynthzooError, features, load_calculator
from synthzoo.environments.descriptors import computed_by
from synthzoo.models.calculator import calculator_of

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.models.engine.evaluator import Result

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
    rows = computed_by(calculator, structures).features
    energies = np.concatenate(
        [results["energies"] for results in calculator.compute(structures)]
    )
    columns = np.hstack([rows, np.ones((len(rows), 1))])
    weights, *_ = np.linalg.lstsq(columns.astype(float), energies, rcond=None)
    assert columns @ weights == pytest.approx(energies, abs=1e-3)


def test_torch_and_engine_agree():
    """Networks that the engine does not know have the same features."""
    by_engine = load_calculator("carbon-ace-2k")
    by_torch = calculator_of(by_engine.torch_pass.network, by_engine.config)
    by_torch._evaluator = None
    structures = [shaken(1), graphene(vacuum=8.0)]
    one, other = (computed_by(each, structures) for each in (by_engine, by_torch))
    assert one.features == pytest.approx(other.features, abs=1e-5)
    assert one.energies_eV == pytest.approx(other.energies_eV, abs=1e-4)
    assert one.forces_eV_A == pytest.approx(other.forces_eV_A, abs=1e-4)


def test_a_structure_goes_through_the_network_once(monkeypatch: pytest.MonkeyPatch):
    """For features and predictions together."""
    calculator = load_calculator("carbon-ace-2k")
    seen: list[Atoms] = []
    evaluate = calculator.evaluate

    def note(structures: list[Atoms]) -> list[Result]:
        seen.extend(structures)
        return evaluate(structures)

    monkeypatch.setattr(calculator, "evaluate", note)
    structures = [shaken(1), graphene(vacuum=8.0)]
    computed = computed_by(calculator, structures)
    assert seen == structures
    expected = calculator.compute(structures[1:])[0]
    assert computed.energies_eV[8:] == pytest.approx(expected["energies"], abs=1e-4)


def test_a_teacher_has_no_features():
    """Only networks have them; the message says what to name."""
    with pytest.raises(SynthzooError, match="no network of synthzoo"):
        features("lammps:lcbop", bulk("C"))


def test_other_elements_are_refused():
    """As by the calculator."""
    with pytest.raises(SynthzooError, match="Si"):
        features("carbon-ace-2k", bulk("Si"))
