"""Runs of `synthzoo md`: the command, bad input, kills, full disks, several models."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ase.io
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, FixBondLength
from ase.md.verlet import VelocityVerlet
from click.testing import CliRunner

from synthzoo import compare_md, run_md
from synthzoo.cli import main
from synthzoo.data.structures import read_structures
from synthzoo.errors import InputError
from synthzoo.stability.protocol import Conservation, Dynamics, MdRecipe
from synthzoo.stability.state import STATE_FILE
from synthzoo.stability.verdict import VERDICT_FILE, ReplicaResult, read_series
from tests.test_full_disk import namespace
from tests.unsound_potentials import Interrupted, InterruptedPairs, Sound, copper

if TYPE_CHECKING:
    from click.testing import Result

HERE = Path(__file__).parents[2]
ENERGIES = '"isolated_atom_energies_eV": {"Cu": 0}'
SOUND = f"ase:tests.unsound_potentials.Sound{{{ENERGIES}}}"
FURNACE = f"ase:tests.unsound_potentials.Furnace{{{ENERGIES}}}"

WARM = Dynamics(name="warm", duration_fs=400, start_K=300, end_K=500)
PRESSURE = Dynamics(name="pressure", ensemble="npt", duration_fs=400, start_K=300)
STEPS = Conservation(name="steps", duration_fs=200)
SETTINGS: dict[str, Any] = {
    "timestep_fs": 4.0,
    "save_fs": 80.0,
    "frame_fs": 24.0,
    "sample_fs": 12.0,
}
YAML = """
md:
  timestep_fs: 4
  save_fs: 80
  sample_fs: 8
  stages: [{kind: dynamics, name: warm, duration_fs: DURATION, start_K: 300}]
"""


def md(*arguments: object) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(main, ["md", *map(str, arguments)])


@pytest.fixture
def start(tmp_path: Path) -> Path:
    """Write copper."""
    path = tmp_path / "start.xyz"
    copper().write(path)
    return path


@pytest.fixture
def protocol(tmp_path: Path) -> Path:
    """Write a short protocol."""
    path = tmp_path / "short.yaml"
    path.write_text(YAML.replace("DURATION", "200"))
    return path


def files_of(replica: ReplicaResult) -> tuple[str, np.ndarray]:
    """Return what a replica wrote: its series, and all that is in its frames."""
    frames = read_structures(replica.trajectory)
    numbers = [
        [atoms.positions, atoms.get_momenta(), atoms.get_forces(), np.diag(atoms.cell)]
        for atoms in frames
    ]
    flat = [np.concatenate([np.ravel(part) for part in frame]) for frame in numbers]
    return replica.series.read_text(), np.array(flat)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("calculator", "stages", "settings"),
    [
        pytest.param(Interrupted, (WARM,), {}, id="langevin"),
        *(
            pytest.param(*case, id=name, marks=pytest.mark.thorough)
            for name, case in {
                "bussi": (Interrupted, (WARM,), {"thermostat": "bussi"}),
                "nose-hoover": (Interrupted, (WARM,), {"thermostat": "nose-hoover"}),
                "time steps": (Interrupted, (WARM, STEPS), {}),
                "barostat": (InterruptedPairs, (PRESSURE,), {"barostat_fs": 400.0}),
            }.items()
        ),
    ],
)
def test_an_interrupted_run_ends_as_if_undisturbed(
    calculator: Any, stages: tuple[Any, ...], settings: dict[str, Any], tmp_path: Path
) -> None:
    """Stopped three times in the middle of a part: the same numbers to the last bit."""
    recipe = MdRecipe(stages=stages, **(SETTINGS | settings))
    atoms = copper()
    whole = run_md(calculator(0), atoms, tmp_path / "whole", protocol=recipe)
    for at in (30, 47, 33):
        with pytest.raises(KeyboardInterrupt):
            run_md(calculator(at), atoms, tmp_path / "md", protocol=recipe)
        assert not (tmp_path / "md").exists()
    resumed = run_md(calculator(0), atoms, tmp_path / "md", protocol=recipe)
    assert whole.passed
    assert resumed.passed
    (expected, frames), (found, resumed_frames) = (
        files_of(verdict.replicas[0]) for verdict in (whole, resumed)
    )
    assert found == expected
    assert (resumed_frames == frames).all()
    assert resumed.replicas[0].drifts == whole.replicas[0].drifts


@pytest.mark.thorough
def test_a_frame_is_the_structure_at_its_time(tmp_path: Path) -> None:
    """As ASE alone moves the first one, over the borders of the parts."""
    free = Dynamics(name="free", ensemble="nve", duration_fs=200)
    recipe = MdRecipe(stages=(free,), **SETTINGS)
    atoms = copper()
    atoms.rattle(0.05, seed=0)
    verdict = run_md(EMT(), atoms, tmp_path / "md", protocol=recipe)
    moved, *frames = read_structures(verdict.replicas[0].trajectory)
    moved.calc = EMT()
    dynamics = VelocityVerlet(moved, 4 * units.fs)
    for frame in frames:
        dynamics.run(round(frame.info["time_fs"] / 4) - dynamics.nsteps)
        assert frame.positions == pytest.approx(moved.positions, abs=1e-9)
        assert frame.get_forces() == pytest.approx(moved.get_forces(), abs=1e-9)
    assert dynamics.nsteps == 50


@pytest.mark.thorough
def test_a_killed_command_goes_on(start: Path, protocol: Path, tmp_path: Path) -> None:
    """SIGKILL to the whole command, whose child dies with it; then the same command."""
    protocol.write_text(YAML.replace("DURATION", "1200"))
    arguments = [
        "md",
        SOUND,
        str(start),
        "--protocol",
        str(protocol),
        "--replicas",
        "2",
    ]
    whole = md(*arguments[1:], "-o", tmp_path / "whole", "--json")
    assert whole.exit_code == 0
    code = "from synthzoo.cli import main; main()"
    output = tmp_path / "killed"
    command = [sys.executable, "-c", code, *arguments, "-o", str(output)]
    process = subprocess.Popen(command, cwd=HERE, stderr=subprocess.DEVNULL)
    states = output.with_name("killed.parts")
    while process.poll() is None and not list(states.rglob(STATE_FILE)):
        time.sleep(0.005)
    time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not output.exists()
    done = subprocess.run(command, cwd=HERE, capture_output=True, check=True)
    assert done.stdout.startswith(b"PASSED")
    for replica in ("replica-0", "replica-1"):
        place = Path(next(tmp_path.glob(f"whole/*/{replica}"))).relative_to(tmp_path)
        killed = output.joinpath(*place.parts[1:])
        series = [folder / "series.csv" for folder in (tmp_path / place, killed)]
        assert series[0].read_text() == series[1].read_text()
        frames = [
            read_structures(folder / "trajectory.traj")
            for folder in (tmp_path / place, killed)
        ]
        assert len(frames[0]) == len(frames[1])
        assert (frames[0][-1].positions == frames[1][-1].positions).all()


def test_the_command_says_what_it_found(
    start: Path, protocol: Path, tmp_path: Path
) -> None:
    """Text and exit code 0 for a sound potential; all files are there."""
    output = tmp_path / "md"
    result = md(SOUND, start, "--protocol", protocol, "-o", output)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("PASSED")
    assert "replica 0 (seed 0): survived 0.2 ps" in result.stdout
    assert "report.md" in result.stderr
    assert (output / "report.html").is_file()
    (folder,) = (path for path in output.iterdir() if path.is_dir())
    names = {path.name for path in (folder / "replica-0").iterdir()}
    assert names == {"trajectory.traj", "series.csv"}
    frames = read_structures(folder / "replica-0" / "trajectory.traj")
    times = [atoms.info["time_fs"] for atoms in frames]
    assert times == [0, 48, 96, 144, 192, 200]
    assert not output.with_name("md.parts").exists()


@pytest.mark.thorough
def test_a_failure_is_told_and_ends_with_1(
    start: Path, protocol: Path, tmp_path: Path
) -> None:
    """Several models start from the same structures and velocities."""
    protocol.write_text(YAML.replace("DURATION", "400"))
    models = (SOUND, FURNACE)
    output = tmp_path / "md"
    result = md(*models, start, "--protocol", protocol, "-o", output, "--json")
    assert result.exit_code == 1
    sound, furnace = json.loads(result.stdout)
    assert (sound["passed"], furnace["passed"]) == (True, False)
    failure = furnace["replicas"][0]["failure"]
    assert failure["kind"] == "temperature"
    assert 0 < failure["time_fs"] < 400
    assert json.loads((output / VERDICT_FILE).read_text())[0]["passed"] is True
    first = [
        read_structures(Path(values["replicas"][0]["folder"]) / "trajectory.traj")[0]
        for values in (sound, furnace)
    ]
    assert (first[0].get_momenta() == first[1].get_momenta()).all()
    assert np.abs(first[0].get_momenta()).max() > 0
    assert sound["provenance"]["recipe"]["stages"][0]["name"] == "warm"
    assert sound["provenance"]["seed"] == 0


@pytest.mark.thorough
def test_replicas_start_from_several_structures_in_turn(
    protocol: Path, tmp_path: Path
) -> None:
    """With an index, frames are chosen as ASE does; without, the last is used."""
    path = tmp_path / "frames.xyz"
    frames = [bulk("Cu", a=a, cubic=True).repeat(2) for a in (3.6, 3.62, 3.64)]
    ase.io.write(path, frames)
    options = ("--protocol", protocol, "--json")
    two = md(SOUND, f"{path}@:2", *options, "--replicas", 3, "-o", tmp_path / "two")
    (verdict,) = json.loads(two.stdout)
    assert [replica["start"] for replica in verdict["replicas"]] == [0, 1, 0]
    last = md(SOUND, path, *options, "-o", tmp_path / "last")
    (verdict,) = json.loads(last.stdout)
    trajectory = Path(verdict["replicas"][0]["folder"]) / "trajectory.traj"
    assert read_structures(trajectory)[0].cell[0, 0] == pytest.approx(2 * 3.64)
    wrong = md(SOUND, f"{path}@7", *options, "-o", tmp_path / "none")
    assert wrong.exit_code == 1
    assert "'7' chooses none of the 3 frames" in wrong.stderr


def bad_cases() -> dict[str, tuple[Atoms, dict[str, Any], str]]:
    """Return structures that cannot be used, with options and what is said."""
    close = copper()
    close.positions[1] = close.positions[0] + [0, 0, 0.6]
    slab = copper()
    slab.pbc = (True, True, False)
    one = bulk("Cu")
    nothing = copper()
    nothing.positions[3, 1] = np.nan
    return {
        "overlap": (close, {}, r"Cu 0 and Cu 1 are 0.60 Å apart.*--relax"),
        "one atom": (one, {}, r"one atom.*repeat the cell"),
        "open cell": (slab, {"stages": (PRESSURE,)}, "not periodic in all directions"),
        "nan": (nothing, {}, "the position of atom 3 is not a finite number"),
    }


@pytest.mark.parametrize("case", bad_cases())
def test_structures_that_cannot_be_run_are_refused(case: str, tmp_path: Path) -> None:
    """Before any step, in one sentence that says what to do; nothing is left behind."""
    atoms, changes, message = bad_cases()[case]
    recipe = MdRecipe(**({"stages": (WARM,)} | SETTINGS | changes))
    with pytest.raises(InputError, match=message):
        run_md(EMT(), atoms, tmp_path / "md", protocol=recipe)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.thorough
def test_an_element_that_the_model_lacks_is_named(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """For checkpoints and for calculators, in their own words."""
    recipe = MdRecipe(stages=(WARM,), **SETTINGS)
    copper_atoms, silicon = copper(), bulk("Si", cubic=True)
    with pytest.raises(InputError, match="contains Cu; only C can be used"):
        run_md(tiny_checkpoint, copper_atoms, tmp_path / "a", protocol=recipe)
    with pytest.raises(InputError, match=r"cannot be computed with EMT.*Si"):
        run_md(EMT(), silicon, tmp_path / "b", protocol=recipe)


def test_constant_pressure_needs_stress(tmp_path: Path) -> None:
    """A calculator without it is refused before the first step."""
    recipe = MdRecipe(stages=(PRESSURE,), **SETTINGS)
    with pytest.raises(InputError, match="Sound gives no stress"):
        run_md(Sound(), copper(), tmp_path / "md", protocol=recipe)


def test_a_starting_point_is_no_potential(
    tmp_path: Path, tiny_checkpoint: Path
) -> None:
    """It must be fine-tuned first."""
    folder = tmp_path / "start"
    folder.mkdir()
    for path in tiny_checkpoint.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    config["kind"] = "starting-point"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="starting point for fine-tuning"):
        run_md(folder, bulk("C", cubic=True), tmp_path / "md")


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    """Neither a name nor a calculator."""
    with pytest.raises(InputError, match="neither the name of a model nor an ASE"):
        run_md(3.0, copper(), tmp_path / "md")
    with pytest.raises(InputError, match="at least one model"):
        compare_md([], copper(), tmp_path / "md")


def test_notes_tell_what_is_doubtful(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A long time step, a small cell, fixed atoms, velocities that are not used.

    They are told before the first step, and stand in the verdict.
    """
    atoms = molecule("H2O", vacuum=3.0, pbc=True)
    atoms.set_momenta(np.ones((3, 3)))
    atoms.set_constraint([FixAtoms([0]), FixBondLength(1, 2)])
    recipe = MdRecipe(stages=(WARM,), timestep_fs=2.0)
    verdict = run_md(EMT(), atoms, tmp_path / "md", protocol=recipe)
    assert caplog.messages == list(verdict.notes)
    notes = "\n".join(verdict.notes)
    assert "2 fs is too long for H: use at most 0.7 fs" in notes
    assert "Velocities are drawn anew" in notes
    assert "1 of 3 atoms are fixed" in notes
    assert "Constraints other than fixed atoms are not used" in notes
    assert "The cell is only 6.0 Å high" in notes


@pytest.mark.thorough
def test_overlapping_atoms_can_be_relaxed(tmp_path: Path) -> None:
    """What was refused above survives after it was asked to relax."""
    atoms, _, _ = bad_cases()["overlap"]
    recipe = MdRecipe(stages=(WARM,), **SETTINGS)
    verdict = run_md(EMT(), atoms, tmp_path / "md", protocol=recipe, relaxed=True)
    (replica,) = verdict.replicas
    first = read_structures(replica.trajectory)[0]
    assert replica.survived
    assert np.linalg.norm(first.get_forces(), axis=1).max() < 0.6
    assert first.get_distance(0, 1, mic=True) > 2.0


@pytest.mark.thorough
def test_a_calculator_computes_in_other_processes_if_asked(tmp_path: Path) -> None:
    """Two workers give what one process gives; what cannot be sent is refused."""
    recipe = MdRecipe(stages=(WARM,), replicas=2, **SETTINGS)
    here = run_md(EMT(), copper(), tmp_path / "here", protocol=recipe)
    there = run_md(EMT(), copper(), tmp_path / "there", protocol=recipe, workers=2)
    for one, other in zip(here.replicas, there.replicas, strict=True):
        assert files_of(one)[0] == files_of(other)[0]

    class Local(EMT):
        """Known here only."""

    with pytest.raises((AttributeError, pickle.PicklingError)):
        pickle.dumps(Local())
    with pytest.raises(InputError, match="cannot be sent to other processes"):
        run_md(Local(), copper(), tmp_path / "local", protocol=recipe, workers=2)


@pytest.mark.thorough
def test_another_run_in_the_same_place_is_refused(tmp_path: Path) -> None:
    """An output that exists, and an unfinished run with other settings."""
    recipe = MdRecipe(stages=(WARM,), **SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        run_md(Interrupted(40), copper(), tmp_path / "md", protocol=recipe)
    with pytest.raises(InputError, match="unfinished run with another seed"):
        run_md(Interrupted(0), copper(), tmp_path / "md", protocol=recipe, seed=4)
    run_md(Interrupted(0), copper(), tmp_path / "md", protocol=recipe)
    with pytest.raises(InputError, match="exists"):
        run_md(Interrupted(0), copper(), tmp_path / "md", protocol=recipe)


DISK = """
set -e
mount -t tmpfs -o size=2m tmpfs disk
cp start.xyz own.yaml disk
set +e
"$1" -c "from synthzoo.cli import main; main()" \
  md "$2" disk/start.xyz --protocol disk/own.yaml -o disk/md
echo "exit $?"
set -e
mount -o remount,size=60m disk
"$1" -c "from synthzoo.cli import main; main()" \
  md "$2" disk/start.xyz --protocol disk/own.yaml -o disk/md
cp -r disk/md result
"""


@pytest.mark.thorough
def test_a_full_disk_keeps_what_is_finished(start: Path, tmp_path: Path) -> None:
    """One line says that there is no room; with room the same command goes on."""
    (tmp_path / "disk").mkdir()
    own = YAML.replace("DURATION", "2400") + "  frame_fs: 4\n"
    (tmp_path / "own.yaml").write_text(own)
    done = subprocess.run(
        [*namespace(), "sh", "-c", DISK, "sh", sys.executable, SOUND],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(HERE)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("exit 1\nPASSED")
    error = done.stderr.splitlines()[0]
    assert error.startswith("Error: [Errno 28] No space left on device")
    assert "run the same command again" in error
    (replica,) = (tmp_path / "result").rglob("replica-0")
    assert len(read_structures(replica / "trajectory.traj")) == 601
    assert (np.diff(read_series(replica / "series.csv").times_fs) == 8).all()
