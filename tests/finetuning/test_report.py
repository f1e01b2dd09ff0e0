"""What fine-tuning says about itself: reports, further fits, probes and verdicts."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from synthzoo.data.labelled_set import LabelledSet
from synthzoo.data.labels import Labels
from synthzoo.data.structures import label, write_structures
from synthzoo.errors import InputError
from synthzoo.evaluation.errors import judge_set
from synthzoo.finetuning import certainty
from synthzoo.finetuning.comparison import compare
from synthzoo.finetuning.fits import FitJob
from synthzoo.finetuning.jobs import DIRECT_VISITS, make_jobs
from synthzoo.finetuning.recipe import FinetuneRecipe
from synthzoo.finetuning.request import Request, read_sets
from synthzoo.finetuning.results import verdict
from synthzoo.finetuning.run import finetune
from synthzoo.models.checkpoint import as_checkpoint

NEAR_START_EV = 1.4
"""Brings labels of an untrained network, made stiffer, back to its own energies."""

FILES = {"config.json", "model.safetensors", "golden.safetensors", "recipe.yaml"} | {
    "README.md",
    "report.md",
    "report.html",
    "metrics.json",
    "loss.png",
    "parity.png",
    "probes.png",
}


def labelled_crystals(checkpoint: Path, count: int, offset_eV: float) -> list[Atoms]:
    """Return crystals with a checkpoint's labels, made stiffer and moved."""
    from synthzoo.zoo.load import load_calculator

    calculator = load_calculator(checkpoint)
    structures = []
    for seed in range(count):
        atoms = bulk("C", cubic=seed % 2 == 0)
        atoms.rattle(0.1, seed=seed)
        atoms.calc = calculator
        energy = 1.2 * atoms.get_potential_energy() + offset_eV * len(atoms)
        structures.append(
            label(atoms, energy_eV=energy, forces_eV_A=1.2 * atoms.get_forces())
        )
    return structures


@pytest.fixture(scope="module")
def dft(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write 12 crystals with total energies."""
    path = tmp_path_factory.mktemp("dft") / "dft.xyz"
    write_structures(path, labelled_crystals(tiny_checkpoint, 12, -148.0))
    return path


@pytest.mark.thorough
def test_a_report_compares_on_structures_that_were_left_out(
    tiny_checkpoint: Path, dft: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Committee, scratch and test set in one run: every number and file is there."""
    from synthzoo.finetuning.committee import load_committee
    from synthzoo.zoo.load import load_calculator

    monkeypatch.setattr(certainty, "LEAST_ATOMS", 60)  # the crystals have no more
    output = tmp_path / "mine"
    recipe = FinetuneRecipe(visits=24, committee=2, direct_visits=48, threads=1)
    summary = finetune(
        tiny_checkpoint,
        dft,
        output,
        recipe=recipe,
        test=dft,
        compare_direct=True,
        workers=2,
    )
    sure = {"uncertainty.safetensors", "reliability.png"}
    assert {path.name for path in output.iterdir()} == FILES | sure | {"committee"}
    metrics = json.loads((output / "metrics.json").read_text())
    assert [found["name"] for found in metrics["unseen"]] == ["test", "left-out"]
    assert metrics["unseen"][1]["after"][0]["structures"] == 12
    assert metrics["direct"]["name"] == "test"
    assert metrics["calibration"]["structures"] == 12
    assert load_calculator(output).stored.uncertainty is not None
    assert (metrics["direct"]["visits"], metrics["direct"]["epochs"]) == (48, 4)
    assert metrics["verdict"] == summary.verdict
    assert len(metrics["losses"]) == 2
    report = (output / "report.md").read_text()
    assert f"**{summary.verdict}**" in report
    assert summary.verdict in (output / "README.md").read_text()
    assert "from scratch" in report
    assert (
        "saw 48 structures in all, 4 times each (the tuned model: 24 in all)" in report
    )
    assert (output / "report.html").read_text().count("data:image/png;base64") == 4
    _committee_agrees_with_its_members(load_committee(output))


def _committee_agrees_with_its_members(committee) -> None:
    atoms = bulk("C", cubic=True)
    atoms.rattle(0.05, seed=3)
    found = []
    for member in committee.members:
        atoms.calc = member
        found.append((atoms.get_potential_energy(), atoms.get_forces()))
    atoms.calc = committee
    energies, forces = zip(*found, strict=True)
    assert atoms.get_potential_energy() == pytest.approx(np.mean(energies))
    np.testing.assert_allclose(atoms.get_forces(), np.mean(forces, axis=0))
    spread = np.std(energies, ddof=1)
    assert committee.results["energy_spread"] == pytest.approx(spread)
    assert committee.results["energy_spread"] > 0
    assert committee.results["forces_spread"].shape == (8, 3)


@pytest.mark.thorough
def test_replay_and_energies_without_forces(
    tiny_checkpoint: Path, dft: Path, tmp_path: Path
):
    """Forces are not read; what was forgotten of the synthetic set is measured."""
    from ase.io import read, write

    bare = []
    for atoms in read(dft, ":"):
        energy = atoms.get_potential_energy()
        atoms.calc = None
        atoms.info["dft_energy"] = energy
        bare.append(atoms)
    write(tmp_path / "energies.xyz", bare)
    synthetic = tmp_path / "synthetic.xyz"
    write_structures(synthetic, labelled_crystals(tiny_checkpoint, 10, NEAR_START_EV))
    with pytest.raises(InputError, match="add --energies-only"):
        finetune(tiny_checkpoint, tmp_path / "energies.xyz", tmp_path / "mine")
    summary = finetune(
        tiny_checkpoint,
        tmp_path / "energies.xyz",
        tmp_path / "mine",
        recipe=FinetuneRecipe(visits=24, held_out_share=0.3, threads=1),
        replay=synthetic,
        energies_only=True,
    )
    metrics = json.loads((tmp_path / "mine" / "metrics.json").read_text())
    assert metrics["unseen"][0]["name"] == "held-out"
    assert metrics["unseen"][0]["forces"] is None
    assert metrics["synthetic"]["after"][0]["structures"] >= 1
    assert "forces" not in summary.verdict
    assert summary.held_out_structures >= 1


def test_replay_must_be_on_the_scale_of_the_start(
    tiny_checkpoint: Path, dft: Path, tmp_path: Path
):
    """DFT labels are not the teacher's: refused before anything is written."""
    with pytest.raises(
        InputError, match=r"lie -149\.37 eV/atom.*the teacher of that model"
    ):
        finetune(tiny_checkpoint, dft, tmp_path / "mine", replay=dft)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.thorough
def test_the_zoos_structures_are_replayed(
    tiny_checkpoint: Path, dft: Path, tmp_path: Path
):
    """Where the start has another teacher, its own predictions are the labels."""
    recipe = FinetuneRecipe(visits=24, check_share=0.0, threads=1)
    finetune(tiny_checkpoint, dft, tmp_path / "mine", recipe=recipe)
    metrics = json.loads((tmp_path / "mine" / "metrics.json").read_text())
    before = metrics["synthetic"]["before"][0]
    assert before["structures"] > 20
    assert before["force_rmse_eV_A"] < 1e-4
    report = (tmp_path / "mine" / "report.md").read_text()
    assert "synthetic structures, some were mixed into the batches: 10 %" in report
    assert "synthetic structures the energies moved by" in report


@pytest.mark.thorough
def test_the_best_of_several_seeds_is_kept(
    tiny_checkpoint: Path, dft: Path, tmp_path: Path
):
    """The weights are those of the fit with the smallest loss on what is held out."""
    output = tmp_path / "mine"
    recipe = FinetuneRecipe(visits=24, seeds=3, replay_share=0.0, threads=1)
    summary = finetune(tiny_checkpoint, dft, output, recipe=recipe, workers=1)
    metrics = json.loads((output / "metrics.json").read_text())
    assert [found["seed"] for found in metrics["seeds"]] == [0, 1, 2]
    best = min(metrics["seeds"], key=lambda found: found["loss"])
    assert [found["kept"] for found in metrics["seeds"]].count(True) == 1
    assert best["kept"]
    assert best["errors"] == metrics["unseen"][0]["after"][0]
    assert summary.held_out_structures >= 1
    report = (output / "report.md").read_text()
    assert "The best of 3 fits was chosen by the loss on the held-out" in report
    assert "nothing is chosen" not in report
    with pytest.raises(InputError, match="seeds is chosen by held-out structures"):
        finetune(
            tiny_checkpoint,
            dft,
            tmp_path / "other",
            recipe=FinetuneRecipe(seeds=2, held_out_share=0.0),
        )


@pytest.mark.long
def test_each_structure_is_tested_by_a_fit_that_has_not_seen_it(
    tiny_checkpoint: Path, dft: Path, tmp_path: Path
):
    """By default; the cost is said before, and processes change no number."""
    told: list[str] = []
    judged = []
    for workers in (1, 3):
        output = tmp_path / f"mine-{workers}"
        recipe = FinetuneRecipe(visits=12, threads=1)
        finetune(
            tiny_checkpoint,
            dft,
            output,
            recipe=recipe,
            workers=workers,
            tell=told.append,
        )
        metrics = json.loads((output / "metrics.json").read_text())
        judged.append(metrics["unseen"])
    assert judged[0] == judged[1]
    (unseen,) = judged[0]
    assert unseen["name"] == "left-out"
    assert (unseen["groups"], unseen["after"][0]["structures"]) == (12, 12)
    assert "as many to each of 5 that leave out a part of the data" in told[0]
    assert "times the work of the first fit" in told[0]


def jobs_of(checkpoint: Path, data: Path, recipe: FinetuneRecipe) -> list[FitJob]:
    """Return the fits of a fine-tuning that is compared with training from scratch."""
    request = Request(
        name="mine",
        start=as_checkpoint(checkpoint),
        files=[data],
        recipe=recipe,
        compare_direct=True,
    )
    return make_jobs(request, read_sets(request))


def test_training_from_scratch_is_as_long_as_in_a_benchmark(
    tiny_checkpoint: Path, dft: Path
):
    """And on the same folds, so that it is tested on what it has not seen."""
    found = jobs_of(tiny_checkpoint, dft, FinetuneRecipe())
    fits = {job.name: job for job in found}
    assert [name for name in fits if fits[name].fresh] == [
        f"direct-{number}" for number in range(1, 6)
    ]
    for number in range(1, 6):
        fresh, tuned = fits[f"direct-{number}"], fits[f"check-{number}"]
        assert (fresh.recipe.visits or 0) >= DIRECT_VISITS > (tuned.recipe.visits or 0)
        for (mine, _), (other, _) in zip(fresh.training, tuned.training, strict=True):
            assert mine == other


def test_a_committee_needs_a_committee(tiny_checkpoint: Path):
    """A checkpoint without members says how to make them."""
    from synthzoo.finetuning.committee import CommitteeCalculator, load_committee

    with pytest.raises(InputError, match="has no committee: fine-tune with"):
        load_committee(tiny_checkpoint)
    with pytest.raises(InputError, match="needs two members, not 0"):
        CommitteeCalculator([])


def _set_with_errors(energy_errors, force_error: float, *, groups: int = 20):
    """Return a set of so many groups, and a prediction with the given errors."""
    structures, predicted, labels = [], [], []
    for number, error in enumerate(energy_errors):
        atoms = bulk("C")
        atoms.info["group"] = f"run-{number % groups}"
        zero = np.zeros((2, 3))
        structures.append(atoms)
        labels.append(Labels(energy_eV=0.0, forces_eV_A=zero))
        predicted.append(
            label(atoms, energy_eV=2 * error, forces_eV_A=zero + force_error)
        )
    origins = ["here"] * len(structures)
    labelled = LabelledSet(structures=structures, labels=labels, origins=origins)
    return labelled, judge_set(labelled, predicted)


@pytest.mark.parametrize(
    ("energies", "forces", "words"),
    [
        ((0.1, 0.01), (0.5, 0.4), "Fine-tuning helped: on 20 test structures"),
        ((0.1, 0.01), (0.4, 0.5), "helped in one respect and did harm in another"),
        ((0.01, 0.1), (0.4, 0.5), "did not help: it made the model worse"),
        ((0.1, 0.1), (0.4, 0.4), "cannot be told from so few structures"),
    ],
)
def test_the_verdict_says_plainly_whether_it_helped(energies, forces, words: str):
    """Better, worse, both or unclear; never more than the numbers say."""
    rng = np.random.default_rng(1)
    noise = rng.normal(1, 0.1, size=20)
    labelled, before = _set_with_errors(energies[0] * noise, forces[0])
    _, after = _set_with_errors(energies[1] * noise, forces[1])
    compared = compare("test", labelled, before, after)
    assert words in verdict(compared)
    worse = "worse" in (compared.energy, compared.forces)
    assert ("`--replay`" in verdict(compared)) == worse
    assert "`--replay`" not in verdict(compared, replayed=True)


@pytest.mark.parametrize("groups", [1, 2, 3, 4])
def test_there_is_no_verdict_on_less_than_five_groups(groups: int):
    """However clear each of them is: the signs of so few agree by chance."""
    labelled, before = _set_with_errors(np.full(20, 0.1), 0.5, groups=groups)
    _, after = _set_with_errors(np.full(20, 0.2), 0.4, groups=groups)
    compared = compare("left-out", labelled, before, after)
    assert (compared.energy, compared.forces) == ("unclear", "unclear")
    text = verdict(compared)
    assert f"cannot be told from {groups} independent structure(s)" in text
    assert "energies changed (100.0 → 200.0 meV/atom)" in text
    assert "`--test FILE`" in text


@pytest.mark.thorough
@pytest.mark.parametrize("count", [5, 8, 20])
def test_chance_alone_seldom_makes_a_verdict(count: int):
    """As often as it should, one time in ten, however few structures there are."""
    rng = np.random.default_rng(0)
    labelled, before = _set_with_errors(np.full(count, 1.0), 0.5)
    found = []
    for _ in range(300):
        residuals = [
            replace(residual, energy_eV_per_atom=1 + 0.1 * rng.normal())
            for residual in before.residuals
        ]
        after = replace(before, residuals=residuals)
        found.append(compare("test", labelled, before, after, forces=False).energy)
    assert 0.02 < np.mean([change != "unclear" for change in found]) < 0.16


def test_what_was_seen_in_part_makes_no_verdict():
    """Frames of one run on both sides say nothing of other structures."""
    labelled, before = _set_with_errors(np.full(20, 0.1), 0.5)
    _, after = _set_with_errors(np.full(20, 0.01), 0.4)
    text = verdict(compare("left-out", labelled, before, after, seen=True))
    assert "on other structures cannot be told" in text
    assert "energies changed (100.0 → 10.0 meV/atom)" in text
    assert "`--test FILE`" in text


def test_what_else_is_known_ends_the_verdict():
    """Whatever the errors say, and where there are none, too."""
    labelled, before = _set_with_errors(np.full(20, 0.1), 0.5)
    _, after = _set_with_errors(np.full(20, 0.01), 0.4)
    compared = compare("test", labelled, before, after)
    for shown in (compared, None):
        assert verdict(shown, also=["Diamond is softer."]).endswith(
            " Diamond is softer."
        )


@pytest.mark.parametrize(
    ("groups", "energy"), [(20, "worse"), (2, "unclear"), (1, "unclear")]
)
def test_frames_of_one_run_are_no_independent_evidence(groups: int, energy: str):
    """What is clear from twenty structures is not from two trajectories or one."""
    errors = np.full(20, 0.1)
    labelled, before = _set_with_errors(errors, 0.4, groups=groups)
    changed = np.where(np.arange(20) % 2, 0.2, 0.09)
    _, after = _set_with_errors(changed, 0.4, groups=groups)
    assert compare("test", labelled, before, after).energy == energy


def test_probes_are_a_dimer_of_each_element_and_known_crystals(tiny_checkpoint: Path):
    """Curves of the same model twice agree."""
    from synthzoo.finetuning.physics import probe
    from synthzoo.zoo.load import load_calculator

    model = load_calculator(tiny_checkpoint)
    curves = probe(model, model, ["C"])
    assert [curve.name for curve in curves] == [
        "C dimer",
        "diamond (C)",
        "graphite (C)",
    ]
    for curve in curves:
        assert curve.before_eV == curve.after_eV
