"""Learning curves: what is fitted, measured, kept, and never done twice."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from click.testing import CliRunner

from synthzoo.benchmarking.jobs import DIRECT, DataSource, find_starts, make_jobs
from synthzoo.benchmarking.learning_curves import BenchmarkSummary, run_benchmark
from synthzoo.benchmarking.single_run import Result, read_result, run
from synthzoo.benchmarking.table import (
    draw_learning_curves,
    errors_table,
    published_names,
    read_published,
    summarise,
)
from synthzoo.data.structures import label, write_structures
from synthzoo.errors import InputError
from synthzoo.evaluation.errors import GroupErrors
from synthzoo.finetuning.jobs import DIRECT_VISITS
from synthzoo.finetuning.recipe import FinetuneRecipe, resolve_recipe, times_seen
from synthzoo.runs.workers import InProcess

OFFSET_EV = -148.0
SHORT = FinetuneRecipe(visits=24, replay_share=0.0, threads=1)

SCRIPT = """
import sys
from synthzoo.benchmarking.learning_curves import run_benchmark
from synthzoo.finetuning.recipe import FinetuneRecipe
model, data, output = sys.argv[1:]
recipe = FinetuneRecipe(visits=400, threads=1)
run_benchmark(
    [model], data, data, output,
    sizes=[6], draws=1, least_atoms=3, recipe=recipe, workers=1,
)
"""


@pytest.fixture(scope="module")
def dft(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write 12 rattled crystals with total energies, and a dimer with an absurd one."""
    from synthzoo.zoo.load import load_calculator

    calculator = load_calculator(tiny_checkpoint)
    structures = []
    for seed in range(12):
        atoms = bulk("C", cubic=True)
        atoms.rattle(0.1, seed=seed)
        atoms.info["config_type"] = "even" if seed % 2 == 0 else "odd"
        atoms.calc = calculator
        energy = 1.5 * atoms.get_potential_energy() + OFFSET_EV * len(atoms)
        structures.append(
            label(atoms, energy_eV=energy, forces_eV_A=1.5 * atoms.get_forces())
        )
    dimer = Atoms("C2", [[0, 0, 0], [0, 0, 1.3]], cell=[12.0] * 3, pbc=True)
    structures.append(label(dimer, energy_eV=0.0, forces_eV_A=np.zeros((2, 3))))
    path = tmp_path_factory.mktemp("dft") / "dft.xyz"
    write_structures(path, structures)
    return path


@pytest.fixture(scope="module")
def curves(
    tiny_checkpoint: Path, dft: Path, tmp_path_factory: pytest.TempPathFactory
) -> BenchmarkSummary:
    """Run a benchmark of a checkpoint and of training from nothing."""
    return run_benchmark(
        [str(tiny_checkpoint), DIRECT],
        dft,
        dft,
        tmp_path_factory.mktemp("benchmark") / "out",
        sizes=[0, 4, 8],
        draws=2,
        least_atoms=3,
        recipe=SHORT,
        direct_visits=16,
        executor=InProcess(),
    )


@pytest.mark.thorough
def test_each_start_size_and_draw_is_measured_once(curves: BenchmarkSummary):
    """A start as it is has one draw; the files left are results, table and figure."""
    assert (curves.runs, curves.failed) == (1 + 2 * 2 * 2, 0)
    draws = {(point.model, point.size): point.draws for point in curves.points}
    assert draws == {
        ("tiny", 0): 1,
        **{(name, size): 2 for name in ("tiny", DIRECT) for size in (4, 8)},
    }
    folder = curves.table.parent
    assert {path.name for path in folder.iterdir()} == {
        "learning-curves.png",
        "runs",
        "table.json",
        "table.md",
    }
    assert len(list((folder / "runs").iterdir())) == curves.runs  # no state is left


@pytest.mark.thorough
def test_small_structures_are_left_out_and_groups_are_told(curves: BenchmarkSummary):
    """The dimer, whose energy is 148 eV/atom off, is in neither set."""
    values = json.loads(curves.values.read_text())
    for found in values["runs"]:
        groups = {group["name"]: group["structures"] for group in found["errors"]}
        assert groups == {"all": 12, "even": 6, "odd": 6}
    (untuned,) = (point for point in curves.points if point.size == 0)
    assert (untuned.energy_rmse_meV_per_atom or 1e9) < 500


@pytest.mark.thorough
def test_the_table_holds_means_and_spreads(curves: BenchmarkSummary):
    """What Markdown says is what JSON holds, which is what the runs found."""
    values = json.loads(curves.values.read_text())
    errors = [
        found["errors"][0]["force_rmse_eV_A"]
        for found in values["runs"]
        if (found["model"], found["size"]) == ("tiny", 8)
    ]
    (point,) = (p for p in values["points"] if (p["model"], p["size"]) == ("tiny", 8))
    assert point["force_rmse_eV_A"] == pytest.approx(np.mean(errors))
    assert point["force_std_eV_A"] == pytest.approx(np.std(errors, ddof=1))
    text = curves.table.read_text()
    assert f"{np.mean(errors):.3f} ± {np.std(errors, ddof=1):.3f}" in text
    assert "RMSE on 12 structures of dft.xyz" in text
    assert "| N | tiny | direct |" in text


@pytest.mark.thorough
def test_a_finished_run_is_never_repeated(
    curves: BenchmarkSummary, tiny_checkpoint: Path, dft: Path
):
    """The same call computes nothing; one with a draw more computes that draw."""
    arguments: dict[str, Any] = {
        "sizes": [0, 4, 8],
        "least_atoms": 3,
        "recipe": SHORT,
        "direct_visits": 16,
        "executor": InProcess(),
    }
    before = {path: path.stat().st_mtime_ns for path in _runs(curves)}
    computed: list[Result] = []
    again = run_benchmark(
        [str(tiny_checkpoint), DIRECT],
        dft,
        dft,
        curves.table.parent,
        draws=2,
        on_result=computed.append,
        **arguments,
    )
    assert computed == []
    assert again.points == curves.points
    more = run_benchmark(
        [str(tiny_checkpoint)],
        dft,
        dft,
        curves.table.parent,
        draws=3,
        on_result=computed.append,
        **arguments,
    )
    assert {(found.size, found.draw) for found in computed} == {(4, 2), (8, 2)}
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert [point.draws for point in more.points] == [1, 3, 3]


def _runs(summary: BenchmarkSummary) -> list[Path]:
    return sorted((summary.table.parent / "runs").glob("*.json"))


@pytest.mark.long
def test_a_killed_benchmark_goes_on(tiny_checkpoint: Path, dft: Path, tmp_path: Path):
    """SIGKILL in mid-fit, then the same call: the result of an undisturbed one."""
    output = tmp_path / "out"
    arguments = [str(tiny_checkpoint), str(dft), str(output)]
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *arguments],
        cwd=Path(__file__).parents[2],
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and not list(output.glob("runs/*/fit/last.ckpt")):
        time.sleep(0.005)
    assert process.poll() is None, "the run ended before it could be killed"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not list(output.glob("runs/*.json"))
    recipe = FinetuneRecipe(visits=400, threads=1)
    resumed = run_benchmark(
        [str(tiny_checkpoint)],
        dft,
        dft,
        output,
        sizes=[6],
        draws=1,
        least_atoms=3,
        recipe=recipe,
        workers=1,
    )
    source = DataSource(training=(dft,), test=(dft,), least_atoms=3)
    (job,) = make_jobs(
        find_starts([str(tiny_checkpoint)]), [6], 1, source=source, recipe=recipe
    )
    whole = run(job, {}, tmp_path / "whole.json")
    assert whole.failed is None
    assert read_result(_runs(resumed)[0]).errors == whole.errors


def test_of_one_draw_fewer_structures_are_a_part_of_more(
    tiny_checkpoint: Path, dft: Path
):
    """Sizes of a draw are nested, draws differ, and the test set never changes."""
    jobs = make_jobs(
        find_starts([str(tiny_checkpoint)]),
        [4, 8],
        2,
        source=DataSource(training=(dft,), test=(dft,), least_atoms=3),
        recipe=FinetuneRecipe(),
    )
    drawn = {(job.size, job.draw): _energies(job.training()[0]) for job in jobs}
    assert drawn[4, 0] == drawn[8, 0][:4]
    assert drawn[4, 0] != drawn[4, 1]
    assert {(job.recipe.seed, job.draw) for job in jobs} == {(0, 0), (1, 1)}


def _energies(frames) -> list[float]:
    return [atoms.get_potential_energy() for atoms in frames.structures]


def test_nothing_is_held_out_and_a_fit_from_nothing_is_longer(
    tiny_checkpoint: Path, dft: Path
):
    """All structures are fitted; without a start they are seen more often."""
    tuned, direct = make_jobs(
        find_starts([str(tiny_checkpoint), DIRECT]),
        [8],
        1,
        source=DataSource(training=(dft,), test=(dft,)),
        recipe=FinetuneRecipe(),
    )
    assert (tuned.recipe.held_out_share, tuned.recipe.check_share) == (0.0, 0.0)
    drawn, _ = tuned.training()
    sizes = [len(atoms) for atoms in drawn.structures]
    assert tuned.recipe.visits == resolve_recipe(FinetuneRecipe(), sizes).visits
    assert direct.recipe.visits == math.ceil(DIRECT_VISITS * times_seen(sizes))
    assert (tuned.recipe.visits or 0) < direct.recipe.visits
    assert tuned.start.identity != direct.start.identity


@pytest.mark.thorough
def test_a_fit_that_diverges_is_a_result(
    tiny_checkpoint: Path, dft: Path, tmp_path: Path
):
    """It is told, counted, and not taken for a number; the others go on."""
    wild = FinetuneRecipe(
        visits=24, threads=1, learning_rate=10, gradient_clip=1e30, warmup_steps=1
    )
    found = run_benchmark(
        [str(tiny_checkpoint)],
        dft,
        dft,
        tmp_path / "out",
        sizes=[0, 6],
        draws=1,
        least_atoms=3,
        recipe=wild,
        executor=InProcess(),
    )
    assert (found.runs, found.failed) == (2, 1)
    text = found.table.read_text()
    assert "| 6 | 1 failed |" in text
    (told,) = (line for line in text.splitlines() if "N = 6, draw 0 failed" in line)
    assert "the weights have diverged" in told


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sizes": [14]}, r"Sizes \[14\]: the training files hold 13 structures"),
        ({"sizes": []}, "Sizes are missing"),
        ({"least_atoms": 99}, "no structure of at least 99 atoms"),
        ({"models": [DIRECT]}, "write direct:MODEL"),
        ({"models": []}, "No model is named"),
        ({"models": [DIRECT, DIRECT]}, "direct is named twice"),
        ({"published": "gold"}, "no published curves 'gold'; there are: carbon-gap17"),
        ({"draws": 0}, "draws must be at least 1"),
    ],
    ids=["size", "sizes", "atoms", "shape", "none", "twice", "published", "draws"],
)
def test_what_cannot_be_done_is_said_before_any_fit(
    tiny_checkpoint: Path, dft: Path, tmp_path: Path, changes, message: str
):
    """Nothing is written either."""
    options: dict[str, Any] = {"models": [str(tiny_checkpoint)], "sizes": [4]}
    options |= changes
    models = options.pop("models")
    with pytest.raises(InputError, match=message):
        run_benchmark(models, dft, dft, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_the_shape_of_a_direct_network_can_be_named(tiny_checkpoint: Path):
    """`direct:MODEL` needs no other model."""
    (start,) = find_starts([f"{DIRECT}:{tiny_checkpoint}"])
    assert start.fresh
    assert start.checkpoint.folder == tiny_checkpoint


@pytest.mark.parametrize("name", published_names())
def test_published_curves_are_whole(name: str):
    """Each says its source, draws what it has, and falls with more structures."""
    found = read_published(name)
    assert "doi" in found.source
    assert set(found.drawn) <= set(found.curves)
    for curve in found.curves.values():
        sizes = list(curve)
        assert sizes == sorted(sizes)
        forces = [force for _, force in curve.values() if force is not None]
        assert forces == sorted(forces, reverse=True)


def test_published_numbers_stand_beside_ours(tmp_path: Path):
    """A column for each published curve, at our sizes only; both in the figure."""
    import matplotlib.image

    errors = GroupErrors(
        name="all",
        structures=450,
        atoms=28337,
        energy_rmse_meV_per_atom=60.0,
        force_rmse_eV_A=0.85,
    )
    results = [
        Result(
            model="ours",
            size=size,
            draw=0,
            errors=(errors,),
            failed=None,
            seconds=1.0,
            cpu_seconds=1.0,
        )
        for size in (0, 25, 100)
    ]
    published = read_published("carbon-gap17")
    table = errors_table(summarise(results), published)
    row = next(line for line in table.splitlines() if line.startswith("| 25 |"))
    assert row.startswith("| 25 | 60.0 / 0.850 | 192.3 / 1.272 |")
    assert "73.1 / –" in row
    assert "| 0 | 60.0 / 0.850 |  |" in table
    assert len(table.splitlines()) == 5
    path = draw_learning_curves(tmp_path / "x.png", summarise(results), published)
    assert matplotlib.image.imread(path).shape[1] > 1000


@pytest.mark.thorough
def test_the_command_prints_the_table(tiny_checkpoint: Path, dft: Path, tmp_path: Path):
    """Markdown or JSON on stdout, a line for each run on stderr."""
    from synthzoo.cli import main

    command = ["benchmark", str(tiny_checkpoint), "--training", str(dft)]
    command += ["--test", str(dft), "-o", str(tmp_path / "out"), "--sizes", "0"]
    command += ["--least-atoms", "3", "--workers", "1"]
    result = CliRunner().invoke(main, command, catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("# Learning curves")
    assert "tiny, N = 0, draw 0: " in result.stderr
    again = CliRunner().invoke(main, [*command, "--json"], catch_exceptions=False)
    assert json.loads(again.stdout)["runs"] == 1
    wrong = CliRunner().invoke(main, [*command, "--sizes", "many"])
    assert wrong.exit_code == 2
    assert "is not of the form 25,100,800" in wrong.stderr
