"""Learning curves of energies of atoms, from files to tables."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from PIL import Image

from synthzoo import (
    SynthzooError,
    learn_local_energies,
    load_calculator,
    load_local_energies,
)
from synthzoo.data.structures import label, read_structures, write_structures
from synthzoo.environments.sample import Sample
from synthzoo.errors import InterruptedRunError
from synthzoo.potentials import Potential
from synthzoo.regression.environments import describe
from synthzoo.regression.report import Point, describe_points
from tests.extras import need

MODEL = "carbon-ace-2k"


@pytest.fixture(autouse=True)
def _packages():
    need("dscribe", "local-energies")
    need("sklearn", "local-energies")
    need("psutil", "local-energies")


@pytest.fixture(scope="module")
def diamonds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write ten pairs of shaken diamonds, each pair a trajectory."""
    structures = []
    for number in range(20):
        atoms = bulk("C", cubic=True)
        atoms.rattle(0.03 + 0.005 * number, seed=number)
        atoms.info["group"] = f"run-{number // 2}"
        structures.append(atoms)
    path = tmp_path_factory.mktemp("diamonds") / "diamonds.xyz"
    write_structures(path, structures)
    return path


def settings(**changed: Any) -> dict[str, Any]:
    quick = {
        "sizes": [20, 100],
        "environments": 160,
        "representatives": [30, 10],
        "sigmas_meV": [10.0, 100.0],
        "width": 8,
        "visits": 500,
        "tested": 2,
    }
    return quick | changed


@pytest.fixture(scope="module")
def learned(diamonds: Path, tmp_path_factory: pytest.TempPathFactory):
    output = tmp_path_factory.mktemp("learned") / "curves"
    return learn_local_energies(MODEL, diamonds, output, **settings())


def test_curves_have_all_points(learned):
    """Four of GPR, M with each sigma, and the network, for two sizes."""
    assert learned.environments == 160
    assert learned.said == ""
    assert len(learned.points) == 2 * (2 * 2 + 1)
    assert {point.folds for point in learned.points} == {2}
    text = learned.table.read_text()
    assert "GPR, M = 30, σ = 10 meV" in text
    assert any("best σ" in finding for finding in learned.findings)
    record = json.loads(learned.values.read_text())
    assert len(record["runs"]) == 2 * len(learned.points)
    with Image.open(learned.figure) as picture:
        assert picture.width > 2.5 * picture.height


def test_more_environments_lower_the_error(learned):
    """Of GPR with the first M and sigma."""
    few, many = (
        point
        for point in learned.points
        if (point.representatives, point.sigma_meV) == (30, 10.0)
    )
    assert (few.size, many.size) == (20, 100)
    assert many.rmse_meV < few.rmse_meV


def test_the_largest_fits_are_calculators(learned, diamonds: Path):
    """Their energies are the teacher's, up to about the error that they name."""
    assert [path.name for path in learned.models] == [
        "gpr-100.safetensors",
        "network-100.safetensors",
    ]
    atoms = read_structures(diamonds)[0]
    expected = load_calculator(MODEL).get_property("energies", atoms)
    calculator = load_local_energies(learned.models[0])
    assert calculator.about["representatives"] == 30
    assert "teacher" in calculator.about
    energies = calculator.get_property("energies", atoms)
    assert energies == pytest.approx(expected, abs=0.3)
    assert calculator.get_property("energy", atoms) == pytest.approx(energies.sum())
    turned = atoms.copy()
    turned.rotate(30, (1, 2, 3), rotate_cell=True)
    again = calculator.get_property("energies", turned)
    assert again == pytest.approx(energies, abs=1e-3)


def test_what_a_regression_does_not_know_is_refused(learned):
    """Elements, and files of other things."""
    calculator = load_local_energies(learned.models[0])
    with pytest.raises(SynthzooError, match="H"):
        calculator.get_property("energy", molecule("CH4"))
    with pytest.raises(SynthzooError, match=r"table.md is no regression"):
        load_local_energies(learned.table)
    with pytest.raises(SynthzooError, match="does not exist"):
        load_local_energies("nowhere.safetensors")


def test_nothing_is_computed_again(
    learned, diamonds: Path, monkeypatch: pytest.MonkeyPatch
):
    """A third fold needs its own fits only, and no new description."""

    def refuse(*_: object) -> None:
        pytest.fail("described again")

    monkeypatch.setattr("synthzoo.regression.learn.describe", refuse)
    runs = learned.table.parent / "runs"
    before = {path: path.stat().st_mtime_ns for path in runs.iterdir()}
    again = learn_local_energies(
        MODEL, diamonds, learned.table.parent, **settings(tested=3)
    )
    assert {point.folds for point in again.points} == {3}
    after = {path: path.stat().st_mtime_ns for path in runs.iterdir()}
    assert before.items() <= after.items()
    assert len(after) == 1.5 * len(before)


def pretend(monkeypatch: pytest.MonkeyPatch, provenance: dict[str, str]) -> None:
    """Let any name be that of a teacher that computes with EMT."""
    potential = Potential(
        calculator=EMT(), elements=("C",), all_images=False, provenance=provenance
    )
    monkeypatch.setattr("synthzoo.regression.learn.teacher_reference", str)
    for place in ("learn", "environments"):
        monkeypatch.setattr(
            f"synthzoo.regression.{place}.load_potential", lambda _: potential
        )


def test_labels_of_the_same_teacher_are_taken_as_they_are(
    diamonds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Those that `relabel` has left in the file; others are computed."""
    provenance = {"teacher_sha256": "1234"}
    structures = []
    for atoms in read_structures(diamonds):
        energies = np.linspace(-8, -7, len(atoms))
        given = label(
            atoms,
            energy_eV=energies.sum(),
            forces_eV_A=np.zeros((len(atoms), 3)),
            energies_eV=energies,
        )
        given.info |= provenance
        structures.append(given)
    sample = Sample(
        sets=("given",),
        structures=tuple(structures),
        owners=(0,) * 20,
        available=(160,),
    )
    pretend(monkeypatch, provenance)
    found = describe(sample, "given")
    assert found.energies_eV == pytest.approx(np.tile(np.linspace(-8, -7, 8), 20))
    assert len(np.unique(found.groups)) == 10
    pretend(monkeypatch, {"teacher_sha256": "5678"})
    with pytest.raises(SynthzooError, match=r"given gives no energies of atoms.*ace,"):
        describe(sample, "given")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"sizes": [50, 200]}, "200 environments cannot be fitted: .* 128 are there"),
        ({"sizes": None}, "1,000 environments cannot be fitted: .* 128 are there"),
        ({"folds": 11}, "11 folds need as many trajectories .* there are 10"),
        ({"regressors": ["forest"]}, "gpr, network, dkl, not forest"),
        ({"regressors": []}, "not none"),
        ({"tested": 6}, "Of 5 folds, 2 at least, 6 cannot be tested on"),
        ({"sigmas_meV": [0.0]}, "sigma must be at least 0.1 meV"),
        ({"representatives": [0]}, "M must be at least 1"),
    ],
)
def test_bad_input_is_named(
    diamonds: Path, tmp_path: Path, changed: dict[str, Any], message: str
):
    """One line each, before anything is fitted."""
    with pytest.raises(SynthzooError, match=message):
        learn_local_energies(MODEL, diamonds, tmp_path / "out", **settings(**changed))


def test_an_interruption_says_that_results_are_kept(
    learned, diamonds: Path, monkeypatch: pytest.MonkeyPatch
):
    """After Ctrl-C in the middle of a fit."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("synthzoo.regression.learn.run_job", interrupt)
    with pytest.raises(InterruptedRunError, match="run the same command again"):
        learn_local_energies(
            MODEL, diamonds, learned.table.parent, **settings(sizes=[30])
        )


def test_damaged_environments_are_named(diamonds: Path, tmp_path: Path):
    """What is kept for the next run was cut off."""
    output = tmp_path / "out"
    few = settings(sizes=[10], regressors=["gpr"], representatives=[5], tested=1)
    learn_local_energies(MODEL, diamonds, output, **few)
    (kept,) = output.glob("environments-*.safetensors")
    kept.write_bytes(kept.read_bytes()[:1000])
    with pytest.raises(SynthzooError, match=rf"{kept.name} is damaged"):
        learn_local_energies(MODEL, diamonds, output, **few)


def test_a_package_that_is_missing_is_named(
    diamonds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """With what to install; gpytorch is needed for deep kernels only."""
    monkeypatch.setattr(
        "synthzoo.regression.learn.find_spec",
        lambda name: None if name == "gpytorch" else name,
    )
    with pytest.raises(SynthzooError, match=r"need gpytorch: .*\[local-energies\]"):
        learn_local_energies(
            MODEL, diamonds, tmp_path / "out", **settings(regressors=["dkl"])
        )


def test_a_calculator_of_the_program_is_refused(diamonds: Path, tmp_path: Path):
    """Another run could not tell it from others of its class."""
    with pytest.raises(SynthzooError, match="EMT is a calculator of this program"):
        learn_local_energies(EMT(), diamonds, tmp_path / "out", **settings())


def test_memory_is_checked_before_anything_is_described(
    diamonds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The message has the largest M and N."""
    monkeypatch.setattr("synthzoo.regression.learn.free_bytes", lambda: 1_000_000)
    with pytest.raises(SynthzooError, match=r"M can be .* at most; with this M, N"):
        learn_local_energies(
            MODEL, diamonds, tmp_path / "out", **settings(representatives=[100])
        )
    assert not list((tmp_path / "out").glob("*.safetensors"))


def curve(regressor: str, errors: list[float], **of: Any) -> list[Point]:
    blank = Point(
        regressor=regressor,
        size=0,
        representatives=of.get("representatives"),
        sigma_meV=of.get("sigma_meV"),
        folds=1,
        rmse_meV=0.0,
        std_meV=None,
        mae_meV=0.0,
        fit_seconds=1.0,
        predict_us=of.get("predict_us", 1.0),
    )
    return [
        dataclasses.replace(blank, size=10 ** (3 + number), rmse_meV=error)
        for number, error in enumerate(errors)
    ]


@pytest.mark.parametrize(
    ("network", "said"),
    [
        ([200.0, 100.0, 25.0], "overtakes GPR near 32,000 environments"),
        ([50.0, 60.0, 70.0], "GPR overtakes the network"),
        ([200.0, 100.0, 90.0], "GPR has the smaller error at all sizes"),
        ([50.0, 40.0, 30.0], "The network has the smaller error at all sizes"),
    ],
)
def test_the_crossing_is_named(network: list[float], said: str):
    """Between two sizes, as straight lines in the figure have it."""
    gpr = curve("gpr", [100.0, 50.0, 50.0], representatives=1, sigma_meV=10.0)
    (found,) = describe_points([*gpr, *curve("network", network)])
    assert said in found


def test_the_best_sigma_and_the_cost_are_named():
    """For each size."""
    points = [
        *curve("gpr", [9.0, 9.0], representatives=1, sigma_meV=10.0),
        *curve("gpr", [8.0, 10.0], representatives=1, sigma_meV=3.0),
        *curve("network", [9.1, 8.0]),
        *curve("dkl", [9.0, 8.0], predict_us=30.0),
    ]
    crossing, sigma, best, cost = describe_points(points)
    assert crossing == "The network overtakes GPR near 1,200 environments."
    assert sigma == "The best σ is 3 meV at N = 1,000, 10 meV at N = 10,000."
    assert best == "With it, the network overtakes GPR near 3,300 environments."
    assert cost == "The deep kernel predicts 30.0 times slower than the network."
