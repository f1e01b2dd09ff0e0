"""Energies of atoms are fitted where they are known, and only where a recipe asks."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones

from synthzoo.data.labels import CALCULATOR, LabelKeys, labels_of
from synthzoo.data.structures import label, read_structures, write_structures
from synthzoo.errors import InputError
from synthzoo.models.predict import predict_structures
from synthzoo.training.pretrain import pretrain
from synthzoo.training.recipe import PretrainRecipe
from synthzoo.zoo.load import load_calculator
from tests.toy import pretrain_recipe

pytestmark = pytest.mark.filterwarnings("ignore:.*per_type_energy")

KEYS = LabelKeys(energy=CALCULATOR, forces=CALCULATOR)


def labelled(atoms: Atoms, number: int, *, known: bool = True) -> Atoms:
    """Return a structure with Lennard-Jones labels."""
    atoms.calc = LennardJones(sigma=1.5, epsilon=0.5, rc=3.0)
    atoms.info.update(group=f"g{number}", teacher="test:lj")
    return label(
        atoms,
        energy_eV=atoms.get_potential_energy(),
        forces_eV_A=atoms.get_forces(),
        energies_eV=atoms.get_potential_energies() if known else None,
    )


@pytest.fixture(scope="module")
def shaken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write 16 clusters, every fourth of which has no energies of atoms."""
    rng = np.random.default_rng(0)
    structures = []
    for number in range(16):
        atoms = bulk("C", "fcc", a=2.45, cubic=True) * (2, 1, 1)
        atoms.pbc = False
        atoms.rattle(0.1, rng=rng)
        structures.append(labelled(atoms, number, known=number % 4 != 0))
    path = tmp_path_factory.mktemp("shaken") / "shaken.xyz"
    write_structures(path, structures)
    return path


def atomic_only() -> PretrainRecipe:
    """Return a recipe that fits energies of atoms and nothing else."""
    return pretrain_recipe(
        batch_atoms=16,
        max_epochs=30,
        learning_rate=0.02,
        warmup_steps=10,
        keep="last",
        energy_weight=0.0,
        forces_weight=0.0,
        atomic_energy_weight=1.0,
    )


@pytest.mark.thorough
def test_a_fit_to_energies_of_atoms_tells_them_apart(shaken: Path, tmp_path: Path):
    """Not only their sum: what is left of their spread within structures is small."""
    pretrain(atomic_only(), shaken, tmp_path / "fitted")
    structures = read_structures(shaken)
    predicted = predict_structures(structures, load_calculator(tmp_path / "fitted"))
    wanted, found = [], []
    for atoms, result in zip(structures, predicted, strict=True):
        energies = labels_of(atoms, KEYS).atomic_energies_eV
        if energies is not None:
            wanted.append(energies - energies.mean())
            given = result.calc.results["energies"]
            found.append(given - given.mean())
    assert len(wanted) == 12
    left = np.linalg.norm(np.array(found) - np.array(wanted)) / np.linalg.norm(wanted)
    assert left < 0.6


def test_labels_that_are_not_there_cannot_be_fitted(tmp_path: Path):
    """A weight would otherwise do nothing, without a word."""
    path = tmp_path / "none.xyz"
    crystals = [bulk("C", a=3.5 + 0.05 * number) for number in range(12)]
    write_structures(
        path, [labelled(atoms, n, known=False) for n, atoms in enumerate(crystals)]
    )
    with pytest.raises(InputError, match="no structure has them"):
        pretrain(atomic_only(), path, tmp_path / "out")


def test_energies_with_another_sum_are_no_labels():
    """Such as those of one part of an energy."""
    atoms = labelled(bulk("C", a=3.5), 0)
    assert labels_of(atoms, KEYS).atomic_energies_eV is not None
    atoms.calc.results["energies"] = atoms.calc.results["energies"] + 0.01
    assert labels_of(atoms, KEYS).atomic_energies_eV is None
