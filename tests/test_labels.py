"""Labels are found under the usual keys, and doubts are put to the user."""

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from synthzoo.errors import InputError
from synthzoo.labels import CALCULATOR, LabelKeys, find_label_keys, labels_of


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
