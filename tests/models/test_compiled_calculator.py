"""Calculators that the engine computes: no torch, lists with a skin, threads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase.build import bulk

from benchmarks.conservation import run
from synthzoo.zoo.load import load_calculator

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.models.calculator import SynthzooCalculator

ALONE = """
import json, sys
from resource import RUSAGE_SELF, getrusage
from ase.build import bulk
from synthzoo import load_calculator, predict_file, verify_model
atoms = bulk("C")
atoms.calc = load_calculator("carbon", device="cpu")
atoms.get_forces()
used = getrusage(RUSAGE_SELF)
atoms.write("one.xyz")
predict_file("carbon", "one.xyz", "two.xyz", device="cpu")
passed = verify_model("carbon").passed
loaded = sorted({"torch", "nequip", "e3nn", "lightning"} & set(sys.modules))
print(json.dumps([loaded, passed, used.ru_utime + used.ru_stime]))
"""


def alone(folder: Path) -> tuple[list[str], bool, float]:
    """Return what a fresh process has loaded, whether it computes well, CPU seconds."""
    done = subprocess.run(
        [sys.executable, "-c", ALONE],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded, passed, seconds = json.loads(done.stdout)
    return loaded, passed, seconds


@pytest.mark.thorough
def test_a_fresh_process_computes_in_three_seconds_without_torch(tmp_path: Path):
    """Loading, computing, predicting a file, verifying; once the loops are compiled."""
    (tmp_path / "first").mkdir()
    alone(tmp_path / "first")
    loaded, passed, seconds = alone(tmp_path)
    assert (loaded, passed) == ([], True)
    assert seconds < 3


def walk(steps: int) -> list[Atoms]:
    """Return the steps of a run in which atoms move by more than half of the skin."""
    atoms, rng = bulk("C", cubic=True).repeat(2), np.random.default_rng(4)
    drift = 0.1 * rng.normal(size=atoms.positions.shape)
    frames = []
    for _ in range(steps):
        atoms.positions += drift
        atoms.set_cell(atoms.cell.array * 1.001, scale_atoms=True)
        frames.append(atoms.copy())
    return frames


def computed(calculator: SynthzooCalculator, atoms: Atoms) -> dict[str, Any]:
    calculator.calculate(atoms)
    return calculator.results


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_structure_has_the_same_bits_wherever_a_run_begins(
    tiny_checkpoint: Path, threads: int
):
    """A run that is taken up again goes on as if it had never been stopped."""
    calculator = load_calculator(tiny_checkpoint, device="cpu", threads=threads)
    for atoms in walk(12):
        fresh = load_calculator(tiny_checkpoint, device="cpu", threads=threads)
        here, there = computed(calculator, atoms), computed(fresh, atoms)
        for name in ("energy", "forces", "energies", "stress"):
            np.testing.assert_array_equal(here[name], there[name])


def test_a_list_serves_for_many_steps(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
):
    """Small steps ask for pairs three times in fifty steps at most."""
    from synthzoo.models.engine import links

    searches = []

    def counted(*given: Any) -> Any:
        searches.append(given)
        return find(*given)

    find = links.find_near
    monkeypatch.setattr(links, "find_near", counted)
    calculator = load_calculator(tiny_checkpoint, device="cpu")
    atoms, rng = bulk("C", cubic=True), np.random.default_rng(0)
    for _ in range(50):
        atoms.positions += 0.003 * rng.normal(size=atoms.positions.shape)
        calculator.calculate(atoms)
    assert 1 <= len(searches) <= 3


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_nothing_but_rounding(tiny_checkpoint: Path, threads: int):
    atoms = bulk("C", cubic=True).repeat(4)
    atoms.rattle(0.1, seed=1)
    one, more = (
        computed(load_calculator(tiny_checkpoint, device="cpu", threads=count), atoms)
        for count in (1, threads)
    )
    assert more["energy"] == pytest.approx(one["energy"], abs=1e-6 * len(atoms))
    np.testing.assert_allclose(more["forces"], one["forces"], atol=1e-6)
    np.testing.assert_allclose(more["stress"], one["stress"], atol=1e-6)


@pytest.mark.slow
def test_energy_is_conserved_for_two_picoseconds():
    """Carbon at 1000 K: the list is made anew many times, and leaves no trace."""
    atoms = bulk("C", cubic=True).repeat(2)
    atoms.calc = load_calculator("carbon", device="cpu")
    times, energies = run(atoms, 2.0, 1.0)
    slope, _ = np.polyfit(times, energies, 1)
    assert abs(slope) < 0.1  # meV/atom/ps
    assert np.ptp(energies) < 5
