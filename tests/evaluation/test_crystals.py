"""Reference crystals: what a teacher says about them, for the cards."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from synthzoo.errors import InputError
from synthzoo.evaluation.crystals import (
    elastic_constants_GPa,
    fit_curve,
    reference_values,
)
from tests.faulty_calculators import FAULTY


@pytest.fixture(scope="module")
def c_ace(shared) -> str:
    pytest.importorskip("pyace", reason="python-ace is not installed")
    return f"ace:{shared('potentials/c_ace.yace')}"


def test_reference_values_of_c_ace(c_ace: str):
    """Lattice constants near DFT's, and a curve around them with its minimum inside."""
    values = reference_values(c_ace)
    diamond, sheet = values.crystals["diamond"], values.crystals["graphene"]
    assert values.teacher == "ace:c_ace.yace"
    assert diamond.a_A == pytest.approx(3.57, abs=0.02)
    assert sheet.a_A == pytest.approx(2.46, abs=0.02)
    curve = fit_curve(diamond.volumes_A3_per_atom, diamond.energies_eV_per_atom)
    assert curve.minimum_A3_per_atom == pytest.approx(diamond.a_A**3 / 8, rel=2e-3)
    assert curve.bulk_modulus_GPa == pytest.approx(435, abs=25)
    assert min(curve.energies_eV_per_atom) == pytest.approx(
        diamond.energy_eV_per_atom,
        abs=2e-3,  # no point lies right at the minimum
    )


def test_a_curve_without_a_minimum_has_no_modulus():
    """A straight line has no equilibrium, and none is made up."""
    curve = fit_curve([5.0, 5.5, 6.0, 6.5], [1.0, 2.0, 3.0, 4.0])
    assert curve.minimum_A3_per_atom is None
    assert curve.bulk_modulus_GPa is None


def test_a_teacher_of_another_element_is_refused():
    """Diamond and graphene need carbon."""
    with pytest.raises(InputError, match="knows Cu, not carbon"):
        reference_values(FAULTY)


def test_the_bulk_modulus_is_the_same_by_elastic_constants_and_by_the_curve():
    """(C11 + 2 C12) / 3 from stresses equals the curvature of the energies."""
    copper = bulk("Cu", a=3.59)
    constants = elastic_constants_GPa(copper, EMT())
    cells = [bulk("Cu", a=3.59 * stretch) for stretch in np.linspace(0.98, 1.02, 9)]
    energies = [EMT().get_potential_energy(atoms) for atoms in cells]
    curve = fit_curve([atoms.get_volume() for atoms in cells], energies)
    bulk_modulus = (constants[0, 0] + 2 * constants[0, 1]) / 3
    assert bulk_modulus == pytest.approx(curve.bulk_modulus_GPa, rel=0.01)


def test_elastic_constants_of_diamond_by_c_ace(c_ace: str):
    """The atoms relax in the strained cells: with them held, C44 would be 542.5 GPa."""
    from synthzoo.teachers import load_teacher

    teacher = load_teacher(c_ace).calculator
    constants = elastic_constants_GPa(bulk("C", a=3.573), teacher)
    assert constants[0, 0] == pytest.approx(1000, abs=3)
    assert constants[0, 1] == pytest.approx(145, abs=3)
    assert constants[3, 3] == pytest.approx(539.7, abs=1)
