"""From a few labelled structures and a teacher to a potential."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

from synthzoo.data.structures import label, write_structures
from synthzoo.distillation import plan as planning
from synthzoo.distillation.request import Request, read_data
from synthzoo.distillation.run import distill, plan_distillation
from synthzoo.errors import InputError, TeacherError
from synthzoo.finetuning import jobs as finetuning_jobs
from synthzoo.finetuning import recipe as finetuning_recipe
from synthzoo.models.recipe import ModelRecipe
from synthzoo.zoo.load import load_calculator

TEACHER_REFERENCE = (
    'ase:ase.calculators.emt.EMT{"isolated_atom_energies_eV": {"Cu": null, "Au": null}}'
)
OFFSETS_EV = {"Cu": -1303.5, "Au": -899.2}
SCRIPT = """
import sys
from pathlib import Path
import pytest
from tests.distillation.test_run import TEACHER_REFERENCE, be_quick, distill
if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as patch:
        be_quick(patch)
        distill(
            Path(sys.argv[1]),
            TEACHER_REFERENCE,
            Path(sys.argv[2]),
            minutes=3,
            compare_direct=False,
            workers=1,
        )
"""
MOMENTS = ("plan.json", "student/structures.xyz", "replay.xyz", "potential")
"""A run is killed as soon as there is one of these."""

STIFFER = 1.1
"""The labels are a little different from the teacher's."""


def alloy(seed: int) -> Atoms:
    rng = np.random.default_rng(seed)
    atoms = bulk("Cu", "fcc", a=3.75, cubic=True).repeat((2, 1, 1))
    atoms.symbols[rng.random(len(atoms)) < 0.5] = "Au"
    atoms.rattle(0.08, rng=rng)
    atoms.calc = EMT()
    energy = STIFFER * atoms.get_potential_energy()
    energy += sum(OFFSETS_EV[name] for name in atoms.symbols)
    return label(atoms, energy_eV=energy, forces_eV_A=STIFFER * atoms.get_forces())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("alloy") / "dft.xyz"
    write_structures(path, [alloy(seed) for seed in range(8)])
    return path


class TwoLayers(ModelRecipe, frozen=True, kw_only=True):
    """A network with half of the layers."""

    num_layers: int = 2


def be_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let few structures, two layers and few short fits be enough."""
    monkeypatch.setattr(planning, "FEWEST_STRUCTURES", 20)
    monkeypatch.setattr(planning, "MOST_STRUCTURES", 60)
    monkeypatch.setattr(planning, "MOST_EPOCHS", 20)
    monkeypatch.setattr(planning, "FEATURES", ((8, 4),))
    monkeypatch.setattr(planning, "ModelRecipe", TwoLayers)
    monkeypatch.setattr(finetuning_recipe, "FULL_ATOMS", 1.0)
    for size, values in finetuning_recipe.DEFAULTS.items():
        short = values | {"visits": 60}
        if values["check_share"]:
            short |= {"check_share": 0.5}
        monkeypatch.setitem(finetuning_recipe.DEFAULTS, size, short)
    monkeypatch.setattr(finetuning_jobs, "DIRECT_VISITS", 60)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    be_quick(monkeypatch)


def request(data: Path, **changes: Any) -> Request:
    values: dict[str, Any] = {
        "files": [data],
        "teacher": TEACHER_REFERENCE,
        "minutes": 2.0,
        "test": [],
        "energy_key": None,
        "forces_key": None,
        "format": None,
        "drop_bad": False,
        "compare_direct": False,
        "seed": 0,
        "workers": 1,
    }
    return Request(**(values | changes))


@pytest.mark.thorough
def test_the_plan_tells_costs_and_makes_nothing(data: Path, quick, tmp_path: Path):
    lines = plan_distillation(data, TEACHER_REFERENCE, minutes=5, workers=1)
    assert any("synthetic structures" in line for line in lines)
    assert list(tmp_path.iterdir()) == []
    assert lines[0].startswith("8 structures of Au, Cu, 8 to 8 atoms; labels: ")


def test_states_that_no_potential_knows_are_mentioned(tmp_path: Path):
    structures = [alloy(seed) for seed in range(4)]
    structures[1].info["charge"] = -1
    structures[2].set_initial_magnetic_moments([1.0] * len(structures[2]))
    write_structures(tmp_path / "dft.xyz", structures)
    notes = " ".join(read_data(request(tmp_path / "dft.xyz")).notes)
    assert "1 structure(s) have a charge, which is ignored" in notes
    assert "1 structure(s) have magnetic moments, which are ignored" in notes


def test_stress_with_the_wrong_sign_is_left_out(tmp_path: Path):
    structures = []
    for factor in np.linspace(0.96, 1.04, 8):
        atoms = alloy(1)
        atoms.set_cell(atoms.cell * factor, scale_atoms=True)
        atoms.calc = EMT()
        structures.append(
            label(
                atoms,
                energy_eV=atoms.get_potential_energy(),
                forces_eV_A=atoms.get_forces(),
                stress_eV_A3=-atoms.get_stress(),
            )
        )
    write_structures(tmp_path / "dft.xyz", structures)
    found = read_data(request(tmp_path / "dft.xyz"))
    assert any("Stress is not fitted" in note for note in found.notes)
    assert np.isnan(found.bulk.stresses_eV_A3).all()


def test_molecules_are_known_by_their_vacuum(tmp_path: Path):
    structures = []
    for name in ("CO", "CH4"):
        atoms = molecule(name)
        forces_eV_A = np.zeros((len(atoms), 3))
        forces_eV_A[:2, 0] = 0.3, -0.3
        structures.append(label(atoms, energy_eV=-20.0, forces_eV_A=forces_eV_A))
    write_structures(tmp_path / "dft.xyz", structures)
    notes = read_data(request(tmp_path / "dft.xyz")).notes
    assert "2 are surfaces or molecules: their vacuum is kept" in notes[0]


def test_atoms_alone_are_no_start(tmp_path: Path):
    atom = label(
        Atoms("Cu", cell=[15] * 3, pbc=True),
        energy_eV=-1300.0,
        forces_eV_A=np.zeros((1, 3)),
    )
    write_structures(tmp_path / "dft.xyz", [atom])
    with pytest.raises(InputError, match="nothing to make other structures from"):
        read_data(request(tmp_path / "dft.xyz"))


def test_crystals_with_one_atom_in_a_cell_are_starts(tmp_path: Path):
    """They are learnt and tested as all others are."""
    alone = Atoms("Cu", cell=[15] * 3, pbc=True)
    structures = [
        label(atoms, energy_eV=-1300.0 - number, forces_eV_A=np.zeros((1, 3)))
        for number, atoms in enumerate([alone, bulk("Cu", a=3.6), bulk("Cu", a=3.8)])
    ]
    write_structures(tmp_path / "dft.xyz", structures)
    found = read_data(
        request(tmp_path / "dft.xyz", test=[tmp_path / "dft.xyz"], drop_bad=True)
    )
    assert found.test is not None
    assert (len(found.bulk), len(found.test)) == (2, 2)
    assert found.isolated_eV == {"Cu": -1300.0}


def test_a_teacher_without_an_element_is_refused_at_once(data: Path, tmp_path: Path):
    only = 'ase:ase.calculators.lj.LennardJones{"isolated_atom_energies_eV": {"Cu": 0}}'
    with pytest.raises((InputError, TeacherError), match="Au"):
        distill(data, only, tmp_path / "made", workers=1)
    assert not (tmp_path / "made").exists()


def test_folders_and_files_of_others_are_left_alone(data: Path, tmp_path: Path):
    """Nothing is written where something else is."""
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("keep")
    for output in (data, tmp_path / "notes"):
        with pytest.raises(InputError, match="new folder"):
            distill(data, TEACHER_REFERENCE, output, workers=1)
    assert [path.name for path in (tmp_path / "notes").iterdir()] == ["mine.txt"]


def test_test_structures_of_other_elements_are_refused(data: Path, tmp_path: Path):
    silver = label(
        bulk("Ag", cubic=True), energy_eV=-11.0, forces_eV_A=np.zeros((4, 3))
    )
    write_structures(tmp_path / "silver.xyz", [silver])
    with pytest.raises(InputError, match=r"silver.xyz \(--test\) has Ag, which your"):
        read_data(request(data, test=[tmp_path / "silver.xyz"]))


def test_sets_that_are_too_small_to_be_tested_are_told(data: Path, tmp_path: Path):
    for count in (1, 4):
        few = tmp_path / f"{count}.xyz"
        write_structures(few, [alloy(seed) for seed in range(count)])
        assert "nothing is left to test" in " ".join(read_data(request(few)).notes)
    enough = " ".join(read_data(request(data)).notes)
    assert "nothing is left to test" not in enough


def test_another_time_does_not_touch_a_folder_and_says_what_to_do(
    data: Path, tmp_path: Path
):
    """Neither of one that is finished nor of one that was killed."""
    made = tmp_path / "made"
    made.mkdir()
    (made / "plan.json").write_text("{}")
    record = '{"recipe": {"minutes": 30.0}, "seconds": {}}'
    (made / "distill.json").write_text(record)
    with pytest.raises(InputError, match=r"--minutes 30 goes on .* give a new folder"):
        distill(data, TEACHER_REFERENCE, made, minutes=60, workers=1)
    assert (made / "distill.json").read_text() == record


@pytest.mark.thorough
def test_labels_in_another_unit_are_noticed_before_the_student_learns(
    quick, tmp_path: Path
):
    """The teacher knows how large forces are."""
    structures = [alloy(seed) for seed in range(8)]
    for atoms in structures:
        atoms.calc.results["energy"] *= 23.06
        atoms.calc.results["forces"] *= 23.06
    write_structures(tmp_path / "kcal.xyz", structures)
    with pytest.raises(InputError, match="kcal/mol"):
        distill(
            tmp_path / "kcal.xyz",
            TEACHER_REFERENCE,
            tmp_path / "made",
            minutes=3,
            workers=1,
        )
    assert not (tmp_path / "made" / "student").exists()


@pytest.mark.thorough
def test_one_call_makes_a_potential(data: Path, quick, tmp_path: Path):
    """It has the user's energies, its report, and goes on from where it was."""
    made = distill(data, TEACHER_REFERENCE, tmp_path / "alloy", minutes=3, workers=1)
    atoms = alloy(99)
    wanted = atoms.get_potential_energy()
    atoms.calc = load_calculator(made.potential)
    assert atoms.get_potential_energy() == pytest.approx(wanted, abs=0.3 * len(atoms))
    text = made.report.read_text()
    assert "trained directly" in text
    assert (made.report.parent / "curves.png").exists()
    again = distill(data, TEACHER_REFERENCE, tmp_path / "alloy", minutes=3, workers=1)
    assert again.verdict[0] == made.verdict[0]
    with pytest.raises(InputError, match="another value of seed"):
        distill(
            data, TEACHER_REFERENCE, tmp_path / "alloy", minutes=3, seed=1, workers=1
        )


def start(data: Path, output: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(data), str(output)],
        cwd=Path(__file__).parents[2],
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.long
def test_kills_at_every_stage_change_nothing(data: Path, tmp_path: Path):
    """A folder with the same plan, moved and never killed, ends with the same bytes."""
    killed, calm = tmp_path / "killed", tmp_path / "calm"
    for moment in MOMENTS:
        process = start(data, killed)
        while process.poll() is None and not (killed / moment).exists():
            time.sleep(0.02)
        assert process.poll() is None, f"it ended before there was {moment}"
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if moment == "plan.json":
            shutil.copytree(killed, calm)
    for folder in (killed, calm):
        assert start(data, folder).wait() == 0
    for file in ("student/labelled.xyz", "replay.xyz", "potential/model.safetensors"):
        assert (killed / file).read_bytes() == (calm / file).read_bytes()
