"""Fine-tuning on real DFT data as a new user would: one command, nothing known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from click.testing import CliRunner

from synthzoo import load_calculator, load_sample
from synthzoo.cli import main
from synthzoo.data.structures import label
from synthzoo.finetuning.run import finetune
from synthzoo.zoo.scale_model import transmute_model

FILES = {
    "carbon-gap17-dft-train.extxyz": "carbon",
    "carbon-rss-pbe.extxyz": "carbon",
    "silicon-mlearn-dft-train.extxyz": "silicon",
}
BIAS = 0.5
"""Of the root mean square error: what may be left of an offset."""


@pytest.fixture(scope="module")
def silicon(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a start for silicon from the carbon potential."""
    folder = tmp_path_factory.mktemp("silicon") / "start"
    transmute_model("carbon", folder, element="Si", scale=1.5)
    return folder


def drawn(structures: list[Atoms], count: int) -> list[Atoms]:
    """Return structures of more than two atoms in a random order."""
    whole = [atoms for atoms in structures if 2 < len(atoms) <= 70]
    order = np.random.default_rng(7).permutation(len(whole))
    return [whole[index] for index in order[:count]]


@pytest.mark.long
@pytest.mark.parametrize("name", FILES)
def test_one_command_without_options(
    name: str, silicon: Path, shared: Callable[[str], Path], tmp_path: Path
):
    """Thirty frames as they are, dimers and all: a verdict, and never an offset."""
    frames = ase.io.read(shared(f"data/{name}"), ":")
    order = np.random.default_rng(5).permutation(len(frames))
    ase.io.write(tmp_path / name, [frames[index] for index in order[:30]])
    start = str(silicon) if FILES[name] == "silicon" else "carbon"
    command = ["finetune", start, str(tmp_path / name), "-o", str(tmp_path / "mine")]
    result = CliRunner().invoke(main, command, catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    metrics = json.loads((tmp_path / "mine" / "metrics.json").read_text())
    before, after = (metrics["unseen"][0][when][0] for when in ("before", "after"))
    field = "energy_rmse_meV_per_atom"
    assert after[field] < 1.5 * before[field]
    assert "Fine-tuning" in metrics["verdict"] or "Whether" in metrics["verdict"]


@pytest.mark.long
@pytest.mark.parametrize("name", ["gap17", "mlearn", "sample"])
def test_no_offset_is_left_where_the_reference_is_withheld(
    name: str, silicon: Path, shared: Callable[[str], Path], tmp_path: Path
):
    """Total energies of frames that were not fitted are right on average."""
    files = {"gap17": "carbon-gap17-dft-train", "mlearn": "silicon-mlearn-dft-train"}
    if name == "sample":
        frames = [_moved(atoms, -1029.5) for atoms in load_sample("carbon-pbe")]
        frames = drawn(frames, 75)
    else:
        frames = drawn(list(ase.io.iread(shared(f"data/{files[name]}.extxyz"))), 50)
        frames = [_moved(atoms, 0.0) for atoms in frames]
    ase.io.write(tmp_path / "fit.xyz", frames[:25])
    start = silicon if name == "mlearn" else "carbon"
    finetune(start, tmp_path / "fit.xyz", tmp_path / "mine")
    calculator = load_calculator(tmp_path / "mine")
    errors = []
    for atoms in frames[25:]:
        wanted = atoms.get_potential_energy()
        atoms.calc = calculator
        errors.append((atoms.get_potential_energy() - wanted) / len(atoms))
    assert abs(np.mean(errors)) < BIAS * np.sqrt(np.mean(np.square(errors)))


def _moved(atoms: Atoms, shift_eV: float) -> Atoms:
    """Return a copy with labels only where ASE keeps them, energies moved per atom."""
    if "REF_energy" in atoms.info:
        atoms = atoms.copy()
        energy, forces = atoms.info.pop("REF_energy"), atoms.arrays.pop("REF_forces")
    else:
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    return label(
        atoms, energy_eV=energy + shift_eV * len(atoms), forces_eV_A=np.array(forces)
    )


LDA_BULK_MODULUS_GPA = 469
"""Of diamond, by a fit to 250 crystals of the same file."""


@pytest.mark.slow
def test_a_small_set_keeps_the_physics_of_diamond(
    shared: Callable[[str], Path], tmp_path: Path
):
    """Without stress of replayed structures, thirty frames made it 18 % too stiff."""
    frames = ase.io.read(shared("data/carbon-gap17-dft-train.extxyz"), ":")
    frames = [atoms for atoms in frames if len(atoms) > 2]
    order = np.random.default_rng(11).permutation(len(frames))
    for name, part in (("fit.xyz", order[:30]), ("test.xyz", order[30:180])):
        ase.io.write(tmp_path / name, [frames[index] for index in part])
    output = tmp_path / "mine"
    fit, test = tmp_path / "fit.xyz", tmp_path / "test.xyz"
    finetune("carbon", fit, output, test=test, most_visits=1)  # no trials
    metrics = json.loads((output / "metrics.json").read_text())
    diamond = metrics["physics"]["crystals"][0]["after"]
    assert diamond["a_A"] == pytest.approx(3.535, abs=0.01)
    assert diamond["bulk_modulus_GPa"] == pytest.approx(LDA_BULK_MODULUS_GPA, rel=0.1)
    (carbon_pair,) = metrics["physics"]["repulsions"]
    assert carbon_pair["after_A"] <= carbon_pair["before_A"] < 0.6  # beyond 50 eV
    (after,) = (
        errors for errors in metrics["unseen"][0]["after"] if errors["name"] == "all"
    )
    assert after["energy_rmse_meV_per_atom"] < 62
    assert after["force_rmse_eV_A"] < 0.86
