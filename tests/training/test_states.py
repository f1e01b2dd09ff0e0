"""States within an epoch: a fit that is stopped there ends like one that is not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from synthzoo.data.structures import read_structures
from synthzoo.models.checkpoint import load_model
from synthzoo.models.config import WEIGHTS_FILE
from synthzoo.models.isolation import nequip_session
from synthzoo.recipes.loading import recipe_values
from synthzoo.training import states
from synthzoo.training.curves import ERRORS_FILE
from synthzoo.training.recipe import FitRecipe, MetaRecipe
from synthzoo.training.sets import make_sets
from synthzoo.training.states import (
    LAST,
    WITHIN,
    WholeStates,
    find_state,
    read_state,
    state_file,
)
from tests.toy import pretrain_recipe, stored

META = MetaRecipe(inner_steps=2, outer_rate=0.5)
EXACT = ("state_dict", "optimizer_states", "lr_schedulers", "loops")
"""Of a state; what is left are the states of callbacks, which name its folder."""

IN_TWO_PROCESSES = """
import os, signal, sys
from datetime import timedelta
from synthzoo.cli import main
from synthzoo.training import states
from synthzoo.training.module import FitModule

states.INTERVAL = timedelta(0)
step = FitModule.training_step


def killed(self, batch, batch_idx):
    first = sys.argv[-1] == "killed" and not os.path.exists(f"met-{self.global_rank}")
    if first and (self.current_epoch, batch_idx) == (1, 4):
        open(f"met-{self.global_rank}", "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, batch, batch_idx)


FitModule.training_step = killed
main()
"""


class StopError(Exception):
    """A kill, from which the process of the tests recovers."""


@contextmanager
def stopped_at(epoch: int, number: int) -> Iterator[list[tuple[int, int]]]:
    """Stop a fit before a step; yield the epoch and the number of each step taken."""
    from synthzoo.training.module import FitModule

    taken: list[tuple[int, int]] = []
    step = FitModule.training_step

    def stopping(module: FitModule, batch: Any, batch_idx: int) -> torch.Tensor:
        if (module.current_epoch, batch_idx) == (epoch, number):
            raise StopError
        taken.append((module.current_epoch, batch_idx))
        return step(module, batch, batch_idx)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(states, "INTERVAL", timedelta(0))
        patch.setattr(FitModule, "training_step", stopping)
        with pytest.raises(StopError):
            yield taken


@pytest.mark.parametrize(
    ("change", "share"),
    [
        ({}, None),
        pytest.param({}, 0.3, marks=pytest.mark.thorough),
        ({"meta": META, "keep": "last"}, None),
    ],
    ids=["one set", "mixed sets", "reptile"],
)
def test_a_fit_stopped_within_epochs_ends_in_the_same_state(
    lj_set: Path,
    tiny_checkpoint: Path,
    tmp_path: Path,
    change: dict[str, Any],
    share: float | None,
):
    """In the first epoch, and twice in the next: weights, averages, rates, errors."""
    from synthzoo.finetuning.snapshots import Snapshots
    from synthzoo.training.batches import Mixed
    from synthzoo.training.fit import fit

    sets = make_sets(stored(read_structures(lj_set), tmp_path), pretrain_recipe(), 4.0)
    graphs = list(sets.training)
    several = share is not None or bool(change)
    mixed = [Mixed(graphs[20:], share)] if several else []

    def fitted(folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        network, _ = load_model(tiny_checkpoint)
        with nequip_session():
            fit(
                network.train(),
                FitRecipe(batch_atoms=24, max_epochs=2, warmup_steps=3, **change),
                training=graphs[:20] if several else graphs,
                validation=sets.validation,
                mixed=mixed,
                folder=folder,
                callbacks=[Snapshots({1: folder / "snapshot"})],
                progress=False,
            )

    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    fitted(whole)
    stops = [(0, 3), (1, 2), (1, 4)]
    begins = [(0, 0), (0, 3), (1, 2)]
    row = META.inner_steps if change else 1
    for stop, (epoch, number) in zip(stops, begins, strict=True):
        with stopped_at(*stop) as taken:
            fitted(stopped)
        assert taken[0] == (epoch, number - number % row)
        assert state_file(stopped, WITHIN).is_file()
    fitted(stopped)
    assert not state_file(stopped, WITHIN).exists()
    for name in (ERRORS_FILE, "snapshot"):
        assert (stopped / name).read_bytes() == (whole / name).read_bytes()
    one, two = (read_state(state_file(folder, LAST)) for folder in (whole, stopped))
    for key in EXACT:
        torch.testing.assert_close(two[key], one[key], rtol=0, atol=0)


def test_a_state_within_an_epoch_counts_until_the_epoch_ends(tmp_path: Path):
    """Unless it is damaged: then the fit goes on from the end of an epoch."""
    kept = WholeStates()
    last, within = (state_file(tmp_path, name) for name in (LAST, WITHIN))
    kept.save_checkpoint({"epoch": 0}, last)
    kept.save_checkpoint({"epoch": 1}, within)
    assert find_state(tmp_path) == within
    within.write_bytes(within.read_bytes()[:100])
    assert find_state(tmp_path) == last
    kept.save_checkpoint({"epoch": 1}, within)
    kept.save_checkpoint({"epoch": 1}, last)
    assert not within.exists()


@pytest.mark.long
def test_two_processes_killed_within_an_epoch_end_in_the_same_weights(
    lj_set: Path, tmp_path: Path
):
    """Each has summed up errors of its own, which the state has, too."""
    (tmp_path / "command.py").write_text(IN_TWO_PROCESSES)
    sections = {"pretrain": recipe_values(pretrain_recipe())}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(sections))
    words = [sys.executable, "command.py", "pretrain", "recipe.yaml", "--data"]
    words += [str(lj_set), "--device", "cpu", "--devices", "2", "-o"]
    where = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    codes = [
        subprocess.run(
            [*words, name], cwd=tmp_path, env=where, check=False, timeout=500
        ).returncode
        for name in ("whole", "killed", "killed")
    ]
    assert codes == [0, -9, 0]
    files = [Path("whole", WEIGHTS_FILE), Path("whole.parts", ERRORS_FILE)]
    for file in files:
        other = Path(str(file).replace("whole", "killed"))
        assert (tmp_path / file).read_bytes() == (tmp_path / other).read_bytes()
