"""Teachers: real C-ACE labels, and what is refused."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, graphene
from ase.calculators.lj import LennardJones
from ase.data import chemical_symbols

from synthzoo.data.structures import iter_structures
from synthzoo.errors import InputError, MissingExtraError, TeacherError
from synthzoo.teachers import Teacher, check_teacher, load_teacher
from synthzoo.teachers.checks import (
    elements_to_test,
    pairs_to_test,
    require_passed,
)
from tests.extras import need


@pytest.fixture(scope="module")
def c_ace(shared) -> Teacher:
    need("pyace", "ace")
    return load_teacher(f"ace:{shared('potentials/c_ace.yace')}")


def test_labels_equal_those_of_the_authors(c_ace: Teacher, shared):
    """C-ACE labels of 200-atom quenched carbon agree with the published ones."""
    path = shared("data/carbon-quenched-gap17.extxyz")
    for number, atoms in enumerate(iter_structures(path)):
        if number % 6:
            continue
        labelled = c_ace.label(atoms)
        assert labelled.get_potential_energy() == pytest.approx(
            atoms.info["ace_energy"], abs=1e-6
        )
        np.testing.assert_allclose(
            labelled.get_forces(), atoms.arrays["ace_forces"], atol=1e-6
        )


def test_a_label_has_every_part(c_ace: Teacher):
    """Energies per atom add up; stress is the derivative with respect to strain."""
    atoms = bulk("C", cubic=True)
    atoms.rattle(0.1, seed=2)
    labelled = c_ace.label(atoms)
    energy = labelled.get_potential_energy()
    assert labelled.get_potential_energies().sum() == pytest.approx(energy)
    step = 1e-5
    slopes = []
    for sign in (1, -1):
        strained = atoms.copy()
        strained.set_cell(atoms.cell * (1 + sign * step), scale_atoms=True)
        slopes.append(sign * c_ace.label(strained).get_potential_energy())
    pressure = sum(slopes) / (2 * step) / atoms.get_volume()
    assert labelled.get_stress()[:3].sum() == pytest.approx(pressure, rel=1e-4)


def test_a_molecule_has_no_stress(c_ace: Teacher):
    """Without a cell there is no volume to divide by."""
    labelled = c_ace.label(Atoms("C2", positions=[[0, 0, 0], [0, 0, 1.3]]))
    assert "stress" not in labelled.calc.results


def test_a_sheet_is_labelled_like_one_in_a_large_cell(c_ace: Teacher):
    """Periodic in two directions only: the third is open, whatever the cell says."""
    sheet = graphene(a=2.5, vacuum=12.0)
    sheet.rattle(0.1, seed=1)
    closed = sheet.copy()
    closed.pbc = True
    sheet.cell[2] = 0.0
    mixed, periodic = c_ace.label(sheet), c_ace.label(closed)
    assert mixed.get_potential_energy() == pytest.approx(
        periodic.get_potential_energy(), abs=1e-9
    )
    np.testing.assert_allclose(mixed.get_forces(), periodic.get_forces(), atol=1e-9)
    assert "stress" not in mixed.calc.results


def test_provenance_names_the_file_and_not_its_folder(c_ace: Teacher):
    """Labels can be traced without telling where the user keeps files."""
    assert c_ace.provenance["teacher"] == "ace:c_ace.yace"
    assert len(c_ace.provenance["teacher_sha256"]) == 64
    assert c_ace.provenance["teacher_software"].startswith("python-ace ")
    assert c_ace.isolated_atom_energies_eV == {"C": 0.0}


def test_another_file_is_refused_by_its_hash(c_ace: Teacher):
    """A recipe that names a hash is not run with another potential."""
    with pytest.raises(
        TeacherError, match=f"{c_ace.sha256}, but the recipe asks for 00"
    ):
        load_teacher(c_ace.reference, sha256="00")


def test_energies_are_relative_to_isolated_atoms():
    """The teacher's own atom is taken off, per element."""
    teacher = Teacher(
        reference="test:lj",
        software="ase",
        sha256="",
        elements=("Ar",),
        calculator=LennardJones(),
        isolated_atom_energies_eV={"Ar": -2.5},
    )
    atom = Atoms("Ar", cell=[9.0] * 3, pbc=True)
    assert teacher.label(atom).get_potential_energy() == 2.5


def test_a_label_that_is_not_a_number_is_refused():
    """Native code that returns NaN does not get into a training set."""
    teacher = Teacher(
        reference="test:lj",
        software="ase",
        sha256="",
        elements=("Ar",),
        calculator=LennardJones(epsilon=np.nan),
        isolated_atom_energies_eV={"Ar": 0.0},
    )
    pair = Atoms("Ar2", positions=[[0, 0, 0], [0, 0, 1.1]], cell=[9.0] * 3, pbc=True)
    with pytest.raises(TeacherError, match="not a number"):
        teacher.label(pair)


def argon(calculator: LennardJones) -> Teacher:
    return Teacher(
        reference="test:argon",
        software="ase",
        sha256="",
        elements=("Ar",),
        calculator=calculator,
        isolated_atom_energies_eV={"Ar": 0.0},
    )


class Faulty(LennardJones):
    """Argon with results that are spoilt after each calculation."""

    def __init__(self, spoil) -> None:
        super().__init__(sigma=2.0, rc=6.0, smooth=True)
        self.spoil = spoil

    def calculate(self, *args, **kwargs) -> None:
        """Compute, then spoil."""
        super().calculate(*args, **kwargs)
        self.spoil(self.results, self.atoms)


def nothing(results, atoms) -> None:
    """Leave the results as they are."""


def double_the_forces(results, atoms) -> None:
    results["forces"] = 2 * results["forces"]


def turn_the_stress(results, atoms) -> None:
    results["stress"] = -results["stress"]


def pull_to_the_origin(results, atoms) -> None:
    results["energies"] = results["energies"] + 0.1 * (atoms.positions**2).sum(axis=1)
    results["energy"] = results["energies"].sum()
    results["forces"] = results["forces"] - 0.2 * atoms.positions


def forget_a_part(results, atoms) -> None:
    results["energies"] = results["energies"] + 0.1


def test_a_sound_calculator_passes_every_check():
    """Forces, stress, an isolated atom, translation and rotation of argon."""
    checks = check_teacher(argon(Faulty(nothing)))
    assert [check for check in checks if not check.passed] == []
    assert len(checks) == 8


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (double_the_forces, "fails its test of forces for Ar"),
        (turn_the_stress, "fails its test of stress for Ar"),
        (pull_to_the_origin, "fails its test of"),
        (forget_a_part, "energies per atom with the sum"),
    ],
)
def test_a_faulty_calculator_is_refused(spoil, message: str):
    """Each law that a potential obeys is looked at before a label is used."""
    with pytest.raises(TeacherError, match=message):
        require_passed(argon(Faulty(spoil)))


def test_translation_is_tested():
    """A field that is fixed in space keeps forces right, but is found."""
    checks = check_teacher(argon(Faulty(pull_to_the_origin)))
    failed = {check.name for check in checks if not check.passed}
    assert {"translation (energy)", "an isolated atom (energy)"} <= failed
    assert "forces" not in failed


def test_a_calculator_that_breaks_down_loses_one_structure():
    """Whatever it raises becomes a reason for the list of failures."""

    def break_down(results, atoms) -> None:
        raise RuntimeError("no convergence")

    with pytest.raises(TeacherError, match="RuntimeError: no convergence"):
        argon(Faulty(break_down)).label(Atoms("Ar"))


@pytest.mark.parametrize("reference", ["c_ace.yace", "magic:wand", "ace:"])
def test_a_reference_of_another_form_is_refused(reference: str):
    """The message shows the form that is expected."""
    with pytest.raises(InputError, match=r"for example ace:c_ace.yace"):
        load_teacher(reference)


def test_a_missing_file_is_named():
    """A wrong path is said at once."""
    with pytest.raises(InputError, match=r"no potential file nowhere.yace"):
        load_teacher("ace:nowhere.yace")


def test_a_file_of_another_kind_is_refused(tmp_path: Path):
    """Something that is no ACE potential is not loaded."""
    need("pyace", "ace")
    path = tmp_path / "notes.yace"
    path.write_text("elements: [C]\n")
    with pytest.raises(TeacherError, match="cannot be loaded as an ACE file"):
        load_teacher(f"ace:{path}")


def test_a_missing_package_says_which_extra(tmp_path: Path, monkeypatch):
    """Without python-ace the message gives the line to type."""
    monkeypatch.setitem(sys.modules, "pyace", None)
    path = tmp_path / "any.yace"
    path.write_text("x")
    with pytest.raises(MissingExtraError, match=r"pip install 'synthzoo\[ace\]'"):
        load_teacher(f"ace:{path}")


class Unlike(Faulty):
    """Argon and krypton, alike, but for forces of both together."""

    def calculate(self, *args, **kwargs) -> None:
        """Compute, then spoil."""
        super().calculate(*args, **kwargs)
        if len(set(self.atoms.symbols)) > 1:  # type: ignore[union-attr]
            double_the_forces(self.results, self.atoms)


def test_unlike_pairs_are_tested():
    """Elements that are right each on its own, but not with each other."""
    alone = {"Ar": 0.0, "Kr": 0.0}
    pair = dataclasses.replace(
        argon(Unlike(nothing)),
        elements=("Ar", "Kr"),
        isolated_atom_energies_eV=alone,
    )
    with pytest.raises(TeacherError, match="fails its test of forces for Ar-Kr"):
        require_passed(pair)


def test_few_elements_are_all_paired_and_many_are_sampled():
    """What is tested grows with the number of elements, not with its square."""
    assert pairs_to_test(["In"]) == []
    assert pairs_to_test(["C", "H", "O"]) == [("C", "H"), ("C", "O"), ("H", "O")]
    metals = chemical_symbols[21:31]
    assert elements_to_test(metals) == tuple(metals)
    assert len(pairs_to_test(metals)) == 10
    assert {name for pair in pairs_to_test(metals) for name in pair} == set(metals)
    sample = elements_to_test(chemical_symbols[1:90])
    assert sample == ("Mg", "Se", "Ba", "Pt")
