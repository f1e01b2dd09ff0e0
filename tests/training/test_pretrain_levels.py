"""Pre-training on the labels of several teachers at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from synthzoo.cli import main
from synthzoo.data.structures import label, read_structures, write_structures
from synthzoo.errors import InputError
from synthzoo.models.checkpoint import as_checkpoint
from synthzoo.models.graphs import POSITIONS
from synthzoo.training.batches import Mixed
from synthzoo.training.fit import _batches
from synthzoo.training.pretrain import pretrain
from synthzoo.training.recipe import FitRecipe
from synthzoo.zoo.load import load_calculator, verify_model
from tests.toy import pretrain_recipe

if TYPE_CHECKING:
    from ase import Atoms

STRONGER = 2.0


@pytest.fixture(scope="module")
def strong_set(lj_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write half of the Lennard-Jones clusters with labels twice as large."""
    structures = []
    for atoms in read_structures(lj_set)[::2]:
        energy = STRONGER * atoms.get_potential_energy()
        forces = STRONGER * atoms.get_forces()
        found = label(atoms, energy_eV=energy, forces_eV_A=forces)
        found.info["teacher"] = "test:strong"
        structures.append(found)
    path = tmp_path_factory.mktemp("strong") / "strong.xyz"
    write_structures(path, structures)
    return path


def forces_of(structures: list[Atoms], model: Path, level: str | None) -> np.ndarray:
    calculator = load_calculator(model, level=level, device="cpu")
    found = []
    for atoms in structures:
        copy = atoms.copy()
        copy.calc = calculator
        found.append(copy.get_forces())
    return np.concatenate(found)


@pytest.mark.thorough
def test_each_level_learns_its_teacher(lj_set: Path, strong_set: Path, tmp_path: Path):
    """Forces of the second level are twice those of the first; one body learns both."""
    recipe = pretrain_recipe(max_epochs=25, learning_rate=0.02, warmup_steps=10)
    output = tmp_path / "both"
    pretrain(recipe, lj_set, output, levels={"strong": strong_set}, level="lj")
    checkpoint = as_checkpoint(output)
    assert checkpoint.levels == ("lj", "strong")
    assert verify_model(output).passed
    assert checkpoint.config.labels["teacher"] == "test:lj"
    assert checkpoint.at("strong").config.labels["teacher"] == "test:strong"
    for level, path in (("lj", lj_set), ("strong", strong_set)):
        structures = read_structures(path)
        known = np.concatenate([atoms.get_forces() for atoms in structures])
        error = forces_of(structures, output, level) - known
        assert np.sqrt((error**2).mean()) < 0.5 * np.sqrt((known**2).mean())


def test_structures_of_two_levels_in_one_file_are_refused(lj_set: Path, tmp_path: Path):
    """Each level is a set of its own, or they would be learnt as one."""
    mixed = tmp_path / "mixed.xyz"
    structures = read_structures(lj_set)
    for number, atoms in enumerate(structures):
        atoms.info["level"] = "lj" if number % 2 else "strong"
    write_structures(mixed, structures)
    with pytest.raises(InputError, match="several levels of theory: lj, strong"):
        pretrain(pretrain_recipe(max_epochs=1), mixed, tmp_path / "new")


def test_an_epoch_goes_once_through_all_levels():
    """Batches hold as many atoms as with one level, and each structure comes once."""
    graph = {POSITIONS: torch.zeros(8, 3)}
    recipe = FitRecipe(batch_atoms=40)
    found = list(_batches([graph] * 30, [Mixed([graph] * 15)], recipe, processes=1))
    assert sorted(index for batch in found for index in batch) == list(range(45))
    assert {len(batch) for batch in found} == {5}


BAD: list[tuple[dict[str, Any], str]] = [
    ({"level": "low"}, "Two levels of theory are called low"),
    ({"levels": {"a/b": "x.xyz"}}, "cannot be called 'a/b'"),
    ({"levels": None, "level": "pbe"}, "All data are of one level, pbe"),
]


@pytest.mark.parametrize(("options", "message"), BAD)
def test_levels_that_cannot_be_told_apart_are_refused(
    lj_set: Path, tmp_path: Path, options: dict[str, Any], message: str
):
    given = {"levels": lj_set} | options
    with pytest.raises(InputError, match=message):
        pretrain(pretrain_recipe(max_epochs=1), lj_set, tmp_path / "new", **given)


def test_levels_of_other_elements_are_refused(lj_set: Path, tmp_path: Path):
    other = tmp_path / "other.xyz"
    structures = read_structures(lj_set)
    for atoms in structures:
        atoms.symbols[:] = "Si"
    write_structures(other, structures)
    recipe = pretrain_recipe(max_epochs=1)
    with pytest.raises(InputError, match="Level low holds Si, but level high holds C"):
        pretrain(recipe, lj_set, tmp_path / "new", levels=other)


def test_the_command_takes_levels(lj_set: Path, tmp_path: Path):
    output = str(tmp_path / "new")
    words = ["pretrain", "carbon-ace-2k", "--data", str(lj_set), "-o", output]
    words += ["--with", f"a/b:{lj_set}", "--level", "lj"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 1
    assert "cannot be called 'a/b'" in done.output
