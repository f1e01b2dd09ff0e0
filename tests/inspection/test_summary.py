"""What `inspect` says of real sets, its figure, its card, and summaries of stages."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, graphene, molecule
from ase.io import write
from ase.neighborlist import neighbor_list
from click.testing import CliRunner

from synthzoo import inspect_files, inspect_structures
from synthzoo.cli import main
from synthzoo.data.labels import LabelKeys
from synthzoo.data.pairs import coordination, find_pairs, longest_bond_A
from synthzoo.data.structures import density_g_cm3, label, read_structures
from synthzoo.errors import InputError
from synthzoo.inspection.card import (
    MOST_MEASURED,
    summarise_file,
    summary_paths,
    write_set_card,
)
from synthzoo.inspection.measures import DISTANCE_STEP_A, measure
from synthzoo.inspection.related import NEAR_A, fingerprint_A
from synthzoo.inspection.summary import bond_text, inspection_lines

QUENCHED = "data/carbon-quenched-gap17.extxyz"
CARBON = "data/carbon-gap17-dft-train.extxyz"
PNG = b"\x89PNG"


def slab() -> Atoms:
    """Return a layer without a third cell vector."""
    atoms: Atoms = graphene(size=(2, 2, 1))
    atoms.pbc = [True, True, False]
    return atoms


@pytest.mark.parametrize("reach_A", [1.85, 5.0])
@pytest.mark.parametrize(
    "atoms", [bulk("Si"), molecule("C60"), Atoms("C"), slab(), molecule("C6H6")]
)
def test_pairs_are_those_of_ase(atoms: Atoms, reach_A: float):
    """Crystals, molecules, layers and single atoms, near the origin or far from it."""
    for shift in (0.0, 40.0):
        atoms.positions += shift
        expected = np.sort(neighbor_list("d", atoms, reach_A))
        found = np.sort(find_pairs(atoms, reach_A).distances_A)
        np.testing.assert_allclose(found, expected)


def test_pairs_of_random_cells_are_those_of_ase(shared: Callable[[str], Path]):
    """Small skewed cells, whose atoms see many images of themselves."""
    for atoms in read_structures(shared("data/carbon-rss-pbe.extxyz"))[::40]:
        expected = np.sort(neighbor_list("d", atoms, 4.0))
        found = np.sort(find_pairs(atoms, 4.0).distances_A)
        np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize(
    ("atoms", "bonds"),
    [
        (bulk("C"), 4),
        (graphene(vacuum=5), 3),
        (bulk("Si"), 4),
        (bulk("Cu"), 12),
        (bulk("SiC", "zincblende", a=4.36), 4),
    ],
)
def test_bonds_are_those_of_the_textbook(atoms: Atoms, bonds: int):
    """The cutoffs depend on the elements."""
    pairs = find_pairs(atoms, longest_bond_A(atoms))
    assert set(coordination(atoms, pairs)) == {bonds}


def test_fingerprints_know_a_structure_again():
    """Moving, turning, reordering and repeating change nothing; rattling does."""
    atoms = bulk("SiC", "zincblende", a=4.36, cubic=True)
    atoms.rattle(0.1, seed=1)

    turned = atoms[::-1].repeat((2, 1, 1))
    turned.rotate(50, (1, 2, 3), rotate_cell=True)
    turned.translate([0.3, 0.2, 0.1])
    turned.wrap()
    np.testing.assert_allclose(fingerprint_A(turned), fingerprint_A(atoms), atol=1e-9)
    other = atoms.copy()
    other.rattle(0.02, seed=2)
    assert np.abs(fingerprint_A(other) - fingerprint_A(atoms)).max() > NEAR_A


@pytest.mark.thorough
def test_a_real_set_is_described(shared: Callable[[str], Path]):
    """The numbers that the source of the data states, and what its labels are."""
    found = inspect_files(shared(CARBON))
    assert (found.structures, found.atoms) == (969, 44572)
    assert found.elements == {"C": 44572}
    assert found.kinds["bulk_amo"] == 279
    assert found.keys == LabelKeys(energy="REF_energy", forces="REF_forces")
    assert found.periodic == {3: 969}
    assert found.spreads["largest force (eV/Å)"].largest == pytest.approx(
        82.08, abs=0.01
    )
    assert found.element_energies_eV["C"] == pytest.approx(-157.2, abs=0.1)
    assert sum(found.bonds) == pytest.approx(1)
    json.dumps(found.values(), allow_nan=False)


def test_quenched_carbon_goes_from_sp_to_sp3_with_density(
    shared: Callable[[str], Path],
):
    """As in Fig. 2a of doi 10.1039/D2DD00137C, and as a plain loop counts."""
    structures = read_structures(shared(QUENCHED))
    found = inspect_structures(structures)
    measures = found.measures
    order = np.argsort(measures.densities_g_cm3)
    sp, sp2, sp3 = (measures.bond_shares[order, bonds] for bonds in (2, 3, 4))
    assert sp[0] > 0.3
    assert sp3[0] < 0.05
    assert sp3[-1] > 0.6
    assert sp2[len(order) // 2] > 0.5
    assert "2 (sp): 11.8 %, 3 (sp²): 59.5 %, 4 (sp³): 28.6 %" in bond_text(found)
    for atoms, bonds, density in zip(
        structures, measures.bonds, measures.densities_g_cm3, strict=True
    ):
        first = neighbor_list("i", atoms, 1.85)
        counted = np.bincount(np.bincount(first, minlength=200), minlength=13)
        assert bonds.tolist() == counted.tolist()
        assert density == pytest.approx(density_g_cm3(atoms))


def test_distances_are_counted_as_ase_finds_them(shared: Callable[[str], Path]):
    """Each pair of neighbours counts twice, once from either side."""
    (atoms, *_) = read_structures(shared(QUENCHED))
    keys = LabelKeys(energy="ace_energy", forces="ace_forces")
    distances = measure([atoms], keys).distances
    middles = (np.arange(len(distances)) + 0.5) * DISTANCE_STEP_A
    inside = neighbor_list("d", atoms, 1.8)
    assert distances[middles < 1.8].sum() == len(inside)


def test_several_files_are_named_in_findings(
    shared: Callable[[str], Path], tmp_path: Path
):
    """A finding says in which file, and at which place, its structures are."""
    structures = read_structures(shared(QUENCHED))
    write(tmp_path / "a.xyz", structures[:3])
    write(tmp_path / "b.xyz", structures[3:])
    structures[4].info["ace_energy"] = float("nan")
    write(tmp_path / "b.xyz", structures[3:])
    found = inspect_files([tmp_path / "a.xyz", tmp_path / "b.xyz"])
    assert found.files == {str(tmp_path / "a.xyz"): 3, str(tmp_path / "b.xyz"): 10}
    (error,) = [line for line in inspection_lines(found) if line.startswith("error")]
    assert "not a finite number" in error
    assert error.endswith(f"[{tmp_path / 'b.xyz'}@1]")


def test_unlabelled_and_odd_structures_are_described(tmp_path: Path):
    """Molecules, slabs, a lone atom and a broken cell do not stop an inspection."""
    broken = bulk("C")
    broken.cell[2] = 0
    found = inspect_structures(
        [molecule("C60"), slab(), Atoms("H"), bulk("C"), broken, Atoms()]
    )
    assert found.structures == 6
    assert found.periodic == {0: 2, 2: 1, 3: 1}
    kinds = {finding.kind: finding for finding in found.findings}
    assert kinds["structure"].frames == (4, 5)
    assert "energy" not in " ".join(found.spreads)
    card = write_set_card(found, tmp_path / "odd.md")
    assert card.with_suffix(".png").read_bytes().startswith(PNG)
    assert "| no label |" in card.read_text(encoding="utf-8")
    with pytest.raises(InputError, match="no structures to inspect"):
        inspect_structures([])


@pytest.mark.parametrize("forces", [np.ones(2), np.ones((2, 2)), "none"])
def test_forces_of_any_shape_are_described(forces: object):
    """They count as an error of the structure, and not as forces."""
    atoms = Atoms("C2", positions=[[0, 0, 0], [0, 0, 1.3]])
    atoms.info |= {"energy": -3.0, "dft_forces": forces}
    found = inspect_structures([atoms], forces_key="dft_forces")
    (error,) = [one for one in found.findings if one.severity == "error"]
    assert "forces of the wrong shape" in error.message
    assert "largest force (eV/Å)" not in found.spreads


def run(*arguments: str | Path) -> tuple[int, str, str]:
    """Run a command and return its exit code, output and messages."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


def test_the_command_writes_table_figure_and_card(
    shared: Callable[[str], Path], tmp_path: Path
):
    """Everything is readable, and keys can be chosen."""
    png, card = tmp_path / "set.png", tmp_path / "card.md"
    code, out, err = run(
        "inspect", shared(QUENCHED), "-o", png, "--card", card, "--forces-key",
        "gap17_forces",
    )  # fmt: skip
    assert code == 0, out + err
    assert "13 with 2,600 atoms" in out
    assert "under 'gap17_forces' in 13 structures; also ace_forces (13)" in out
    assert "Nothing seems wrong." in out
    assert png.read_bytes().startswith(PNG)
    text = card.read_text(encoding="utf-8")
    assert "| 3.0–3.5 | 3 | " in text
    assert "sp³ (%)" in text
    assert "](card.png)" in text
    assert str(tmp_path) not in text
    assert card.with_suffix(".png").read_bytes().startswith(PNG)


def test_the_command_gives_json_and_exits_with_1_on_errors(
    shared: Callable[[str], Path], tmp_path: Path
):
    """Findings are data for other programs; patterns are understood."""
    structures = read_structures(shared(QUENCHED))
    write(tmp_path / "one.xyz", structures)
    assert run("inspect", "--json", tmp_path / "*.xyz")[0] == 0
    structures[2].info["ace_energy"] = 0.0
    write(tmp_path / "one.xyz", structures)
    code, out, _ = run("inspect", "--json", tmp_path / "*.xyz")
    assert code == 1
    found = json.loads(out)
    assert found["findings"][0]["severity"] == "error"
    assert found["findings"][0]["frames"] == [2]
    assert found["findings"][-1]["kind"] == "several_forces"
    assert "Looked at: ace_forces" in found["findings"][-1]["message"]
    assert found["spreads"]["density (g/cm³)"]["count"] == 13
    code, _, err = run("inspect", tmp_path / "*.traj")
    assert code == 1
    assert "No file fits the pattern" in err


def labelled_crystals(path: Path, count: int) -> None:
    """Write small labelled crystals to a file."""
    atoms = bulk("C", cubic=True)
    frame = label(
        atoms, energy_eV=-60.0, forces_eV_A=np.zeros((8, 3)), stress_eV_A3=np.zeros(6)
    )
    write(path, [frame] * count)


def test_values_that_differ_by_rounding_only_are_drawn(tmp_path: Path):
    """Energies of equal structures differ in the last digit, and that is no range."""
    frames = [
        label(bulk("C"), energy_eV=energy, forces_eV_A=np.full((2, 3), energy))
        for energy in (-18.0, np.nextafter(-18.0, 0), np.nextafter(-18.0, -19))
    ]
    write(tmp_path / "same.xyz", frames)
    record, figure = summarise_file(tmp_path / "same.xyz", structures=3, counts={})
    histograms = json.loads(record.read_text(encoding="utf-8"))["histograms"]
    assert sum(histograms["energy (eV/atom)"]["structures"]) == 3
    assert figure.read_bytes().startswith(PNG)


def test_a_summary_has_counts_and_histograms(tmp_path: Path):
    """All structures of a short file are measured; JSON and figure lie beside it."""
    output = tmp_path / "labelled.xyz"
    labelled_crystals(output, 7)
    paths = summarise_file(output, structures=7, counts={"failed": 2})
    assert paths == summary_paths(output)
    found = json.loads(paths[0].read_text(encoding="utf-8"))
    assert (found["structures"], found["measured"], found["atoms"]) == (7, 7, 56)
    assert found["counts"] == {"failed": 2}
    energies = found["histograms"]["energy (eV/atom)"]
    assert sum(energies["structures"]) == 7
    assert energies["median"] == -7.5
    assert found["bond_shares"][4] == 1.0
    neighbours = found["neighbours_per_atom"]
    assert sum(neighbours["counts"]) == pytest.approx(4 + 12)
    assert paths[1].read_bytes().startswith(PNG)
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.thorough
def test_a_summary_of_a_long_file_measures_a_part(tmp_path: Path):
    """What is measured is spread over the file, and the summary says how much."""
    output = tmp_path / "labelled.xyz"
    labelled_crystals(output, 2 * MOST_MEASURED + 5)
    record, _ = summarise_file(output, structures=2 * MOST_MEASURED + 5, counts={})
    found = json.loads(record.read_text(encoding="utf-8"))
    assert found["every"] == 3
    assert found["measured"] == 669
