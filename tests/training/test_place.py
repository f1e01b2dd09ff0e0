"""The parts of a fit: processes, chosen structures, faults that name a culprit."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from ase import Atoms

from synthzoo.data.structures import label, read_structures, write_structures
from synthzoo.errors import DivergedError, InputError, MissingExtraError
from synthzoo.labelling.recipe import named_teacher_sha256
from synthzoo.recipes.loading import recipe_values
from synthzoo.training.place import TrainingPlace, check_place
from synthzoo.training.recipe import PretrainRecipe
from synthzoo.training.sets import find_provenance, make_sets
from tests.extras import need
from tests.toy import pretrain_recipe, stored

COMMAND = "from synthzoo.cli import main\nmain()\n"

WILD = pretrain_recipe(
    max_epochs=12, learning_rate=10.0, gradient_clip=1e9, warmup_steps=40
)
"""Diverges in the second epoch."""


def weights(folder: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return load_file(folder / "model.safetensors")


def in_two_processes(
    recipe: PretrainRecipe, data: Path, folder: Path
) -> subprocess.CompletedProcess[str]:
    """Run the command for a recipe, with its checkpoint in ``folder / "two"``."""
    sections = {"pretrain": recipe_values(recipe)}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(sections))
    (folder / "command.py").write_text(COMMAND)
    command = [sys.executable, "command.py", "pretrain", "recipe.yaml", "-o", "two"]
    command += ["--data", str(data), "--device", "cpu", "--devices", "2", "--json"]
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )


@pytest.mark.thorough
def test_two_processes_learn_what_one_does(lj_set: Path, tmp_path: Path):
    """Each batch is shared, so that the weights agree up to rounding."""
    from synthzoo.training.pretrain import pretrain

    recipe = pretrain_recipe()
    one = pretrain(recipe, lj_set, tmp_path / "one", place=TrainingPlace(device="cpu"))
    done = in_two_processes(recipe, lj_set, tmp_path)
    assert done.returncode == 0, done.stderr
    two = json.loads(done.stdout)  # once, not by each process
    assert two["steps"] == one.steps
    assert two["force_rmse_eV_A"] == pytest.approx(one.force_rmse_eV_A, rel=1e-5)
    alone, together = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name in alone:
        np.testing.assert_allclose(together[name], alone[name], rtol=1e-4, atol=1e-5)


@pytest.mark.long
def test_two_processes_that_diverge_tell_it_once(lj_set: Path, tmp_path: Path):
    """Neither waits for the other, and the last good weights are kept."""
    from synthzoo.models.checkpoint import verify_checkpoint

    done = in_two_processes(WILD, lj_set, tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("Error: The ") == 1
    assert "Traceback" not in done.stderr
    assert verify_checkpoint(tmp_path / "two.parts" / "last-good").passed


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (TrainingPlace(devices=0), "devices and nodes must be at least 1"),
        (TrainingPlace(device="cpu", compiled=True), "Compiling is for GPUs"),
        (TrainingPlace(device="cpu", kernels="openequivariance"), "are for GPUs"),
        (TrainingPlace(device="cuda:77"), "There is no device 'cuda:77'"),
        (TrainingPlace(device="tpu"), "device must be auto, cpu, cuda"),
    ],
    ids=["none", "compile", "kernels", "cuda", "unknown"],
)
def test_a_place_that_is_not_there_is_refused(place: TrainingPlace, message: str):
    """Before any data are read."""
    with pytest.raises(InputError, match=message):
        check_place(place)


def test_a_compiled_network_becomes_a_plain_one(tiny_checkpoint: Path):
    """Nequip's network for compiling has the weights' names; so has what is written."""
    from synthzoo.models.checkpoint import read_config
    from synthzoo.models.isolation import nequip_session
    from synthzoo.models.network import build_model
    from synthzoo.training.place import plain_copy, prepared

    config = read_config(tiny_checkpoint)
    place = TrainingPlace(device="cuda", compiled=True)
    with nequip_session():
        compiled = prepared(build_model(config, seed=3), config, place)
    assert compiled.is_compile_graph_model
    plain = plain_copy(compiled, config)
    assert not plain.is_compile_graph_model
    for name, value in compiled.state_dict().items():
        assert (plain.state_dict()[name] == value).all()


@pytest.mark.thorough
def test_logs_for_tensorboard_are_written_on_request(lj_set: Path, tmp_path: Path):
    """They hold the same errors as the CSV file; without it none are there."""
    need("tensorboard", "tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from synthzoo.training.curves import read_errors
    from synthzoo.training.pretrain import pretrain

    pretrain(pretrain_recipe(), lj_set, tmp_path / "lj", tensorboard=True)
    run = tmp_path / "lj.parts"
    (folder,) = (run / "tensorboard").iterdir()
    events = EventAccumulator(str(folder)).Reload()
    found = [event.value for event in events.Scalars("val0_epoch/forces_rmse")]
    wanted = [errors.force_rmse_eV_A for errors in read_errors(run)]
    assert found == pytest.approx(wanted, rel=1e-6)


def test_tensorboard_that_is_missing_is_said_first(
    lj_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The message names the extra, and nothing is begun."""
    from synthzoo.training import logs
    from synthzoo.training.pretrain import pretrain

    monkeypatch.setattr(logs, "find_spec", lambda _name: None)
    with pytest.raises(MissingExtraError, match=r"synthzoo\[tensorboard\]"):
        pretrain(pretrain_recipe(), lj_set, tmp_path / "lj", tensorboard=True)
    assert list(tmp_path.iterdir()) == []


def test_a_structure_that_spoils_the_loss_is_named(
    lj_set: Path, tiny_checkpoint: Path, tmp_path: Path
):
    """One label that overflows: the message says whose it is."""
    from synthzoo.models.checkpoint import load_model
    from synthzoo.models.isolation import nequip_session
    from synthzoo.training.fit import fit

    structures = read_structures(lj_set)
    recipe = pretrain_recipe()
    sets = make_sets(stored(structures, tmp_path), recipe, 4.0)
    graphs = list(sets.training)
    graphs[5]["forces"][2, 1] = 1e30
    network, _ = load_model(tiny_checkpoint)
    with nequip_session(), pytest.raises(DivergedError) as caught:
        fit(
            network.train(),
            recipe.fit,
            training=graphs,
            validation=sets.validation,
            name=sets.name,
            folder=tmp_path,
        )
    assert f"It comes from {sets.name(5)}. Lower the learning rate" in str(caught.value)


def test_an_absurd_label_is_refused(lj_set: Path, tmp_path: Path):
    """It would set the scale of the whole network."""
    structures = read_structures(lj_set)
    structures[7].calc.results["forces"][2, 1] = 1e30
    with pytest.raises(InputError, match=r"structure number 8 has a label of 1e\+30"):
        make_sets(stored(structures, tmp_path), pretrain_recipe(), 4.0)


@pytest.mark.thorough
def test_a_fit_that_diverges_leaves_the_last_good_weights(lj_set: Path, tmp_path: Path):
    """As a checkpoint that verifies, beside the state, and once more on a retry."""
    from synthzoo.models.checkpoint import read_config, verify_checkpoint
    from synthzoo.training.pretrain import pretrain

    for _ in range(2):
        with pytest.raises(DivergedError, match=r"epoch [1-9].* are kept: .*last-good"):
            pretrain(WILD, lj_set, tmp_path / "out")
    kept = tmp_path / "out.parts" / "last-good"
    assert verify_checkpoint(kept).passed
    assert read_config(kept).provenance["kept_epoch"] >= 1
    assert not (tmp_path / "out").exists()


def test_a_fault_crosses_processes_without_its_weights():
    """They may be large, and the other side may not even have torch."""
    error = DivergedError("The loss is not a finite number.", kept=lambda: None)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  our own
    assert str(again) == str(error)
    assert again.kept is None


def test_fewer_structures_are_a_part_of_more(lj_set: Path, tmp_path: Path):
    """The validation set is the same for all of them."""
    structures = read_structures(lj_set)
    found = {}
    for count in (5, 20, None):
        recipe = PretrainRecipe(structures=count, fit=pretrain_recipe().fit)
        found[count] = make_sets(stored(structures, tmp_path), recipe, 4.0)
    assert len(found[5].training) == 5
    parts = [set(found[count].training.indices.tolist()) for count in found]
    assert parts[0] < parts[1] < parts[2]
    validation = [len(found[count].validation) for count in found]
    assert validation == [9, 9, 9]
    recipe = PretrainRecipe(structures=99, fit=pretrain_recipe().fit)
    with pytest.raises(
        InputError, match="99 structures are asked for, but there are only 31"
    ):
        make_sets(stored(structures, tmp_path), recipe, 4.0)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_split_that_cannot_be_is_refused(lj_set: Path, tmp_path: Path, share: float):
    """Both sets need structures."""
    structures = read_structures(lj_set)
    recipe = pretrain_recipe(validation_share=share)
    with pytest.raises(InputError, match="validation_share must be between 0 and 1"):
        make_sets(stored(structures, tmp_path), recipe, 4.0)


def test_a_split_that_groups_do_not_allow_is_refused(lj_set: Path, tmp_path: Path):
    """Two trajectories cannot give a twentieth."""
    structures = read_structures(lj_set)
    for index, atoms in enumerate(structures):
        atoms.info["group"] = f"trajectory {index % 2}"
    recipe = pretrain_recipe(validation_share=0.05)
    with pytest.raises(InputError, match=r"50% of the structures would be held out"):
        make_sets(stored(structures, tmp_path), recipe, 4.0)


def test_errors_on_few_structures_come_with_a_warning(
    lj_set: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """One validation structure is not much of a judge; nine are fit to be asked."""
    structures = read_structures(lj_set)
    make_sets(stored(structures, tmp_path), pretrain_recipe(), 4.0)
    assert "validation set" not in caplog.text
    few = structures[:4]
    make_sets(stored(few, tmp_path), pretrain_recipe(validation_share=0.25), 4.0)
    assert "The validation set holds 1 structure(s) in 1 unrelated group" in caplog.text


def _alone(energy_eV: float) -> Atoms:
    atoms = Atoms("C2", [[0, 0, 0], [0, 0, 6.0]])
    return label(atoms, energy_eV=energy_eV, forces_eV_A=np.zeros((2, 3)))


def test_total_energies_are_told_by_atoms_without_neighbours(
    lj_set: Path, tmp_path: Path
):
    """They must be zero, give or take what another cutoff sees."""
    structures = [*read_structures(lj_set), _alone(-296.6)]
    with pytest.raises(InputError, match=r"structure number 41: no atom has a neigh"):
        make_sets(stored(structures, tmp_path), pretrain_recipe(), 4.0)


@pytest.mark.thorough
def test_atoms_without_neighbours_can_be_fitted(lj_set: Path, tmp_path: Path):
    """A structure without a single edge does no harm to the loss."""
    from synthzoo.training.pretrain import pretrain

    structures = [*read_structures(lj_set), *[_alone(-0.01) for _ in range(12)]]
    for number, atoms in enumerate(structures):
        atoms.info.update(group=f"g{number}", teacher="test:lj")
    write_structures(tmp_path / "set.xyz", structures)
    summary = pretrain(pretrain_recipe(), tmp_path / "set.xyz", tmp_path / "out")
    assert np.isfinite(summary.force_rmse_eV_A)


def test_labels_of_another_teacher_than_the_recipes_are_refused(
    lj_set: Path, tmp_path: Path
):
    """Both hashes are named."""
    structures = read_structures(lj_set)
    for atoms in structures:
        atoms.info["teacher_sha256"] = "ab12"
    find_provenance(stored(structures, tmp_path), teacher_sha256="ab12")
    with pytest.raises(InputError, match=r"SHA-256 ab12, but the recipe .* cd34"):
        find_provenance(stored(structures, tmp_path), teacher_sha256="cd34")
    for key, message in (
        ("teacher_sha256", "labelled by .* and do not say with which file of it, but"),
        ("teacher", "The structures do not say which teacher labelled them, but"),
    ):
        for atoms in structures:
            del atoms.info[key]
        with pytest.raises(InputError, match=message) as caught:
            find_provenance(stored(structures, tmp_path), teacher_sha256="cd34")
        assert "unknown" not in str(caught.value)
    assert len(named_teacher_sha256("carbon-ace-3k") or "") == 64
    (tmp_path / "fit.yaml").write_text("pretrain: {}\n")
    assert named_teacher_sha256(tmp_path / "fit.yaml") is None


def test_labels_of_two_methods_without_a_source_are_refused(
    lj_set: Path, tmp_path: Path
):
    """Unless the source of each is said."""
    structures = read_structures(lj_set)
    for index, atoms in enumerate(structures):
        del atoms.info["teacher"]
        if index % 3 == 0:
            atoms.calc.results["energy"] -= 150.0 * len(atoms)
    with pytest.raises(InputError, match=r"two clusters.* name it in info\["):
        find_provenance(stored(structures, tmp_path))
    for atoms in structures:
        atoms.info["teacher"] = "dft:mine"
    assert find_provenance(stored(structures, tmp_path))["teacher"] == "dft:mine"
