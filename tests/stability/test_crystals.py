"""Crystals by sound and by unsound potentials."""

import shutil
from pathlib import Path

import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.calculators.morse import MorsePotential

from synthzoo import find_card, load_calculator
from synthzoo.models.place import Place
from synthzoo.stability import crystals
from synthzoo.stability.check import run_md
from synthzoo.stability.crystals import check_crystals
from synthzoo.stability.protocol import Dimers, MdRecipe
from synthzoo.zoo.find import find_folder


def test_copper_of_effective_medium_theory():
    """Lattice constant and bulk modulus that EMT is known for; all modes are real."""
    calculator = EMT()
    calculator.implemented_properties = ["energy", "forces"]  # stress is not needed
    (copper,) = check_crystals(calculator, ["Cu"])
    assert copper.name == "fcc Cu"
    assert copper.a_A == pytest.approx(3.59, abs=0.005)
    assert copper.bulk_modulus_GPa == pytest.approx(134, abs=3)
    assert copper.highest_THz == pytest.approx(7.0, abs=0.5)
    assert copper.sound
    assert copper.reference is None


def test_hexagonal_metal_has_two_constants():
    """A pair potential that packs densely makes the ideal hexagonal crystal."""
    pairs = LennardJones(epsilon=0.4, sigma=2.9, rc=9.0, smooth=True)
    (magnesium,) = check_crystals(pairs, ["Mg"])
    assert magnesium.name == "hcp Mg"
    assert magnesium.a_A is not None
    assert magnesium.c_A is not None
    assert magnesium.c_A / magnesium.a_A == pytest.approx(1.633, abs=0.005)
    assert magnesium.sound


def test_carbon_of_the_zoo_beside_its_teacher():
    """The values of the card, measured in another way, and the teacher's beside."""
    reference = find_card("carbon").reference_values
    calculator = load_calculator("carbon", device="cpu")
    diamond, sheet, graphite = check_crystals(calculator, ["C"], reference)
    assert diamond.sound
    assert diamond.a_A == pytest.approx(diamond.reference_a_A, abs=0.03)
    assert diamond.reference_bulk_modulus_GPa == pytest.approx(427, abs=1)
    assert 35 < (diamond.highest_THz or 0) < 45  # 40 THz in experiments
    assert sheet.sound
    assert sheet.bulk_modulus_GPa is None
    assert graphite.reference_a_A is None


def test_diamond_structure_of_a_pair_potential_falls_apart():
    """Its energy has a minimum, but it has imaginary modes: no angles are stiff."""
    (silicon,) = check_crystals(LennardJones(epsilon=0.4, sigma=2.3, rc=8.0), ["Si"])
    assert silicon.a_A is not None
    assert silicon.lowest_THz is not None
    assert silicon.lowest_THz < -1
    assert not silicon.sound


def test_potential_that_only_pulls_has_no_crystal():
    """No minimum near experiment: no constants are made up."""
    pulls = MorsePotential(epsilon=1.0, r0=0.5, rho0=3.0)
    (copper,) = check_crystals(pulls, ["Cu"])
    assert (copper.a_A, copper.bulk_modulus_GPa, copper.lowest_THz) == (None,) * 3
    assert not copper.sound


def test_element_of_a_structure_that_symmetry_does_not_fix_is_skipped():
    """Gallium's crystal has free coordinates, oxygen's is one of molecules."""
    assert check_crystals(EMT(), ["Ga", "O"]) == []


@pytest.mark.thorough
def test_a_model_by_its_name_is_compared_with_its_card(tmp_path):
    """In the report of a stability check, where crystals were asked for."""
    recipe = MdRecipe(stages=(Dimers(points=8),))
    atoms = bulk("C", cubic=True)
    run_md("carbon", atoms, tmp_path / "md", protocol=recipe, crystals=True, workers=1)
    report = (tmp_path / "md/report.md").read_text(encoding="utf-8")
    row = next(line for line in report.splitlines() if "| diamond |" in line)
    assert "C-ACE: 3.573 Å, 427 GPa" in row
    assert "| 3.57" in row


def test_a_model_is_compared_with_its_card_however_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """By its name, as a copy in another folder, and as a calculator."""
    name = "carbon"
    copy = shutil.copytree(find_folder(name), tmp_path / "copy")
    seen = []
    monkeypatch.setattr(crystals, "check_crystals", lambda *given: seen.append(given))
    for model in (name, str(copy), load_calculator(name, device="cpu"), EMT()):
        crystals.check_model(model, ["C"], place=Place(device="cpu"))
    known = find_card(name).reference_values
    assert known is not None
    assert [reference for *_, reference in seen] == [known, known, known, None]
