"""Replicas as one batch of torch-sim: the same forces, dynamics and verdicts."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from click.testing import CliRunner

from synthzoo import load_calculator, run_md
from synthzoo.cli import main
from synthzoo.data.structures import read_structures
from synthzoo.errors import InputError
from synthzoo.stability import torch_sim as engine
from synthzoo.stability.integrators import Settings
from synthzoo.stability.protocol import Conservation, Dimers, Dynamics, Limits, MdRecipe
from synthzoo.stability.replica import ReplicaJob, first_state
from synthzoo.stability.state import read_state, settle_states, write_states
from synthzoo.stability.torch_sim import SKIN_A, Batch
from tests.conftest import mixed
from tests.extras import need

if TYPE_CHECKING:
    from synthzoo.models.calculator import SynthzooCalculator
    from synthzoo.stability.verdict import Verdict

SETTINGS = Settings(
    thermostat="langevin", friction_per_fs=0.1, timestep_fs=1.0, barostat_fs=1000.0
)
WARM = Dynamics(name="warm", duration_fs=60, start_K=300, end_K=600)
FREE = Dynamics(name="free", ensemble="nve", duration_fs=60)
PRESSURE = Dynamics(name="pressure", ensemble="npt", duration_fs=60, start_K=300)
SHORT: dict[str, Any] = {"save_fs": 20.0, "sample_fs": 5.0, "frame_fs": 10.0}


@pytest.fixture(autouse=True)
def _torch_sim() -> None:
    """Skip all without the package; in CI, fail."""
    need("torch_sim", "torch-sim")


@pytest.fixture(scope="module")
def carbon() -> SynthzooCalculator:
    """Return the calculator of the zoo's carbon."""
    return load_calculator("carbon", device="cpu")


def diamond(rattle_A: float = 0.02) -> Atoms:
    """Return eight atoms near their places."""
    atoms: Atoms = bulk("C", cubic=True)
    atoms.rattle(rattle_A, seed=1)
    return atoms


def several() -> list[Atoms]:
    """Return structures that are periodic in three, two, one and no direction."""
    slab, wire = diamond(0.1), diamond(0.1).repeat((2, 1, 1))
    slab.pbc, wire.pbc = (True, True, False), (True, False, False)
    slab.positions += [40, -30, 5]  # not wrapped
    cluster = Atoms("C5", positions=np.random.default_rng(0).uniform(0, 3, (5, 3)))
    return [diamond(0.1), slab, bulk("C"), wire, cluster]


def run(output: Path, structures: Any, **changes: Any) -> Verdict:
    """Check carbon with torch-sim in this process."""
    recipe = MdRecipe(**(SHORT | changes))
    return run_md(
        load_calculator("carbon", device="cpu"),
        structures,
        output,
        protocol=recipe,
        engine="torch-sim",
    )


def frames_of(verdict: Verdict) -> list[list[Atoms]]:
    """Return the trajectory of each replica."""
    return [read_structures(replica.trajectory) for replica in verdict.replicas]


def alloys() -> list[Atoms]:
    """Return bcc crystals of one, two and three elements."""
    crystals = [bulk("W", cubic=True).repeat((2, 2, 1)) for _ in range(3)]
    for number, atoms in enumerate(crystals):
        mixed(atoms, ("Ta", "Mo", "W")[: number + 1]).rattle(0.1, seed=number)
    return crystals


@pytest.mark.parametrize(
    ("model", "structures"), [("carbon", several()), ("motaw-nep-2k", alloys())]
)
def test_a_batch_has_the_forces_of_its_structures(
    model: str, structures: list[Atoms]
) -> None:
    """Whatever is periodic, whatever the elements, and after the atoms have moved."""
    calculator = load_calculator(model, device="cpu")
    structures = [atoms.copy() for atoms in structures]
    rng = np.random.default_rng(1)
    for atoms in structures:
        atoms.set_velocities(rng.normal(0, 1 / 3, (len(atoms), 3)))
    batch = Batch(calculator, structures, SETTINGS, heated=False)
    first = [atoms.copy() for atoms in structures]
    for _ in range(15):
        batch.step(None)
    batch.show(structures)
    for atoms, before in zip(structures, first, strict=True):
        assert np.abs(atoms.positions - before.positions).max() > SKIN_A / 2
        alone = atoms.copy()
        alone.calc = calculator
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        assert energy == pytest.approx(alone.get_potential_energy(), abs=1e-4)
        assert forces == pytest.approx(alone.get_forces(), abs=1e-3)


def test_the_interface_since_torch_sim_0_6_is_served(
    carbon: SynthzooCalculator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its steps take the model; one stands in for it, which needs Python 3.12."""
    torch_sim = engine._quiet_import()
    if not hasattr(torch_sim, "nve"):
        pytest.skip("this torch-sim has that interface, and all other tests use it")

    def nve_step(state: Any, model: Any, *, dt: Any) -> Any:
        return torch_sim.nve(model, dt=dt, kT=torch.zeros(()))[1](state)

    def moved() -> list[Atoms]:
        structures = [diamond(), diamond(0.1)]
        batch = Batch(carbon, structures, SETTINGS, heated=False)
        for _ in range(3):
            batch.step(None)
        batch.show(structures)
        return structures

    before = moved()
    present = SimpleNamespace(integrators=torch_sim.integrators, nve_step=nve_step)
    monkeypatch.setattr(engine, "_quiet_import", lambda: present)
    for found, expected in zip(moved(), before, strict=True):
        assert (found.positions == expected.positions).all()


def test_a_structure_without_numbers_leaves_the_others_alone(
    carbon: SynthzooCalculator,
) -> None:
    """Two atoms on one place, and an atom at no place at all."""
    structures = several()[:3]
    structures[0].positions[1] = structures[0].positions[0]
    structures[1].positions[3, 2] = np.nan
    Batch(carbon, structures, SETTINGS, heated=False).show(structures)
    finite = [np.isfinite(atoms.get_forces()).all() for atoms in structures]
    assert finite == [False, False, True]
    assert [np.isfinite(a.get_potential_energy()) for a in structures][1:] == [0, 1]


@pytest.mark.thorough
def test_the_thermostat_heats_and_leaves_the_centre_at_rest(
    carbon: SynthzooCalculator,
) -> None:
    """Eight crystals from rest: the mean temperature within its own scatter of 4 %."""
    structures = [diamond() for _ in range(8)]
    batch = Batch(carbon, structures, SETTINGS, heated=True)
    kinetic = []
    for step in range(160):
        batch.step(600.0)
        if step >= 60 and step % 5 == 0:
            batch.show(structures)
            kinetic.append([atoms.get_kinetic_energy() for atoms in structures])
    temperature_K = 2 * np.mean(kinetic) / (3 * 8 - 3) / units.kB
    assert temperature_K == pytest.approx(600, rel=0.12)
    for atoms in structures:
        assert atoms.get_momenta().sum(axis=0) == pytest.approx(0, abs=1e-9)


@pytest.mark.thorough
def test_constant_energy_is_that_of_ase(tmp_path: Path) -> None:
    """The same seeds, the same trajectories, drift and series, but for rounding."""
    recipe = MdRecipe(stages=(FREE,), replicas=2, **SHORT)
    model = load_calculator("carbon", device="cpu")
    ours = run(tmp_path / "torch-sim", diamond(), stages=(FREE,), replicas=2)
    theirs = run_md(model, diamond(), tmp_path / "ase", protocol=recipe)
    assert ours.passed
    assert str(ours.provenance["engine"]).startswith("torch-sim 0.")
    assert str(theirs.provenance["engine"]).startswith("ase 3.")
    for found, expected in zip(frames_of(ours), frames_of(theirs), strict=True):
        assert [a.info for a in found] == [a.info for a in expected]
        assert found[-1].positions == pytest.approx(expected[-1].positions, abs=1e-4)
        assert found[-1].get_momenta() == pytest.approx(
            expected[-1].get_momenta(), abs=1e-3
        )
    for mine, other in zip(ours.replicas, theirs.replicas, strict=True):
        (drift,), (wanted,) = mine.drifts, other.drifts
        assert drift.fluctuation_meV_per_atom == pytest.approx(
            wanted.fluctuation_meV_per_atom, rel=0.02
        )
        lines = [each.series.read_text().splitlines() for each in (mine, other)]
        assert len(lines[0]) == len(lines[1])


@pytest.mark.thorough
def test_the_order_in_the_time_step_is_seen(tmp_path: Path) -> None:
    """Three time steps from one start, as with ASE; curves are computed before."""
    steps = Conservation(name="steps", duration_fs=80)
    stages = (Dimers(points=10), WARM, steps)
    verdict = run(tmp_path / "md", diamond(), stages=stages, limits=Limits(order=1.0))
    assert [scan.kind for scan in verdict.scans] == ["dimer"]
    (replica,) = verdict.replicas
    assert [drift.timestep_fs for drift in replica.drifts] == [0.5, 2.0, 1.0]
    assert replica.order == pytest.approx(2, abs=0.4)


@pytest.mark.thorough
def test_one_replica_fails_and_the_others_live(tmp_path: Path) -> None:
    """Far from equilibrium it becomes hot at constant energy; it is left out then."""
    limits = Limits(temperature_factor=1.0, temperature_margin_K=100.0)
    verdict = run(
        tmp_path / "md",
        [diamond(), diamond(0.25), diamond()],
        stages=(FREE,),
        replicas=3,
        limits=limits,
    )
    assert [replica.survived for replica in verdict.replicas] == [True, False, True]
    failed = verdict.replicas[1]
    assert failed.failure is not None
    assert failed.failure.kind == "temperature"
    assert failed.failure.time_fs < 60
    before, after = read_structures(failed.folder / "failure.traj")
    assert before.info["time_fs"] < after.info["time_fs"] == failed.failure.time_fs
    lengths = [len(frames) for frames in frames_of(verdict)]
    assert lengths[0] == lengths[2] == 7
    assert lengths[1] < 7
    assert (tmp_path / "md" / "report.md").is_file()


@pytest.mark.thorough
def test_an_interrupted_batch_ends_as_if_undisturbed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the middle of two parts, noise and all: the same to the last bit."""
    stages = (WARM, FREE)
    whole = run(tmp_path / "whole", diamond(), stages=stages, replicas=2)
    for stop in (13, 30):
        left = iter(range(stop))
        step = Batch.step

        def interrupted(batch: Batch, target_K: float | None) -> None:
            if next(left, None) is None:  # noqa: B023
                raise KeyboardInterrupt
            step(batch, target_K)  # noqa: B023

        with monkeypatch.context() as patch:
            patch.setattr(Batch, "step", interrupted)
            with pytest.raises(KeyboardInterrupt):
                run(tmp_path / "md", diamond(), stages=stages, replicas=2)
    resumed = run(tmp_path / "md", diamond(), stages=stages, replicas=2)
    for again, once in zip(resumed.replicas, whole.replicas, strict=True):
        assert again.series.read_text() == once.series.read_text()
    for found, expected in zip(frames_of(resumed), frames_of(whole), strict=True):
        assert len(found) == len(expected) == 13
        assert (found[-1].positions == expected[-1].positions).all()
    one, other = (frames[-1].positions for frames in frames_of(whole))
    assert np.abs(one - other).max() > 1e-3


def test_the_states_of_a_batch_are_saved_together(tmp_path: Path) -> None:
    """Killed before all are written, or while they get their names: none, or all."""
    folders = [tmp_path / "replica-0", tmp_path / "replica-1"]
    states = {}
    for folder in folders:
        folder.mkdir()
        job = ReplicaJob(
            model="carbon",
            atoms=diamond(),
            recipe=MdRecipe(stages=(FREE,)),
            settings=SETTINGS,
            seed=0,
            folder=folder,
        )
        states[folder] = first_state(job)
    write_states(states)
    for complete in (False, True):
        for number, folder in enumerate(folders):
            saved = (folder / "state.npz").read_bytes()
            states[folder].part = 5
            write_states({folder: states[folder]})
            written = (folder / "state.npz").read_bytes()
            (folder / "state.npz").write_bytes(saved)
            if complete or number == 0:  # the second was not written
                (folder / "state-next.npz").write_bytes(written)
        if complete:
            (tmp_path / "states-complete").touch()
        settle_states(folders)
        found = [read_state(folder) for folder in folders]
        assert [state.part for state in found if state] == [5 * complete] * 2
        assert (
            sorted(path.name for path in tmp_path.rglob("*state*")) == ["state.npz"] * 2
        )


@pytest.mark.parametrize(
    ("model", "changes", "engine", "message"),
    [
        (
            "carbon",
            {"stages": (WARM, PRESSURE)},
            "torch-sim",
            "pressure has a barostat",
        ),
        ("carbon", {"thermostat": "bussi"}, "torch-sim", "no thermostat bussi"),
        (
            "carbon",
            {"limits": Limits(uncertainty_eV_A=1.0)},
            "torch-sim",
            "gives no uncertainty",
        ),
        (EMT(), {}, "torch-sim", "EMT is not a checkpoint.*Use the engine ase"),
        ("lammps:tersoff", {}, "torch-sim", "lammps:tersoff is not a checkpoint"),
        ("carbon", {}, "gromacs", "'gromacs', but must be ase or torch-sim"),
    ],
)
def test_what_torch_sim_cannot_run_is_refused(
    model: Any, changes: dict[str, Any], engine: str, message: str, tmp_path: Path
) -> None:
    """Before anything is computed, with the reason."""
    recipe = MdRecipe(**({"stages": (WARM,)} | SHORT | changes))
    with pytest.raises(InputError, match=message):
        run_md(model, diamond(), tmp_path / "md", protocol=recipe, engine=engine)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.thorough
def test_the_command_runs_replicas_as_one_batch(tmp_path: Path) -> None:
    """In a child process; the report says what moved the atoms."""
    ase.io.write(tmp_path / "POSCAR", diamond())
    (tmp_path / "short.yaml").write_text(
        "md: {save_fs: 20, stages: "
        "[{kind: dynamics, name: warm, duration_fs: 40, start_K: 300}]}"
    )
    options = ["--engine", "torch-sim", "--replicas", "3", "--json"]
    options += ["--protocol", str(tmp_path / "short.yaml"), "-o", str(tmp_path / "md")]
    result = CliRunner().invoke(
        main, ["md", "carbon", str(tmp_path / "POSCAR"), *options]
    )
    assert result.exit_code == 0, result.output
    (verdict,) = json.loads(result.stdout)
    assert [replica["seed"] for replica in verdict["replicas"]] == [0, 1, 2]
    assert all(replica["simulated_fs"] == 40 for replica in verdict["replicas"])
    assert "engine: torch-sim 0." in (tmp_path / "md" / "report.md").read_text()
