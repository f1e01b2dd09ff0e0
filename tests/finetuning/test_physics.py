"""Known physics before and after a fine-tuning: crystals, and near atoms."""

import dataclasses

import numpy as np
import pytest
from ase.calculators.emt import EMT

from synthzoo import find_card, load_calculator
from synthzoo.evaluation.crystal_properties import (
    CrystalProperties,
    known_crystals,
    measure_crystal,
)
from synthzoo.finetuning.physics import (
    CrystalChange,
    Physics,
    Repulsion,
    compare_physics,
    repels_to_A,
)

START = CrystalProperties(source="before", a_A=3.575, bulk_modulus_GPa=453)
REFERENCES = (
    CrystalProperties(source="C-ACE", a_A=3.573, bulk_modulus_GPa=427),
    CrystalProperties(source="experiment", a_A=3.567, bulk_modulus_GPa=442),
)


def _diamond(*, references=REFERENCES, start=START, **after) -> CrystalChange:
    return CrystalChange(
        name="diamond",
        before=start,
        after=CrystalProperties(source="after", **after),
        references=references,
    )


def test_a_crystal_that_became_too_stiff_is_named_with_its_references():
    """The numbers, and those of teacher and experiment, in one sentence."""
    stiff = _diamond(a_A=3.532, bulk_modulus_GPa=550)
    physics = Physics(crystals=(stiff,), repulsions=())
    assert physics.summary == (
        "Known physics got worse: the bulk modulus of diamond went from 453 to 550 GPa "
        "(C-ACE 427, experiment 442). The best remedy is to add labelled crystals at "
        "several volumes, and pairs of atoms at short distance, to your structures."
    )


def test_another_functional_is_not_worse():
    """LDA's diamond is 1 % smaller and 9 % stiffer than the teacher's."""
    lda = _diamond(a_A=3.532, bulk_modulus_GPa=465)
    assert list(lda.worse()) == []
    assert Physics(crystals=(lda,), repulsions=()).summary == (
        "Known physics is no worse than before (diamond, repulsion at short distance)."
    )


def test_what_was_as_wrong_before_is_not_worse():
    """A start that is 25 % too stiff, and a result that is, too."""
    stiff = dataclasses.replace(START, bulk_modulus_GPa=550)
    assert list(_diamond(start=stiff, a_A=3.57, bulk_modulus_GPa=545).worse()) == []


def test_without_a_reference_nothing_is_called_worse():
    """Numbers are shown; what they should be is not known."""
    unknown = _diamond(references=(), a_A=3.2, bulk_modulus_GPa=900)
    assert list(unknown.worse()) == []


def test_a_crystal_that_lost_its_minimum_is_named():
    """There are no constants to compare."""
    (text,) = _diamond().worse()
    assert text == "diamond no longer has an energy minimum near its known cell"


def test_an_attraction_at_short_range_is_named():
    """The distance of the maximum is that below which atoms fuse."""
    distances = np.array([0.7, 0.8, 0.9, 1.0])
    falls, hole, none = map(np.array, ([4, 3, 2, 1], [4, 5, 2, 1], [1, 2, 3, 4]))
    assert repels_to_A(distances, falls) == 0.7
    assert repels_to_A(distances, hole) == 0.8
    assert repels_to_A(distances, none) == 1.0
    grown = Repulsion(
        element="C", before_A=0.5, after_A=0.83, nearest_A=0.5, widest_A=1.14
    )
    (text,) = grown.worse()
    assert text == (
        "the C–C repulsion now has a maximum at 0.83 Å, and atoms closer than that "
        "attract each other (before: repulsive down to 0.50 Å)"
    )
    assert list(dataclasses.replace(grown, before_A=0.83, after_A=0.5).worse()) == []


def test_carbon_beside_its_teacher_and_experiments():
    """The same model twice: nothing is worse; the constants are those of the card."""
    carbon = load_calculator("carbon-ace-45k", device="cpu")
    reference = find_card("carbon-ace-45k").reference_values
    physics = compare_physics(carbon, carbon, ["C"], reference)
    assert physics.worse == ()
    diamond = physics.crystals[0]
    assert [source.source for source in diamond.references] == ["C-ACE", "experiment"]
    assert diamond.before.a_A == pytest.approx(3.575, abs=0.002)
    assert diamond.before.bulk_modulus_GPa == pytest.approx(458, abs=3)
    assert diamond.before.c11_GPa == pytest.approx(834, abs=5)
    assert diamond.before.c12_GPa == pytest.approx(278, abs=5)
    assert diamond.before.c44_GPa == pytest.approx(647, abs=5)
    (carbon_pair,) = physics.repulsions
    assert carbon_pair.before_A == pytest.approx(0.5, abs=0.01)


def test_a_potential_without_stress_has_no_elastic_constants():
    """The other properties need energies only."""
    calculator = EMT()
    calculator.implemented_properties = ["energy", "forces"]
    (crystal,) = known_crystals("Cu")
    copper = measure_crystal(crystal, calculator, source="EMT")
    assert copper.bulk_modulus_GPa == pytest.approx(134, abs=3)
    assert copper.c11_GPa is None
    copper = measure_crystal(crystal, EMT(), source="EMT")
    assert copper.c11_GPa is not None
    assert copper.c12_GPa is not None
    assert copper.bulk_modulus_GPa == pytest.approx(
        (copper.c11_GPa + 2 * copper.c12_GPa) / 3, rel=0.02
    )
