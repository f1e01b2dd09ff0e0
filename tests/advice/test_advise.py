"""`advise`: the page, its numbers, three sentences, and answers to bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from click.testing import CliRunner

import synthzoo
from synthzoo.advice import advise as advising
from synthzoo.advice import adviser
from synthzoo.advice.parts import left_out_file, recipe_file, training_file
from synthzoo.cli import main
from synthzoo.data.structures import read_structures, write_structures

if TYPE_CHECKING:
    from synthzoo.advice.advise import AdviceSummary

FIT_ATOMS = 100


@pytest.fixture(scope="module")
def advised(
    lj_set: Path, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> AdviceSummary:
    """Give advice on clusters that a pair potential has labelled, in two calls.

    The first is interrupted when all models are fitted; the second fits none again.
    """
    folder = tmp_path_factory.mktemp("advised")
    data, start = folder / "data.xyz", folder / "start.xyz"
    write_structures(data, read_structures(lj_set)[:12])
    write_structures(start, [bulk("C", cubic=True)])

    def call() -> AdviceSummary:
        return synthzoo.advise(
            data,
            folder / "advice",
            models=[tiny_checkpoint],
            simulate=start,
            goal_eV_A=1e-9,
            fit_atoms=FIT_ATOMS,
            workers=1,
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(advising, "write_page", _interrupt)
        with pytest.raises(synthzoo.SynthzooError, match="stopped"):
            call()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adviser, "simple_kinds", lambda _: dict.fromkeys(NAMES))
        return call()


NAMES = ("constants", "pair potential", "linear model")


def _interrupt(*_: Any) -> None:
    raise synthzoo.SynthzooError("stopped")


def numbers(summary: AdviceSummary) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((summary.output / "advice.json").read_text())
    return found


@pytest.mark.thorough
def test_advice_comes_out_against_networks_where_a_simple_model_is_enough(
    advised: AdviceSummary,
):
    """An untrained network with a short fit does not beat a pair potential's kind."""
    assert advised.enough in {"pair potential", "linear model"}
    assert "Use the" in advised.use
    assert "out of reach" in advised.next
    assert "unlike all in your data" in advised.next
    assert numbers(advised)["to_simulate_outside_data"]["outside"] > 0.5


@pytest.mark.thorough
def test_the_page_shows_what_the_numbers_say(advised: AdviceSummary):
    page, found = advised.page.read_text(), numbers(advised)
    whole = [model for model in found["models"] if model["name"] == advised.enough][-1]
    assert whole["force_rmse_eV_A"] == pytest.approx(advised.force_rmse_eV_A)
    assert f"{advised.force_rmse_eV_A:.3f}" in page
    assert advised.use in page.replace("<code>", "`").replace("</code>", "`")
    assert page.count("data:image/png") == 2


@pytest.mark.thorough
def test_a_number_of_the_page_comes_again_by_the_command_that_it_names(
    advised: AdviceSummary, tiny_checkpoint: Path, tmp_path: Path
):
    """`finetune` with the parts that were kept gives the errors of the first part."""
    parts = advised.output / "parts"
    synthzoo.finetune(
        tiny_checkpoint,
        training_file(parts, 1),
        tmp_path / "check",
        test=left_out_file(parts, 1),
        recipe=recipe_file(parts, 1, str(tiny_checkpoint)),
        workers=1,
    )
    metrics = (tmp_path / "check" / "metrics.json").read_text()
    (tuned,) = [
        model
        for model in numbers(advised)["models"][::-1]
        if model["name"].startswith("fine-tuned")
    ][:1]
    assert f"{tuned['folds'][0]['force_rmse_eV_A']:.6f}"[:7] in metrics


@pytest.mark.parametrize(
    ("count", "arguments", "told"),
    [
        (4, [], "advice needs at least 6"),
        (9, ["--for", "strange.xyz"], "of which the data have no structure"),
        (9, ["--also", "direct", "--starts", "0"], "name a MODEL"),
    ],
)
def test_bad_input_is_answered_in_one_line(
    lj_set: Path,
    tmp_path: Path,
    count: int,
    arguments: list[str],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(adviser, "names_that_know", lambda _: [])
    write_structures("data.xyz", read_structures(lj_set)[:count])
    write_structures("strange.xyz", [bulk("Cu")])
    result = CliRunner().invoke(main, ["advise", "data.xyz", "-o", "new", *arguments])
    assert result.exit_code == 1
    assert told in result.stderr.splitlines()[-1]
    assert not Path("new").exists()


def test_energies_alone_are_refused(tmp_path: Path):
    frames = [bulk("C", a=3.5 + 0.01 * number) for number in range(9)]
    for atoms in frames:
        atoms.calc = SinglePointCalculator(atoms, energy=-8.0)
    write_structures(tmp_path / "data.xyz", frames)
    with pytest.raises(synthzoo.SynthzooError, match="advice needs both"):
        synthzoo.advise(tmp_path / "data.xyz", tmp_path / "advice")
