"""Stress labels are fitted where they are known, and only where a recipe asks."""

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

KEYS = LabelKeys(energy=CALCULATOR, forces=CALCULATOR, stress=CALCULATOR)


def labelled(atoms: Atoms, number: int) -> Atoms:
    """Return a structure with Lennard-Jones labels, with stress if it is a crystal."""
    atoms.calc = LennardJones(sigma=1.5, epsilon=0.5, rc=3.0)
    atoms.info.update(group=f"g{number}", teacher="test:lj")
    return label(
        atoms,
        energy_eV=atoms.get_potential_energy(),
        forces_eV_A=atoms.get_forces(),
        stress_eV_A3=atoms.get_stress() if atoms.pbc.all() else None,
    )


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write 12 crystals under all kinds of strain, and as many clusters."""
    rng = np.random.default_rng(0)
    structures = []
    for number in range(12):
        crystal = bulk("C", "fcc", a=2.45, cubic=True)
        strain = rng.uniform(-0.05, 0.05, (3, 3))
        crystal.set_cell(crystal.cell @ (np.eye(3) + strain), scale_atoms=True)
        crystal.rattle(0.05, rng=rng)
        cluster = Atoms("C4", 1.8 * np.eye(4, 3) + rng.normal(scale=0.1, size=(4, 3)))
        structures += [labelled(crystal, number), labelled(cluster, 100 + number)]
    path = tmp_path_factory.mktemp("mixed") / "mixed.xyz"
    write_structures(path, structures)
    return path


def stress_only(**fit: object) -> PretrainRecipe:
    """Return a recipe that fits stress and nothing else."""
    return pretrain_recipe(
        max_epochs=12,
        learning_rate=0.02,
        warmup_steps=10,
        keep="last",
        energy_weight=0.0,
        forces_weight=0.0,
        stress_weight=1.0,
        **fit,
    )


def stress_share_left(checkpoint: Path, data: Path) -> float:
    """Return the error of stress over its size."""
    crystals = [atoms for atoms in read_structures(data) if atoms.pbc.all()]
    wanted = np.array([labels_of(atoms, KEYS).stress_eV_A3 for atoms in crystals])
    predicted = predict_structures(crystals, load_calculator(checkpoint))
    found = np.array([atoms.get_stress() for atoms in predicted])
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


@pytest.mark.thorough
@pytest.mark.parametrize("limit_eV", [None, 0.5])
def test_a_fit_to_stress_alone_learns_it(
    mixed: Path, tmp_path: Path, limit_eV: float | None
):
    """From crystals among clusters, which have none, in batches with few of either."""
    recipe = stress_only(batch_atoms=12, stress_huber_eV=limit_eV)
    pretrain(recipe, mixed, tmp_path / "fitted")
    assert stress_share_left(tmp_path / "fitted", mixed) < 0.6


def test_labels_that_are_not_there_cannot_be_fitted(lj_set: Path, tmp_path: Path):
    """A weight would otherwise do nothing, without a word."""
    with pytest.raises(InputError, match=r"no structure that is periodic .* has a str"):
        pretrain(stress_only(), lj_set, tmp_path / "out")
