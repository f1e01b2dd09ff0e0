"""What new structures have bought, by structures that neither model has seen."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase.build import bulk

from synthzoo.data.labelled_set import LabelledSet
from synthzoo.data.labels import Labels
from synthzoo.data.structures import read_structures, write_structures
from synthzoo.errors import InputError
from synthzoo.finetuning.comparison import compare, predict_set
from synthzoo.finetuning.earlier import Earlier, find_earlier
from synthzoo.finetuning.gain import find_gain
from synthzoo.finetuning.recipe import FinetuneRecipe
from synthzoo.finetuning.request import Request, _seen_by_start
from synthzoo.finetuning.run import finetune
from synthzoo.models.checkpoint import as_checkpoint, load_model, write_checkpoint
from synthzoo.runs.files import hash_files
from synthzoo.zoo.load import load_calculator
from tests.finetuning.test_report import labelled_crystals

if TYPE_CHECKING:
    from synthzoo.models.checkpoint import Checkpoint


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Write three files; what is in them does not matter."""
    found = [tmp_path / name for name in ("one.xyz", "two.xyz", "three.xyz")]
    for path in found:
        path.write_text(path.name)
    return found


def fitted_to(files: list[Path], checkpoint: Path, folder: Path) -> Checkpoint:
    """Return a model that says that it was fitted to some files."""
    model, config = load_model(checkpoint)
    made = dataclasses.replace(config, provenance={"data_sha256": hash_files(files)})
    write_checkpoint(folder, model=model, config=made, golden=[bulk("C")])
    return as_checkpoint(folder)


def test_what_a_model_was_fitted_to_follows_from_its_hash(
    tiny_checkpoint: Path, files: list[Path], tmp_path: Path
):
    """The first files, in their order; the rest is new to it."""
    mine = fitted_to(files[:2], tiny_checkpoint, tmp_path / "mine")
    found = find_earlier(mine, files)
    assert found.files == files[:2]
    assert found.knows(f"{files[1]}@3")
    assert not found.knows(f"{files[2]}@3")
    with pytest.raises(InputError, match="mine was fitted to all of these"):
        find_earlier(mine, files[:2])
    for others in ([files[1], files[0], files[2]], [files[0], files[2]]):
        with pytest.raises(InputError, match="mine was not fitted to the first"):
            find_earlier(mine, others)
    with pytest.raises(InputError, match="tiny was not fitted to the first"):
        find_earlier(as_checkpoint(tiny_checkpoint), files)
    silicon = LabelledSet(structures=[bulk("Si")], labels=[], origins=[])
    with pytest.raises(InputError, match="mine does not know Si"):
        found.check(silicon)


def test_a_start_that_was_fitted_to_the_data_is_told(
    tiny_checkpoint: Path, files: list[Path], tmp_path: Path
):
    """Its errors on structures that a fit leaves out would flatter it."""
    mine = fitted_to(files[:1], tiny_checkpoint, tmp_path / "mine")
    recipe = FinetuneRecipe()
    (text,) = _seen_by_start(Request(name="", start=mine, files=files, recipe=recipe))
    assert f"was fitted to {files[0]} before" in text
    other = Request(name="", start=mine, files=files[1:], recipe=recipe)
    assert _seen_by_start(other) == []


def test_what_is_related_to_the_old_structures_counts_as_seen(
    tiny_checkpoint: Path, files: list[Path], tmp_path: Path
):
    """A new frame of an old run, too; files of several others are judged each."""
    mine = fitted_to(files[:1], tiny_checkpoint, tmp_path / "mine")
    names = [("one", "a"), ("two", "a"), ("two", "b"), ("three", "c"), ("three", "c")]
    structures = labelled_crystals(tiny_checkpoint, len(names), 0.0)
    for atoms, (_, group) in zip(structures, names, strict=True):
        atoms.info["group"] = group
    labelled = LabelledSet(
        structures=structures,
        labels=[
            Labels(
                energy_eV=atoms.get_potential_energy(), forces_eV_A=atoms.get_forces()
            )
            for atoms in structures
        ],
        origins=[f"{tmp_path / file}.xyz@{n}" for n, (file, _) in enumerate(names)],
    )
    said = predict_set(labelled, load_calculator(tiny_checkpoint))
    judge: Any = SimpleNamespace(
        unseen=[compare("left-out", labelled, said, said)],
        plan=SimpleNamespace(
            training=labelled, held_out=labelled.part([]), config=mine.config
        ),
        device="cpu",
    )
    gain = find_gain(judge, Earlier(checkpoint=mine, files=files[:1]))
    assert gain is not None
    assert gain.comparison.labelled.origins == labelled.origins[2:]
    assert gain.comparison.before.errors == gain.comparison.after.errors
    assert [(found.name, found.after.structures) for found in gain.by_file] == [
        (str(files[2]), 2)
    ]
    assert [len(atoms) for atoms in structures] == [8, 2, 8, 2, 8]
    last_and_second = [*said.forces_eV_A[-8:], *said.forces_eV_A[8:10]]
    np.testing.assert_array_equal(said.part([4, 1]).forces_eV_A, last_and_second)
    assert gain.comparison.name == "new"
    judge.unseen = [compare("test", labelled, said, said)]
    tested = find_gain(judge, Earlier(checkpoint=mine, files=files[:1]))
    assert tested is not None
    assert (tested.comparison.name, tested.surprise) == ("test", None)
    everything = Earlier(checkpoint=mine, files=files)
    assert find_gain(judge, everything) is None


@pytest.mark.thorough
def test_the_report_says_what_new_structures_bought(
    tiny_checkpoint: Path, tmp_path: Path
):
    """Both models on the new structures, and their further fits on the old ones."""
    crystals = labelled_crystals(tiny_checkpoint, 14, -148.0)
    old, new = tmp_path / "old.xyz", tmp_path / "new.xyz"
    write_structures(old, crystals[:6])
    write_structures(new, crystals[6:])
    recipe = FinetuneRecipe(visits=12, check_share=0.5, replay_share=0, threads=1)
    options: dict[str, Any] = {"recipe": recipe, "workers": 1}
    finetune(tiny_checkpoint, old, tmp_path / "first", **options)
    options["before"] = before = tmp_path / "first"
    done = finetune(tiny_checkpoint, [old, new], tmp_path / "second", **options)
    assert "Beside first, on 8 new structures, energies" in done.verdict
    metrics, first = (
        json.loads((tmp_path / name / "metrics.json").read_text())
        for name in ("second", "first")
    )
    gain = metrics["gain"]
    assert gain["after"][0]["structures"] == 8
    expected = gain["surprise"] * first["unseen"][0]["after"][0]["force_rmse_eV_A"]
    assert gain["before"][0]["force_rmse_eV_A"] == pytest.approx(expected)
    assert gain["old"]["before"] == first["unseen"][0]["after"][0]
    assert gain["old"]["after"]["structures"] == 6
    both, parts = metrics["unseen"][0]["after"][0], (gain["after"][0], gain["old"])
    squares = (
        8 * parts[0]["energy_rmse_meV_per_atom"] ** 2
        + 6 * parts[1]["after"]["energy_rmse_meV_per_atom"] ** 2
    )
    assert squares == pytest.approx(14 * both["energy_rmse_meV_per_atom"] ** 2)
    errors = []
    for atoms in read_structures(new):
        wanted = atoms.get_potential_energy()
        atoms.calc = load_calculator(before)
        errors.append(1000 * (atoms.get_potential_energy() - wanted) / len(atoms))
    found = pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=1e-3)
    assert gain["before"][0]["energy_rmse_meV_per_atom"] == found
    report = (tmp_path / "second" / "report.md").read_text()
    assert "| old, left out in turn | first | 6 |" in report
