"""Bond lengths and densities from the elements alone are near those of materials."""

import pytest
from ase import Atoms
from ase.data import chemical_symbols

from synthzoo.data.structures import density_g_cm3
from synthzoo.generation.sizes import bond_length_A, bond_lengths_A, volume_A3


@pytest.mark.parametrize(
    ("formula", "expected_g_cm3", "within"),
    [
        ("Cu", 8.96, 0.02),
        ("W", 19.3, 0.02),
        ("Cu3Au", 12.3, 0.03),
        ("NaCl", 2.17, 0.05),
        ("H2O", 1.0, 0.1),
        ("SiO2", 2.65, 0.1),
        ("InP", 4.81, 0.15),
        ("SiC", 3.21, 0.2),
        ("MgO", 3.58, 0.3),
        ("BaTiO3", 6.02, 0.3),
        ("PbTe", 8.16, 0.4),
    ],
)
def test_densities_are_near_those_of_solids(
    formula: str, expected_g_cm3: float, within: float
):
    """Metals and their alloys to a few per cent, compounds to a third."""
    atoms = Atoms(formula)
    atoms.set_cell([volume_A3(list(atoms.symbols)) ** (1 / 3)] * 3)
    found = density_g_cm3(atoms)
    assert found == pytest.approx(expected_g_cm3, rel=within)


@pytest.mark.parametrize(
    ("first", "second", "length_A"),
    [
        ("Cu", "Cu", 2.556),
        ("Mo", "W", 2.73),
        ("C", "C", 1.54),
        ("In", "P", 2.54),
        ("Na", "Cl", 2.82),
        ("Mg", "O", 2.11),
        ("Si", "O", 1.61),
        ("O", "H", 0.96),
        ("Pb", "Te", 3.23),
    ],
)
def test_bonds_are_near_those_of_materials(first: str, second: str, length_A: float):
    """Within an eighth, in any order of the elements."""
    assert bond_length_A(first, second) == pytest.approx(length_A, rel=0.125)
    assert bond_length_A(second, first) == bond_length_A(first, second)


def test_every_element_has_a_size():
    """Also those whose crystals ASE does not build; tables hold all pairs."""
    symbols = chemical_symbols[1:97]
    lengths_A = bond_lengths_A(symbols)
    assert lengths_A.shape == (96, 96)
    assert lengths_A.min() > 0.5
    assert lengths_A.max() < 6.0
    assert all(1 < volume_A3([symbol]) < 130 for symbol in symbols)
