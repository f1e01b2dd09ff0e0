"""Codes that iterate to a density, as teachers: free energies, fresh starts, atoms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from synthzoo.data.structures import read_structures, write_structures
from synthzoo.errors import InputError, TeacherError
from synthzoo.labelling.recipe import RelabelRecipe
from synthzoo.labelling.relabel import relabel_file
from synthzoo.recipes.loading import load_recipe
from synthzoo.teachers import load_teacher
from synthzoo.teachers.ase_class import ALONE_A, PerStructure
from synthzoo.teachers.checks import check_teacher
from synthzoo.teachers.loading import open_teacher
from tests.smeared import Smeared


def code(*, atom_eV: float | None = None, **arguments: Any) -> str:
    """Return the reference of a calculator that is treated like a DFT code."""
    values = {
        "self_consistent": True,
        "isolated_atom_energies_eV": {"Cu": atom_eV},
        **arguments,
    }
    return f"ase:tests.smeared.Smeared{json.dumps(values)}"


def emt_energy(atoms: Atoms) -> float:
    copy = atoms.copy()
    copy.calc = EMT()
    return float(copy.get_potential_energy())


def copper(seed: int = 0) -> Atoms:
    crystal = bulk("Cu", cubic=True)
    crystal.rattle(0.05, seed=seed)
    return crystal


def test_the_energy_is_the_one_that_forces_belong_to():
    """The free energy is taken where a code has it, not that without smearing."""
    labelled = open_teacher(code(atom_eV=-1.0)).label(copper())
    expected = emt_energy(copper()) + 4 * 1.0
    assert labelled.get_potential_energy() == pytest.approx(expected, abs=1e-9)
    direct = copper()
    direct.calc = EMT()
    np.testing.assert_allclose(labelled.get_forces(), direct.get_forces())
    np.testing.assert_allclose(labelled.get_stress(), direct.get_stress())


def test_each_structure_has_a_calculator_of_its_own():
    """Nothing is handed on: the second label is that of a run which starts with it."""
    teacher = open_teacher(code(atom_eV=0.0))
    Smeared.made.clear()
    labels = [teacher.label(copper(seed)).get_potential_energy() for seed in (1, 2)]
    assert [each.structures for each in Smeared.made] == [1, 1]
    alone = open_teacher(code(atom_eV=0.0)).label(copper(2)).get_potential_energy()
    assert labels[1] == alone


def test_an_isolated_atom_is_computed_with_arguments_of_its_own():
    """Spin for the atom only; then the atom's label is zero by definition."""
    teacher = open_teacher(code(isolated_atom_arguments={"spin": True}))
    expected = emt_energy(Atoms("Cu")) + 1.0
    assert teacher.isolated_atom_energies_eV["Cu"] == pytest.approx(expected, abs=1e-9)
    atom = teacher.label(Atoms("Cu", cell=[2 * ALONE_A] * 3, pbc=True))
    assert atom.get_potential_energy() == 0.0
    assert not atom.get_forces().any()
    crystal = teacher.label(copper()).get_potential_energy()
    assert crystal == pytest.approx(emt_energy(copper()) - 4 * expected, abs=1e-9)


def test_a_cell_with_one_atom_is_a_crystal():
    """Only an atom that is far from its images is taken for an isolated one."""
    teacher = open_teacher(code(atom_eV=5.0))
    labelled = teacher.label(bulk("Cu"))
    expected = emt_energy(bulk("Cu")) - 5.0
    assert labelled.get_potential_energy() == pytest.approx(expected, abs=1e-9)


def test_an_atom_without_a_cell_is_alone():
    """No cell is needed to be isolated."""
    assert open_teacher(code(atom_eV=-3.0)).label(Atoms("Cu")).get_forces().sum() == 0


def test_the_start_up_test_is_one_that_can_be_paid():
    """Forces on two atoms by finite differences: three calculations, one check."""
    teacher = open_teacher(code(atom_eV=0.0))
    Smeared.made.clear()
    (check,) = check_teacher(teacher)
    assert check.name == "forces"
    assert check.passed
    assert sum(each.structures for each in Smeared.made) == 3


@pytest.mark.thorough
def test_no_convergence_loses_one_structure(tmp_path: Path):
    """It is written to the failed ones with what the code said; others are labelled."""
    source, output = tmp_path / "in.xyz", tmp_path / "out.xyz"
    small = bulk("Cu", a=3.0, cubic=True)
    write_structures(source, [copper(), small, copper(1)])
    # larger than `small`, smaller than the crystal of the start-up test
    teacher = code(atom_eV=0.0, fails_below_A3=30.0)
    recipe = RelabelRecipe(teacher=teacher, max_force_eV_A=None, chunk_structures=1)
    summary = relabel_file(source, output, recipe=recipe, workers=1)
    assert (summary.labelled, summary.failed) == (2, 1)
    (failed,) = read_structures(tmp_path / "out.failed.xyz")
    assert "not converged in 150 iterations" in failed.info["failure"]


def test_a_calculator_without_stress_labels_without_it():
    """What a code does not have is not asked for."""
    calculator = PerStructure(
        make=WithoutStress, alone=WithoutStress, atom_energies_eV={"Cu": 0.0}
    )
    assert calculator.implemented_properties == ["energy", "forces"]
    atoms = copper()
    atoms.calc = calculator
    assert np.isfinite(atoms.get_forces()).all()
    assert "stress" not in calculator.results


class WithoutStress(EMT):
    """EMT that does not tell its stress, nor which energy forces belong to."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012  as in ASE


def test_arguments_of_an_atom_without_self_consistency_are_refused():
    """They would be ignored otherwise."""
    reference = code(isolated_atom_arguments={"spin": True}).replace(
        "true, ", "false, "
    )
    with pytest.raises(InputError, match="self_consistent"):
        load_teacher(reference)


def test_an_atom_that_cannot_be_computed_says_what_to_do():
    """The way out is to give the energy."""
    with pytest.raises(TeacherError, match="give its energy"):
        open_teacher(code(isolated_atom_arguments={"fails_below_A3": 1e9}))


@pytest.mark.parametrize("name", ["carbon-dft", "silicon-dft"])
def test_recipes_of_the_samples_differ_from_their_check_in_precision(name: str):
    """The finer recipe changes cutoff, k-points and with them the isolated atom."""

    def settings(recipe: str) -> dict[str, Any]:
        teacher = load_recipe(RelabelRecipe, recipe).teacher
        values: dict[str, Any] = json.loads(teacher[teacher.index("{") :])
        return values

    coarse, fine = settings(name), settings(f"{name}-fine")
    assert fine["mode"]["ecut"] > coarse["mode"]["ecut"]
    assert fine["kpts"]["density"] >= 1.4 * coarse["kpts"]["density"]
    atoms = "isolated_atom_energies_eV"
    assert fine[atoms] == pytest.approx(coarse[atoms], abs=0.02)
    assert fine[atoms] != coarse[atoms]
    for key in ("mode", "kpts", atoms):
        del coarse[key], fine[key]
    assert coarse == fine
