"""Reptile: batches of one task in a row, outer steps, and fits that go on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from benchmarks.sine_waves import error_on_new_waves, new_network, trained
from synthzoo.data.structures import label, read_structures, write_structures
from synthzoo.errors import InputError
from synthzoo.models.checkpoint import as_checkpoint, load_stored
from synthzoo.training.pretrain import pretrain
from synthzoo.training.recipe import FitRecipe, MetaRecipe
from synthzoo.training.reptile import ReptileModule, TaskBatches
from synthzoo.training.states import LAST, state_file
from tests.toy import pretrain_recipe

if TYPE_CHECKING:
    from synthzoo.training.recipe import PretrainRecipe

KILLED = """
import os, signal, sys
from synthzoo.training.reptile import ReptileModule
from tests.training.test_reptile import pretrained

step = ReptileModule.optimizer_step

def killed(self, epoch, batch_idx, *rest, **more):
    step(self, epoch, batch_idx, *rest, **more)
    if (epoch, batch_idx) == (2, 4):  # the second of three steps on a task
        os.kill(os.getpid(), signal.SIGKILL)

ReptileModule.optimizer_step = killed
pretrained(*sys.argv[1:])
"""


def batches(epoch: int = 0, inner_steps: int = 3) -> list[list[int]]:
    """Return the batches of an epoch over two sets, of 80 and of 40 structures."""
    found = TaskBatches([[8] * 80, [4] * 40], 40, seed=1, inner_steps=inner_steps)
    found.set_epoch(epoch)
    assert len(list(found)) == len(found)
    return list(found)


def test_a_task_has_so_many_batches_in_a_row():
    """Each of one set only; the rows come in a random order."""
    rows = np.array([batch[0] >= 80 for batch in batches()]).reshape(-1, 3)
    assert (rows == rows[:, :1]).all()
    assert rows[:, 0].sum() == 1  # of 4 batches of the smaller set, 3 are a row
    assert len(rows) == 1 + 5
    for batch in batches():
        assert len({index >= 80 for index in batch}) == 1


def test_no_structure_comes_twice_in_an_epoch_of_tasks():
    found = [index for batch in batches() for index in batch]
    assert len(set(found)) == len(found)


def test_a_resumed_epoch_has_the_same_tasks():
    assert batches(epoch=3) == batches(epoch=3)
    assert batches(epoch=3) != batches(epoch=4)


def test_a_set_too_small_for_a_task_is_refused():
    with pytest.raises(InputError, match=r"5 steps in a row, but the sm.* has 4"):
        batches(inner_steps=5)


class OneWeight(torch.nn.Module):
    """A network that has a single weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))


def test_the_outer_step_goes_a_share_of_the_way_of_the_inner_ones(
    monkeypatch: pytest.MonkeyPatch,
):
    """θ + ε (θ_k - θ), as in arXiv:1803.02999; the average sees outer steps only."""
    network = OneWeight()
    meta = MetaRecipe(inner_steps=4, outer_rate=0.25)
    module = ReptileModule(
        network=network,
        recipe=FitRecipe(meta=meta, ema_decay=0.5, decay_start=1.0),
        meta=meta,
        total_steps=100,
        names=lambda _: [],
    )
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)

    def closure() -> None:
        network.weight.grad = -torch.ones(1)  # each step adds 1

    seen: list[float] = []
    averaged: list[float] = []
    monkeypatch.setattr(
        module.ema,
        "update_parameters",
        lambda _: averaged.append(network.weight.item()),
    )
    for number in range(8):
        module.optimizer_step(0, number, optimizer, closure)
        seen.append(network.weight.item())
    assert seen == [1, 2, 3, 1, 2, 3, 4, 2]
    assert averaged == [1, 2]


def test_inner_steps_keep_their_rate_and_forget_their_direction():
    """Outer steps decay instead; momentum would carry one task into the next."""
    meta = MetaRecipe()
    module = ReptileModule(
        network=OneWeight(),
        recipe=FitRecipe(meta=meta, warmup_steps=10),
        meta=meta,
        total_steps=100,
        names=lambda _: [],
    )
    assert [module.rate_at(step) for step in (10, 50, 100)] == [1, 1, 1]
    (group,) = module.configure_optimizers()["optimizer"].param_groups
    assert group["betas"][0] == 0


@pytest.mark.thorough
def test_a_new_sine_wave_is_learnt_in_a_few_steps():
    """The example of arXiv:1803.02999: 32 steps on 10 points of a wave."""
    meta = MetaRecipe(inner_steps=10, outer_rate=0.5)
    learnt = error_on_new_waves(trained(meta, tasks=150, rate=0.005))
    assert learnt < 0.5 * error_on_new_waves(new_network())


@pytest.mark.parametrize("change", [{"pull": 0.1}, {"optimizer": "muon"}])
def test_what_reptile_cannot_do_is_refused(change: dict[str, Any]):
    with pytest.raises(InputError, match="`meta` needs"):
        FitRecipe(meta=MetaRecipe(), **change)


def test_one_set_is_no_set_of_tasks(lj_set: Path, tmp_path: Path):
    with pytest.raises(InputError, match="several tasks, but there is one"):
        pretrain(recipe(), lj_set, tmp_path / "new")


def recipe() -> PretrainRecipe:
    return pretrain_recipe(
        max_epochs=4, meta=MetaRecipe(inner_steps=3, outer_rate=0.5), keep="last"
    )


def pretrained(one: str | Path, other: str | Path, output: str | Path) -> None:
    """Fit to two tasks."""
    pretrain(recipe(), one, output, levels={"other": other})


@pytest.fixture
def other_set(lj_set: Path, tmp_path: Path) -> Path:
    """Write the Lennard-Jones clusters with labels of another strength."""
    path, structures = tmp_path / "other.xyz", []
    for atoms in read_structures(lj_set):
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        structures.append(label(atoms, energy_eV=2 * energy, forces_eV_A=2 * forces))
    write_structures(path, structures)
    return path


@pytest.mark.thorough
def test_a_fit_killed_within_a_task_ends_in_the_same_weights(
    lj_set: Path, other_set: Path, tmp_path: Path
):
    """SIGKILL between two steps of a task, then the same call: equal bit for bit."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    pretrained(lj_set, other_set, whole)
    words = [sys.executable, "-c", KILLED, *map(str, (lj_set, other_set, killed))]
    root = Path(__file__).parents[2]
    done = subprocess.run(words, cwd=root, check=False, stderr=subprocess.DEVNULL)
    assert done.returncode == -9
    assert not killed.exists()
    assert state_file(tmp_path / "killed.parts", LAST).exists()
    pretrained(lj_set, other_set, killed)
    for level in ("high", "other"):
        one, two = (
            load_stored(as_checkpoint(path).at(level)).weights
            for path in (whole, killed)
        )
        assert one.keys() == two.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], two[name])
