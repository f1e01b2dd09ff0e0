"""Each check finds its fault in real data, and is silent where there is none."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, graphene, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.units import Bohr, GPa, Hartree, Rydberg

from synthzoo import load_calculator, predict_structures
from synthzoo.data.label_choice import choose_label_keys
from synthzoo.data.labelled_set import rms
from synthzoo.data.labels import CALCULATOR, LabelKeys, partial_labels
from synthzoo.data.structures import label, read_structures
from synthzoo.inspection.checks import check_set
from synthzoo.inspection.findings import SEVERITIES, CheckedSet, Finding, Reference
from synthzoo.inspection.force_order import force_order
from synthzoo.inspection.label_checks import outside_domain
from synthzoo.inspection.unit_checks import energies_against_forces
from synthzoo.inspection.unit_ratios import model_force_ratio

if TYPE_CHECKING:
    from numpy.typing import NDArray

CARBON = "data/carbon-gap17-dft-train.extxyz"
SILICON = "data/silicon-mlearn-dft-train.extxyz"
CLEAN = (
    CARBON,
    SILICON,
    "data/silicon-gap18-dft-crystal.extxyz",
    "data/carbon-rss-pbe.extxyz",
    "data/silicon-rss-pbe.extxyz",
    *(
        f"data/{name}-dft-train.extxyz"
        for name in ("cu", "motaw", "inp", "sic", "sio2", "mosi2n4", "pbte")
    ),
    "data/carbon-quenched-gap17.extxyz",
)
LONG = set(CLEAN) - {SILICON, CLEAN[-1]}  # which take seconds to read and check
KCAL = 23.0605
Factors = tuple[float, float]


def changed(
    structures: Sequence[Atoms],
    *,
    energy: float = 1.0,
    forces: float = 1.0,
    shifts_eV_per_atom: NDArray[np.float64] | None = None,
) -> list[Atoms]:
    """Return structures whose labels are multiplied and shifted."""
    keys = choose_label_keys(structures).keys
    shifts = np.zeros(len(structures))
    if shifts_eV_per_atom is not None:
        shifts = shifts_eV_per_atom
    new = []
    for atoms, shift in zip(structures, shifts, strict=True):
        labels = partial_labels(atoms, keys)
        assert labels.energy_eV is not None
        assert labels.forces_eV_A is not None
        copy = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        copy.info["kind"] = atoms.info.get("config_type", "none")
        copy.calc = SinglePointCalculator(
            copy,
            energy=labels.energy_eV * energy + shift * len(atoms),
            forces=labels.forces_eV_A * forces,
        )
        new.append(copy)
    return new


def some(structures: Sequence[Atoms], count: int, seed: int = 0) -> list[Atoms]:
    """Return a random part of a set."""
    chosen = np.random.default_rng(seed).permutation(len(structures))[:count]
    return [structures[index] for index in chosen]


def serious(findings: Sequence[Finding]) -> dict[str, Finding]:
    """Return errors and warnings by kind."""
    return {found.kind: found for found in findings if found.severity != "note"}


def or_thorough(names: Iterable[str]) -> list[Any]:
    """Return files as parameters; the quick lane leaves out the long ones."""
    thorough = pytest.mark.thorough
    return [
        pytest.param(name, marks=thorough) if name in LONG else name for name in names
    ]


@pytest.mark.parametrize("name", or_thorough(CLEAN))
def test_good_data_raise_no_alarm(name: str, shared: Callable[[str], Path]):
    """Published sets, whole and a few of them, have neither errors nor warnings."""
    structures = read_structures(shared(name))
    assert serious(check_set(structures)) == {}
    assert serious(check_set(some(structures, 25))) == {}


@pytest.mark.parametrize("name", or_thorough([CARBON, SILICON, CLEAN[2]]))
@pytest.mark.parametrize(
    ("factors", "words"),
    [
        ((KCAL, 1.0), "energies in kcal/mol"),
        ((1 / Hartree, 1.0), "energies in Hartree"),
        ((1.0, KCAL), "forces in kcal/mol/Å"),
        ((1.0, Bohr / Hartree), "forces in Hartree/bohr"),
        ((1.0, 2 * Bohr / Hartree), "forces in Rydberg/bohr"),
        ((1 / Hartree, Bohr / Hartree), "energies in Hartree and forces in Hartree"),
        ((1.0, -1.0), "wrong sign"),
    ],
)
def test_close_frames_tell_energies_and_forces_apart(
    name: str, factors: Factors, words: str, shared: Callable[[str], Path]
):
    """Without any model, units and sign follow from frames of one system."""
    structures = read_structures(shared(name))
    wrong = changed(structures, energy=factors[0], forces=factors[1])
    keys = LabelKeys(energy=CALCULATOR, forces=CALCULATOR)
    found = energies_against_forces(CheckedSet(structures=wrong, keys=keys))
    assert found[0].severity == "error"
    assert words in found[0].message


@pytest.mark.parametrize(
    ("factor", "kind", "words"),
    [
        (-1.0, "force_sign", "reversed"),
        (KCAL, "force_units", "kcal/mol/Å"),
        (Bohr / Hartree, "force_units", "Hartree/bohr"),
    ],
)
@pytest.mark.parametrize("name", [CARBON, SILICON])
def test_bonds_tell_the_unit_of_forces_in_a_small_set(
    name: str, factor: float, kind: str, words: str, shared: Callable[[str], Path]
):
    """25 unrelated structures are enough: bonds have the stiffness that they have."""
    structures = some(read_structures(shared(name)), 25)
    found = serious(check_set(changed(structures, forces=factor)))
    assert words in found[kind].message


def test_forces_tell_the_unit_of_energies_in_cells_that_are_not_close(
    shared: Callable[[str], Path],
):
    """Sheared and strained cells without stress: forces demand other energies."""
    structures = read_structures(shared("data/inp-dft-train.extxyz"))
    sound = changed([*structures[:3], *structures[60:84]])
    assert serious(check_set(sound)) == {}
    found = serious(check_set(changed(sound, energy=1 / Hartree)))
    assert found["energies_against_forces"].severity == "warning"
    assert "energies in Hartree" in found["energies_against_forces"].message


@pytest.fixture(scope="module")
def predicted(shared: Callable[[str], Path]) -> tuple[list[Atoms], Reference]:
    """Return 25 real carbon structures and what the bundled model says about them."""
    structures = some(read_structures(shared(CARBON)), 25)
    found = list(predict_structures(structures, load_calculator("carbon")))
    reference = Reference(
        energies_eV=np.array([atoms.get_potential_energy() for atoms in found]),
        forces_eV_A=[atoms.get_forces() for atoms in found],
    )
    return structures, reference


@pytest.mark.parametrize(
    ("factors", "kind", "words"),
    [
        ((KCAL, 1.0), "energy_units", "kcal/mol"),
        ((1 / Hartree, 1.0), "energy_units", "Hartree"),
        ((-1.0, 1.0), "energy_sign", "reversed"),
        ((1.0, KCAL), "force_units", "kcal/mol/Å"),
        ((1.0, Bohr / Hartree), "force_units", "Hartree/bohr"),
        ((1.0, -1.0), "force_sign", "reversed"),
        ((KCAL, KCAL), "energy_units", "kcal/mol"),
    ],
)
def test_a_model_names_the_unit(
    predicted: tuple[list[Atoms], Reference], factors: Factors, kind: str, words: str
):
    """A pre-trained model, far from perfect, knows the unit of DFT labels."""
    structures, reference = predicted
    assert serious(check_set(structures, reference=reference)) == {}
    wrong = changed(structures, energy=factors[0], forces=factors[1])
    found = serious(check_set(wrong, reference=reference))[kind]
    assert found.severity == "error"
    assert words in found.message


def test_a_model_twice_as_stiff_as_the_material_still_refuses_a_unit(
    predicted: tuple[list[Atoms], Reference],
):
    """Energies and forces in Hartree, beside a model whose energies are no help."""
    structures, reference = predicted
    soft = Reference(
        energies_eV=np.zeros(len(structures)),
        forces_eV_A=[2 * forces for forces in reference.forces_eV_A],
    )
    wrong = changed(structures, energy=1 / Hartree, forces=Bohr / Hartree)
    found = serious(check_set(wrong, reference=soft))["force_units"]
    assert found.severity == "error"
    assert "Hartree/bohr" in found.message


@pytest.mark.parametrize(
    ("factor", "rest_eV_A"), [(1.84, None), (Bohr / Rydberg, 0.01), (-1.0, 0.02)]
)
def test_errors_of_a_model_are_no_units(
    predicted: tuple[list[Atoms], Reference], factor: float, rest_eV_A: float | None
):
    """One that is too soft, and one that is wrong about atoms nearly at rest."""
    structures, reference = predicted
    size = 1.0
    if rest_eV_A is not None:
        size = rest_eV_A / rms(factor * np.concatenate(list(reference.forces_eV_A)))
    forces_eV_A = [size * forces for forces in reference.forces_eV_A]
    labelled = [
        label(atoms, energy_eV=0.0, forces_eV_A=factor * forces)
        for atoms, forces in zip(structures, forces_eV_A, strict=True)
    ]
    data = CheckedSet(
        structures=labelled,
        keys=LabelKeys(energy=CALCULATOR, forces=CALCULATOR),
        reference=dataclasses.replace(reference, forces_eV_A=forces_eV_A),
    )
    ratio = model_force_ratio(data)
    assert ratio is None or ratio.normal


def test_a_model_tells_two_levels_of_theory_apart(
    predicted: tuple[list[Atoms], Reference],
):
    """An offset of 1.5 eV/atom in a third of 25 structures is seen."""
    structures, reference = predicted
    shifts = 1.5 * (np.arange(25) % 3 == 0).astype(float)
    wrong = changed(structures, shifts_eV_per_atom=shifts)
    found = serious(check_set(wrong, reference=reference))["mixed_theory"]
    assert set(found.frames) == set(np.flatnonzero(shifts).tolist())
    assert "mixed_theory" not in serious(check_set(wrong))


@pytest.mark.thorough
def test_two_codes_in_one_set_are_told_apart_by_file(shared: Callable[[str], Path]):
    """LDA energies of CASTEP and PBE energies of VASP: named, with the file."""
    castep = some(read_structures(shared(CARBON)), 100)
    vasp = some(read_structures(shared("data/carbon-rss-pbe.extxyz")), 40)
    sources = ["castep.xyz"] * 100 + ["vasp.xyz"] * 40
    found = serious(check_set([*castep, *vasp], sources=sources))["mixed_theory"]
    assert found.severity == "error"
    assert "100 structures from castep.xyz and 40 from vasp.xyz" in found.message
    assert found.frames == tuple(range(100, 140))


@pytest.mark.parametrize(
    "gap_eV_per_atom", [0.5, pytest.param(3.0, marks=pytest.mark.thorough)]
)
def test_a_small_offset_is_seen_beyond_what_bonds_explain(
    gap_eV_per_atom: float, shared: Callable[[str], Path]
):
    """Two functionals half an eV/atom apart, without any model."""
    structures = read_structures(shared(SILICON))
    other = np.random.default_rng(1).random(len(structures)) < 0.3
    shifts = np.where(other, gap_eV_per_atom, 0.0)
    shifted = changed(structures, shifts_eV_per_atom=shifts)
    found = set(serious(check_set(shifted))["mixed_theory"].frames)
    wanted = set(np.flatnonzero(other).tolist())
    assert found <= wanted
    assert len(found) > 0.9 * len(wanted)


def test_composition_is_not_mistaken_for_theory():
    """Two elements have energies of their own; the set says what it cannot tell."""
    structures = []
    for index in range(40):
        symbol = ("Cu", "Au")[index % 2]
        atoms = bulk(symbol, cubic=True)
        atoms.rattle(0.1, seed=index)
        atoms.calc = EMT()
        offset = {"Cu": -1000.0, "Au": -5000.0}[symbol] * len(atoms)
        structures.append(with_labels(atoms, atoms.get_potential_energy() + offset))
    assert serious(check_set(structures)) == {}
    alloy = bulk("Cu", cubic=True)
    alloy.symbols[:2] = "Au"
    same = []
    for index in range(12):
        atoms = alloy.copy()
        atoms.rattle(0.1, seed=index)
        atoms.calc = EMT()
        same.append(with_labels(atoms, atoms.get_potential_energy()))
    (found,) = check_set(same)
    assert found.kind == "undetermined_elements"
    assert "one composition, AuCu. Total energies will be right for it" in found.message


def with_labels(atoms: Atoms, energy_eV: float) -> Atoms:
    """Return a copy with this energy, and forces and stress of its calculator."""
    copy = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    copy.calc = SinglePointCalculator(
        copy,
        energy=energy_eV,
        forces=atoms.get_forces(),
        stress=atoms.get_stress() if atoms.pbc.all() else None,
    )
    return copy


def strained_copper(*, cells: int = 8, rattle_A: float = 0.05) -> list[Atoms]:
    """Return crystals of different volumes with real energies, forces and stress."""
    structures = []
    for index in range(cells):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(rattle_A, seed=index)
        atoms.set_cell(atoms.cell * (0.97 + 0.06 * index / cells), scale_atoms=True)
        atoms.calc = EMT()
        structures.append(with_labels(atoms, atoms.get_potential_energy()))
    return structures


@pytest.mark.parametrize(
    ("factor", "kind", "words"),
    [
        (-1.0, "stress_sign", "reversed"),
        (1 / GPa, "stress_units", "GPa"),
        (10 / GPa, "stress_units", "kbar"),
    ],
)
@pytest.mark.parametrize("evidence", ["close cells", "volumes alone"])
def test_stress_is_held_against_energies_or_volumes(
    factor: float, kind: str, words: str, evidence: str
):
    """GPa, kbar and the opposite sign are found with and without energies."""
    structures = strained_copper()
    assert serious(check_set(structures)) == {}
    for atoms in structures:
        atoms.calc.results["stress"] = atoms.calc.results["stress"] * factor
        if evidence == "volumes alone":
            del atoms.calc.results["energy"]
    found = serious(check_set(structures))[kind]
    assert words in found.message


def test_stress_tells_the_unit_of_energies():
    """Strained cells whose energies are in Hartree: the stress is not to blame."""
    structures = strained_copper(rattle_A=0.0)
    assert serious(check_set(structures)) == {}
    for atoms in structures:
        atoms.calc.results["energy"] /= Hartree
    found = serious(check_set(structures))
    assert "stress_units" not in found
    assert "the energies seem to be in Hartree" in found["energy_units"].message


def test_a_model_names_the_unit_of_stress():
    """With predictions, no related frames are needed."""
    structures = strained_copper(cells=4)
    reference = Reference(
        energies_eV=np.array([atoms.get_potential_energy() for atoms in structures]),
        forces_eV_A=[atoms.get_forces() for atoms in structures],
        stresses_eV_A3=[atoms.get_stress() for atoms in structures],
    )
    for atoms in structures:
        atoms.calc.results["stress"] = atoms.calc.results["stress"] * -1600
    found = serious(check_set(structures, reference=reference))
    assert "in kbar" in found["stress_units"].message
    assert "stress_sign" in found


def test_energies_of_all_electrons_in_hartree_are_noticed():
    """CH4, H2O and others as a molecular code prints them (PBE, def2 basis)."""
    energies = {"CH4": -40.46, "H2O": -76.38, "NH3": -56.50, "C2H2": -77.24}
    structures = []
    for number in range(3):
        for name, energy in energies.items():
            atoms = molecule(name)
            atoms.rattle(0.02, seed=number)
            atoms.info["energy"] = energy + 0.001 * number
            structures.append(atoms)
    assert "Hartree" in serious(check_set(structures))["energy_units"].message
    for atoms in structures:
        atoms.info["energy"] *= Hartree
    assert "energy_units" not in serious(check_set(structures))


def test_a_wide_spread_of_energies_is_noticed(shared: Callable[[str], Path]):
    """kcal/mol in a small set without related frames."""
    structures = some(read_structures(shared("data/carbon-rss-pbe.extxyz")), 50)
    found = serious(check_set(changed(structures, energy=KCAL)))
    assert "kcal/mol" in found["energy_units"].message


def copies(shared: Callable[[str], Path]) -> list[Atoms]:
    """Return 20 labelled structures that tests may change."""
    return changed(some(read_structures(shared(SILICON)), 20))


def test_copies_are_found(shared: Callable[[str], Path]):
    """Exact ones are a warning; moved, turned and repeated ones a note."""
    structures = copies(shared)
    assert check_set([*structures, structures[3]])[0].frames == (3, 20)
    turned = structures[3].copy()
    turned.calc = structures[3].calc
    turned.rotate(30, "x", rotate_cell=True)
    turned.wrap()
    found = {found.kind: found for found in check_set([*structures, turned])}
    assert {3, 20} <= set(found["near_duplicates"].frames)
    assert "contradicting_labels" not in found


def pair(distance_A: float, cell_A: float | None) -> Atoms:
    """Return a dimer, in a periodic cell or in none."""
    atoms = Atoms("C2", positions=[[0, 0, 0], [0, distance_A, 0]])
    if cell_A is not None:
        atoms.set_cell([cell_A] * 3)
        atoms.pbc = True
    atoms.calc = SinglePointCalculator(atoms, energy=-1.1 + distance_A / 20)
    return atoms


def graphite(distance_A: float) -> Atoms:
    """Return AB graphite with this distance between its layers."""
    layers: Atoms = graphene(a=2.46, vacuum=1.0).repeat((1, 1, 2))
    layers.positions[2:] += (2 * layers.cell[0] + layers.cell[1]) / 3
    layers.positions[:, 2] = [0, 0, distance_A, distance_A]
    layers.cell[2] = [0, 0, 2 * distance_A]
    layers.pbc = True
    layers.calc = SinglePointCalculator(layers, energy=-36.0 + distance_A / 20)
    return layers


@pytest.mark.parametrize(
    "structures",
    [
        [pair(distance_A, 10.0) for distance_A in (4.4, 4.5, 4.7)],
        [pair(distance_A, None) for distance_A in (4.4, 4.5, 4.7)],
        [graphite(distance_A) for distance_A in (4.3, 4.5, 4.7, 4.9)],
        [*[pair(d, 20.0) for d in (8.0, 9.5)], Atoms("C", cell=[20] * 3, pbc=True)],
        [*[pair(d, None) for d in (8.0, 30.0)], Atoms("C")],
    ],
    ids=["dimers in cells", "dimers", "graphite", "far in cells", "far"],
)
def test_structures_that_differ_far_away_are_not_the_same(structures: list[Atoms]):
    """Nearest neighbours agree, or there are none within the reach of a search."""
    kinds = {found.kind for found in check_set(structures)}
    assert not kinds & {"near_duplicates", "contradicting_labels"}


def test_layers_are_known_again_when_turned_and_repeated():
    """Graphite whose layers are far apart, beside itself and another distance."""
    turned = graphite(4.5).repeat((2, 1, 1))
    turned.rotate(50, (1, 2, 3), rotate_cell=True)
    structures = [graphite(4.5), graphite(4.6), turned]
    found = {found.kind: found for found in check_set(structures)}
    assert found["near_duplicates"].frames == (0, 2)


def test_an_alloy_whose_atoms_changed_places_is_another_structure():
    """Same lattice, same composition; only one of the three is the first once more."""
    alloy = bulk("Cu", cubic=True).repeat(2)
    alloy.rattle(0.001, seed=1)
    alloy.symbols[:12] = "Au"
    swapped, moved = alloy.copy(), alloy.copy()
    swapped.symbols[[11, 30]] = swapped.symbols[[30, 11]]
    moved.positions += 0.7
    labelled = []
    for shift, atoms in enumerate((alloy, swapped, moved)):
        forces = np.zeros((len(atoms), 3))
        labelled.append(label(atoms, energy_eV=-100.0 + shift, forces_eV_A=forces))
    found = {found.kind: found for found in check_set(labelled)}
    assert found["near_duplicates"].frames == (0, 2)
    assert found["contradicting_labels"].frames == (0, 2)


def test_real_dimers_beyond_their_bond_are_not_contradictions(
    shared: Callable[[str], Path],
):
    """Three distances, three energies: no labels of two sources."""
    structures = read_structures(shared("cases/dimers.xyz"))
    found = {found.kind for found in check_set(structures)}
    assert not found & {"near_duplicates", "contradicting_labels"}


def test_contradicting_labels_are_found(shared: Callable[[str], Path]):
    """One structure with two energies is an error."""
    structures = copies(shared)
    other = changed(structures[3:4], shifts_eV_per_atom=np.array([0.1]))
    found = serious(check_set([*structures, *other]))["contradicting_labels"]
    assert found.severity == "error"
    assert found.frames == (3, 20)
    assert "0.1 eV/atom" in found.message


def _nan_energy(atoms: Atoms) -> None:
    atoms.calc.results["energy"] = np.nan


def _huge_force(atoms: Atoms) -> None:
    atoms.calc.results["forces"][0, 0] = 1e7


def _short_forces(atoms: Atoms) -> None:
    atoms.calc.results["forces"] = atoms.calc.results["forces"][:-1]


def _zero_energy(atoms: Atoms) -> None:
    atoms.calc.results["energy"] = 0.0


def _no_energy(atoms: Atoms) -> None:
    del atoms.calc.results["energy"]


def _not_converged(atoms: Atoms) -> None:
    atoms.info["scf_converged"] = False


def _pushed(atoms: Atoms) -> None:
    atoms.calc.results["forces"] = atoms.calc.results["forces"] + 0.5


def _frozen(atoms: Atoms) -> None:
    atoms.set_constraint(FixAtoms(range(6)))
    atoms.calc.results["forces"] = atoms.get_forces(apply_constraint=True)


def _on_one_place(atoms: Atoms) -> None:
    atoms.positions[1] = atoms.positions[0] + [0.2, 0, 0]


def _no_cell(atoms: Atoms) -> None:
    atoms.cell[2] = 0


def _far_energy(atoms: Atoms) -> None:
    atoms.calc.results["energy"] += 12.0 * len(atoms)


def _far_force(atoms: Atoms) -> None:
    atoms.calc.results["forces"][:2, 0] += [500.0, -500.0]


@pytest.mark.parametrize(
    ("fault", "kind", "severity"),
    [
        (_nan_energy, "absurd_labels", "error"),
        (_huge_force, "absurd_labels", "error"),
        (_short_forces, "absurd_labels", "error"),
        (_zero_energy, "placeholder_energy", "error"),
        (_no_energy, "missing_energy", "warning"),
        (_not_converged, "unconverged", "warning"),
        (_pushed, "net_force", "warning"),
        (_frozen, "net_force", "warning"),
        (_on_one_place, "close_atoms", "error"),
        (_no_cell, "structure", "error"),
        (_far_energy, "energy_outlier", "warning"),
        (_far_force, "force_outlier", "warning"),
    ],
)
def test_one_bad_structure_is_found(
    fault: Callable[[Atoms], None],
    kind: str,
    severity: str,
    shared: Callable[[str], Path],
):
    """The finding names that structure and no other."""
    structures = copies(shared)
    structures[7].calc.results["forces"] = structures[7].get_forces().copy()
    fault(structures[7])
    found = serious(check_set(structures))[kind]
    assert found.frames == (7,)
    assert found.severity == severity


def test_frozen_atoms_are_named_as_the_cause(shared: Callable[[str], Path]):
    """Forces under a constraint have zeros; the message asks about that."""
    structures = copies(shared)
    for atoms in structures:
        _frozen(atoms)
    assert "held fixed" in serious(check_set(structures))["net_force"].message


def smeared(gap_eV_per_atom: float) -> list[Atoms]:
    """Return crystals with a free energy below the energy without smearing."""
    structures = strained_copper()
    for atoms in structures:
        results = atoms.calc.results
        results["free_energy"] = results["energy"]
        results["energy"] += gap_eV_per_atom * len(atoms)
    return structures


def test_it_is_said_which_of_two_energies_is_read():
    """The free energy: a note. The other: a warning, whatever its key is called."""
    structures = smeared(0.004)
    found = {found.kind: found for found in check_set(structures)}
    assert found["free_energy"].severity == "note"
    assert "--energy-key energy reads the other" in found["free_energy"].message
    assert "up to 4 meV/atom" in found["free_energy"].message
    for atoms in structures:
        atoms.info["REF_energy"] = atoms.calc.results["energy"]
    found = serious(check_set(structures))
    assert (
        "under REF_energy are extrapolated" in found["energy_without_smearing"].message
    )
    assert "shifted" in serious(check_set(smeared(5.0)))["free_energy"].message
    assert "free_energy" not in {found.kind for found in check_set(smeared(0.0))}


def test_forces_of_zero_everywhere_are_placeholders(shared: Callable[[str], Path]):
    """Some tools write zeros for what was not computed."""
    found = serious(
        check_set(changed(some(read_structures(shared(SILICON)), 9), forces=0))
    )
    assert found["placeholder_forces"].severity == "error"


@pytest.mark.parametrize("noise_eV_A", [0.0, 1e-9])
def test_forces_that_symmetry_forbids_are_no_placeholders(noise_eV_A: float):
    """Perfect crystals are sound labels that say nothing about forces: a note."""
    crystals = [
        bulk("Cu", a=3.5 + 0.02 * number, cubic=True) for number in range(6)
    ] + [bulk("SiC", "zincblende", a=4.36), bulk("Mg"), bulk("NaCl", "rocksalt", a=5.6)]
    for number, atoms in enumerate(crystals):
        atoms.calc = SinglePointCalculator(
            atoms,
            energy=-3.0 * len(atoms) - 0.1 * number,
            forces=np.full((len(atoms), 3), noise_eV_A),
        )
    found = {found.kind: found for found in check_set(crystals)}
    assert "placeholder_forces" not in found
    assert ("forces_by_symmetry" in found) == (noise_eV_A == 0)
    assert all(finding.severity != "error" for finding in found.values())


@pytest.mark.thorough
def test_zeros_among_real_forces_are_placeholders_where_atoms_are_displaced(
    shared: Callable[[str], Path],
):
    """Of 141 copper frames 35 have no force by symmetry; one gets zeros instead."""
    structures = changed(read_structures(shared("data/cu-dft-train.extxyz")))
    forces = [atoms.calc.results["forces"] for atoms in structures]
    assert sum(not force.any() for force in forces) == 35
    assert "placeholder_forces" not in serious(check_set(structures))
    number = int(np.argmax([np.abs(force).max() for force in forces]))
    forces[number][:] = 0
    found = serious(check_set(structures))["placeholder_forces"]
    assert (found.severity, found.frames) == ("warning", (number,))


def test_atoms_without_bonds_may_have_no_energy():
    """Beyond the reach of a potential, relative to isolated atoms, it is zero."""
    structures = strained_copper()
    far = pair(6.0, None)
    far.symbols[:] = "Cu"
    far.calc = SinglePointCalculator(far, energy=0.0, forces=np.zeros((2, 3)))
    assert "placeholder_energy" not in serious(check_set([*structures, far]))


@pytest.mark.thorough
def test_energies_per_atom_are_noticed(shared: Callable[[str], Path]):
    """Energies that do not grow with the structure are not those of cells."""
    structures = changed(read_structures(shared(CARBON)))
    for atoms in structures:
        atoms.calc.results["energy"] /= len(atoms)
    assert serious(check_set(structures))["energy_per_atom"].severity == "error"


def copper_cells(sizes: Sequence[int]) -> list[Atoms]:
    """Return rattled crystals with so many atoms, bound by about 3.5 eV each."""
    structures = []
    for seed, size in enumerate(sizes):
        atoms = bulk("Cu", a=3.5 + 0.02 * (seed % 10)).repeat((size, 1, 1))
        atoms.rattle(0.1, seed=seed)
        atoms.calc = EMT()
        structures.append(with_labels(atoms, atoms.get_potential_energy() - 3.5 * size))
    return structures


def test_energies_per_atom_are_noticed_in_two_cells_of_another_size():
    """18 cells of 8 atoms, two of 13: no outliers, and nothing else is blamed."""
    structures = copper_cells([8] * 18 + [13] * 2)
    assert serious(check_set(structures)) == {}
    for atoms in structures:
        atoms.calc.results["energy"] /= len(atoms)
    found = serious(check_set(structures))
    assert list(found) == ["energy_per_atom"]
    assert found["energy_per_atom"].severity == "error"


def sheared_phosphide(shared: Callable[[str], Path]) -> list[Atoms]:
    """Return 24 cells of 8 atoms whose energies are nearly those of 4 in another."""
    structures = read_structures(shared("data/inp-dft-train.extxyz"))
    smaller = [atoms for atoms in structures if len(atoms) == 4]
    return [*smaller[:4], *structures[60:80]]


def test_cells_of_two_sizes_may_have_one_energy(shared: Callable[[str], Path]):
    """Stress times strain is what the energies change by: they are those of cells."""
    assert serious(check_set(sheared_phosphide(shared))) == {}


def test_energies_that_agree_at_two_sizes_are_no_proof(shared: Callable[[str], Path]):
    """Without stress nothing decides: the user is asked, not refused."""
    structures = changed(sheared_phosphide(shared))
    found = serious(check_set(structures))
    assert found["energy_per_atom"].severity == "warning"
    assert "are they energies per atom?" in found["energy_per_atom"].message


def test_forces_tell_energies_per_atom_where_all_cells_have_one_size(
    shared: Callable[[str], Path],
):
    """Between close frames, energies change by one atom's share of the work."""
    structures = changed(read_structures(shared("data/sio2-dft-train.extxyz")))
    for atoms in structures:
        atoms.calc.results["energy"] /= len(atoms)
    found = serious(check_set(structures))["energies_against_forces"]
    assert "energies per atom" in found.message


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("order", "words"),
    [
        ([5, 3, 4], "VASP (xx yy zz xy yz zx)"),
        ([5, 4, 3], "LAMMPS (xx yy zz xy xz yz)"),
    ],
)
@pytest.mark.parametrize("evidence", ["bonds", "model"])
def test_stress_in_another_order_is_noticed(
    order: list[int], words: str, evidence: str, shared: Callable[[str], Path]
):
    """Shear is where other codes put it; ASE's order has yz first."""
    structures = read_structures(shared("data/cu-dft-train.extxyz"))
    keys = choose_label_keys(structures).keys
    stresses = [partial_labels(atoms, keys).stress_eV_A3 for atoms in structures]
    wrong = changed(structures)
    for atoms, stress in zip(wrong, stresses, strict=True):
        assert stress is not None
        atoms.calc.results["stress"] = stress[[0, 1, 2, *order]]
    reference = Reference(
        energies_eV=np.array([atoms.get_potential_energy() for atoms in wrong]),
        forces_eV_A=[atoms.get_forces() for atoms in wrong],
        stresses_eV_A3=[stress for stress in stresses if stress is not None],
    )
    model = reference if evidence == "model" else None
    found = serious(check_set(wrong, reference=model))
    assert words in found["stress_order"].message
    for atoms, stress in zip(wrong, stresses, strict=True):
        atoms.calc.results["stress"] = stress
    assert "stress_order" not in serious(check_set(wrong, reference=model))


def isolated(energy_eV: float, symbol: str = "Si") -> Atoms:
    """Return one atom in a large cell."""
    atoms = Atoms(symbol, cell=[20, 20, 20], pbc=True)
    atoms.calc = SinglePointCalculator(atoms, energy=energy_eV, forces=np.zeros((1, 3)))
    return atoms


def test_isolated_atoms_are_found_and_compared(shared: Callable[[str], Path]):
    """A fitting one is a note, two that differ a warning, one of another code wrong."""
    structures = copies(shared)
    good = check_set([*structures, isolated(-0.8)])
    assert serious(good) == {}
    atoms = [found for found in good if found.kind == "isolated_atom"]
    assert [found.frames for found in atoms] == [(20,)]
    assert "-0.8000 eV" in atoms[0].message
    two = check_set([*structures, isolated(-0.8), isolated(-0.1)])
    assert serious(two)["isolated_atom"].frames == (20, 21)
    other = serious(check_set([*structures, isolated(-158.5)]))
    assert other["isolated_atom_energy"].severity == "error"


def test_unlabelled_sets_get_a_note_only():
    """Structures before labelling are no fault."""
    structures = [bulk("C"), bulk("C", cubic=True)]
    found = check_set(structures, keys=LabelKeys(energy=None, forces=None))
    assert [(one.kind, one.severity) for one in found] == [
        ("missing_labels", "note"),
        ("near_duplicates", "note"),
    ]


def test_errors_come_first(shared: Callable[[str], Path]):
    """The list is sorted by severity."""
    structures = [*copies(shared), isolated(-0.8)]
    _not_converged(structures[0])
    _nan_energy(structures[1])
    severities = [found.severity for found in check_set(structures)]
    assert severities == sorted(severities, key=SEVERITIES.index)
    assert set(severities) == set(SEVERITIES)


def test_forces_that_symmetry_fixes_are_no_evidence_of_units(
    shared: Callable[[str], Path],
):
    """Cells of a few atoms, most of them nearly at rest: a model is no ruler there."""
    structures = some(read_structures(shared("data/carbon-rss-pbe.extxyz")), 100)
    found = list(predict_structures(structures, load_calculator("carbon")))
    reference = Reference(
        energies_eV=np.array([atoms.get_potential_energy() for atoms in found]),
        forces_eV_A=[atoms.get_forces() for atoms in found],
    )
    assert not {"force_units", "force_sign"} & set(
        serious(check_set(structures, reference=reference))
    )
    wrong = serious(check_set(changed(structures, forces=KCAL), reference=reference))
    assert "force_units" in wrong


def reordered(structures: Sequence[Atoms], how: str) -> list[Atoms]:
    """Return structures whose forces have another order than their atoms."""
    rng = np.random.default_rng(0)
    orders: dict[str, Callable[[Atoms], NDArray[np.int64]]] = {
        "shuffled": lambda atoms: rng.permutation(len(atoms)),
        "reversed": lambda atoms: np.arange(len(atoms))[::-1],
        "by height": lambda atoms: np.argsort(atoms.positions[:, 2], kind="stable"),
        "by element": lambda atoms: np.argsort(-atoms.numbers, kind="stable"),
        "by molecule": lambda atoms: np.array(
            [k for i in range(len(atoms) // 3) for k in (i, 64 + 2 * i, 65 + 2 * i)]
        ),
    }
    wrong = changed(structures)
    for atoms in wrong:
        atoms.calc.results["forces"] = atoms.calc.results["forces"][orders[how](atoms)]
    return wrong


@pytest.mark.parametrize("how", ["shuffled", "reversed", "by height"])
def test_forces_in_another_order_are_told_from_structures_not_learnt(
    predicted: tuple[list[Atoms], Reference], how: str
):
    """With a model, in 25 structures: the order is wrong, and the model is not."""
    structures, reference = predicted
    found = serious(check_set(reordered(structures, how), reference=reference))
    assert found["force_order"].severity == "error"
    assert "once their rows change places" in found["force_order"].message
    assert "outside_domain" not in found


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("name", "how"),
    [
        (SILICON, "shuffled"),
        (SILICON, "by height"),
        (CARBON, "shuffled"),
        ("data/water-dft-train.extxyz", "by molecule"),
        ("data/pbte-dft-train.extxyz", "by element"),
        ("data/cu-dft-train.extxyz", "reversed"),
        ("data/mosi2n4-dft-train.extxyz", "shuffled"),
        ("data/sio2-dft-train.extxyz", "shuffled"),
    ],
)
def test_bonds_tell_the_order_of_forces(
    name: str, how: str, shared: Callable[[str], Path]
):
    """Without any model: long bonds pull and short ones push, if rows are right."""
    structures = read_structures(shared(name))
    keys = LabelKeys(energy=CALCULATOR, forces=CALCULATOR)
    right = CheckedSet(structures=changed(structures), keys=keys)
    assert force_order(right) == []
    wrong = CheckedSet(structures=reordered(structures, how), keys=keys)
    (finding,) = force_order(wrong)
    assert finding.severity == "error"


def test_the_file_whose_forces_are_in_another_order_is_found(
    shared: Callable[[str], Path],
):
    """One of two files is at fault: its frames are named, and no others."""
    structures = read_structures(shared(SILICON))
    mixed = [*changed(structures[:80]), *reordered(structures[80:110], "shuffled")]
    sources = ["good.xyz"] * 80 + ["bad.xyz"] * 30
    found = serious(check_set(mixed, sources=sources))["force_order"]
    assert found.frames == tuple(range(80, 110))


@pytest.mark.parametrize(("strange", "severity"), [(1, "note"), (5, "warning")])
def test_structures_that_a_model_has_not_learnt_are_named(strange: int, severity: str):
    """Its forces point anywhere on them; crystals nearly at rest are not counted."""
    structures = strained_copper(cells=10)
    found = [atoms.get_forces() for atoms in structures]
    size = max(np.sqrt(np.mean(forces**2)) for forces in found)
    larger = changed(structures, forces=1.0 / size)
    forces = [1.1 * atoms.get_forces() for atoms in larger]
    rng = np.random.default_rng(0)
    for index in range(strange):
        forces[index] = rng.permutation(forces[index])
    reference = Reference(energies_eV=np.zeros(10), forces_eV_A=forces)
    keys = LabelKeys(energy=CALCULATOR, forces=CALCULATOR)
    data = CheckedSet(structures=larger, keys=keys, reference=reference)
    (finding,) = outside_domain(data)
    assert finding.frames == tuple(range(strange))
    assert finding.severity == severity
    assert f"On {strange} of the 8 structures with forces" in finding.message
    assert outside_domain(CheckedSet(structures=larger, keys=keys)) == []
