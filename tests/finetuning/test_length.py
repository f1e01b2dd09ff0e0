"""How long to fit: as usual, or longer where trials find it better."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthzoo.data.structures import read_structures, write_structures
from synthzoo.finetuning import recipe
from synthzoo.finetuning.data_check import check_data
from synthzoo.finetuning.length import Losses, Trial, Trials
from synthzoo.finetuning.recipe import FinetuneRecipe
from synthzoo.finetuning.run import finetune

OPEN = FinetuneRecipe(learning_rate=0.003, warmup_steps=0, replay_share=0.0, threads=1)
"""Says nothing of the length."""


def trial(left_out: tuple[float, float], visits: int = 100) -> Trial:
    """Return a trial that took nine tenths off the loss on what it saw."""
    return Trial(
        fold=0,
        visits=visits,
        fitted=Losses(start=1.0, end=0.1),
        left_out=Losses(start=left_out[0], end=left_out[1]),
    )


@pytest.mark.parametrize(
    ("left_out", "short"),
    [
        ([(1.0, 0.2), (1.0, 0.1), (1.0, 0.3)], True),
        ([(1.0, 0.9), (1.0, 0.7), (1.0, 0.8)], False),
        ([(0.01, 0.001), (1.0, 0.9), (1.0, 0.9)], False),  # few crystals, much else
        ([(1.0, 1.2), (1.0, 1.1), (1.0, 1.3)], False),
    ],
)
def test_a_fit_may_be_short_if_its_gain_carries_over(
    left_out: list[tuple[float, float]],
    short: bool,  # noqa: FBT001  a case's own value
):
    """All trials together decide, each by the size of its losses."""
    found = Trials(usual=tuple(trial(losses) for losses in left_out))
    assert found.may_be_short is short


def test_a_longer_fit_must_be_clearly_better():
    """By a share of the loss on what was left out."""
    assert trial((1.0, 0.16), 400).gains(trial((1.0, 0.2)))
    assert not trial((1.0, 0.18), 400).gains(trial((1.0, 0.2)))


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make all fits short by default: four passes over ten structures."""
    row = recipe.DEFAULTS[14] | {"visits": 40}
    monkeypatch.setattr(recipe, "DEFAULTS", {14: row})
    monkeypatch.setattr(recipe, "LEAST_EPOCHS", 1)
    monkeypatch.setattr(recipe, "FULL_ATOMS", 8.0)


def tuned(folder: Path, model: Path, data: Path, **settings: Any) -> dict[str, Any]:
    """Fine-tune and return what was measured and what was said."""
    told: list[str] = []
    finetune(model, data, folder, recipe=OPEN, workers=1, tell=told.append, **settings)
    found: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return found | {"told": told, "report": (folder / "report.md").read_text()}


@pytest.mark.usefixtures("short")
def test_crystals_that_are_alike_are_fitted_longer(
    tiny_checkpoint: Path, rattled_diamond: Path, tmp_path: Path
):
    """Trials show that it pays; all fits are then as long, and the report says so."""
    found = tuned(tmp_path / "mine", tiny_checkpoint, rattled_diamond, most_visits=200)
    trials = found["trials"]
    assert [each["visits"] for each in trials["usual"]] == [40, 40, 40]
    assert [each["visits"] for each in trials["longer"]] == [160]
    assert found["recipe"]["visits"] == 160
    assert "up to 4 times as long" in found["told"][0]
    assert found["told"][1].startswith("Longer fits are better: 160 structures")
    less = 1 - trials["longer"][0]["left_out"]["end"] / max(
        each["left_out"]["end"] for each in trials["usual"]
    )
    assert (
        f"with 160 structures, its loss on the others became {100 * less:.1f} % smaller"
        in found["report"]
    )


@pytest.mark.thorough
@pytest.mark.usefixtures("short")
def test_what_cannot_be_learnt_is_not_fitted_longer(
    tiny_checkpoint: Path, rattled_diamond: Path, tmp_path: Path
):
    """A longer trial is no better: the usual length is kept."""
    structures = read_structures(rattled_diamond)
    for seed, atoms in enumerate(structures):
        noise = np.random.default_rng(seed).normal(size=(len(atoms), 3))
        atoms.calc.results["forces"] += noise - noise.mean(axis=0)
    write_structures(tmp_path / "noisy.xyz", structures)
    found = tuned(
        tmp_path / "mine", tiny_checkpoint, tmp_path / "noisy.xyz", check_share=0.0
    )
    assert found["recipe"]["visits"] == 40
    assert len(found["told"]) == 1


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("given", [{"visits": 40}, {"most_visits": 50}])
def test_no_trial_where_the_length_is_given(
    given: dict[str, Any], tiny_checkpoint: Path, rattled_diamond: Path
):
    """`--check` announces trials, or none."""

    def announced(**settings: Any) -> bool:
        settled = replace(OPEN, **settings)
        found = check_data(tiny_checkpoint, rattled_diamond, recipe=settled)
        return "whether longer ones would be better" in str(found.fits)

    assert announced()
    assert not announced(**given)
