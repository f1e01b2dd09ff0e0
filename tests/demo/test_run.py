"""The demo: with a calm model in the quick lane, with `carbon` in the slow one."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import matplotlib.image
import numpy as np
import pytest
from ase.build import bulk

from synthzoo.data.structures import group_of, read_structures
from synthzoo.demo import run
from synthzoo.demo import summary as summary_names
from synthzoo.demo.report import demo_table, write_demo_figure, write_demo_report
from synthzoo.demo.run import run_demo, tune_sample
from synthzoo.demo.summary import CHECK_FOLDER, DemoSummary
from synthzoo.errors import InputError
from synthzoo.evaluation.crystals import fit_curve, smooth_curve
from synthzoo.finetuning.recipe import FinetuneRecipe
from synthzoo.models.checkpoint import read_config, write_checkpoint
from synthzoo.models.network import build_model
from synthzoo.zoo.card_records import Crystal, ReferenceValues
from synthzoo.zoo.find import find_checkpoint

if TYPE_CHECKING:
    from ase import Atoms
    from matplotlib.figure import Figure

CPU_LIMIT_S = 360.0
"""Of the demo with the bundled potential: three minutes of two threads."""

SHORT_PS = 0.02
SHORT: dict[str, Any] = {"duration_ps": SHORT_PS, "check_ps": SHORT_PS, "tune_on": 0}


@pytest.fixture(scope="module")
def calm_checkpoint(
    tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Write a model whose forces are so weak that every crystal is at rest."""
    config = read_config(tiny_checkpoint)
    weak = dict(config.arguments, per_type_energy_scales=1e-3)
    config = dataclasses.replace(config, arguments=weak)
    folder = tmp_path_factory.mktemp("calm") / "calm"
    write_checkpoint(
        folder, model=build_model(config), config=config, golden=[bulk("C")]
    )
    return folder


@pytest.fixture(scope="module")
def summary(
    calm_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> DemoSummary:
    """Run a short demo once."""
    output = tmp_path_factory.mktemp("demo") / "made"
    return run_demo(output, model=str(calm_checkpoint), **SHORT)


def test_demo_writes_every_file_it_names(summary: DemoSummary) -> None:
    """The folder holds figure, report, results and structures, and nothing else."""
    names = {path.name for path in summary.output.iterdir()}
    assert names == {
        summary_names.FIGURE_FILE,
        summary_names.REPORT_FILE,
        summary_names.RESULTS_FILE,
        summary_names.RELAXED_FILE,
        summary_names.CURVE_FILE,
        summary_names.TRAJECTORY_FILE,
        CHECK_FOLDER,
    }
    report = summary.report.read_text(encoding="utf-8")
    assert all(name in report for name in names - {summary_names.REPORT_FILE})
    assert matplotlib.image.imread(summary.figure).shape[0] > 500


def test_results_repeat_the_summary(summary: DemoSummary) -> None:
    """The JSON file holds the same numbers, with the hash and seed that made them."""
    found = json.loads((summary.output / summary_names.RESULTS_FILE).read_text())
    assert found["diamond"]["a_A"] == summary.diamond.a_A
    assert found["weights_sha256"] == summary.weights_sha256
    assert found["seed"] == summary.seed
    assert found["versions"]["nequip"]


def test_structures_carry_their_energies(summary: DemoSummary) -> None:
    """The relaxed crystals hold the energies and lattice constants of the table."""
    diamond, sheet = read_structures(summary.output / summary_names.RELAXED_FILE)
    energy_eV_per_atom = diamond.get_potential_energy() / len(diamond)
    assert energy_eV_per_atom == pytest.approx(summary.diamond.energy_eV_per_atom)
    assert sheet.cell.lengths()[0] == pytest.approx(summary.graphene.a_A)
    assert sheet.cell.lengths()[2] == pytest.approx(16.0)


def test_trajectory_spans_the_dynamics(summary: DemoSummary) -> None:
    """Frames are evenly spaced from the start to the end of the run."""
    frames = read_structures(summary.output / summary_names.TRAJECTORY_FILE)
    times_ps = [atoms.info["time_ps"] for atoms in frames]
    assert times_ps[0] == 0
    assert times_ps[-1] == pytest.approx(SHORT_PS)
    assert len(set(np.diff(times_ps).round(9))) == 1
    assert len(frames[0]) == summary.dynamics.atoms


def test_free_atoms_keep_their_energy_and_start_temperature(
    summary: DemoSummary,
) -> None:
    """Without forces nothing drifts, and the atoms keep the temperature drawn."""
    dynamics = summary.dynamics
    assert abs(dynamics.drift_meV_per_atom) < 1e-3
    assert dynamics.mean_temperature_K == pytest.approx(summary_names.START_K, rel=1e-3)


@pytest.mark.thorough
def test_same_seed_same_demo(
    calm_checkpoint: Path, summary: DemoSummary, tmp_path: Path
) -> None:
    """The numbers depend on the model and the seed only."""
    model = str(calm_checkpoint)
    again = run_demo(tmp_path / "again", model=model, **SHORT)
    assert again.dynamics == summary.dynamics
    other = run_demo(tmp_path / "other", model=model, seed=2, **SHORT)
    assert other.dynamics != summary.dynamics


@pytest.mark.thorough
def test_curve_uses_the_volumes_of_the_card(
    calm_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With reference values the curve is computed where the teacher's points lie."""
    reference = _reference()
    card = SimpleNamespace(reference_values=reference, known_failures=())
    monkeypatch.setattr("synthzoo.zoo.registry.card_of", lambda _config: card)
    found = run_demo(tmp_path / "demo", model=str(calm_checkpoint), **SHORT)
    known = reference.crystals["diamond"]
    assert found.curve.volumes_A3_per_atom == known.volumes_A3_per_atom
    (line,) = [row for row in demo_table(found).splitlines() if "bulk modulus" in row]
    assert float(line.split("|")[3]) == pytest.approx(400, rel=0.01)
    assert line.split("|")[5].strip() == "442"  # measured


def test_table_compares_energies_in_eV_and_shows_no_negative_zero(
    summary: DemoSummary,
) -> None:
    """Differences of energies have a unit; what rounds to nothing has no sign."""
    diamond = dataclasses.replace(
        summary.diamond, a_A=3.5499, energy_eV_per_atom=-7.0104
    )
    found = dataclasses.replace(summary, diamond=diamond, reference=_reference())
    rows = {
        cells[1].strip(): [cell.strip() for cell in cells[2:-1]]
        for cells in (line.split("|") for line in demo_table(found).splitlines())
    }
    constant = rows["diamond: lattice constant (Å)"]
    assert constant == ["3.550", "3.550", "0.0 %", "3.567"]
    energy = rows["diamond: energy (eV/atom)"]
    assert energy == ["-7.010", "-7.000", "-0.010 eV/atom", ""]


def test_what_the_model_gets_wrong_stands_in_the_report(
    summary: DemoSummary, tmp_path: Path
) -> None:
    """A card's known failures are told where its successes are shown."""
    found = dataclasses.replace(summary, failures=("Graphite is wrong.",))
    write_demo_report(tmp_path, found)
    report = (tmp_path / summary_names.REPORT_FILE).read_text(encoding="utf-8")
    assert "known to get wrong\n\n- Graphite is wrong.\n" in report
    assert "known to get wrong" not in summary.report.read_text(encoding="utf-8")


def _reference() -> ReferenceValues:
    """Return a parabola whose bulk modulus is 400 GPa at 5.6 Å³ an atom."""
    volumes = np.linspace(5.4, 5.8, 9)
    modulus_eV_A3 = 400 / 160.21766208
    energies = modulus_eV_A3 * (volumes - 5.6) ** 2 / (2 * 5.6) - 7
    diamond = Crystal(
        a_A=3.55,
        energy_eV_per_atom=-7.0,
        volumes_A3_per_atom=tuple(volumes.tolist()),
        energies_eV_per_atom=tuple(energies.tolist()),
    )
    graphene = Crystal(a_A=2.46, energy_eV_per_atom=-7.1)
    return ReferenceValues(
        teacher="C-ACE", crystals={"diamond": diamond, "graphene": graphene}
    )


def test_fit_finds_minimum_and_bulk_modulus() -> None:
    """A parabola's minimum and curvature come back."""
    known = _reference().crystals["diamond"]
    curve = fit_curve(known.volumes_A3_per_atom, known.energies_eV_per_atom)
    assert curve.minimum_A3_per_atom == pytest.approx(5.6, abs=1e-3)
    # the equation of state is no parabola: 1 % over this range
    assert curve.bulk_modulus_GPa == pytest.approx(400, rel=0.01)


def test_curve_is_drawn_without_corners() -> None:
    """Many points through the computed ones: their kinks are too small to be seen."""
    known = _reference().crystals["diamond"]
    points = known.volumes_A3_per_atom, known.energies_eV_per_atom
    volumes, energies = smooth_curve(*points)
    assert np.interp(points[0], volumes, energies) == pytest.approx(points[1], abs=1e-4)
    turns = np.diff(np.gradient(energies, volumes))
    assert np.abs(turns).max() < 0.05 * np.ptp(np.gradient(energies, volumes))


@pytest.mark.parametrize("slope", [1.0, -1.0])
def test_fit_without_minimum_says_so(slope: float) -> None:
    """A curve that only rises or falls has no bulk modulus."""
    volumes = np.linspace(5, 6, 7)
    curve = fit_curve(volumes.tolist(), (slope * volumes).tolist())
    assert curve.minimum_A3_per_atom is None
    assert curve.bulk_modulus_GPa is None


def test_few_points_are_not_fitted() -> None:
    """Three points do not determine a curve."""
    curve = fit_curve([5.0, 5.5, 6.0], [1.0, 0.0, 1.0])
    assert curve.minimum_A3_per_atom is None


def test_existing_folder_is_refused(calm_checkpoint: Path, tmp_path: Path) -> None:
    """The demo touches no folder that holds something."""
    mine = tmp_path / "mine.txt"
    mine.write_text("precious")
    with pytest.raises(InputError, match="not empty"):
        run_demo(tmp_path, model=str(calm_checkpoint))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_model_that_collapses_is_named(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """An untrained model cannot hold diamond: one clear error, nothing half-written."""
    with pytest.raises(InputError, match="does not hold diamond together"):
        run_demo(tmp_path / "demo", model=str(tiny_checkpoint))
    assert list(tmp_path.iterdir()) == []


def test_demo_ends_with_a_verdict(summary: DemoSummary) -> None:
    """The calm model survives, but has no wall; the report says so."""
    assert not summary.check.passed
    assert "no wall" in summary.check.lines[0]
    assert "survived 0.02 ps" in summary.check.lines[2]
    report = summary.report.read_text(encoding="utf-8")
    assert "4. Is the model stable? It **failed**" in report
    assert all(line in report for line in summary.check.lines)


@pytest.mark.thorough
def test_tuning_is_tested_on_structures_of_other_origin(
    summary: DemoSummary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One frame each of a few groups is fitted; their relatives are not looked at."""
    recipe = FinetuneRecipe(visits=6, threads=1)
    found = tune_sample(
        find_checkpoint("carbon"), tmp_path, structures=6, seed=1, recipe=recipe
    )
    parts = [
        {group_of(atoms) for atoms in read_structures(tmp_path / name)}
        for name in (summary_names.TRAINING_FILE, summary_names.TEST_FILE)
    ]
    assert len(parts[0]) == found.training_structures == 6
    assert not parts[0] & parts[1]
    assert len(read_structures(tmp_path / summary_names.TEST_FILE)) == (
        found.test_structures
    )
    report = tmp_path / summary_names.REPORT_FILE
    write_demo_report(tmp_path, dataclasses.replace(summary, tuned=found))
    text = report.read_text(encoding="utf-8")
    assert found.verdict in text
    assert "4. The model was fine-tuned on 6 structures" in text
    assert f"| force RMSE (eV/Å) | {found.before[0].force_rmse_eV_A:.3f} |" in text
    assert "fine-tuned on" not in summary.report.read_text(encoding="utf-8")
    figures: list[Figure] = []
    monkeypatch.setattr(
        "synthzoo.demo.report.save_figure", lambda figure, _path: figures.append(figure)
    )
    write_demo_figure(tmp_path, dataclasses.replace(summary, tuned=found))
    write_demo_figure(tmp_path, summary)
    titles = [[axes.get_title() for axes in figure.axes] for figure in figures]
    panel = f"Fine-tuned on 6 DFT structures: errors on {found.test_structures} others"
    assert panel in titles[0]
    assert panel not in titles[1]


@pytest.mark.long  # .ci/run gives the same command in an empty environment
def test_carbon_agrees_with_its_teacher(tmp_path: Path) -> None:
    """The bundled potential has C-ACE's lattice constants within 1 %, no drift."""
    before = _cpu_seconds()
    found = run_demo(tmp_path / "demo")
    assert _cpu_seconds() - before < CPU_LIMIT_S
    assert found.reference is not None
    for crystal in (found.diamond, found.graphene):
        assert crystal.converged
        known = found.reference.crystals[crystal.name]
        assert crystal.a_A == pytest.approx(known.a_A, rel=0.01)
    assert abs(found.dynamics.drift_meV_per_atom) < 1
    # the mean over 0.25 ps of 64 atoms scatters by about 2 %
    assert found.dynamics.mean_temperature_K == pytest.approx(300, rel=0.06)
    assert found.tuned is not None
    assert found.tuned.training_structures == 25
    assert 0 < found.tuned.seconds < found.seconds
    assert found.check.passed, found.check.lines


def _cpu_seconds() -> float:
    """Return what this process and its children that ended have used."""
    return sum(os.times()[:4])


def test_collapse_in_the_dynamics_is_named(
    calm_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Atoms that meet while they move are the model's fault, not the input's."""
    monkeypatch.setattr(run, "Stationary", _put_on_one_place)
    with pytest.raises(InputError, match="collapsed in the dynamics"):
        run_demo(tmp_path / "demo", model=str(calm_checkpoint), **SHORT)
    assert list(tmp_path.iterdir()) == []


def _put_on_one_place(atoms: Atoms) -> None:
    atoms.positions[1] = atoms.positions[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "starting-point"}, "starting point"),
        (
            {
                "elements": ("Si",),
                "isolated_atom_energies_eV": {"Si": 0.0},
                "arguments": {
                    "num_layers": 1,
                    "l_max": 1,
                    "num_features": 4,
                    "avg_num_neighbors": 4.0,
                },
            },
            "knows Si",
        ),
    ],
)
def test_model_without_carbon_is_refused(
    tiny_checkpoint: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    """Another element, or a mere starting point, is refused before any number."""
    config = dataclasses.replace(read_config(tiny_checkpoint), **changes)
    folder = tmp_path / "other"
    golden = [bulk(config.elements[0])]
    write_checkpoint(folder, model=build_model(config), config=config, golden=golden)
    with pytest.raises(InputError, match=message):
        run_demo(tmp_path / "demo", model=str(folder))


def test_figure_without_reference_has_one_curve(
    summary: DemoSummary, tmp_path: Path
) -> None:
    """A model without a card is drawn without a teacher, not with an empty one."""
    assert summary.reference is None
    write_demo_figure(tmp_path, summary)
    assert (tmp_path / summary_names.FIGURE_FILE).stat().st_size > 10_000
