"""A network of another element gives the energies of the old one, at other lengths."""

from __future__ import annotations

import dataclasses
import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase.build import bulk
from click.testing import CliRunner

from synthzoo.benchmarking.jobs import DataSource, find_starts, make_jobs
from synthzoo.cli import main
from synthzoo.data.labelled_set import read_labelled
from synthzoo.data.structures import label, write_structures
from synthzoo.errors import CheckpointError, InputError
from synthzoo.finetuning.data_check import check_data
from synthzoo.finetuning.recipe import (
    LEAST_EPOCHS,
    STARTING_POINT_RATE,
    FinetuneRecipe,
    resolve_recipe,
)
from synthzoo.finetuning.run import finetune
from synthzoo.models import nequip_network
from synthzoo.models.checkpoint import (
    golden_structures,
    load_model,
    read_config,
    verify_checkpoint,
    write_checkpoint,
)
from synthzoo.models.network import build_model
from synthzoo.zoo import published
from synthzoo.zoo.load import StartingPointWarning, load_calculator
from synthzoo.zoo.scale_model import transmute_model
from tests.conftest import tiny_config
from tests.toy import finetuning_plan

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.models.config import CheckpointConfig

LEGACY = Path(__file__).parents[1] / "legacy"
SCALE, FACTOR = 1.5, 0.6


def carbon() -> Atoms:
    """Return a crystal with every atom out of place."""
    atoms = bulk("C", cubic=True)
    atoms.rattle(0.1, seed=3)
    return atoms


def silicon(scale: float = SCALE) -> Atoms:
    """Return the same crystal, scaled and renamed."""
    atoms = carbon()
    atoms.set_chemical_symbols(["Si"] * len(atoms))
    atoms.set_cell(scale * atoms.cell, scale_atoms=True)
    return atoms


def predict(folder: Path, atoms: Atoms) -> dict[str, Any]:
    """Return what a checkpoint gives in double precision."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StartingPointWarning)
        calculator = load_calculator(folder, device="cpu", dtype="float64")
    calculator.calculate(atoms)
    return calculator.results


def make(folder: Path, config: CheckpointConfig, *, seed: int = 1) -> Path:
    """Write an untrained checkpoint."""
    model = build_model(config, seed=seed)
    write_checkpoint(folder, model=model, config=config, golden=[carbon()])
    return folder


def assert_scaled(
    before: Path, after: Path, *, scale: float = SCALE, factor: float = FACTOR
) -> None:
    """Compare energies, forces and stress, isolated atoms taken off."""
    old, new = predict(before, carbon()), predict(after, silicon(scale))
    alone = read_config(before).isolated_atom_energies_eV["C"]
    expected = factor * (old["energies"] - alone)
    assert np.abs(old["forces"]).max() > 5e-3
    np.testing.assert_allclose(new["energies"], expected, atol=1e-5)
    np.testing.assert_allclose(new["energy"], expected.sum(), atol=1e-5 * 8)
    for name, power in (("forces", 1), ("stress", 3)):
        np.testing.assert_allclose(
            new[name], factor / scale**power * old[name], rtol=2e-6, atol=1e-6
        )


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint whose isolated atom is not at zero."""
    config = tiny_config()
    alone = dataclasses.replace(config, isolated_atom_energies_eV={"C": -7.5})
    return make(tmp_path_factory.mktemp("scale") / "start", alone)


def test_energies_forces_and_stress_follow(start: Path, tmp_path: Path):
    """The cutoff grows with the lengths; nothing was fitted."""
    made = transmute_model(
        start, tmp_path / "si", element="Si", scale=SCALE, energy_factor=FACTOR
    )
    assert_scaled(start, tmp_path / "si")
    assert verify_checkpoint(tmp_path / "si").passed
    config = read_config(tmp_path / "si")
    assert (config.elements, config.cutoff_A, config.kind) == (
        ("Si",),
        6.0,
        "starting-point",
    )
    assert config.isolated_atom_energies_eV == {"Si": 0.0}
    assert made.cutoff_A == 6.0
    assert made.change == "C to Si, lengths times 1.5, energies times 0.6"
    assert config.provenance["transmuted"] == made.change
    assert (
        config.provenance["start_weights_sha256"] == read_config(start).weights_sha256
    )
    assert config.provenance["start"] == read_config(start).provenance


@pytest.mark.parametrize(
    "changes",
    [
        {"per_edge_type_cutoff": {"C": {"C": 3.0}}},
        {"per_edge_type_cutoff": {"C": 3.0}, "avg_num_neighbors": {"C": 9.0}},
        pytest.param(
            {"per_type_energy_scales": None, "per_type_energy_shifts": None},
            marks=pytest.mark.thorough,
        ),
        {
            "per_type_energy_scales_trainable": True,
            "per_type_energy_shifts_trainable": True,
        },
        pytest.param({"radial_mlp_depth": 0}, marks=pytest.mark.thorough),
        pytest.param(
            {"radial_mlp_depth": 3, "parity": True, "l_max": 2},
            marks=pytest.mark.thorough,
        ),
        pytest.param(
            {"bessel_trainable": True, "polynomial_cutoff_p": 4},
            marks=pytest.mark.thorough,
        ),
    ],
    ids=" ".join,
)
def test_all_that_has_a_length_or_an_energy_is_scaled(
    changes: dict[str, Any], tmp_path: Path
):
    """Cutoffs between elements, energy scales and shifts, deeper radial networks."""
    config = tiny_config()
    arguments = config.arguments | changes
    before = make(tmp_path / "start", dataclasses.replace(config, arguments=arguments))
    transmute_model(
        before, tmp_path / "si", element="Si", scale=SCALE, energy_factor=FACTOR
    )
    assert_scaled(before, tmp_path / "si")


@pytest.mark.thorough
def test_networks_of_2023_scale_too(tmp_path: Path):
    """They have another builder, and other radial networks."""
    before = tmp_path / "start"
    published.import_paper(LEGACY / "no-parity.pth", before, avg_num_neighbors=20.0)
    transmute_model(before, tmp_path / "si", element="Si", scale=1.4)
    assert_scaled(before, tmp_path / "si", scale=1.4, factor=1.0)


def test_the_bundled_model_scales(tmp_path: Path):
    """Trained weights, in the precision that users have."""
    transmute_model("carbon", tmp_path / "si", element="Si", scale=SCALE)
    atoms = silicon()
    with pytest.warns(StartingPointWarning, match="before it is fine-tuned"):
        atoms.calc = load_calculator(tmp_path / "si", device="cpu")
    before = carbon()
    before.calc = load_calculator("carbon", device="cpu")
    energy = before.get_potential_energy()
    assert atoms.get_potential_energy() == pytest.approx(energy, abs=8 * 1e-5)
    np.testing.assert_allclose(
        atoms.get_forces(), before.get_forces() / SCALE, atol=1e-4
    )


def test_without_scaling_only_the_name_changes(start: Path, tmp_path: Path):
    """The control: a start that sees silicon as stretched carbon."""
    transmute_model(start, tmp_path / "si", element="Si", scale=1.0)
    assert_scaled(start, tmp_path / "si", scale=1.0, factor=1.0)


def labelled_silicon(folder: Path, data: Path) -> list[Atoms]:
    """Write structures with twice the forces that a checkpoint gives, and return them.

    Their total energies are far from the checkpoint's.
    """
    labelled = []
    for seed in range(6):
        atoms = silicon()
        atoms.rattle(0.1, seed=seed)
        found = predict(folder, atoms)
        energy = 2 * found["energy"] - 158.5 * len(atoms)
        labelled.append(label(atoms, energy_eV=energy, forces_eV_A=2 * found["forces"]))
    write_structures(data, labelled)
    return labelled


@pytest.mark.thorough
def test_it_can_be_fine_tuned(start: Path, tmp_path: Path):
    """Total energies far from the start's are no obstacle."""
    transmute_model(start, tmp_path / "si", element="Si", scale=SCALE)
    labelled = labelled_silicon(tmp_path / "si", tmp_path / "dft.xyz")
    finetune(
        tmp_path / "si",
        tmp_path / "dft.xyz",
        tmp_path / "tuned",
        recipe=FinetuneRecipe(visits=12, check_share=0.0, held_out_share=0.0),
    )
    assert read_config(tmp_path / "tuned").kind == "potential"
    energy = predict(tmp_path / "tuned", labelled[0])["energy"]
    assert energy / len(labelled[0]) == pytest.approx(-158.5, abs=5)


def test_it_is_fitted_longer_than_a_potential(start: Path, tmp_path: Path):
    """By `finetune`, and in a learning curve."""
    transmute_model(start, tmp_path / "si", element="Si", scale=SCALE)
    labelled_silicon(tmp_path / "si", tmp_path / "dft.xyz")
    usual = resolve_recipe(FinetuneRecipe(), 6 * [8]).visits
    assert usual is not None
    frames, keys = read_labelled([tmp_path / "dft.xyz"])
    plan = finetuning_plan(tmp_path / "si", frames, keys, FinetuneRecipe())
    assert plan.recipe.visits == 3 * usual
    source = DataSource(training=(tmp_path / "dft.xyz",), test=(tmp_path / "dft.xyz",))
    starts = find_starts([str(tmp_path / "si")])
    (job,) = make_jobs(starts, [6], 1, source=source, recipe=FinetuneRecipe())
    assert job.recipe.visits == 3 * usual
    given = FinetuneRecipe(visits=7)
    assert resolve_recipe(given, 6 * [8], kind="starting-point").visits == 7
    assert job.recipe.learning_rate == STARTING_POINT_RATE
    many = resolve_recipe(FinetuneRecipe(), 1000 * [64], kind="starting-point")
    assert many.visits == LEAST_EPOCHS * 1000


@pytest.mark.thorough
def test_its_energies_have_no_say_in_whether_data_are_sound(
    start: Path, tmp_path: Path
):
    """Labels of another size than a mere start predicts are in no other unit."""
    transmute_model(start, tmp_path / "si", element="Si", scale=SCALE)
    labelled = []
    for seed in range(10):
        atoms = silicon()
        atoms.rattle(0.1, seed=seed)
        found = predict(tmp_path / "si", atoms)
        labelled.append(
            label(
                atoms,
                energy_eV=found["energy"] * 1000,
                forces_eV_A=found["forces"] * 1000,
            )
        )
    write_structures(tmp_path / "dft.xyz", labelled)
    judged = check_data(tmp_path / "si", tmp_path / "dft.xyz")
    assert not any("the model's" in text for text in judged.errors + judged.findings)
    potential = tmp_path / "potential"
    model, config = load_model(tmp_path / "si")
    write_checkpoint(
        potential,
        model=model,
        config=dataclasses.replace(config, kind="potential"),
        golden=golden_structures(tmp_path / "si"),
    )
    judged = check_data(potential, tmp_path / "dft.xyz")
    assert any("the model's" in text for text in judged.errors + judged.findings)


# Refusals


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"element": "Xx", "scale": 1.5}, "'Xx' is no chemical symbol"),
        ({"element": "Si", "scale": 0.0}, "should be a positive number"),
        ({"element": "Si", "scale": 1.5, "energy_factor": -1.0}, "positive number"),
        ({"element": "Si", "scale": 6.0}, "cutoff_A: expected a number above 0 and up"),
    ],
)
def test_what_cannot_be_is_refused(
    start: Path, tmp_path: Path, given: dict[str, Any], message: str
):
    """Nothing is left behind."""
    with pytest.raises((InputError, CheckpointError), match=message):
        transmute_model(start, tmp_path / "si", **given)
    assert not (tmp_path / "si").exists()


def test_a_model_of_several_elements_needs_a_map_of_all(tmp_path: Path):
    """One new element cannot stand for two, nor is one left as it was."""
    make(tmp_path / "two", tiny_config(("C", "Si")))
    with pytest.raises(InputError, match="has the elements C, Si; say which becomes"):
        transmute_model(tmp_path / "two", tmp_path / "new", element="Si", scale=1.5)
    with pytest.raises(InputError, match="has Si, for which no new element is given"):
        transmute_model(
            tmp_path / "two", tmp_path / "new", elements={"C": "Ge"}, scale=1.5
        )


@pytest.mark.thorough
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "per_edge_type_cutoff": {"Ga": {"Ga": 3.0, "As": 3.5}, "As": 4.0},
            "per_type_energy_scales": {"Ga": 1.5, "As": 0.7},
            "per_type_energy_shifts": {"Ga": -3.0, "As": -5.0},
        },
    ],
    ids=["plain", "by-elements"],
)
def test_a_model_of_a_compound_follows_a_map(changes: dict[str, Any], tmp_path: Path):
    """Each element keeps its own weights, cutoffs and energies under its new name."""
    config = tiny_config(("Ga", "As"))
    config = dataclasses.replace(
        config,
        arguments=config.arguments | changes,
        isolated_atom_energies_eV={"Ga": -0.3, "As": -1.7},
    )
    model = build_model(config, seed=1)
    before = bulk("GaAs", "zincblende", a=5.0, cubic=True)
    before.rattle(0.1, seed=1)
    write_checkpoint(tmp_path / "old", model=model, config=config, golden=[before])
    made = transmute_model(
        tmp_path / "old",
        tmp_path / "new",
        elements={"As": "P", "Ga": "In"},
        scale=1.04,
        energy_factor=FACTOR,
    )
    assert made.change == "As to P, Ga to In, lengths times 1.04, energies times 0.6"
    assert read_config(tmp_path / "new").elements == ("In", "P")
    after = before.copy()
    after.symbols = 4 * ["In", "P"]
    after.set_cell(1.04 * after.cell, scale_atoms=True)
    old, new = predict(tmp_path / "old", before), predict(tmp_path / "new", after)
    expected = FACTOR * (old["energies"] - np.tile([-0.3, -1.7], 4))
    np.testing.assert_allclose(new["energies"], expected, atol=1e-5)
    assert np.abs(old["forces"]).max() > 5e-3
    np.testing.assert_allclose(
        new["forces"], FACTOR / 1.04 * old["forces"], rtol=2e-6, atol=1e-6
    )


def test_pair_potentials_are_refused(tmp_path: Path):
    """One factor of lengths would be wrong for them."""
    zbl = {
        "_target_": "nequip.nn.pair_potential.ZBL",
        "units": "metal",
        "chemical_species": ["C"],
    }
    config = tiny_config()
    arguments = config.arguments | {"pair_potential": zbl}
    make(tmp_path / "zbl", dataclasses.replace(config, arguments=arguments))
    with pytest.raises(InputError, match="does not scale with lengths"):
        transmute_model(tmp_path / "zbl", tmp_path / "new", element="Si", scale=1.5)


def test_what_exists_is_kept(start: Path, tmp_path: Path):
    """No folder is written over."""
    with pytest.raises(InputError, match="exists and is not empty"):
        transmute_model(start, start, element="Si", scale=1.5)


def test_a_network_that_scales_otherwise_is_noticed(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Weights that should follow the cutoff and do not give other energies."""
    monkeypatch.setattr(nequip_network, "FIRST_RADIAL", "not a weight")
    with pytest.raises(CheckpointError, match="does not scale as expected"):
        transmute_model(start, tmp_path / "si", element="Si", scale=SCALE)
    assert not (tmp_path / "si").exists()


def test_the_command_prints_what_it_did(start: Path, tmp_path: Path):
    """Results on stdout; a mistake is one line on stderr."""
    arguments = ["transmute-model", str(start), "-o", str(tmp_path / "si")]
    arguments += ["--element", "Si", "--scale", "1.5", "--json"]
    result = CliRunner().invoke(main, arguments)
    assert json.loads(result.stdout)["cutoff_A"] == 6.0
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
