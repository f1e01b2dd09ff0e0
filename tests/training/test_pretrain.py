"""The fit: its schedule, and that a killed run ends in the same place."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthzoo.data.structures import write_structures
from synthzoo.errors import InputError, SynthzooError
from synthzoo.recipes.loading import recipe_values
from synthzoo.training.recipe import FitRecipe
from tests.toy import pretrain_recipe

SCRIPT = """
import sys
from pathlib import Path
from synthzoo.training.pretrain import pretrain
from synthzoo.recipes.loading import parse_recipe
from synthzoo.training.recipe import PretrainRecipe
import json
recipe = parse_recipe(PretrainRecipe, json.loads(sys.argv[1]), source="test")
pretrain(recipe, Path(sys.argv[2]), Path(sys.argv[3]))
"""


def weights(folder: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return load_file(folder / "model.safetensors")


def test_the_rate_warms_up_stays_and_falls_to_zero():
    """Linear up to one, constant until the decay starts, half a cosine after."""
    from synthzoo.training.module import rate_factor

    recipe = FitRecipe(warmup_steps=10, decay_start=0.5)
    factors = [rate_factor(step, 100, recipe) for step in range(101)]
    assert factors[0] == pytest.approx(0.01)
    assert factors[5] == pytest.approx(0.51)
    assert factors[10:51] == [1.0] * 41
    assert factors[75] == pytest.approx(0.5)
    assert factors[100] == pytest.approx(0.0, abs=1e-12)
    assert all(np.diff(factors[50:]) <= 0)


@pytest.mark.parametrize(
    "optimizer", ["adam", pytest.param("muon", marks=pytest.mark.thorough)]
)
def test_a_fit_learns(optimizer: str, lj_set: Path, tmp_path: Path):
    """A minute network learns Lennard-Jones forces well below their spread."""
    from ase.io import read

    from synthzoo.training.pretrain import pretrain

    recipe = pretrain_recipe(
        max_epochs=20, learning_rate=0.02, warmup_steps=10, optimizer=optimizer
    )
    summary = pretrain(recipe, lj_set, tmp_path / "lj")
    forces = np.concatenate([atoms.get_forces() for atoms in read(lj_set, ":")])
    assert summary.force_rmse_eV_A < 0.5 * np.sqrt((forces**2).mean())
    assert (summary.training_structures, summary.validation_structures) == (31, 9)
    assert summary.steps == 20 * (31 * 8 // 40)


def test_a_checkpoint_of_a_fit_verifies_and_says_where_it_came_from(
    lj_set: Path, tmp_path: Path
):
    """What pretrain writes is a whole checkpoint with its provenance."""
    from synthzoo.models.checkpoint import read_config, verify_checkpoint
    from synthzoo.training.pretrain import pretrain

    recipe = pretrain_recipe(max_epochs=1, seed=5)
    summary = pretrain(recipe, lj_set, tmp_path / "lj")
    assert verify_checkpoint(tmp_path / "lj").passed
    config = read_config(tmp_path / "lj")
    assert config.elements == ("C",)
    assert config.provenance["teacher"] == "test:lj"
    assert config.provenance["seed"] == 5
    assert config.provenance["training_structures"] == summary.training_structures
    assert config.isolated_atom_energies_eV == {"C": 0.0}


@pytest.mark.parametrize(
    "optimizer",
    [
        pytest.param("adam", marks=pytest.mark.thorough),
        pytest.param("muon", marks=pytest.mark.long),
    ],
)
def test_a_killed_fit_ends_in_the_same_weights(
    optimizer: str, lj_set: Path, tmp_path: Path
):
    """SIGKILL in mid-epoch, then the same command: equal to the last bit."""
    from synthzoo.training.curves import read_errors
    from synthzoo.training.pretrain import pretrain
    from synthzoo.training.states import BEFORE, state_file

    recipe = pretrain_recipe(max_epochs=20, optimizer=optimizer)
    pretrain(recipe, lj_set, tmp_path / "whole")
    output = tmp_path / "killed"
    values = json.dumps(recipe_values(recipe))
    command = [sys.executable, "-c", SCRIPT, values, str(lj_set), str(output)]
    process = subprocess.Popen(
        command, cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL
    )
    run = tmp_path / "killed.parts"
    second = state_file(run, BEFORE)  # there is a state to go on from, then
    while process.poll() is None and not second.exists():
        time.sleep(0.005)
    assert process.poll() is None, "the fit ended before it could be killed"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not output.exists()
    pretrain(recipe, lj_set, output)
    assert len(read_errors(run)) >= 19  # at most the epoch of the kill is missing
    whole, resumed = weights(tmp_path / "whole"), weights(output)
    assert whole.keys() == resumed.keys()
    for name in whole:
        np.testing.assert_array_equal(whole[name], resumed[name])


def test_a_fit_leaves_the_process_as_it_was(lj_set: Path, tmp_path: Path):
    """Random numbers, default dtype and threads are the caller's again."""
    import torch

    from synthzoo.training.pretrain import pretrain

    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    threads = torch.get_num_threads()
    pretrain(pretrain_recipe(max_epochs=1), lj_set, tmp_path / "lj")
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_default_dtype() == torch.float32
    assert torch.get_num_threads() == threads


def test_a_loss_that_is_no_number_stops(lj_set: Path, tmp_path: Path):
    """Divergence ends in one error that says what to try; no checkpoint appears."""
    from synthzoo.training.pretrain import pretrain

    recipe = pretrain_recipe(learning_rate=10, gradient_clip=1e30, warmup_steps=1)
    with pytest.raises(SynthzooError, match="not a finite number at epoch 0"):
        pretrain(recipe, lj_set, tmp_path / "lj")
    assert not (tmp_path / "lj").exists()


def _relabelled(lj_set: Path, tmp_path: Path, change) -> Path:
    from synthzoo.data.structures import read_structures

    structures = read_structures(lj_set)
    change(structures)
    write_structures(tmp_path / "bad.xyz", structures)
    return tmp_path / "bad.xyz"


def _other_teacher(structures) -> None:
    structures[3].info["teacher"] = "ace:other.yace"


def _nan_force(structures) -> None:
    structures[3].calc.results["forces"][0, 0] = np.nan


def _no_labels(structures) -> None:
    structures[3].calc = None


def _one_group(structures) -> None:
    for atoms in structures:
        atoms.info["group"] = "same"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_other_teacher, "come from several sources .*ace:other.yace, test:lj"),
        (_nan_force, "structure number 4: a label is not a finite number"),
        (_no_labels, "structure number 4 has no energy"),
        (_one_group, "cannot be split"),
    ],
    ids=["teachers", "nan", "unlabelled", "group"],
)
def test_data_that_cannot_be_trained_on_is_refused(
    lj_set: Path, tmp_path: Path, change, message: str
):
    """Mixed sources, broken labels and inseparable sets are named at once."""
    from synthzoo.training.pretrain import pretrain

    with pytest.raises(InputError, match=message):
        pretrain(
            pretrain_recipe(), _relabelled(lj_set, tmp_path, change), tmp_path / "out"
        )
    assert [path.name for path in tmp_path.iterdir()] == ["bad.xyz"]


def test_a_missing_file_is_named(tmp_path: Path):
    """No data, no run folder."""
    from synthzoo.training.pretrain import pretrain

    with pytest.raises(InputError, match="There is no file"):
        pretrain(pretrain_recipe(), tmp_path / "no.xyz", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.thorough
def test_a_fit_can_start_from_another(lj_set: Path, tmp_path: Path):
    """With a rate of nearly zero, what comes out is what went in."""
    from synthzoo.models.checkpoint import read_config
    from synthzoo.training.pretrain import pretrain

    first, second = tmp_path / "first", tmp_path / "second"
    pretrain(pretrain_recipe(), lj_set, first)
    still = pretrain_recipe(max_epochs=1, learning_rate=1e-12)
    pretrain(still, [lj_set, lj_set], second, start=first)
    old, new = weights(first), weights(second)
    for name in old:
        np.testing.assert_allclose(new[name], old[name], atol=1e-9)
    before, after = read_config(first), read_config(second)
    assert after.arguments == before.arguments
    assert after.provenance["start_weights_sha256"] == before.weights_sha256
    assert after.provenance["data_sha256"] != before.provenance["data_sha256"]


@pytest.mark.thorough
def test_the_last_epoch_is_kept_on_request(lj_set: Path, tmp_path: Path):
    """With a rate that leaps at the end, best and last epoch are told apart."""
    from synthzoo.training.pretrain import pretrain

    wild = {"max_epochs": 4, "warmup_steps": 100, "learning_rate": 10.0}
    wild |= {"gradient_clip": 1e9, "ema_decay": 0.0}
    best = pretrain(pretrain_recipe(**wild), lj_set, tmp_path / "best")
    last = pretrain(pretrain_recipe(**wild, keep="last"), lj_set, tmp_path / "last")
    assert last.kept_epoch == 4
    assert best.kept_epoch < 4
    assert best.force_rmse_eV_A < last.force_rmse_eV_A


def test_a_start_of_other_elements_is_refused(
    lj_set: Path, tiny_checkpoint: Path, tmp_path: Path
):
    """Carbon weights say nothing about silicon labels."""
    from synthzoo.data.structures import read_structures
    from synthzoo.training.pretrain import pretrain

    structures = read_structures(lj_set)
    for atoms in structures:
        atoms.symbols[:] = "Si"
    write_structures(tmp_path / "si.xyz", structures)
    with pytest.raises(InputError, match="knows C, but the structures are of Si"):
        pretrain(
            pretrain_recipe(),
            tmp_path / "si.xyz",
            tmp_path / "out",
            start=tiny_checkpoint,
        )


@pytest.mark.thorough
def test_patience_ends_a_fit_early(lj_set: Path, tmp_path: Path):
    """Without progress the fit stops long before its last epoch."""
    from synthzoo.training.pretrain import pretrain

    recipe = pretrain_recipe(max_epochs=50, learning_rate=1e-30, patience=2)
    assert pretrain(recipe, lj_set, tmp_path / "lj").epochs < 50


@pytest.mark.thorough
def test_a_run_that_was_killed_out_of_patience_stops_at_once(
    lj_set: Path, tmp_path: Path
):
    """Resumed after its last epoch, it does not train another one."""
    from synthzoo.training.pretrain import pretrain

    recipe = pretrain_recipe(max_epochs=50, learning_rate=1e-30, patience=2)
    first = pretrain(recipe, lj_set, tmp_path / "lj")
    (tmp_path / "lj").rename(tmp_path / "first")
    again = pretrain(recipe, lj_set, tmp_path / "lj")
    assert (again.epochs, again.steps) == (first.epochs, first.steps)


@pytest.mark.thorough
def test_the_recipe_and_the_curves_lie_beside_the_state(lj_set: Path, tmp_path: Path):
    """The resolved recipe, the errors of each epoch and their figure stay."""
    import matplotlib.image
    import yaml

    from synthzoo.training.curves import CURVES_FILE, read_errors
    from synthzoo.training.pretrain import pretrain

    recipe = pretrain_recipe()
    summary = pretrain(recipe, lj_set, tmp_path / "lj")
    run = tmp_path / "lj.parts"
    assert yaml.safe_load((run / "recipe.yaml").read_text()) == recipe_values(recipe)
    errors = read_errors(run)
    assert [found.epoch for found in errors] == [1, 2, 3]
    assert min(found.force_rmse_eV_A for found in errors) == pytest.approx(
        summary.force_rmse_eV_A, rel=1e-6
    )
    assert matplotlib.image.imread(run / CURVES_FILE).shape[1] > 1000


@pytest.mark.thorough
def test_frozen_parts_stay_as_they_were(lj_set: Path, tmp_path: Path):
    """Their weights are equal to the last bit; the others have moved."""
    from synthzoo.training.pretrain import pretrain

    start, tuned = tmp_path / "start", tmp_path / "tuned"
    pretrain(pretrain_recipe(max_epochs=1), lj_set, start)
    frozen = pretrain_recipe(max_epochs=1, frozen=("embedding", "layer0"))
    pretrain(frozen, lj_set, tuned, start=start)
    old, new = weights(start), weights(tuned)
    same = {name for name in old if np.array_equal(old[name], new[name])}
    trained = {name for name in old if "layer1" in name and name.endswith("weight")}
    assert {name for name in old if "layer0" in name} <= same
    assert any("type_embed" in name for name in same)
    assert trained - same


def test_a_part_that_is_not_there_cannot_be_frozen(lj_set: Path, tmp_path: Path):
    """The message names the parts; a network that is all frozen is refused, too."""
    from synthzoo.training.pretrain import pretrain

    with pytest.raises(InputError, match="are embedding, layer0, layer1, readout"):
        pretrain(pretrain_recipe(frozen=("layer7",)), lj_set, tmp_path / "a")
    everything = ("embedding", "layer0", "layer1", "readout")
    with pytest.raises(InputError, match="nothing can be fitted"):
        pretrain(pretrain_recipe(frozen=everything), lj_set, tmp_path / "b")


def test_layers_have_their_own_rates(tiny_checkpoint: Path):
    """Each layer's rate is a factor smaller than the next one's."""
    from synthzoo.models.checkpoint import load_model
    from synthzoo.training.module import parameter_groups

    model, _ = load_model(tiny_checkpoint)
    recipe = FitRecipe(learning_rate=0.08, layer_rate_factor=0.5)
    rates = [group["lr"] for group in parameter_groups(model, recipe)]
    assert rates == pytest.approx([0.01, 0.02, 0.04, 0.08])
    (one,) = parameter_groups(model, FitRecipe(learning_rate=0.08))
    assert len(one["params"]) == len(list(model.parameters()))


@pytest.mark.thorough
def test_the_start_pulls(lj_set: Path, tmp_path: Path):
    """With a strong pull the weights end nearer to where they began."""
    from synthzoo.training.pretrain import pretrain

    start = tmp_path / "start"
    pretrain(pretrain_recipe(max_epochs=1), lj_set, start)
    moved = []
    for pull in (0.0, 50.0):
        output = tmp_path / f"pull-{pull:g}"
        pretrain(pretrain_recipe(pull=pull, keep="last"), lj_set, output, start=start)
        old, new = weights(start), weights(output)
        moved.append(sum(np.abs(new[name] - old[name]).sum() for name in old))
    assert moved[1] < 0.7 * moved[0]


def test_two_runs_do_not_train_in_one_folder(lj_set: Path, tmp_path: Path):
    """The second is refused at once; it would move the states of the first."""
    from synthzoo.runs.files import sole_writer
    from synthzoo.training.pretrain import pretrain

    output = tmp_path / "lj"
    with (
        sole_writer(output),
        pytest.raises(SynthzooError, match=r"Another run is writing to .*lj; wait"),
    ):
        pretrain(pretrain_recipe(), lj_set, output)
    assert list(tmp_path.iterdir()) == []


def test_a_mistyped_part_of_a_recipe_can_be_corrected(lj_set: Path, tmp_path: Path):
    """A run that was refused after its start leaves nothing, either."""
    from synthzoo.training.pretrain import pretrain

    output = tmp_path / "lj"
    with pytest.raises(InputError, match="cannot be frozen"):
        pretrain(pretrain_recipe(max_epochs=1, frozen=("layer7",)), lj_set, output)
    assert list(tmp_path.iterdir()) == []
    pretrain(pretrain_recipe(max_epochs=1, frozen=("layer0",)), lj_set, output)


@pytest.mark.parametrize(
    "damage",
    [
        "one byte",
        *(
            pytest.param(damage, marks=pytest.mark.thorough)
            for damage in ("cut short", "missing")
        ),
    ],
)
def test_a_damaged_state_falls_back_to_the_one_before(
    lj_set: Path, tmp_path: Path, damage: str
):
    """The fit goes on from there, and ends in the same weights and curves."""
    from synthzoo.training.curves import CURVES_FILE, ERRORS_FILE
    from synthzoo.training.pretrain import pretrain

    output, run = tmp_path / "lj", tmp_path / "lj.parts"
    recipe = pretrain_recipe(max_epochs=3)
    pretrain(recipe, lj_set, output)
    whole = weights(output)
    names = (ERRORS_FILE, CURVES_FILE)
    files = [(run / name).read_bytes() for name in names]
    output.rename(tmp_path / "first")
    state = run / "last.ckpt"
    content = bytearray(state.read_bytes())
    content[len(content) // 3] ^= 1
    if damage == "missing":
        state.unlink()
    else:
        state.write_bytes(content if damage == "one byte" else content[:5000])
    pretrain(recipe, lj_set, output)
    assert [(run / name).read_bytes() for name in names] == files
    for name, value in weights(output).items():
        np.testing.assert_array_equal(value, whole[name])


@pytest.mark.thorough
def test_states_are_written_beside_their_target(
    lj_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Not where temporary files go: that may be another, small file system."""
    import tempfile

    from synthzoo.training.pretrain import pretrain

    def refuse(*_args: object, **_named: object) -> None:
        pytest.fail("a temporary file was opened")

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    pretrain(pretrain_recipe(max_epochs=1), lj_set, tmp_path / "lj")


def test_a_state_that_cannot_be_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The fault names the file; nothing unfinished stays."""
    import errno

    from synthzoo.training.states import WholeStates, find_state, read_state

    states, path = WholeStates(), tmp_path / "last.ckpt"
    states.save_checkpoint({"epoch": 1}, path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match=r"No space left on device: '.*last\.ckpt'"):
            states.save_checkpoint({"epoch": 2}, path)
    assert list(tmp_path.iterdir()) == [path]
    assert find_state(tmp_path) == path
    assert read_state(path) == {"epoch": 1}


@pytest.mark.thorough
def test_the_same_command_after_the_end_tells_the_result_again(
    lj_set: Path, tmp_path: Path
):
    """A kill in the last moment looks like this; another checkpoint is refused."""
    import shutil

    from synthzoo.training.pretrain import pretrain

    recipe, output = pretrain_recipe(max_epochs=1), tmp_path / "lj"
    first = pretrain(recipe, lj_set, output)
    assert pretrain(recipe, lj_set, output) == first
    other = pretrain_recipe(max_epochs=1, seed=1)
    pretrain(other, lj_set, tmp_path / "other")
    shutil.rmtree(output)
    (tmp_path / "other").rename(output)
    with pytest.raises(InputError, match="exists; remove it"):
        pretrain(recipe, lj_set, output)


def test_ctrl_c_says_that_the_fit_goes_on(
    lj_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Once an epoch is over; and the process takes signals as before."""
    from synthzoo.errors import InterruptedRunError
    from synthzoo.training.module import FitModule
    from synthzoo.training.pretrain import pretrain

    step = FitModule.training_step

    def interrupted(module: FitModule, *args: Any) -> object:
        if module.current_epoch == 2:
            raise KeyboardInterrupt
        return step(module, *args)

    monkeypatch.setattr(FitModule, "training_step", interrupted)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(InterruptedRunError, match="run the same command again"):
        pretrain(pretrain_recipe(max_epochs=4), lj_set, tmp_path / "lj")
    assert signal.getsignal(signal.SIGINT) is handler
