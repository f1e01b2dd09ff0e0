"""Short dynamics of given structures: which are run, and how they end."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.io import write
from ase.units import kB

from synthzoo.errors import TeacherError
from synthzoo.generation.contacts import nearest_share
from synthzoo.generation.kinds.from_file import ShortDynamics
from synthzoo.generation.recipe import GenerateRecipe
from synthzoo.generation.short_dynamics import frames, trajectories
from synthzoo.generation.start_files import with_hashes
from synthzoo.teachers import Teacher
from tests.unsound_potentials import (
    NotANumber,
    NoWall,
    Raising,
    Repulsive,
    Sound,
    Whirling,
    copper,
)

SEED = (5, 0)


class FastWhirling(Whirling):
    """Turns gain enough energy to be seen soon."""

    strength_eV_A2 = 3.0


def teacher(calculator: Any) -> Teacher:
    return Teacher(
        reference="ase:EMT",
        software="ASE",
        sha256="",
        elements=("Cu",),
        calculator=calculator,
        isolated_atom_energies_eV={"Cu": 0.0},
        open_directions="kept",
    )


def settled(tmp_path: Path, *structures: Atoms, **changes: Any) -> ShortDynamics:
    """Return a part on a file with these structures."""
    write(tmp_path / "mine.xyz", structures)
    settings: dict[str, Any] = {
        "trajectories": 1,
        "temperatures_K": (300.0,),
        "pressures_GPa": (),
        "min_atoms": 32,
        "duration_fs": 100,
        "sample_fs": 20,
    }
    part = ShortDynamics(structures=str(tmp_path / "mine.xyz"), **settings | changes)
    recipe = GenerateRecipe(element="Cu", seed=5, driver="ase:EMT", parts=(part,))
    (found,) = with_hashes(recipe).parts
    assert isinstance(found, ShortDynamics)
    return found


def run(
    part: ShortDynamics, calculator: Calculator | None = None, *, seed: int = 0
) -> list[Atoms]:
    """Return the structures of a trajectory, at a pressure if the part has one."""
    runs = trajectories(replace(part, trajectories=8), SEED)
    chosen = max(runs, key=lambda each: len(each.pressures_GPa))
    driver = teacher(calculator or EMT())
    return list(frames(chosen, driver, np.random.default_rng(seed)))


def slab() -> Atoms:
    atoms: Atoms = fcc111("Cu", (2, 2, 2), vacuum=5.0, periodic=True)
    atoms.info.clear()
    return atoms


def test_structures_take_turns_through_all_conditions(tmp_path: Path):
    """Each combination once; no pressure for a slab, even one that is periodic."""
    part = settled(
        tmp_path,
        bulk("Cu"),
        slab(),
        trajectories=12,
        temperatures_K=(300.0, 900.0),
        pressures_GPa=(0.0, 5.0),
    )
    runs = trajectories(part, SEED)
    numbers = [each.only for each in runs]
    assert len(set(numbers[:2])) == 2
    assert numbers == numbers[:2] * 6
    seen = Counter(
        (each.only, each.temperatures_K, each.pressures_GPa) for each in runs
    )
    crystal = [(t, p) for (only, t, p), n in seen.items() if only == (0,) and n == 1]
    assert len(crystal) == 6
    assert {p for only, _, p in seen if only == (1,)} == {()}
    assert trajectories(part, (6, 0)) != runs


@pytest.mark.thorough
def test_frames_say_when_and_how_hot_and_fit_both(tmp_path: Path):
    """Potential energy takes up about 3/2 kT per atom, within a factor of two."""
    excess = []
    for temperature in (200.0, 800.0):
        part = settled(tmp_path, bulk("Cu"), temperatures_K=(temperature,))
        made = run(part)
        assert [frame.info["time_fs"] for frame in made] == [20, 40, 60, 80, 100]
        assert {frame.info["temperature_K"] for frame in made} == {temperature}
        assert {len(frame) for frame in made} == {32}
        found = np.mean([energy_eV(frame) for frame in made]) - energy_eV(bulk("Cu"))
        excess.append(found / (1.5 * kB * temperature))
    assert excess == pytest.approx([1, 1], rel=0.5)


def energy_eV(atoms: Atoms) -> float:
    atoms.calc = EMT()
    return float(atoms.get_potential_energy()) / len(atoms)


def test_only_a_barostat_changes_the_cell(tmp_path: Path):
    """Copper at 30 GPa loses over 5 % of its volume in 60 fs."""
    part = settled(tmp_path, bulk("Cu"), min_atoms=8, duration_fs=60, barostat_fs=40.0)
    volumes = {}
    for pressures in ((), (30.0,)):
        made = run(replace(part, pressures_GPa=pressures))
        volumes[pressures] = made[-1].get_volume() / len(made[-1])
        assert made[-1].info.get("pressure_GPa") == (pressures or (None,))[0]
    assert volumes[()] == pytest.approx(bulk("Cu").get_volume())
    assert volumes[30.0,] < 0.95 * volumes[()]


@pytest.mark.thorough
def test_a_squeezed_cell_expands_without_overshooting(tmp_path: Path):
    """Copper at 80 % of its volume comes back, and goes little farther."""
    squeezed = bulk("Cu", a=3.61 * 0.8 ** (1 / 3))
    settings: dict[str, Any] = {"duration_fs": 200, "sample_fs": 20, "min_atoms": 8}
    part = settled(tmp_path, squeezed, pressures_GPa=(0.0,), barostat_fs=50, **settings)
    volumes = np.array([frame.get_volume() / len(frame) for frame in run(part)])
    volumes /= bulk("Cu").get_volume()
    assert volumes[0] < 0.95
    assert 0.97 < volumes[-1] < 1.05
    assert volumes.max() < 1.05


def test_a_driver_without_stress_keeps_the_cell(tmp_path: Path):
    """The trajectory is run all the same."""
    part = settled(tmp_path, bulk("Cu"), pressures_GPa=(50.0,))
    for frame in run(part, Sound()):
        assert frame.get_volume() / len(frame) == pytest.approx(bulk("Cu").get_volume())
        assert "pressure_GPa" not in frame.info


def test_vacuum_and_open_sides_stay(tmp_path: Path):
    """A slab keeps its cell and its flags; so does a molecule without a cell."""
    pair = Atoms("Cu2", [[0, 0, 0], [0, 0, 2.3]])
    for start in (slab(), pair):
        frame = run(settled(tmp_path, start, pressures_GPa=(5.0,), min_atoms=1))[-1]
        assert frame.pbc.tolist() == start.pbc.tolist()
        if start.pbc.any():
            assert frame.cell.array == pytest.approx(start.cell.array)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (NotANumber, "not finite numbers"),
        (Raising, "no neighbour list for this"),
        (NoWall, "of the sum of their covalent radii"),
        (FastWhirling, "The energy had risen"),
    ],
)
def test_a_trajectory_ends_where_it_goes_wrong(
    tmp_path: Path, fault: type[Calculator], reason: str
):
    """What was yielded before is sound; the error says what happened."""
    part = settled(
        tmp_path,
        copper(1),
        temperatures_K=(1500.0,),
        duration_fs=2000,
        sample_fs=5,
        min_atoms=1,
        friction_per_fs=1e-4,
        closest=0.7,
    )
    part = trajectories(part, SEED)[0]
    made: list[Atoms] = []
    moving = frames(part, teacher(fault()), np.random.default_rng(0))
    with pytest.raises((TeacherError, RuntimeError), match=reason):
        made.extend(moving)
    assert all(nearest_share(frame) >= 0.7 for frame in made)


@pytest.mark.thorough
def test_a_cell_that_blows_up_ends_its_trajectory(tmp_path: Path):
    """Atoms that only repel each other at a negative pressure."""
    part = settled(
        tmp_path,
        bulk("Cu"),
        duration_fs=3000,
        barostat_fs=100.0,
        pressures_GPa=(-10.0,),
    )
    with pytest.raises(TeacherError, match="volume had changed by a factor of"):
        run(part, Repulsive())


def test_nothing_but_the_stream_of_random_numbers_decides(tmp_path: Path):
    """The same stream gives the same positions, another one does not."""
    part = settled(tmp_path, bulk("Cu"), duration_fs=20)
    once, again, other = (run(part, seed=seed)[-1].positions for seed in (1, 1, 2))
    assert np.array_equal(once, again)
    assert not np.allclose(once, other)
