"""Compositions are drawn as the recipe says."""

from collections import Counter

import numpy as np
import pytest

from synthzoo.errors import InputError
from synthzoo.generation.species import Composition, Species

ALLOY = ("Mo", "Ta", "W")


def drawn(species: Species, structures: int, atoms: int = 60) -> np.ndarray:
    """Return the number of atoms of each element in each of many structures."""
    rng = np.random.default_rng(0)
    counts = [Counter(species.draw(atoms, rng)) for _ in range(structures)]
    return np.array([[count[each] for each in species.elements] for count in counts])


def test_a_single_element_draws_nothing():
    """Recipes of one element keep their streams of random numbers."""
    rng = np.random.default_rng(3)
    carbon = Species(("C",))
    assert carbon.draw(2, rng) == carbon.on_sites(2, rng) == ["C", "C"]
    assert rng.random() == np.random.default_rng(3).random()


def test_a_formula_is_kept_whatever_the_size():
    """The number of atoms is rounded to whole formula units, at least one."""
    silica = Species(("Si", "O"), ("SiO2",))
    for wanted, units in ((1, 1), (10, 3), (60, 20)):
        symbols = silica.draw(wanted, np.random.default_rng(0))
        assert Counter(symbols) == {"Si": units, "O": 2 * units}


def test_without_compositions_pure_elements_and_all_mixtures_occur():
    """A third of the structures has one, two and three of three elements each."""
    counts = drawn(Species(ALLOY), 900)
    present = np.bincount((counts > 0).sum(axis=1), minlength=4) / 900
    assert present[1:] == pytest.approx([1 / 3] * 3, abs=0.06)
    assert counts.sum(axis=0) / counts.sum() == pytest.approx([1 / 3] * 3, abs=0.03)


def test_shares_fill_their_ranges_evenly():
    """Uniform on the simplex: of three shares from 0 to 1, each is 1/3 ± sqrt(1/18)."""
    ranges = dict.fromkeys(ALLOY, (0.0, 1.0))
    shares = drawn(Species(ALLOY, (ranges,)), 1000, atoms=200) / 200
    assert shares.mean(axis=0) == pytest.approx([1 / 3] * 3, abs=0.03)
    assert shares.std(axis=0) == pytest.approx([18**-0.5] * 3, abs=0.02)
    narrow = {"Mo": (0.2, 0.4), "W": (0.5, 1.0)}
    shares = drawn(Species(ALLOY, (narrow,)), 300, atoms=200) / 200
    assert shares.min(axis=0) == pytest.approx([0.2, 0.0, 0.6], abs=0.01)
    assert shares.max(axis=0) == pytest.approx([0.4, 0.0, 0.8], abs=0.01)


def test_several_compositions_are_taken_equally_often():
    """Formulas and ranges may stand beside each other."""
    species = Species(("In", "P"), ("InP", {"In": (1.0, 1.0)}))
    counts = drawn(species, 400)
    assert (counts[:, 1] == 0).mean() == pytest.approx(0.5, abs=0.08)
    assert set(map(tuple, counts)) == {(30, 30), (60, 0)}


def test_sites_are_occupied_at_random_in_the_shares_of_a_formula():
    """The number of sites stays; what does not divide is rounded."""
    alloy = Species(("Cu", "Au"), ("Cu3Au",))
    rng = np.random.default_rng(0)
    first, second = alloy.on_sites(10, rng), alloy.on_sites(10, rng)
    assert Counter(first) == Counter(second)
    assert Counter(first)["Cu"] in {7, 8}
    assert first != second


@pytest.mark.parametrize(
    ("elements", "formula", "sizes", "expected"),
    [
        (("O", "Si"), "SiO2", (4, 8), ["Si", "O"]),
        (("Li", "O"), "Li2O", (4, 8), ["O", "Li"]),
        (("Ti", "O", "Ba"), "BaTiO3", (1, 1, 3), ["Ba", "Ti", "O"]),
        (("Na", "Cl"), "Na2Cl2", (4, 4), ["Na", "Cl"]),
    ],
)
def test_a_formula_decides_who_sits_on_which_sublattice(
    elements, formula, sizes, expected
):
    """By numbers; among equal ones the larger atom comes first, as in perovskites."""
    species = Species(elements, (formula,))
    assert species.on_sublattices(sizes, np.random.default_rng(0)) == expected


def test_without_a_fitting_formula_any_elements_take_the_sublattices():
    """All ordered pairs of three elements occur in a crystal of two sublattices."""
    species, rng = Species(ALLOY, ("MoTaW",)), np.random.default_rng(0)
    pairs = {tuple(species.on_sublattices((1, 3), rng)) for _ in range(100)}
    assert len(pairs) == 6
    assert all(len(set(pair)) == 2 for pair in pairs)


@pytest.mark.parametrize(
    ("composition", "complaint"),
    [
        ("GaP", "a composition, GaP, has Ga, which is not among the elements In, P"),
        ({"Ga": (0.0, 1.0)}, "a composition has Ga, which is not among"),
        ("in", "'in' is no formula"),
        ("In9999999", "has 9999999 atoms"),
        ("(" * 3000 + "In" + ")" * 3000, "has 6002 characters; the limit is 100"),
        ({}, "a composition names no element"),
        ({"In": (0.0, 0.3), "P": (0.0, 0.3)}, "upper ends 0.6"),
        ({"In": (0.6, 0.7), "P": (0.6, 0.7)}, "lower ends make 1.2"),
    ],
)
def test_compositions_that_cannot_be_are_refused(
    composition: Composition, complaint: str
):
    """Before anything is made, with what is wrong."""
    with pytest.raises(InputError, match=complaint):
        Species(("In", "P"), (composition,))
