"""Labels are found under the usual keys, and doubts are put to the user."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from synthzoo import inspect_files, load_calculator
from synthzoo.benchmarking.jobs import DataSource, read_part
from synthzoo.data.label_choice import (
    choose_label_keys,
    count_label_keys,
    find_label_keys,
)
from synthzoo.data.labels import (
    CALCULATOR,
    FREE_ENERGY,
    LabelKeys,
    labels_of,
    partial_labels,
)
from synthzoo.data.structures import label, read_structures, write_structures
from synthzoo.errors import InputError
from synthzoo.evaluation.evaluate import evaluate_models
from synthzoo.finetuning.data_check import check_data
from synthzoo.training.recipe import FitRecipe, PretrainRecipe
from synthzoo.training.sets import make_sets
from synthzoo.zoo import published
from tests.toy import stored


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


def in_own_place(**results) -> Atoms:
    """Return two atoms with labels where ASE keeps them."""
    atoms = Atoms("C2", positions=[[0, 0, 0], [0, 0, 1.3]])
    atoms.calc = SinglePointCalculator(
        atoms, **{"energy": -1.0, "forces": np.zeros((2, 3))} | results
    )
    return atoms


@pytest.mark.parametrize("seed", ["0", "1"])
def test_the_choice_does_not_depend_on_the_hash_seed(seed: str, tmp_path: Path):
    """A reference comes before ASE's own place, and that before any model."""
    atoms = in_own_place()
    for key in ("mace_energy", "dft_energy", "nep_energy", "predicted_energy"):
        atoms.info[key] = -2.0 - len(key)
    for key in ("mace_forces", "dft_forces", "gap_forces"):
        atoms.arrays[key] = np.full((2, 3), float(len(key)))
    write(tmp_path / "a.xyz", atoms)
    code = (
        "from synthzoo.data.labelled_set import read_labelled; import pathlib; "
        "print(read_labelled([pathlib.Path('a.xyz')])[1])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": seed},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == "energies under dft_energy, forces under dft_forces\n"


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (("mace_energy", "pbe_energy"), "pbe_energy"),
        (("mace_energy", "E"), "E"),
        (("gap17_energy", "mine_energy"), "mine_energy"),
        (("predicted_dft_energy", "REF_energy"), "REF_energy"),
        (("formation_energy", "ace_energy"), "ace_energy"),
        (("TotEnergy", "M3GNet_energy"), "TotEnergy"),
        (("E_dft", "energy_chgnet"), "E_dft"),
        (("nep_energy", "mace_energy"), "mace_energy"),
    ],
)
def test_labels_of_a_reference_come_before_those_of_models(
    names: tuple[str, ...], chosen: str
):
    """Only the names decide, not the order in which they are written."""
    for ordered in (names, names[::-1]):
        energies = {key: -3.0 - len(key) for key in ordered}
        assert find_label_keys([labelled(**energies)]).energy == chosen


def test_two_references_are_put_to_the_user():
    """Which of two functionals is meant is not ours to guess; equal values are one."""
    both = labelled(REF_energy=-3.0, pbe_energy=-3.1)
    with pytest.raises(
        InputError, match=r"\['REF_energy', 'pbe_energy'\].*differ.*--energy-key"
    ):
        find_label_keys([both])
    assert find_label_keys([both], energy_key="REF_energy").energy == "REF_energy"
    same = labelled(REF_energy=-3.0, pbe_energy=np.float32(-3.0000001))
    assert find_label_keys([same]).energy == "pbe_energy"
    forces = labelled(energy=-3.0)
    forces.arrays["dft_forces"] = np.zeros((2, 3))
    with pytest.raises(InputError, match=r"'REF_forces', 'dft_forces'.*--forces-key"):
        find_label_keys([forces])


def test_equal_labels_in_info_and_calculator_are_no_rivals():
    """Copies of one label may lie in several places; the complete one is read."""
    frames = [in_own_place(energy=-1.0 - number) for number in range(3)]
    for number in range(2):
        frames[number].info["dft_energy"] = -1.0 - number
    choice = choose_label_keys(frames)
    assert choice.counts.energy == {CALCULATOR: 3, "dft_energy": 2}
    assert (choice.keys.energy, choice.rivals) == (CALCULATOR, {})


def test_a_reference_label_that_a_frame_lacks_is_still_the_one():
    """16 of 17 frames have it: the last one is at fault, and not the choice of key."""
    frames = [in_own_place() for _ in range(17)]
    for atoms in frames[:16]:
        atoms.info["dft_energy"] = -9.0
    keys = find_label_keys(frames)
    assert keys.energy == "dft_energy"
    with pytest.raises(InputError, match=r"frame 17 has no energy: .*'dft_energy'"):
        labels_of(frames[16], keys, name="frame 17")
    other = [*frames[:3], labelled(E=-1.0)]
    assert find_label_keys(other).energy == "dft_energy"


def test_settings_of_a_calculation_are_no_labels():
    """Tolerances, cutoffs and parts of the forces, beside labels in the same file."""
    atoms = labelled(dft_energy=-3.0, elec_energy_tol=1e-9, cut_off_energy=650.0)
    atoms.arrays["force_ewald"] = np.ones((2, 3))
    counts = count_label_keys([atoms])
    assert counts.energy == {"dft_energy": 1}
    assert counts.forces == {"REF_forces": 1}
    asked = find_label_keys([atoms], energy_key="cut_off_energy")
    assert asked.energy == "cut_off_energy"


def test_forces_in_info_are_found():
    """Not every tool keeps what belongs to atoms among the arrays."""
    atoms = Atoms("C2", positions=[[0, 0, 0], [0, 0, 1.3]])
    atoms.info |= {"energy": -1.0, "forces": [[0.0, 0, 1], [0, 0, -1]]}
    keys = find_label_keys([atoms])
    assert keys == LabelKeys(energy="energy", forces="forces")
    assert labels_of(atoms, keys).forces_eV_A.tolist() == [[0, 0, 1], [0, 0, -1]]


def test_labels_that_a_teacher_has_just_made_are_read():
    """What came with the structures is still there, but no longer what is meant."""
    atoms = in_own_place()
    atoms.info |= {"teacher": "ace:c_ace.yace", "dft_energy": -148.0}
    assert find_label_keys([atoms]).energy == CALCULATOR


def test_predictions_come_after_the_labels_that_they_are_compared_with():
    """`predict` keeps them beside its own, the free energy among them."""
    atoms = in_own_place()
    atoms.info |= {"predicted_by": "carbon", "reference_energy": -8.0}
    atoms.info["reference_free_energy"] = -8.1
    atoms.arrays["reference_forces"] = np.ones((2, 3))
    keys = find_label_keys([atoms])
    assert str(keys) == (
        "energies under reference_free_energy, forces under reference_forces"
    )


def test_the_energy_is_the_one_whose_derivative_the_forces_are():
    """Of two energies, the free energy; ASE's names choose one of them."""
    frames = [in_own_place(energy=-1.0, free_energy=-1.1) for _ in range(3)]
    keys = find_label_keys(frames)
    assert keys.energy == FREE_ENERGY
    assert labels_of(frames[0], keys).energy_eV == -1.1
    other = find_label_keys(frames, energy_key="energy", forces_key="forces")
    assert labels_of(frames[0], other).energy_eV == -1.0
    mixed = [*frames, in_own_place(energy=-7.0)]
    keys = find_label_keys(mixed)
    assert keys.energy == CALCULATOR
    assert [labels_of(atoms, keys).energy_eV for atoms in mixed[2:]] == [-1.1, -7.0]
    only = in_own_place(energy=None, free_energy=-1.2)  # CASTEP's .geom and .md
    assert labels_of(only, find_label_keys([only])).energy_eV == -1.2


def test_no_label_and_unknown_keys_are_named():
    """Before any work is done; the message says what there is."""
    bare = Atoms("C2", positions=[[0, 0, 0], [0, 0, 1.3]], info={"mystery": 1.0})
    with pytest.raises(InputError, match=r"No structure has energy.*\['mystery'\]"):
        find_label_keys([bare])
    with pytest.raises(InputError, match=r"No structure has energy under 'U'.*REF_e"):
        find_label_keys([labelled(REF_energy=-3.0)], energy_key="U")


def test_a_label_that_is_text_is_no_number():
    """One frame with a word where an energy should be does not stop a look at it."""
    frames = [labelled(REF_energy=-3.0), labelled(REF_energy="abc")]
    keys = find_label_keys(frames)
    assert str(partial_labels(frames[1], keys).energy_eV) == "nan"
    with pytest.raises(InputError, match="frame 2: a label is not a finite number"):
        labels_of(frames[1], keys, name="frame 2")


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
    assert choose_label_keys(structures).keys == keys
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
    keys = choose_label_keys(structures).keys
    assert keys == LabelKeys(energy="REF_energy", forces="REF_forces")
    assert partial_labels(structures[2], keys).energy_eV is None
    with pytest.raises(InputError, match=r"No structure has energy under 'x'. Found:"):
        choose_label_keys(structures, energy_key="x")


@pytest.mark.parametrize("shape", [(3, 3), (9,), (6,)])
def test_stress_and_virial_are_one_thing(shape: tuple[int, ...]):
    """Tensors and Voigt vectors are read; a virial is minus volume times stress."""
    full = np.array([[1.0, 0.6, 0.5], [0.6, 2.0, 0.4], [0.5, 0.4, 3.0]])
    voigt = np.array([1.0, 2.0, 3.0, 0.4, 0.5, 0.6])
    stress = voigt if shape == (6,) else full.reshape(shape)
    atoms = labelled(stress=stress, REF_virial=-8.0 * stress)
    atoms.cell = [2, 2, 2]
    for key in ("stress", "REF_virial"):
        keys = choose_label_keys([atoms], stress_key=key).keys
        found = partial_labels(atoms, keys).stress_eV_A3
        assert found == pytest.approx(voigt)


def test_no_stress_without_a_label():
    """A set without stress has none, and a virial needs a cell."""
    keys = choose_label_keys([labelled()]).keys
    assert keys == LabelKeys(energy=None, forces="REF_forces")
    assert partial_labels(labelled(), keys).stress_eV_A3 is None
    assert count_label_keys([labelled(virial=np.eye(3))]).stress == {}
    virial = LabelKeys(energy=None, forces=None, stress="virial")
    molecule = labelled(virial=np.eye(3))  # in a set whose other frames have cells
    assert partial_labels(molecule, virial).stress_eV_A3 is None


def test_every_command_reads_the_same_labels(tmp_path: Path):
    """Evaluation, all fits, calibration and inspection: one file, one choice."""
    labels = "energies under dft_energy, forces under dft_forces"
    state = Path(__file__).parents[1] / "legacy" / "no-parity.pth"
    made = published.import_paper(state, tmp_path / "made", avg_num_neighbors=20.0)
    calculator = load_calculator(made.output)
    frames = []
    for atoms in published.small_structures(("C",)):
        calculator.calculate(atoms)
        frame = label(atoms, energy_eV=-1.0, forces_eV_A=np.zeros((len(atoms), 3)))
        frame.info |= {"dft_energy": calculator.results["energy"], "nep_energy": -2.0}
        frame.arrays["dft_forces"] = calculator.results["forces"]
        frame.arrays["nep_forces"] = np.ones((len(atoms), 3))
        frames.append(frame)
    data = tmp_path / "set.xyz"
    write_structures(data, frames)
    (evaluated,) = evaluate_models([str(made.output)], data)
    again = published.import_paper(state, tmp_path / "again", calibrate_with=data)
    assert again.calibration is not None
    checked = check_data(made.output, data)
    recipe = PretrainRecipe(fit=FitRecipe(validation_share=0.6))
    found = {
        "evaluate": evaluated.labels,
        "calibration": again.calibration.labels,
        "finetune": f"energies under {checked.energy_key}, forces under "
        f"{checked.forces_key}",
        "inspect": str(inspect_files(data).keys),
        "benchmark": str(read_part(DataSource(training=(data,), test=()), (data,))[1]),
        "pretrain": str(make_sets(stored(frames, tmp_path), recipe, 4.0).keys),
    }
    assert found == dict.fromkeys(found, labels)
    assert evaluated.groups[0].force_rmse_eV_A < 1e-5
    assert again.avg_num_neighbors == pytest.approx(20.0, abs=0.05)
