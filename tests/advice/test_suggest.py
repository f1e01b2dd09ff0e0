"""Structures to compute next: the least certain first, no two alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase.build import bulk
from click.testing import CliRunner

from synthzoo.advice.choice import choose
from synthzoo.advice.next_structures import _starts, suggest
from synthzoo.cli import main
from synthzoo.data.structures import read_structures, write_structures
from synthzoo.errors import InputError
from synthzoo.models.checkpoint import load_model, write_checkpoint
from synthzoo.models.hidden import features_of_each
from synthzoo.models.uncertainty import Uncertainty
from synthzoo.zoo.load import load_calculator

if TYPE_CHECKING:
    from ase import Atoms

SHORT = """
md:
  timestep_fs: 1
  frame_fs: 2
  stages: [{kind: dynamics, name: warm, duration_fs: 10, start_K: 300}]
"""


def rattled(seed: int, by_A: float) -> Atoms:
    atoms = bulk("C", cubic=True)
    atoms.rattle(by_A, seed=seed)
    return atoms


@pytest.fixture(scope="module")
def sure(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a model that was fitted to almost perfect diamond, and knows it."""
    model, config = load_model(tiny_checkpoint)
    calculator = load_calculator(tiny_checkpoint)
    seen = list(features_of_each(calculator, [rattled(n, 0.02) for n in range(5)]))
    folder = tmp_path_factory.mktemp("sure") / "sure"
    write_checkpoint(
        folder,
        model=model,
        config=config,
        golden=[bulk("C")],
        uncertainty=Uncertainty.of(seen),
    )
    return folder


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """Write near and far structures, one twice, and one in which atoms have met."""
    fused = rattled(1, 0.02)
    fused.positions[1] = fused.positions[0] + 0.3
    frames = [
        rattled(1, 0.02),
        rattled(2, 0.3),
        rattled(2, 0.3),
        rattled(3, 0.1),
        fused,
    ]
    write_structures(tmp_path / "pool.xyz", frames)
    return tmp_path / "pool.xyz"


def test_what_is_known_is_not_chosen_again():
    """Two pairs of twins: one of each pair, then the others, which bring little."""
    rng = np.random.default_rng(0)
    seen = rng.normal(size=(100, 4)) * [1, 1, 1e-2, 1e-2]
    one, two = np.array([[0, 0, 1.0, 0]] * 3), np.array([[0, 0, 0, 0.9]] * 3)
    known = Uncertainty.of(list(seen[:, None]))
    found = choose([one, one, two, two, seen[:3]], known, 4)
    assert {found[0].index, found[1].index} == {0, 2}
    first, second, third, last = [choice.deviation_eV_A for choice in found]
    assert first > 5 * second
    assert second < 2 * last < 2 * third < 2 * second


def test_what_is_rare_counts_little():
    """Nine of ten candidates are alike: one of them, though the tenth is farther."""
    seen = np.random.default_rng(0).normal(size=(100, 4)) * [1, 1, 1e-2, 1e-2]
    known = Uncertainty.of(list(seen[:, None]))
    common, rare = np.array([[0, 0, 1.0, 0]] * 3), np.array([[0, 0, 0, 1.5]] * 3)
    (first,) = choose([rare] + 9 * [common], known, 1)
    assert first.index != 0


def test_what_brings_nothing_is_chosen_without_fault():
    """Of gains no larger than rounding errors, all may be negative."""
    rng = np.random.default_rng(0)
    seen = rng.normal(size=(2000, 32)) * np.logspace(0, -3, 32)
    known = Uncertainty.of(list(seen[:, None]))
    for size in 10.0 ** -np.arange(4, 9).repeat(40):
        pool = [seen[:1] * size * factor for factor in rng.normal(size=2)]
        assert sorted(found.index for found in choose(pool, known, 5)) == [0, 1]


def test_the_variance_is_that_of_the_posterior():
    """What is reported is the mean over the candidates with the choice included."""
    rng = np.random.default_rng(0)
    seen, others = rng.normal(size=(50, 3)), list(rng.normal(size=(4, 5, 3)))
    known = Uncertainty.of(list(seen[:, None]), forces_eV_A=2.0)
    (first,) = choose(others, known, 1)
    moments = 50 * np.linalg.inv(known.root @ known.root.T)
    moments += others[first.index].T @ others[first.index]
    together = np.concatenate(others)
    variances = np.einsum(
        "ij,jk,ik->i", together, np.linalg.inv(moments / 50), together
    )
    assert first.deviation_eV_A == pytest.approx(2 * np.sqrt(variances.mean()))


def test_of_two_that_are_as_good_the_smaller_is_chosen():
    """DFT of the larger costs more."""
    known = Uncertainty.of(list(np.eye(3)[:, None]))
    row = np.array([[5.0, 0, 0]])
    (found,) = choose([row.repeat(8, axis=0), row.repeat(2, axis=0)], known, 1)
    assert found.index == 1


def test_where_symmetry_forbids_forces_only_the_energy_counts():
    """Of two that are alike the smaller would be chosen, but its forces say nothing."""
    known = Uncertainty.of(list(np.eye(3)[:, None]))
    row = np.array([[5.0, 0, 0]])
    pair = [row.repeat(8, axis=0), row.repeat(2, axis=0)]
    first, second = choose(pair, known, 2, still={1})
    assert (first.index, second.index) == (0, 1)
    assert second.deviation_eV_A == pytest.approx(first.deviation_eV_A)


def test_the_most_telling_come_first(sure: Path, pool: Path, tmp_path: Path):
    """Copies, and atoms that coincide, are left out; no labels are written."""
    done = suggest(sure, pool, tmp_path / "next.xyz", count=2)
    assert (done.structures, done.candidates, done.left_out) == (2, 5, 2)
    assert done.before_eV_A > done.after_eV_A
    first, second = read_structures(tmp_path / "next.xyz")
    np.testing.assert_allclose(first.positions, rattled(2, 0.3).positions, atol=1e-6)
    assert (first.info["suggestion"], second.info["suggestion"]) == (1, 2)
    assert first.info["origin"].endswith("pool.xyz@1")
    assert first.arrays["forces_uncertainty"].shape == (8,)
    assert first.calc is None or not first.calc.results


def test_the_command_says_what_it_chose(sure: Path, pool: Path, tmp_path: Path):
    """How many of how many, and how uncertain they are."""
    command = [
        "suggest",
        str(sure),
        str(pool),
        "-n",
        "2",
        "-o",
        str(tmp_path / "n.xyz"),
    ]
    result = CliRunner().invoke(main, [*command, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert (found["structures"], found["candidates"]) == (2, 5)
    again = CliRunner().invoke(main, command)
    assert again.exit_code == 1
    assert "exists" in again.stderr


def test_what_is_known_already_is_left_out(sure: Path, pool: Path, tmp_path: Path):
    """However its atoms are sorted, and wherever the cell begins."""
    moved = rattled(2, 0.3)[::-1]
    moved.positions += 0.4
    moved.wrap()
    moved.write(tmp_path / "known.xyz")
    done = suggest(
        sure, pool, tmp_path / "n.xyz", count=4, known=[tmp_path / "known*.xyz"]
    )
    assert (done.structures, done.left_out) == (2, 3)
    (tmp_path / "all.xyz").write_text(pool.read_text())
    with pytest.raises(InputError, match="or they are known"):
        suggest(sure, pool, tmp_path / "2.xyz", count=4, known=tmp_path / "all.xyz")


def test_inputs_stand_beside_the_choice(sure: Path, pool: Path, tmp_path: Path):
    """In the same order, each with its reason; an old folder stops it at once."""
    command = ["suggest", str(sure), str(pool), "-n", "2", "--code", "gpaw"]
    done = CliRunner().invoke(main, [*command, "-o", str(tmp_path / "n.xyz")])
    assert done.exit_code == 0, done.stderr
    for number, atoms in enumerate(read_structures(tmp_path / "n.xyz"), start=1):
        folder = tmp_path / "n-gpaw" / str(number)
        assert f"reason: {atoms.info['reason']}" in (folder / "about.txt").read_text()
    (tmp_path / "n.xyz").unlink()
    again = CliRunner().invoke(main, [*command, "-o", str(tmp_path / "n.xyz")])
    assert again.exit_code == 1
    assert "n-gpaw exists" in again.stderr
    assert not (tmp_path / "n.xyz").exists()


@pytest.mark.thorough
def test_a_single_structure_is_explored_by_dynamics(sure: Path, tmp_path: Path):
    """Frames of the runs are candidates; the same call gives the same structures."""
    rattled(1, 0.02).write(tmp_path / "start.xyz")
    (tmp_path / "short.yaml").write_text(SHORT)
    options: dict[str, Any] = {
        "count": 3,
        "protocol": tmp_path / "short.yaml",
        "runs": 2,
        "workers": 1,
    }
    for name in ("one.xyz", "two.xyz"):
        done = suggest(sure, tmp_path / "start.xyz", tmp_path / name, **options)
        assert done.candidates == 1 + 2 * 5
    assert (tmp_path / "one.xyz").read_bytes() == (tmp_path / "two.xyz").read_bytes()
    first = read_structures(tmp_path / "one.xyz")[0]
    assert "dynamics, replica-" in first.info["origin"]
    assert {path.name for path in tmp_path.iterdir()} == {
        "start.xyz",
        "short.yaml",
        "one.xyz",
        "two.xyz",
    }


def test_dynamics_start_from_what_can_move(sure: Path):
    """Not from single atoms, or elements that the model does not know."""
    calculator = load_calculator(sure)
    others = [bulk("C")[:1], bulk("Cu", cubic=True)]
    able = rattled(1, 0.02)
    assert list(_starts([*others, able, able], calculator)) == [able]
    assert list(_starts(others, calculator)) == others


def test_a_model_that_does_not_know_is_refused(
    tiny_checkpoint: Path, pool: Path, tmp_path: Path
):
    """The message says how it comes to know."""
    with pytest.raises(InputError, match="does not know how sure it is"):
        suggest(tiny_checkpoint, pool, tmp_path / "next.xyz")


def test_other_elements_leave_nothing_to_choose(sure: Path, tmp_path: Path):
    """No output and no working folder is left."""
    write_structures(tmp_path / "copper.xyz", [bulk("Cu"), bulk("Cu", a=3.7)])
    with pytest.raises(InputError, match="None of the 2 candidates can be chosen"):
        suggest(sure, tmp_path / "copper.xyz", tmp_path / "next.xyz", count=1)
    assert [path.name for path in tmp_path.iterdir()] == ["copper.xyz"]
