"""Units that a file declares: converted to eV and Å, or refused; never passed over."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.units import Bohr, GPa, Hartree, Ry, kcal, kJ, mol

from synthzoo.data.declared_units import convert_declared, factor_of
from synthzoo.data.frames import iter_raw_frames
from synthzoo.data.label_choice import find_label_keys
from synthzoo.data.labels import labels_of
from synthzoo.data.structures import read_structures, write_structures
from synthzoo.errors import FileWarning, InputError


@pytest.mark.parametrize(
    ("kind", "unit", "factor"),
    [
        ("energy", "hartree", Hartree),
        ("energy", "a.u.", Hartree),
        ("energy", "Ry", Ry),
        ("energy", "kcal/mol", kcal / mol),
        ("energy", "kJ mol^-1", kJ / mol),
        ("virial", "meV", 1e-3),
        ("forces", "eV/Å", 1.0),
        ("forces", "Hartree/Bohr", Hartree / Bohr),
        ("forces", "atomic_unit", Hartree / Bohr),
        ("forces", "kcal/(mol A)", kcal / mol),
        ("forces", "kcal mol^-1 A^-1", kcal / mol),
        ("stress", "kbar", 0.1 * GPa),
        ("stress", "GPa", GPa),
        ("stress", "eV/A^3", 1.0),
        ("stress", "Ha/Bohr**3", Hartree / Bohr**3),
        ("length", "bohr", Bohr),
    ],
)
def test_units_are_known_as_people_write_them(kind, unit: str, factor: float):
    """Hartree, rydberg, calories and joules per mole, bohr and pressures."""
    assert factor_of(kind, unit) == pytest.approx(factor, rel=1e-12)


@pytest.mark.parametrize(
    ("kind", "unit"),
    [("energy", "eV/Å"), ("forces", "hartree"), ("stress", "eV/Å"), ("energy", "")],
)
def test_a_unit_of_something_else_is_unknown(kind, unit: str):
    """A force is no energy, whatever is declared."""
    assert factor_of(kind, unit) is None


def test_the_real_file_is_converted_once(shared, tmp_path: Path):
    """-0.5 hartree are -13.6057 eV, also after the frame was written and read."""
    with pytest.warns(FileWarning, match="energy from hartree to eV") as told:
        (atoms,) = read_structures(shared("cases/energy-unit-hartree.xyz"))
    assert len(told) == 1
    write_structures(tmp_path / "again.xyz", [atoms])
    (again,) = read_structures(tmp_path / "again.xyz")
    for found in (atoms, again):
        keys = find_label_keys([found])
        labels = labels_of(found, keys)
        assert labels.energy_eV == pytest.approx(-0.5 * Hartree)
        np.testing.assert_allclose(
            labels.forces_eV_A[0],
            np.array([1, 2, 3]) * 0.01 * Hartree / Bohr,
            atol=1e-8,
        )


def test_a_declaration_of_some_structures_only_is_said(tmp_path: Path):
    """The others are read in eV, which may not be what was meant."""
    path = tmp_path / "a.xyz"
    frame = "1\nenergy=-1.0{}\nC 0 0 0\n"
    path.write_text(frame.format(" energy-unit=Ry") + 2 * frame.format(""))
    with (
        pytest.warns(FileWarning, match=r"a\.xyz: converted, as it declares: energy"),
        pytest.warns(FileWarning, match="holds for 1 of 3 structures only: converted"),
    ):
        energies = [atoms.get_potential_energy() for atoms in read_structures(path)]
    assert energies == [pytest.approx(-Ry), -1.0, -1.0]


def test_workers_convert_what_they_parse(shared):
    """Frames that are handed out unparsed are in the same units."""
    (frame,) = iter_raw_frames(shared("cases/energy-unit-hartree.xyz"))
    assert frame.parse().get_potential_energy() == pytest.approx(-0.5 * Hartree)


def _labelled(**info: object) -> Atoms:
    atoms = Atoms("C2", positions=[[0, 0, 0], [0, 0, 1]], cell=[5.0] * 3, pbc=True)
    atoms.calc = SinglePointCalculator(
        atoms, energy=-1.0, forces=np.ones((2, 3)), stress=np.ones(6)
    )
    atoms.info |= info
    return atoms


def test_every_label_is_converted():
    """Those of the calculator, of ``info`` and of ``arrays``; nothing else is."""
    atoms = _labelled(
        energy_unit="kcal/mol",
        force_units="kcal/mol/A",
        unit_stress="kbar",
        dft_energy=-2.0,
        dft_virial=np.ones(9),
        energy_weight=3.0,
        step=7,
    )
    atoms.arrays["dft_forces"] = np.full((2, 3), 2.0)
    notes = convert_declared(atoms)
    per_mole = kcal / mol
    assert atoms.calc.results["energy"] == pytest.approx(-per_mole)
    np.testing.assert_allclose(atoms.calc.results["forces"], per_mole)
    np.testing.assert_allclose(atoms.calc.results["stress"], 0.1 * GPa)
    assert atoms.info["dft_energy"] == pytest.approx(-2 * per_mole)
    np.testing.assert_allclose(atoms.info["dft_virial"], per_mole)
    np.testing.assert_allclose(atoms.arrays["dft_forces"], 2 * per_mole)
    assert (atoms.info["energy_weight"], atoms.info["step"]) == (3.0, 7)
    assert len(notes) == 1
    assert convert_declared(atoms) == ()


def test_lengths_are_converted_with_the_cell():
    """Positions and cell in bohr."""
    atoms = _labelled(length_unit="bohr")
    convert_declared(atoms)
    assert atoms.positions[1, 2] == pytest.approx(Bohr)
    assert atoms.cell.lengths() == pytest.approx([5 * Bohr] * 3)
    assert atoms.get_potential_energy() == -1.0


def test_a_unit_in_the_name_of_a_label_counts():
    """It is converted and named by ours, so that no hartree are taken for eV."""
    atoms = Atoms("C2", positions=[[0, 0, 0], [0, 0, 1]])
    atoms.info = {"energy_hartree": -0.5, "total_energy_eV": -13.6, "energy_gap": 2.0}
    atoms.arrays["forces_kcal_mol_A"] = np.ones((2, 3))
    notes = convert_declared(atoms)
    assert atoms.info == {
        "energy_eV": pytest.approx(-0.5 * Hartree),
        "total_energy_eV": -13.6,
        "energy_gap": 2.0,
    }
    np.testing.assert_allclose(atoms.arrays["forces_eV_A"], kcal / mol)
    assert "energy_hartree was converted to energy_eV." in notes


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ({"energy-unit": "furlong"}, "'furlong' is not a unit of energy"),
        ({"force-unit": "eV"}, "'eV' is not a unit of forces"),
        ({"energy-unit": "hartree"}, "but no unit for forces: add force-unit"),
        ({"force-unit": "Ha/bohr"}, "but no unit for energy: add energy-unit"),
    ],
)
def test_half_a_declaration_is_refused(info: dict[str, str], message: str):
    """What is left open cannot be guessed."""
    with pytest.raises(InputError, match=message):
        convert_declared(_labelled(**info))


def test_our_own_units_may_be_declared():
    """They change nothing, and nothing is said."""
    atoms = _labelled(**{"energy-unit": "eV", "force-unit": "eV/Angstrom"})
    assert convert_declared(atoms) == ()
    assert atoms.get_potential_energy() == -1.0


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("units", "real", "units=real is not understood: eV and Å were assumed"),
        ("cell", np.eye(3), "cell is not read as a cell, which is called Lattice"),
    ],
)
def test_what_is_not_understood_is_said(key: str, value: object, message: str):
    """Units without a quantity, and cells that extended XYZ does not know."""
    atoms = Atoms("C", info={key: value})
    (note,) = convert_declared(atoms)
    assert note.startswith(message)
    assert convert_declared(Atoms("C", info={"units": "eV"})) == ()


def test_values_of_any_shape_are_left_as_they_are(tmp_path: Path):
    """What is neither number nor array is no label, whatever its name."""
    info = {"energy_ha": [[1, 2], [3]], "forces": "none", "energy_unit": 3}
    atoms = Atoms("C", info=dict(info))
    assert convert_declared(atoms) == ()
    assert atoms.info == info


def test_databases_declare_units_too(tmp_path: Path):
    """Key-value pairs count like the comment line of a file."""
    with connect(tmp_path / "a.db") as rows:
        rows.write(
            _labelled(), energy_unit="Ry", force_unit="Ry/bohr", stress_unit="GPa"
        )
    with pytest.warns(FileWarning, match="energy from Ry to eV"):
        (atoms,) = read_structures(tmp_path / "a.db")
    assert atoms.get_potential_energy() == pytest.approx(-Ry)
