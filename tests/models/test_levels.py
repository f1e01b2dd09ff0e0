"""Several levels of theory in one checkpoint: what each computes, and what stays."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase.build import bulk
from click.testing import CliRunner

from synthzoo.cli import main
from synthzoo.data.structures import label, read_structures, write_structures
from synthzoo.errors import CheckpointError, InputError, IntegrityError
from synthzoo.evaluation.evaluate import evaluate_models
from synthzoo.models.architectures import architecture_of
from synthzoo.models.checkpoint import as_checkpoint, load_model, write_checkpoint
from synthzoo.models.config import CARD_FILE, CONFIG_FILE, LEVELS_FILE, MODEL_FILES
from synthzoo.models.levels import NewLevels
from synthzoo.models.stored import StoredNetwork
from synthzoo.potentials import teacher_reference
from synthzoo.zoo.find import fetch
from synthzoo.zoo.load import load_calculator, verify_model
from synthzoo.zoo.publish import publish
from synthzoo.zoo.references import check_own_hashes

if TYPE_CHECKING:
    from ase import Atoms

READOUT = "model.func.per_atom_energy_readout.mlp_module.mlp.0.weight"
FREE_EV, LOW_FREE_EV = -7.0, -3.0
"""Energies of a free atom at the two levels."""
STIFFER = 1.5


def rattled(seed: int) -> Atoms:
    atoms = bulk("C", cubic=True)
    atoms.rattle(0.1, seed=seed)
    return atoms


@pytest.fixture(scope="module")
def levelled(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the tiny checkpoint with a second level that binds half as much again."""
    stored = as_checkpoint(tiny_checkpoint).stored
    architecture = architecture_of(stored.config.builder)
    weights = dict(stored.weights)
    weights[READOUT] = np.float32(STIFFER) * weights[READOUT]
    shifts = next(name for name in weights if name.endswith("shifts"))
    weights[shifts] = np.full_like(weights[shifts], LOW_FREE_EV)
    config = replace(
        stored.config,
        arguments=architecture.shifted(stored.config.arguments, {"C": LOW_FREE_EV}),
        isolated_atom_energies_eV={"C": LOW_FREE_EV},
        labels={"source": "a cheap one"},
    )
    low = StoredNetwork(config, weights, "float32")
    folder = tmp_path_factory.mktemp("levels") / "mine"
    model, config = load_model(tiny_checkpoint)
    write_checkpoint(
        folder,
        model=model,
        config=config,
        golden=as_checkpoint(tiny_checkpoint).golden,
        card="# mine\n",
        levels=NewLevels(default="rpa", others={"pbe": low}),
    )
    return folder


def energy_eV(atoms: Atoms, model: Path, level: str | None = None) -> float:
    atoms.calc = load_calculator(model, level=level, device="cpu")
    return float(atoms.get_potential_energy())


def test_each_level_has_its_own_last_layer_and_constants(levelled: Path):
    atoms = rattled(3)
    default = energy_eV(atoms, levelled)
    assert energy_eV(atoms, levelled, "rpa") == default
    bound = default - FREE_EV * len(atoms)
    low = energy_eV(atoms, levelled, "pbe")
    assert low == pytest.approx(STIFFER * bound + LOW_FREE_EV * len(atoms), rel=1e-5)
    found = as_checkpoint(levelled).at("pbe").config
    assert found.labels == {"source": "a cheap one"}
    assert found.isolated_atom_energies_eV == {"C": LOW_FREE_EV}


def test_torch_and_engine_agree_at_each_level(levelled: Path):
    atoms = rattled(4)
    for level in ("rpa", "pbe"):
        checkpoint = as_checkpoint(levelled).at(level)
        calculator = load_calculator(checkpoint, device="cpu")
        found = calculator.compute([atoms])[0]
        (by_torch,) = calculator.torch_pass.compute([atoms])
        np.testing.assert_allclose(found["forces"], by_torch.forces, atol=1e-4)


def test_a_level_stays_with_copies_and_pickles(levelled: Path):
    calculator = load_calculator(levelled, level="pbe", device="cpu")
    atoms = rattled(5)
    calculator.calculate(atoms)
    others = (
        copy.deepcopy(calculator),
        pickle.loads(pickle.dumps(calculator)),  # noqa: S301
        load_calculator(
            pickle.loads(pickle.dumps(as_checkpoint(levelled).at("pbe"))),  # noqa: S301
            device="cpu",
        ),
    )
    for other in others:
        other.calculate(atoms)
        assert other.results["energy"] == calculator.results["energy"]


def test_models_of_one_level_say_nothing_of_levels(tiny_checkpoint: Path):
    assert "levels" not in json.loads((tiny_checkpoint / CONFIG_FILE).read_text())
    assert as_checkpoint(tiny_checkpoint).levels == ()


def test_levels_are_named_the_default_one_first(levelled: Path):
    assert as_checkpoint(levelled).levels == ("rpa", "pbe")


def test_an_unknown_level_is_refused_with_the_known_ones(levelled: Path):
    with pytest.raises(InputError, match=r"rpa \(the default\), pbe"):
        load_calculator(levelled, level="ccsd")


def test_a_model_of_one_level_has_no_names_of_levels(tiny_checkpoint: Path):
    with pytest.raises(InputError, match="leave the level 'rpa' out"):
        load_calculator(tiny_checkpoint, level="rpa")


def test_golden_predictions_of_each_level_are_verified(
    levelled: Path, tiny_checkpoint: Path
):
    found = verify_model(levelled)
    assert found.passed
    assert found.structures == 2 * verify_model(tiny_checkpoint).structures


def test_a_level_that_computes_something_else_is_found(
    levelled: Path, monkeypatch: pytest.MonkeyPatch
):
    """Only the second level differs, so only its golden predictions can tell."""
    from synthzoo.models import levels

    right = levels.weights_at

    def wrong(*args, **options):
        found = right(*args, **options)
        return found | {READOUT: 1.01 * found[READOUT]}

    monkeypatch.setattr(levels, "weights_at", wrong)
    assert not verify_model(levelled).passed


def test_a_changed_or_missing_file_of_levels_is_refused(levelled: Path, tmp_path: Path):
    folder = tmp_path / "copy"
    shutil.copytree(levelled, folder)
    content = bytearray((folder / LEVELS_FILE).read_bytes())
    content[-1] ^= 1
    (folder / LEVELS_FILE).write_bytes(content)
    with pytest.raises(IntegrityError, match=LEVELS_FILE):
        load_calculator(folder, level="pbe")
    assert load_calculator(folder) is not None  # the default level needs no such file
    (folder / LEVELS_FILE).unlink()
    with pytest.raises(CheckpointError, match=LEVELS_FILE):
        load_calculator(folder, level="pbe")
    with pytest.raises(CheckpointError, match="Fetch it again"):
        check_own_hashes(folder, way_out="Fetch it again.")


def test_levels_of_another_checkpoint_are_refused(levelled: Path, tmp_path: Path):
    """What the description says of levels is sealed by the golden predictions."""
    folder = tmp_path / "copy"
    shutil.copytree(levelled, folder)
    path = folder / CONFIG_FILE
    path.write_text(path.read_text().replace('"pbe"', '"ccsd"'))
    with pytest.raises(IntegrityError, match="does not belong to"):
        load_calculator(folder)


def test_copies_and_uploads_have_all_levels(levelled: Path, tmp_path: Path):
    copied = fetch(levelled, destination=tmp_path / "copy")
    wanted = {*MODEL_FILES, CARD_FILE, LEVELS_FILE}
    assert {path.name for path in copied.iterdir()} == wanted
    assert verify_model(copied).passed
    sent = publish(levelled, "me/mine", dry_run=True)
    assert wanted <= set(sent.files)


def test_a_level_cannot_be_a_teacher(levelled: Path):
    with pytest.raises(InputError, match="has no level"):
        teacher_reference(as_checkpoint(levelled).at("pbe"))


@pytest.fixture
def labelled(levelled: Path, tmp_path: Path) -> Path:
    """Write structures that are labelled by the second level."""
    path = tmp_path / "labelled.xyz"
    calculator = load_calculator(levelled, level="pbe", device="cpu")
    structures = []
    for seed in range(3):
        atoms = rattled(seed)
        atoms.calc = calculator
        structures.append(
            label(
                atoms,
                energy_eV=atoms.get_potential_energy(),
                forces_eV_A=atoms.get_forces(),
            )
        )
    write_structures(path, structures)
    return path


def test_commands_compute_at_a_level(levelled: Path, labelled: Path, tmp_path: Path):
    (right,) = evaluate_models([levelled], labelled, level="pbe")
    (wrong,) = evaluate_models([levelled], labelled)
    assert right.groups[0].energy_rmse_meV_per_atom < 0.1
    assert wrong.groups[0].energy_rmse_meV_per_atom > 1000
    output = tmp_path / "predicted.xyz"
    words = ["predict", str(levelled), str(labelled), "-o", str(output)]
    done = CliRunner().invoke(main, [*words, "--level", "pbe"])
    assert done.exit_code == 0, done.output
    for found, known in zip(
        read_structures(output), read_structures(labelled), strict=True
    ):
        energy = known.get_potential_energy()
        assert found.get_potential_energy() == pytest.approx(energy, rel=1e-6)
    done = CliRunner().invoke(main, [*words[:-1], "other.xyz", "--level", "ccsd"])
    assert done.exit_code == 1
    assert "rpa (the default), pbe" in done.output


def test_lammps_gets_the_level(
    levelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from synthzoo.export.lammps import run_lammps

    seen: list[object] = []
    refuse = "synthzoo.export.lammps.refuse_starting_point"
    monkeypatch.setattr(refuse, seen.append)
    with pytest.raises(InputError):
        run_lammps(levelled, tmp_path / "missing.lammps", level="pbe")
    assert seen == [as_checkpoint(levelled).at("pbe")]


@pytest.mark.thorough
def test_dynamics_run_at_a_level(levelled: Path, tmp_path: Path):
    from synthzoo.stability.check import run_md

    output = tmp_path / "md"
    run_md(
        levelled,
        bulk("C", cubic=True),
        output,
        level="pbe",
        protocol="nve",
        duration=0.002,
        replicas=1,
        workers=1,
    )
    (path,) = output.rglob("*.traj")
    last = read_structures(path)[-1]
    found = last.get_potential_energy()
    assert found == pytest.approx(energy_eV(last.copy(), levelled, "pbe"), rel=1e-5)
