"""Labelled data in many formats and files, each frame with its origin."""

import re
from pathlib import Path

import ase
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.db import connect
from ase.io import write
from ase.test.fio.test_espresso import pw_output_text
from ase.units import Ry

from synthzoo.data.frames import Origin, find_files, read_frames
from synthzoo.data.label_choice import find_label_keys
from synthzoo.data.labels import CALCULATOR, FREE_ENERGY, LabelKeys, labels_of
from synthzoo.errors import InputError

OUTPUTS = Path(ase.__file__).parent / "test" / "testdata"
"""Outputs of real calculations, which ASE's own tests read."""


def copper(count: int) -> list[ase.Atoms]:
    """Return rattled crystals with real labels, made by effective-medium theory."""
    structures = []
    for seed in range(count):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.1, seed=seed)
        atoms.calc = EMT()
        atoms.get_forces(), atoms.get_stress()
        structures.append(atoms)
    return structures


@pytest.mark.parametrize("name", ["a.xyz", "a.extxyz", "a.traj", "a.db", "a.json"])
def test_labels_survive_in_files_of_ase(name: str, tmp_path: Path):
    """Energies and forces are those that were written, in the same order."""
    structures = copper(3)
    write(tmp_path / name, structures)
    found = read_frames(tmp_path / name)
    assert found.origins == [Origin(file=tmp_path / name, index=i) for i in range(3)]
    keys = find_label_keys(found.structures)
    assert (keys.energy, keys.forces, keys.stress) == (CALCULATOR,) * 3
    for atoms, wanted in zip(found.structures, structures, strict=True):
        labels = labels_of(atoms, keys)
        assert labels.energy_eV == pytest.approx(wanted.get_potential_energy())
        np.testing.assert_allclose(labels.forces_eV_A, wanted.get_forces(), atol=1e-7)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of CASTEP itself
@pytest.mark.parametrize(
    ("name", "frames"),
    [
        ("vasp/OUTCAR_example_1", 1),
        ("vasp/vasprun_pstress.xml", 1),
        ("castep/md.castep", 3),
        ("gpaw_expected_text_output", 1),
        ("qbox_test.xml", 5),
    ],
)
def test_outputs_of_other_codes_are_read(name: str, frames: int):
    """VASP, CASTEP, GPAW and Qbox: every frame has an energy and forces."""
    found = read_frames(OUTPUTS / name)
    assert len(found.structures) == frames
    _check_labels(found.structures)


def test_an_output_of_quantum_espresso_is_read(tmp_path: Path):
    """The name does not matter; Rydberg and bohr arrive as eV and Å."""
    (tmp_path / "scf.out").write_text(pw_output_text)
    found = read_frames(tmp_path / "scf.out")
    _check_labels(found.structures)
    energy = re.search(r"!\s+total energy\s+=\s+(\S+) Ry", pw_output_text)
    assert energy is not None
    assert found.structures[0].get_potential_energy() == pytest.approx(
        float(energy[1]) * Ry, rel=1e-6
    )


def _check_labels(structures: list[ase.Atoms]) -> None:
    keys = find_label_keys(structures)
    assert keys.energy in (CALCULATOR, FREE_ENERGY)
    assert keys.forces == CALCULATOR
    for atoms in structures:
        labels = labels_of(atoms, keys)
        assert labels.energy_eV < 0
        assert labels.forces_eV_A.shape == (len(atoms), 3)


def test_labels_among_the_data_of_a_database_are_found(tmp_path: Path):
    """What is too large for key-value pairs: arrays, with a number beside them."""
    (atoms,) = copper(1)
    forces = atoms.get_forces()
    atoms.calc = None
    with connect(tmp_path / "a.db") as database:
        database.write(atoms, data={"forces": forces, "dft_energy": -3.0})
    (found,) = read_frames(tmp_path / "a.db").structures
    keys = find_label_keys([found])
    assert keys == LabelKeys(energy="dft_energy", forces="forces")
    np.testing.assert_array_equal(labels_of(found, keys).forces_eV_A, forces)


@pytest.mark.parametrize(
    ("name", "free_eV"),
    [
        ("vasp/OUTCAR_example_1", -68.22868532),
        ("vasp/vasprun_pstress.xml", -20.24695937),
    ],
)
def test_the_energy_of_vasp_is_its_free_energy(
    name: str, free_eV: float, tmp_path: Path
):
    """TOTEN, not the energy without smearing; also in what ASE makes of the file."""
    (frame, *_) = read_frames(OUTPUTS / name).structures
    write(tmp_path / "a.xyz", frame)
    write(tmp_path / "a.traj", frame)
    for found in (frame, *read_frames(tmp_path / "a.*").structures):
        keys = find_label_keys([found])
        assert keys.energy == FREE_ENERGY
        assert labels_of(found, keys).energy_eV == pytest.approx(free_eV)
        other = find_label_keys([found], energy_key="energy")
        assert labels_of(found, other).energy_eV < free_eV - 1e-4


def test_the_free_energy_is_found_in_the_text_of_gpaw(tmp_path: Path):
    """ASE keeps only the extrapolated one where it should be."""
    text = (OUTPUTS / "gpaw_expected_text_output").read_text()
    text = text.replace("Free energy:     -6.707307", "Free energy:     -6.807307")
    (tmp_path / "gpaw.txt").write_text(text)
    found = read_frames(tmp_path / "gpaw.txt").structures
    keys = find_label_keys(found)
    assert keys.energy == FREE_ENERGY
    assert labels_of(found[-1], keys).energy_eV == pytest.approx(-6.807307, abs=1e-5)


def test_a_database_gives_its_key_value_pairs(tmp_path: Path):
    """Labels that a user stored beside the structure are found there."""
    with connect(tmp_path / "a.db") as database:
        for number, atoms in enumerate(copper(2)):
            database.write(atoms, dft_energy=-10.0 - number, config_type="bulk")
    found = read_frames(tmp_path / "a.db").structures
    assert [atoms.info["dft_energy"] for atoms in found] == [-10.0, -11.0]
    assert found[0].info["config_type"] == "bulk"
    keys = find_label_keys(found, energy_key="dft_energy")
    assert keys == LabelKeys(energy="dft_energy", forces=CALCULATOR, stress=CALCULATOR)


def test_files_and_patterns_may_be_mixed(tmp_path: Path):
    """Patterns are sorted, go into folders, and a file is read once."""
    (tmp_path / "run").mkdir()
    for name, count in (("b.xyz", 2), ("a.xyz", 1), ("run/c.traj", 3)):
        write(tmp_path / name, copper(count))
    sources = [tmp_path / "**/*.traj", tmp_path / "*.xyz", tmp_path / "b.xyz"]
    found = read_frames(sources)
    assert [path.name for path in found.files] == ["c.traj", "a.xyz", "b.xyz"]
    assert [str(origin)[-7:] for origin in found.origins[-3:]] == [
        "a.xyz@0",
        "b.xyz@0",
        "b.xyz@1",
    ]


def test_a_file_may_be_named_like_a_pattern(tmp_path: Path):
    """What exists is a file, whatever characters its name has."""
    write(tmp_path / "set[1].xyz", copper(1))
    assert find_files(tmp_path / "set[1].xyz") == [tmp_path / "set[1].xyz"]


def test_faults_name_the_file(tmp_path: Path):
    """Nothing, a folder, a pattern without files and a bad file are told apart."""
    write(tmp_path / "good.xyz", copper(1))
    (tmp_path / "bad.xyz").write_text("2\nnothing\nC 0 0 0\n")
    with pytest.raises(InputError, match="No file is named"):
        read_frames([])
    with pytest.raises(InputError, match=r"is a folder; name the files in it"):
        read_frames(tmp_path)
    with pytest.raises(InputError, match=r"No file fits the pattern .*\*\.traj"):
        read_frames(tmp_path / "*.traj")
    with pytest.raises(InputError, match=r"bad\.xyz: structure number 1 cannot"):
        read_frames([tmp_path / "good.xyz", tmp_path / "bad.xyz"])
    with pytest.raises(InputError, match=r"There is no file .*gone\.xyz"):
        read_frames(tmp_path / "gone.xyz")
