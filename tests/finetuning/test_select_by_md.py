"""Weights that are chosen by what they do in molecular dynamics."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from safetensors.numpy import load_file

from synthzoo.data.labelled_set import LabelledSet, read_labelled
from synthzoo.data.labels import Labels
from synthzoo.data.structures import label, write_structures
from synthzoo.finetuning import select_by_md, snapshots
from synthzoo.finetuning.fits import FitJob, run_fits
from synthzoo.finetuning.recipe import FinetuneRecipe
from synthzoo.finetuning.run import finetune
from synthzoo.finetuning.select_by_md import Candidate, ranked, starting_structures
from tests.toy import finetuning_plan

RECIPE = FinetuneRecipe(
    visits=80, check_share=0.0, replay_share=0.0, threads=1, select_by="md"
)

PROTOCOL = """
md:
  replicas: 2
  timestep_fs: 0.5
  frame_fs: 5
  sample_fs: 2
  check_steps: 2
  stages:
    - {kind: dynamics, name: warm, duration_fs: 8, start_K: 300}
    - {kind: dynamics, name: constant energy, ensemble: nve, duration_fs: 8}
"""


def _candidate(
    name: str, survived: float, drift: float | None, force: float
) -> Candidate:
    return Candidate(
        name=name,
        survived=survived,
        drift_meV_per_atom_ps=drift,
        force_rmse_eV_A=force,
    )


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (_candidate("a", 1.0, 5.0, 0.9), _candidate("b", 0.9, 0.0, 0.1)),
        (_candidate("a", 1.0, 0.2, 0.9), _candidate("b", 1.0, 0.9, 0.1)),
        (_candidate("a", 1.0, 0.04, 0.1), _candidate("b", 1.0, 0.01, 0.2)),
        (_candidate("a", 0.1, 9.0, 0.9), _candidate("b", 0.1, None, 0.1)),
    ],
    ids=["survival first", "then drift", "then forces", "no drift is no praise"],
)
def test_ranking(better: Candidate, worse: Candidate):
    """Survival, then drift in steps of 0.1 meV/atom/ps, then the error of forces."""
    for given in ([better, worse], [worse, better]):
        found = ranked(given)
        assert [each.name for each in found] == ["a", "b"]
        assert [each.kept for each in found] == [True, False]


def _labelled(structures: list[Atoms], forces_eV_A: list[float]) -> LabelledSet:
    return LabelledSet(
        structures=structures,
        labels=[
            Labels(energy_eV=0.0, forces_eV_A=np.full((len(atoms), 3), force))
            for atoms, force in zip(structures, forces_eV_A, strict=True)
        ],
        origins=[""] * len(structures),
    )


def test_dynamics_start_from_the_largest_and_calmest():
    """Of the largest that are affordable, the two with the smallest forces."""
    large = bulk("C", cubic=True).repeat((3, 2, 2))
    huge = large.repeat(2)
    calm, wild, quiet = (large.copy() for _ in range(3))
    for number, atoms in enumerate((calm, wild, quiet)):
        atoms.rattle(0.01, seed=number)
    found = starting_structures(
        _labelled([huge, calm, bulk("C"), wild, quiet], [0.1, 2.0, 0.1, 9.0, 1.0])
    )
    assert found == [quiet, calm]


def test_small_cells_are_repeated():
    """Where they are shortest; molecules are left alone."""
    cell = Atoms("C", cell=[2.0, 3.0, 4.0], pbc=True)
    (found,) = starting_structures(_labelled([cell], [0.0]))
    assert len(found) == 32
    assert sorted(found.cell.lengths().tolist()) == [8.0, 8.0, 12.0]
    alone = Atoms("C2", [[0, 0, 0], [0, 0, 1.3]])
    (found,) = starting_structures(_labelled([alone], [0.0]))
    assert len(found) == 2


@pytest.fixture
def crystals(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """Write 8 rattled cells with labels of a stiffer network."""
    from synthzoo.zoo.load import load_calculator

    calculator = load_calculator(tiny_checkpoint)
    structures = []
    for seed in range(8):
        atoms = bulk("C", cubic=True)
        atoms.rattle(0.1, seed=seed)
        atoms.calc = calculator
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        structures.append(
            label(atoms, energy_eV=1.5 * energy, forces_eV_A=1.5 * forces)
        )
    path = tmp_path / "crystals.xyz"
    write_structures(path, structures)
    return path


@pytest.fixture
def short_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a few steps in place of the recipe md-select."""
    path = tmp_path / "short.yaml"
    path.write_text(PROTOCOL)
    monkeypatch.setattr(select_by_md, "PROTOCOL", path)


@pytest.mark.thorough
@pytest.mark.usefixtures("short_protocol")
def test_finetuning_keeps_what_is_chosen(
    tiny_checkpoint: Path,
    crystals: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """Three candidates go through dynamics; those after six epochs are made to win."""
    monkeypatch.setattr(select_by_md, "ranked", _put_first("fit after 6 epochs"))
    output = tmp_path / "mine"
    summary = finetune(tiny_checkpoint, crystals, output, recipe=RECIPE, workers=1)
    found = json.loads((output / "metrics.json").read_text())["selection"]
    names = {each["name"] for each in found}
    assert names == {"fit", "fit after 6 epochs", "fit after 8 epochs"}
    assert all(0 <= each["survived"] <= 1 for each in found)
    report = summary.report.read_text(encoding="utf-8")
    assert "chosen by short molecular dynamics" in report
    assert "| fit after 8 epochs |" in report
    assert "select_by: md" in (output / "recipe.yaml").read_text()
    assert not (tmp_path / "mine.parts").exists()
    plain = dataclasses.replace(RECIPE, select_by="loss")
    finetune(tiny_checkpoint, crystals, tmp_path / "last", recipe=plain, workers=1)
    last = load_file(tmp_path / "last/model.safetensors")
    kept = load_file(output / "model.safetensors")
    assert any(not np.array_equal(value, kept[name]) for name, value in last.items())


@pytest.mark.thorough
def test_weights_that_are_kept_on_the_way_are_averaged(
    tiny_checkpoint: Path,
    crystals: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """After the last epoch they would be those that the fit ends with, bit by bit."""
    path = tmp_path / "end.safetensors"
    monkeypatch.setattr(snapshots, "snapshot_files", lambda *given: {given[-1]: path})
    frames, keys = read_labelled([crystals])
    plan = finetuning_plan(tiny_checkpoint, frames, keys, RECIPE)
    training = plan.on_model_scale(plan.training)
    job = FitJob(name="fit", start=plan.start, recipe=plan.recipe, training=training)
    (ended,) = run_fits([job], tmp_path).values()
    kept = load_file(path)
    assert kept.keys() == ended.keys()
    for name, value in ended.items():
        assert np.array_equal(value.numpy(), kept[name]), name


def _put_first(name: str):
    def order(candidates: list[Candidate]) -> list[Candidate]:
        return sorted(candidates, key=lambda found: found.name != name)

    return order


@pytest.mark.thorough
@pytest.mark.usefixtures("short_protocol")
def test_broken_weights_lose(tiny_checkpoint: Path, crystals: Path, tmp_path: Path):
    """Weights of noise do not hold the crystal; those of the start do."""
    from synthzoo.finetuning.judge import Judge
    from synthzoo.models.checkpoint import load_model

    frames, keys = read_labelled([crystals])
    plan = finetuning_plan(tiny_checkpoint, frames, keys, RECIPE)
    model, _ = load_model(tiny_checkpoint)
    sound = {name: value.clone() for name, value in model.state_dict().items()}
    broken = {
        name: value * 30 if "linear" in name or "mlp" in name else value
        for name, value in sound.items()
    }
    empty = plan.training.part([])
    judge = Judge(
        plan=plan,
        weights={"fit": broken, "fit after 6 epochs": sound, "check-1": sound},
        test=empty,
        synthetic=empty,
    )
    found = select_by_md.select_by_md(judge, tmp_path / "dynamics")
    assert [each.name for each in found] == ["fit after 6 epochs", "fit"]
    assert found[0].survived == 1
    assert found[1].survived < 1
    again = select_by_md.select_by_md(judge, tmp_path / "dynamics")
    assert again == found  # read back, not run again
