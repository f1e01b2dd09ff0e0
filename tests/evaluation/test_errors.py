"""Errors by group: right for a model whose errors are known."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.units import GPa

from synthzoo.data.structures import label, write_structures
from synthzoo.errors import InputError
from synthzoo.evaluation.evaluate import evaluate_models

OFFSET_EV = -3.0


def rattled_crystals() -> list[Atoms]:
    structures = []
    for number in range(6):
        atoms = bulk("C", cubic=number % 2 == 0)
        atoms.rattle(0.1, seed=number)
        atoms.info["config_type"] = "large" if number % 2 == 0 else "small"
        structures.append(atoms)
    return structures


@pytest.fixture(scope="module")
def own_labels(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write structures with the model's own labels, moved by known amounts.

    Energies lie 3 eV/atom lower, and in the group "large" another 0.1 eV/atom; forces
    of that group differ by 0.5 eV/Å in one of three components, and its stress by 2 GPa
    in one of six. The other group has no stress.
    """
    from synthzoo.zoo.load import load_calculator

    calculator = load_calculator(tiny_checkpoint)
    structures = []
    for atoms in rattled_crystals():
        atoms.calc = calculator
        large = atoms.info["config_type"] == "large"
        energy = atoms.get_potential_energy()
        energy += (OFFSET_EV - 0.1 * large) * len(atoms)
        forces = atoms.get_forces() + large * np.array([0.5, 0, 0])
        stress = atoms.get_stress() + 2 * GPa * np.eye(6)[0] if large else None
        structures.append(
            label(atoms, energy_eV=energy, forces_eV_A=forces, stress_eV_A3=stress)
        )
    path = tmp_path_factory.mktemp("own") / "own.xyz"
    write_structures(path, structures)
    return path


def test_known_errors_are_found_by_group(tiny_checkpoint: Path, own_labels: Path):
    """Each group has exactly the error that was put into it."""
    (found,) = evaluate_models([str(tiny_checkpoint)], own_labels)
    groups = {group.name: group for group in found.groups}
    assert list(groups) == ["all", "large", "small"]
    assert groups["small"].energy_rmse_meV_per_atom == pytest.approx(3000, rel=1e-6)
    assert groups["large"].energy_rmse_meV_per_atom == pytest.approx(3100, rel=1e-6)
    assert groups["small"].force_rmse_eV_A == pytest.approx(0, abs=1e-6)
    assert groups["large"].force_rmse_eV_A == pytest.approx(0.5 / 3**0.5, rel=1e-5)
    assert groups["large"].stress_rmse_GPa == pytest.approx(2 / 6**0.5, rel=1e-4)
    assert groups["all"].stress_rmse_GPa == groups["large"].stress_rmse_GPa
    assert groups["small"].stress_rmse_GPa is None
    assert found.groups[0].atoms == 3 * 8 + 3 * 2
    expected = np.sqrt(24 / 30 * 0.25 / 3)
    assert found.groups[0].force_rmse_eV_A == pytest.approx(expected, rel=1e-5)
    assert found.energy_shifts_eV == {}


def test_a_shift_of_one_element_is_the_mean_difference(
    tiny_checkpoint: Path, own_labels: Path
):
    """What is left is the spread around the mean difference."""
    (found,) = evaluate_models([str(tiny_checkpoint)], own_labels, shift=True)
    assert found.energy_shifts_eV == pytest.approx({"C": OFFSET_EV - 0.05}, rel=1e-5)
    assert found.groups[0].energy_rmse_meV_per_atom == pytest.approx(50, rel=1e-3)


def moved(atoms: Atoms, constant_eV: float) -> Atoms:
    """Return a structure with labels of EMT, the energy moved."""
    atoms.calc = EMT()
    energy = atoms.get_potential_energy() + constant_eV
    return label(atoms, energy_eV=energy, forces_eV_A=atoms.get_forces())


def test_a_shift_takes_off_one_constant_for_each_element(tmp_path: Path):
    """As total energies of alloys need it; forces are as they are."""
    shifts, structures = {"Al": -3.0, "Au": -7.0, "Cu": 2.0}, []
    for symbols in ("CuCuAuAl", "AuAuCuAl", "AlAlAlCu", "CuAuAuAu"):
        atoms = bulk("Cu", cubic=True)
        atoms.symbols = symbols
        atoms.rattle(0.05, seed=1)
        atoms.calc = EMT()
        energy = atoms.get_potential_energy() + sum(
            shifts[name] for name in atoms.symbols
        )
        structures.append(
            label(atoms, energy_eV=energy, forces_eV_A=atoms.get_forces())
        )
    write_structures(tmp_path / "alloys.xyz", structures)
    (found,) = evaluate_models([EMT()], tmp_path / "alloys.xyz", shift=True)
    assert found.energy_shifts_eV == pytest.approx(shifts, abs=1e-6)
    assert found.groups[0].energy_rmse_meV_per_atom == pytest.approx(0, abs=1e-3)


def test_a_shift_that_the_compositions_leave_open_is_the_smallest(tmp_path: Path):
    """In a compound of one composition nothing tells its elements apart."""
    structures = []
    for a in (3.9, 4.1):
        atoms = bulk("CuAu", "rocksalt", a=a)
        atoms.calc = EMT()
        energy = atoms.get_potential_energy() - 8.0
        structures.append(
            label(atoms, energy_eV=energy, forces_eV_A=atoms.get_forces())
        )
    write_structures(tmp_path / "one.xyz", structures)
    (found,) = evaluate_models([EMT()], tmp_path / "one.xyz", shift=True)
    assert found.energy_shifts_eV == pytest.approx({"Au": -4.0, "Cu": -4.0}, abs=1e-6)


def test_a_group_can_be_left_out(tiny_checkpoint: Path, own_labels: Path):
    """Dimers, say, do not count where the reference leaves them out."""
    (found,) = evaluate_models([str(tiny_checkpoint)], own_labels, skip=["large"])
    assert [group.name for group in found.groups] == ["all", "small"]
    assert found.groups[0].structures == 3


def test_a_group_that_is_not_there_cannot_be_left_out(
    tiny_checkpoint: Path, own_labels: Path
):
    """A slip of the pen would otherwise count the group; the message names them all."""
    with pytest.raises(
        InputError,
        match=r"own\.xyz holds no structure of the group larg to skip\. "
        r"Its groups are: large, small\.",
    ):
        evaluate_models([str(tiny_checkpoint)], own_labels, skip=["larg", "small"])


def test_nothing_left_is_an_error(tiny_checkpoint: Path, own_labels: Path):
    """Leaving out every group is said, not divided by."""
    with pytest.raises(InputError, match=r"own\.xyz holds no structure outside of"):
        evaluate_models([str(tiny_checkpoint)], own_labels, skip=["large", "small"])


def test_another_element_is_refused(tiny_checkpoint: Path, shared):
    """Real silicon labels are found, but a carbon model cannot compute them."""
    path = shared("data/silicon-mlearn-dft-train.extxyz")
    with pytest.raises(InputError, match=r"knows C, but 214 of 214 .* contain Si"):
        evaluate_models([str(tiny_checkpoint)], path)


def test_models_and_teachers_are_compared_side_by_side(
    tiny_checkpoint: Path, own_labels: Path, tmp_path: Path
):
    """A checkpoint beside any ASE calculator: one table each, one figure for both."""
    import matplotlib.image

    lj = 'ase:ase.calculators.lj.LennardJones{"rc": 3.0, "%s": {"C": 0.0}}'
    models = [str(tiny_checkpoint), lj % "isolated_atom_energies_eV"]
    figure = tmp_path / "parity.png"
    found = evaluate_models(models, [own_labels], figure=figure, shift=True)
    assert [each.model for each in found] == models
    (alone,) = evaluate_models([str(tiny_checkpoint)], own_labels, shift=True)
    assert found[0].groups == alone.groups
    assert found[1].groups[0].force_rmse_eV_A > found[0].groups[0].force_rmse_eV_A
    assert matplotlib.image.imread(figure).shape[1] > 1000
