"""Transmuted labels are those of one scaled potential: forces stay its gradient."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, graphene
from ase.calculators.lj import LennardJones
from click.testing import CliRunner

from synthzoo.cli import main
from synthzoo.data.structures import label, read_structures, write_structures
from synthzoo.data.transmute import Transmutation, transmute_file, transmute_structure
from synthzoo.errors import InputError
from synthzoo.training.sets import find_provenance
from tests.toy import stored

TO_SILICON = Transmutation(element="Si", scale=1.5, energy_factor=0.6)
ZEROS = np.zeros((2, 3))
TO_INP = Transmutation(
    elements={"Ga": "In", "As": "P"},
    scale=1.04,
    energy_factor=0.6,
    isolated_atom_energy_eV={"Ga": -2.0, "As": -5.0},
)


def lennard_jones(*, scale: float = 1.0, factor: float = 1.0) -> LennardJones:
    """Return a potential, or the same one at other lengths and energies."""
    return LennardJones(
        sigma=1.4 * scale, epsilon=0.8 * factor, rc=3.5 * scale, smooth=True
    )


def crystal(*, seed: int = 0) -> Atoms:
    """Return a rattled and sheared crystal, labelled."""
    atoms = bulk("C", cubic=True)
    cell = atoms.cell.array @ (np.eye(3) + 0.03 * np.triu(np.ones((3, 3))))
    atoms.set_cell(cell, scale_atoms=True)
    atoms.rattle(0.05, seed=seed)
    atoms.calc = lennard_jones()
    atoms.info.update(group="g", kind="crystals", temperature_K=300.0)
    labelled = label(
        atoms,
        energy_eV=atoms.get_potential_energy(),
        forces_eV_A=atoms.get_forces(),
        stress_eV_A3=atoms.get_stress(),
        energies_eV=atoms.get_potential_energies(),
    )
    labelled.info.update(atoms.info)
    return labelled


def test_all_labels_are_those_of_the_scaled_potential():
    """Energy, energies, forces and stress of a potential with other parameters."""
    result = transmute_structure(crystal(), change=TO_SILICON)
    exact = result.copy()
    exact.calc = lennard_jones(scale=1.5, factor=0.6)
    for name in ("energy", "forces", "stress", "energies"):
        np.testing.assert_allclose(
            result.calc.results[name],
            exact.calc.get_property(name, exact),
            rtol=1e-9,
            atol=1e-12,
        )


def test_forces_and_stress_are_derivatives_of_transmuted_energies():
    """Finite differences between transmuted frames, whatever the factors."""
    rng = np.random.default_rng(1)
    start, direction = crystal(), rng.normal(size=(8, 3))
    strain = rng.normal(size=(3, 3))
    strain += strain.T

    def energy(step: float, *, strained: bool) -> float:
        moved = start.copy()
        if strained:
            moved.set_cell(
                moved.cell.array @ (np.eye(3) + step * strain), scale_atoms=True
            )
        else:
            moved.positions += step * direction
        moved.calc = lennard_jones()
        moved.get_potential_energy()
        result = transmute_structure(moved, change=TO_SILICON)
        return float(result.get_potential_energy())

    result = transmute_structure(start, change=TO_SILICON)
    step = 1e-5
    slope = (energy(step, strained=False) - energy(-step, strained=False)) / (2 * step)
    along = -(result.get_forces() * direction * TO_SILICON.scale).sum()
    assert along == pytest.approx(slope, rel=1e-6)
    slope = (energy(step, strained=True) - energy(-step, strained=True)) / (2 * step)
    along = result.get_volume() * (result.get_stress(voigt=False) * strain).sum()
    assert along == pytest.approx(slope, rel=1e-6)


def test_the_energy_is_that_of_the_forces():
    """The free energy of smeared electrons is scaled, not the extrapolated energy."""
    atoms = crystal()
    free_eV = atoms.get_potential_energy()
    atoms = label(atoms, energy_eV=free_eV + 0.5, forces_eV_A=atoms.get_forces())
    atoms.calc.results["free_energy"] = free_eV
    change = Transmutation(element="Si", scale=1.5, energy_factor=2.0)
    found = transmute_structure(atoms, change=change).calc.results
    assert found["energy"] == pytest.approx(2 * free_eV)
    assert "free_energy" not in found


def test_only_the_name_changes_at_scale_one():
    """The unscaled control has the labels of the original."""
    start = crystal()
    result = transmute_structure(start, change=Transmutation(element="Si", scale=1.0))
    assert set(result.symbols) == {"Si"}
    np.testing.assert_array_equal(result.positions, start.positions)
    for name, value in start.calc.results.items():
        np.testing.assert_allclose(result.calc.results[name], value, rtol=1e-15)


def test_what_was_done_is_on_record():
    """Text stays, numbers of the old structure go; twice is told twice."""
    once = transmute_structure(crystal(), change=TO_SILICON)
    assert once.info == {
        "group": "g",
        "kind": "crystals",
        "density_g_cm3": pytest.approx(2.23, abs=0.3),
        "transmuted": "C to Si, lengths times 1.5, energies times 0.6",
    }
    twice = transmute_structure(once, change=Transmutation(element="Ge", scale=1.05))
    assert twice.info["transmuted"] == (
        "C to Si, lengths times 1.5, energies times 0.6; "
        "Si to Ge, lengths times 1.05, energies times 1"
    )


def test_a_model_of_transmuted_labels_says_so(tmp_path: Path):
    """Its labels are the teacher's for another element: that goes on its record."""
    carbon = crystal()
    carbon.info.update(teacher="ace:c.yace", teacher_sha256="ab", teacher_software="x")
    silicon = transmute_structure(carbon, change=TO_SILICON)
    assert find_provenance(stored([silicon], tmp_path))["transmuted"] == (
        "C to Si, lengths times 1.5, energies times 0.6"
    )
    assert "transmuted" not in find_provenance(stored([carbon], tmp_path))


def test_total_energies_are_made_relative_to_isolated_atoms():
    """Otherwise the factor would scale the offset of another element's atom."""
    start = crystal()
    absolute = start.copy()
    energy = start.get_potential_energy()
    absolute.info["my_energy"] = energy - 148.0 * len(start)
    absolute.arrays["my_forces"] = start.get_forces()
    change = Transmutation(
        element="Si",
        scale=1.5,
        energy_factor=0.6,
        isolated_atom_energy_eV=-148.0,
        energy_key="my_energy",
        forces_key="my_forces",
    )
    result = transmute_structure(absolute, change=change)
    assert result.get_potential_energy() == pytest.approx(0.6 * energy, rel=1e-9)
    assert "my_energy" not in result.info
    assert "my_forces" not in result.arrays


def test_a_compound_follows_a_map_of_its_elements():
    """Each atom by its own name, and without its own isolated atom."""
    gallium = Atoms("Ga", positions=[[0, 0, 0]], cell=[3.0] * 3, pbc=True)
    compound = bulk("GaAs", "zincblende", a=5.6)
    compound = label(
        compound,
        energy_eV=-10.0,
        forces_eV_A=np.array([[0, 0, 1.0], [0, 0, -1.0]]),
        energies_eV=np.array([-3.0, -7.0]),
    )
    result = transmute_structure(compound, change=TO_INP)
    assert list(result.symbols) == ["In", "P"]
    assert result.get_potential_energy() == pytest.approx(0.6 * -3.0)
    assert result.calc.results["energies"] == pytest.approx([-0.6, -1.2])
    assert result.get_forces()[0, 2] == pytest.approx(0.6 / 1.04)
    assert result.info["transmuted"] == (
        "Ga to In, As to P, lengths times 1.04, energies times 0.6"
    )
    alone = transmute_structure(gallium, change=TO_INP)
    assert list(alone.symbols) == ["In"]
    assert alone.info["transmuted"] == result.info["transmuted"]


def test_the_command_takes_a_map_and_energies(tmp_path: Path):
    """Each option is repeated; one energy without a name is that of the one element."""
    write_structures(
        tmp_path / "a.xyz",
        [label(bulk("GaAs", "zincblende", a=5.6), energy_eV=-10.0, forces_eV_A=ZEROS)],
    )
    arguments = ["transmute", str(tmp_path / "a.xyz"), str(tmp_path / "b.xyz")]
    arguments += ["--map", "Ga:In", "--map", "As:P", "--scale", "1.04"]
    energies = ["--isolated-energy", "Ga=-2", "--isolated-energy", "As=-5"]
    result = CliRunner().invoke(main, [*arguments, *energies])
    assert result.exit_code == 0, result.stderr
    (made,) = read_structures(tmp_path / "b.xyz")
    assert made.get_potential_energy() == pytest.approx(-3.0)
    for wrong in (["--map", "Ga"], ["--isolated-energy", "two"]):
        result = CliRunner().invoke(main, [*arguments, *wrong])
        assert "is not of the form" in result.stderr


def test_an_isolated_atom_with_an_energy_is_refused():
    """It shows that the energies are totals; the message says which option is due."""
    atom = Atoms("C", cell=[12.0] * 3, pbc=True)
    labelled = label(atom, energy_eV=-148.3, forces_eV_A=np.zeros((1, 3)))
    with pytest.raises(InputError, match=r"energy of -148\.3000 eV.*isolated-atom"):
        transmute_structure(labelled, change=TO_SILICON)
    change = Transmutation(element="Si", scale=1.5, isolated_atom_energy_eV=-148.3)
    result = transmute_structure(labelled, change=change)
    assert result.get_potential_energy() == pytest.approx(0, abs=1e-9)


def test_a_crystal_of_one_atom_is_not_isolated():
    """Simple cubic carbon has one atom in its cell, and an energy."""
    cubic = bulk("C", "sc", a=1.8)
    labelled = label(cubic, energy_eV=-6.0, forces_eV_A=np.zeros((1, 3)))
    result = transmute_structure(labelled, change=TO_SILICON)
    assert result.get_potential_energy() == pytest.approx(-3.6)


def test_a_file_keeps_its_order_with_and_without_labels(tmp_path: Path):
    """Unlabelled structures stay unlabelled; the summary counts the others."""
    source, output = tmp_path / "c.xyz", tmp_path / "si.xyz"
    write_structures(source, [graphene("C2", vacuum=4.0), crystal(), Atoms("C")])
    summary = transmute_file(source, output, change=TO_SILICON)
    assert (summary.structures, summary.labelled) == (3, 1)
    sheet, solid, atom = read_structures(output)
    assert sheet.cell.lengths()[0] == pytest.approx(1.5 * 2.46)
    assert list(sheet.pbc) == [True, True, False]
    assert sheet.calc is None
    assert solid.get_forces().shape == (8, 3)
    assert atom.symbols[0] == "Si"


@pytest.mark.parametrize(
    ("atoms", "change", "message"),
    [
        (bulk("SiC", "zincblende", a=4.3), TO_SILICON, "has the elements C, Si; say"),
        (bulk("SiC", "zincblende", a=4.3), TO_INP, "has C, Si, for which no new"),
        (
            bulk("GaAs", "zincblende", a=5.6),
            Transmutation(
                elements={"Ga": "In", "As": "P"},
                scale=1.0,
                isolated_atom_energy_eV={"Ga": -1.0},
            ),
            "has As, of which no isolated-atom energy is given",
        ),
        (
            bulk("SiC", "zincblende", a=4.3),
            Transmutation(elements={"Si": "Ge", "C": "Ge"}, scale=1.0),
            "Several elements cannot become Ge",
        ),
        (bulk("C"), Transmutation(scale=1.5), "Give one new element, or a map"),
        (
            bulk("C"),
            Transmutation(element="Si", elements={"C": "Si"}, scale=1.5),
            "Give one new element, or a map",
        ),
        (Atoms(), TO_SILICON, r"the elements \(none\)"),
        (bulk("C"), Transmutation(element="si", scale=1.5), "'si' is no chemical"),
        (bulk("C"), Transmutation(element="Si", scale=0.0), "scale is 0.0"),
        (
            bulk("C"),
            Transmutation(element="Si", scale=1.0, energy_factor=-1.0),
            "energy factor is -1.0",
        ),
        (
            bulk("C"),
            Transmutation(element="Si", scale=1.0, energy_key="e"),
            "no energy under 'e'",
        ),
    ],
    ids=[
        "elements",
        "unnamed",
        "energies",
        "merged",
        "neither",
        "both",
        "empty",
        "symbol",
        "scale",
        "factor",
        "key",
    ],
)
def test_what_cannot_be_transmuted_is_refused(
    atoms: Atoms, change: Transmutation, message: str
):
    """The message says what came and what was expected."""
    with pytest.raises(InputError, match=message):
        transmute_structure(atoms, change=change)


def test_labels_under_other_keys_are_not_dropped_in_silence():
    """A key of the user's own has to be named."""
    atoms = bulk("C")
    atoms.info["dft_energy"] = -18.0
    with pytest.raises(InputError, match=r"energy under \['dft_energy'\]"):
        transmute_structure(atoms, change=TO_SILICON)


def test_an_existing_file_is_not_replaced(tmp_path: Path):
    """The user is told to choose another name."""
    write_structures(tmp_path / "c.xyz", [bulk("C")])
    with pytest.raises(InputError, match=r"c\.xyz exists"):
        transmute_file(tmp_path / "c.xyz", tmp_path / "c.xyz", change=TO_SILICON)
