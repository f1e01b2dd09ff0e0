"""Data that lack one of the model's elements: said wherever its energies are met."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
from ase.build import bulk

from synthzoo.data.structures import read_structures, write_structures
from synthzoo.errors import GuessedEnergyWarning
from synthzoo.finetuning.recipe import FinetuneRecipe
from synthzoo.finetuning.run import finetune
from synthzoo.models.checkpoint import read_config, write_checkpoint
from synthzoo.models.network import build_model
from synthzoo.zoo.load import load_calculator
from tests.conftest import tiny_config

SHORT = FinetuneRecipe(visits=8, check_share=0, held_out_share=0, threads=1)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a start that knows molybdenum, tantalum and tungsten."""
    folder = tmp_path_factory.mktemp("start") / "start"
    config = tiny_config(("Mo", "Ta", "W"), kind="starting-point")
    model = build_model(config, seed=0).eval()
    write_checkpoint(folder, model=model, config=config, golden=[bulk("W")])
    return folder


@pytest.fixture
def binary(shared: Callable[[str], Path], tmp_path: Path) -> Path:
    """Write eight structures of molybdenum and tungsten, in several compositions."""
    path = shared("data/motaw-dft-train.extxyz")
    found = [
        atoms for atoms in read_structures(path) if set(atoms.symbols) == {"Mo", "W"}
    ]
    shares = {atoms.get_chemical_formula(): atoms for atoms in found}
    chosen = list(shares.values())[:8]
    for atoms in chosen:
        atoms.info.pop("config_type", None)
    write_structures(tmp_path / "binary.xyz", chosen)
    return tmp_path / "binary.xyz"


@pytest.mark.slow
def test_an_element_without_data_is_named_in_verdict_card_and_calculator(
    start: Path, binary: Path, tmp_path: Path
):
    """Tantalum's energies are a guess; those of the others come without a word."""
    made = finetune(start, binary, tmp_path / "tuned", recipe=SHORT)
    for text in (
        made.verdict,
        made.reference,
        made.report.read_text(),
        (tmp_path / "tuned" / "README.md").read_text(),
    ):
        assert "The data hold no Ta." in text
    alone = read_config(tmp_path / "tuned").isolated_atom_energies_eV
    assert alone["Ta"] == pytest.approx((alone["Mo"] + alone["W"]) / 2)
    calculator = load_calculator(tmp_path / "tuned")
    for name in ("Mo", "W"):
        calculator.check(bulk(name))
    with pytest.warns(GuessedEnergyWarning, match="without Ta: energies of"):
        calculator.check(bulk("Ta"))
    copy.deepcopy(calculator).check(bulk("Ta"))  # said once


@pytest.mark.slow
def test_an_energy_that_is_given_is_no_guess(start: Path, binary: Path, tmp_path: Path):
    """A free atom's energy is enough to put an element on the scale of the others."""
    made = finetune(
        start,
        binary,
        tmp_path / "tuned",
        recipe=SHORT,
        isolated_energies_eV={"Ta": -3.0},
    )
    assert "The data hold no" not in made.verdict
    assert read_config(tmp_path / "tuned").isolated_atom_energies_eV["Ta"] == -3.0
    load_calculator(tmp_path / "tuned").check(bulk("Ta"))
