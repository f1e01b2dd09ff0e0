"""Labels are found under the usual keys, and doubts are put to the user."""

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from synthzoo.errors import InputError
from synthzoo.labels import (
    CALCULATOR,
    LabelKeys,
    count_label_keys,
    find_label_keys,
    labels_of,
    likely_keys,
    partial_labels,
)
from synthzoo.structures import read_structures


def labelled(**info) -> Atoms:
    atoms = Atoms("C2", positions=[[0, 0, 0], [0, 0, 1.3]])
    atoms.info.update(info)
    atoms.arrays["REF_forces"] = np.ones((2, 3))
    return atoms


def test_usual_keys_are_found():
    """Keys of other codes serve without being named."""
    keys = find_label_keys([labelled(REF_energy=-3.0), labelled(REF_energy=-4.0)])
    assert keys == LabelKeys(energy="REF_energy", forces="REF_forces")
    found = labels_of(labelled(REF_energy=-3.0), keys)
    assert found.energy_eV == -3.0
    np.testing.assert_array_equal(found.forces_eV_A, np.ones((2, 3)))


def test_labels_in_the_calculator_are_found():
    """What ASE's own readers put into a calculator is used."""
    atoms = Atoms("C")
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.zeros((1, 3)))
    keys = find_label_keys([atoms])
    assert (keys.energy, keys.forces) == (CALCULATOR, CALCULATOR)
    assert labels_of(atoms, keys).energy_eV == -1.0


def test_two_candidates_are_put_to_the_user():
    """Which of two energies is meant is not ours to guess."""
    both = labelled(REF_energy=-3.0, mace_energy=-3.1)
    with pytest.raises(
        InputError, match=r"\['REF_energy', 'mace_energy'\].*--energy-key"
    ):
        find_label_keys([both])
    assert find_label_keys([both], energy_key="REF_energy").energy == "REF_energy"


def test_a_key_must_be_in_every_structure():
    """One frame without the label is found before any work is done."""
    with pytest.raises(InputError, match="No energy labels found in every structure"):
        find_label_keys([labelled(REF_energy=-3.0), labelled()])
    with pytest.raises(InputError, match=r"'E'. Found in all of them: .*REF_energy"):
        find_label_keys([labelled(REF_energy=-3.0)], energy_key="E")


def test_labels_that_are_not_numbers_are_named():
    """A NaN in a label stops with the structure's name."""
    keys = LabelKeys(energy="REF_energy", forces="REF_forces")
    with pytest.raises(InputError, match="frame 3: a label is not a finite number"):
        labels_of(labelled(REF_energy=np.nan), keys, name="frame 3")
    with pytest.raises(InputError, match="no energy: there is no label 'REF_energy'"):
        labels_of(labelled(), keys)
    short = labelled(REF_energy=-1.0)
    short.arrays["REF_forces"] = np.ones((2, 2))
    with pytest.raises(InputError, match="forces have shape"):
        labels_of(short, keys)


def test_forces_are_those_named_like_the_energy(shared):
    """One set with labels of two sources: the energy tells which forces are meant."""
    structures = read_structures(shared("data/carbon-quenched-gap17.extxyz"))
    keys = find_label_keys(structures)
    assert (keys.energy, keys.forces) == ("ace_energy", "ace_forces")
    assert likely_keys(count_label_keys(structures)) == keys
    other = find_label_keys(structures, forces_key="gap17_forces")
    assert other.forces == "gap17_forces"


def test_words_that_only_speak_of_energy_are_no_labels():
    """Weights, units and energies per atom do not stand in a label's way."""
    atoms = labelled(
        REF_energy=-3.0, energy_sigma=0.01, energy_per_atom=-1.5, energy_unit="eV"
    )
    assert count_label_keys([atoms]).energy == {"REF_energy": 1}
    assert find_label_keys([atoms]).energy == "REF_energy"


def test_partly_labelled_sets_are_counted():
    """Where labels depend on the frame, the most frequent keys are looked at."""
    structures = [labelled(REF_energy=-3.0), labelled(REF_energy=-2.0), labelled(E=1.0)]
    counts = count_label_keys(structures)
    assert counts.energy == {"REF_energy": 2, "E": 1}
    keys = likely_keys(counts)
    assert keys == LabelKeys(energy="REF_energy", forces="REF_forces")
    assert partial_labels(structures[2], keys).energy_eV is None
    with pytest.raises(InputError, match=r"No structure has energy under 'x'. Found:"):
        likely_keys(counts, energy_key="x")


@pytest.mark.parametrize("shape", [(3, 3), (9,), (6,)])
def test_stress_and_virial_are_one_thing(shape: tuple[int, ...]):
    """Tensors and Voigt vectors are read; a virial is minus volume times stress."""
    full = np.array([[1.0, 0.6, 0.5], [0.6, 2.0, 0.4], [0.5, 0.4, 3.0]])
    voigt = np.array([1.0, 2.0, 3.0, 0.4, 0.5, 0.6])
    stress = voigt if shape == (6,) else full.reshape(shape)
    atoms = labelled(stress=stress, REF_virial=-8.0 * stress)
    atoms.cell = [2, 2, 2]
    for key in ("stress", "REF_virial"):
        keys = likely_keys(count_label_keys([atoms]), stress_key=key)
        found = partial_labels(atoms, keys).stress_eV_A3
        assert found == pytest.approx(voigt)


def test_no_stress_without_a_label():
    """A set without stress has none, and a virial needs a cell."""
    keys = likely_keys(count_label_keys([labelled()]))
    assert keys == LabelKeys(energy=None, forces="REF_forces")
    assert partial_labels(labelled(), keys).stress_eV_A3 is None
    assert count_label_keys([labelled(virial=np.eye(3))]).stress == {}
