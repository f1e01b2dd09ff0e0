"""The energy reference: what is found, what cannot be, and what is refused."""

import tracemalloc

import numpy as np
import pytest

from synthzoo.errors import InputError
from synthzoo.finetuning.energy_reference import (
    check_spread,
    find_isolated,
    find_reference,
)
from synthzoo.inspection.energy_models import open_directions, tied_elements

RNG = np.random.default_rng(0)
ALONE = {"C": 0.0, "Si": 0.0}


def reference(counts, labels, predictions, **known):
    """Find the reference of a model of carbon and silicon."""
    return find_reference(
        ("C", "Si"),
        np.array(counts),
        np.array(labels, dtype=float),
        np.array(predictions, dtype=float),
        known_eV=known,
        model_isolated_eV=ALONE,
    )


def mixtures(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return compositions that vary, and predictions of -7 eV/atom or so."""
    counts = RNG.integers(1, 9, size=(count, 2))
    return counts, counts.sum(axis=1) * RNG.normal(-7, 0.3, size=count)


def test_one_element_gets_the_mean_difference():
    """What is added is the mean of labels minus model; the rest is the spread."""
    counts = np.array([[2, 0], [4, 0], [8, 0]])
    predictions = counts[:, 0] * -7.0
    noise = np.array([0.1, 0.0, -0.1])
    found = reference(counts, predictions + counts[:, 0] * (-148 + noise), predictions)
    assert found.shifts_eV["C"] == pytest.approx(-148)
    assert found.sources == {"C": "fitted"}
    assert found.isolated_atom_energies_eV["C"] == pytest.approx(-148)
    assert found.spread_eV_per_atom == pytest.approx(0.14826, rel=1e-4)
    assert found.undetermined == ()


def test_elements_that_vary_are_told_apart():
    """Exact energies of two elements come back exactly."""
    counts, predictions = mixtures(10)
    found = reference(counts, predictions + counts @ [-148.3, -158.5], predictions)
    assert found.shifts_eV == pytest.approx({"C": -148.3, "Si": -158.5}, abs=1e-8)
    assert found.undetermined == ()


def test_one_composition_cannot_tell_elements_apart():
    """The sum is right, the two are named as undetermined, and the text says so."""
    counts = np.array([[4, 4], [8, 8], [2, 2]])
    predictions = counts.sum(axis=1) * -7.0
    found = reference(counts, predictions + counts @ [-148.3, -158.5], predictions)
    assert sum(found.shifts_eV.values()) == pytest.approx(-148.3 - 158.5)
    assert found.undetermined == ("C", "Si")
    assert "fix only the energy of SiC, not those of C, Si one" in found.summary


def test_what_compositions_fix_of_several_elements_is_told():
    """A mixture of two perovskites: how Ti and Zr differ, and one of the sums."""
    names = ("O", "Pb", "Ti", "Zr")
    cells = np.array([[3, 1, 1, 0], [6, 2, 1, 1], [9, 3, 1, 2]])
    shares = cells / cells.sum(axis=1, keepdims=True)
    assert tied_elements(names, shares) == (names, ("PbZrO3", "Ti - Zr"))
    odd = np.array([[0.1234, 0.8766]])
    assert tied_elements(("C", "H"), odd).together == ("C + 7.104 H",)


def test_an_element_that_the_data_lack_is_named_and_its_shift_guessed():
    """Silicon's energies would otherwise stay on another scale, without a word."""
    found = reference([[2, 0], [4, 0]], [-310.0, -620.0], [-14.0, -28.0])
    assert found.shifts_eV == pytest.approx({"C": -148, "Si": -148})
    assert found.guessed == ("Si",)
    assert "The data hold no Si." in found.summary
    assert found.isolated_atom_energies_eV["Si"] == pytest.approx(-148)
    given = reference([[2, 0]], [-310.0], [-14.0], Si=(-158.5, "given"))
    assert given.shifts_eV == pytest.approx({"C": -148, "Si": -158.5})
    assert (given.guessed, given.guess_text) == ((), "")


def test_a_known_atom_settles_one_composition():
    """With carbon given, all of the rest is silicon's."""
    counts = np.array([[4, 4], [8, 8]])
    predictions = counts.sum(axis=1) * -7.0
    found = reference(
        counts,
        predictions + counts @ [-148.3, -158.5],
        predictions,
        C=(-148.3, "given"),
    )
    assert found.shifts_eV == pytest.approx({"C": -148.3, "Si": -158.5})
    assert found.sources == {"C": "given", "Si": "fitted"}
    assert found.undetermined == ()


def test_isolated_atoms_are_the_shift_and_the_mean_is_told():
    """Stronger binding than the model's is no shift: free atoms keep their energy."""
    counts = np.array([[2, 0], [4, 0]])
    predictions = counts[:, 0] * -7.0
    found = reference(
        counts, predictions - counts[:, 0] * 149.2, predictions, C=(-148.3, "found")
    )
    assert found.shifts_eV["C"] == pytest.approx(-148.3)
    assert found.binding_eV["C"] == pytest.approx(-0.9)
    assert found.aligned_eV["C"] == pytest.approx(-149.2)
    assert found.isolated_atom_energies_eV["C"] == -148.3
    assert found.mean_difference_eV_per_atom == pytest.approx(-0.9)
    assert "the labels lie -0.90 eV/atom from" in found.summary


def test_isolated_atoms_of_another_method_are_refused():
    """Cohesive energies as labels, with an all-electron atom: no way to be right."""
    with pytest.raises(
        InputError, match=r"C -148\.3000 eV \(given\).*\+148\.30 eV/atom"
    ):
        reference([[2, 0]], [-14.0], [-14.0], C=(-148.3, "given"))
    with pytest.raises(InputError, match="given for O, but the model knows C, Si"):
        reference([[2, 0]], [-14.0], [-14.0], O=(-400.0, "given"))


def test_single_atoms_are_found_and_must_agree():
    """One frame of one atom is the reference; two that differ are a mistake."""
    counts = np.array([[1, 0], [0, 1], [4, 4], [1, 0]])
    alone = np.array([True, True, False, True])
    energies = np.array([-148.3, -158.5, -1300.0, -148.3])
    found = find_isolated(counts, energies, ("C", "Si"), alone)
    assert found == {"C": -148.3, "Si": -158.5}
    energies[3] = -147.0
    with pytest.raises(InputError, match="several isolated C atoms"):
        find_isolated(counts, energies, ("C", "Si"), alone)


def test_a_wide_spread_stops_and_one_wild_frame_does_not():
    """Half an eV/atom is no difference of functionals; one outlier is not a spread."""
    counts = np.tile([[4, 0]], (21, 1))
    predictions = np.full(21, -28.0)
    wide = reference(counts, predictions + RNG.normal(0, 4, size=21), predictions)
    with pytest.raises(InputError, match=r"still differ by .* eV/atom \(limit 0\.5\)"):
        check_spread(wide)
    wild = predictions.copy()
    wild[0] += 100
    check_spread(reference(counts, wild, predictions))


def test_many_structures_need_little_memory():
    """What compositions leave open is found from as many rows as there are elements."""
    shares = np.full((100_000, 3), [0.25, 0.25, 0.5])
    tracemalloc.start()
    assert open_directions(shares).shape == (2, 3)
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()
