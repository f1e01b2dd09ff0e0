"""The DFT samples: labels, provenance, convergence, and what their README says."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from synthzoo import load_sample, sample_names, sample_path
from synthzoo.data.label_choice import find_label_keys
from synthzoo.data.sound import min_distance_A
from synthzoo.data.structures import GROUP_KEY, read_structures, split_by_group
from synthzoo.errors import InputError
from synthzoo.generation.recipe import GenerateRecipe
from synthzoo.labelling.recipe import RelabelRecipe
from synthzoo.recipes.loading import load_recipe, recipe_hash, teacher_name

if TYPE_CHECKING:
    from ase import Atoms

FOLDER = sample_path("carbon-pbe").parent
README = FOLDER / "README.md"
TABLES = re.compile(r"(<!-- (\w+): begin.*-->\n).*?(<!-- \2: end -->)", re.DOTALL)
ELEMENT = {"carbon-pbe": "C", "silicon-pbe": "Si"}
RECIPE = {"carbon-pbe": "carbon-dft", "silicon-pbe": "silicon-dft"}
COHESION_EV = {"carbon-pbe": (7.0, 8.3), "silicon-pbe": (4.3, 4.9)}
"""Per atom of the most stable structure; PBE gives 7.9 and 4.6 for diamond."""


def both(name: str) -> list[tuple[Atoms, Atoms]]:
    """Return structures of a sample with the same, labelled with finer settings."""
    pairs = []
    for fine in read_structures(FOLDER / "convergence" / f"{name}.xyz"):
        (same,) = (
            atoms
            for atoms in load_sample(name)
            if len(atoms) == len(fine) and np.allclose(atoms.positions, fine.positions)
        )
        pairs.append((same, fine))
    return pairs


def counts_table() -> str:
    """Return the kinds of structures in both samples as a Markdown table."""
    lines = [
        "| Sample | Kind | Structures | Atoms | g/cm³ | eV/atom | eV/Å, largest |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in sample_names():
        frames = load_sample(name)
        for kind in dict.fromkeys(str(atoms.info["kind"]) for atoms in frames):
            chosen = [atoms for atoms in frames if atoms.info["kind"] == kind]
            smallest, largest = min(map(len, chosen)), max(map(len, chosen))
            size = f"{smallest} to {largest}" if smallest < largest else largest
            density = [float(atoms.info["density_g_cm3"]) for atoms in chosen]
            energy = [atoms.get_potential_energy() / len(atoms) for atoms in chosen]
            force = max(np.abs(atoms.get_forces()).max() for atoms in chosen)
            lines.append(
                f"| `{name}` | {kind} | {len(chosen)} | {size} "
                f"| {min(density):.2f} to {max(density):.2f} "
                f"| {min(energy):.2f} to {max(energy):.2f} | {force:.1f} |"
            )
    return "\n".join(lines)


def convergence_table() -> str:
    """Return the change of labels with finer settings as a Markdown table."""
    lines = [
        "| Sample | Structure | Energy (meV/atom) | Forces, RMS (eV/Å) | of | "
        "Pressure (GPa) |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name in sample_names():
        for coarse, fine in both(name):
            energy, force, pressure = changes(coarse, fine)
            info = coarse.info
            what = f"{info['kind']}, {info.get('prototype', info.get('stage'))}"
            whole = np.sqrt((coarse.get_forces() ** 2).mean())
            lines.append(
                f"| `{name}` | {what}, {info['density_g_cm3']:.2f} g/cm³ "
                f"| {1000 * energy:+.1f} "
                f"| {force:.3f} | {whole:.2f} | {pressure:+.2f} |"
            )
    return "\n".join(lines)


def changes(coarse: Atoms, fine: Atoms) -> tuple[float, float, float]:
    """Return the changes of energy (eV/atom), forces (RMS, eV/Å), pressure (GPa)."""
    from ase.units import GPa

    energy = (fine.get_potential_energy() - coarse.get_potential_energy()) / len(fine)
    force = np.sqrt(((fine.get_forces() - coarse.get_forces()) ** 2).mean())
    stress = fine.get_stress()[:3].mean() - coarse.get_stress()[:3].mean()
    return energy, float(force), float(-stress / GPa)


def current_readme() -> str:
    """Return the README of the samples with its tables made anew from the data."""
    made = {"counts": counts_table, "convergence": convergence_table}
    return TABLES.sub(
        lambda found: f"{found[1]}\n{made[found[2]]()}\n\n{found[3]}",
        README.read_text(encoding="utf-8"),
    )


def test_the_readme_of_the_samples_is_made_from_them() -> None:
    """Counts and convergence are those of the data; `python -m` this file mends it."""
    assert README.read_text(encoding="utf-8") == current_readme()


def test_both_samples_are_there() -> None:
    """Carbon and silicon, about 150 structures each."""
    assert sample_names() == ("carbon-pbe", "silicon-pbe")
    for name in sample_names():
        assert 100 <= len(load_sample(name)) <= 200
        assert sample_path(name).stat().st_size < 400_000


def test_an_unknown_sample_names_the_known_ones() -> None:
    """A misspelt name is an error that lists what there is."""
    with pytest.raises(InputError, match="It has: carbon-pbe, silicon-pbe"):
        load_sample("carbon-pbee")
    with pytest.raises(InputError, match="No sample"):
        sample_path("convergence/carbon-pbe")


@pytest.mark.parametrize("name", sample_names())
def test_structures_are_small_and_of_one_element(name: str) -> None:
    """Periodic cells of 7 (a vacancy) to 16 atoms, pairs, and one atom alone."""
    frames = load_sample(name)
    for atoms in frames:
        assert set(atoms.symbols) == {ELEMENT[name]}
        assert atoms.pbc.all()
        assert min_distance_A(atoms) > 0.9
    sizes = Counter(len(atoms) for atoms in frames)
    assert sizes[8] > 80
    assert min(set(sizes) - {1, 2}) == 7
    assert 12 <= max(sizes) <= 16
    assert {"crystals", "surfaces", "melt-quench", "packing", "dimers"} == {
        atoms.info["kind"] for atoms in frames
    }


@pytest.mark.parametrize("name", sample_names())
def test_labels_are_whole_and_in_balance(name: str) -> None:
    """Energy, forces and stress are finite; no structure is pushed as a whole."""
    frames = load_sample(name)
    keys = find_label_keys(frames)
    assert keys.energy == keys.forces == "calculator"
    for atoms in frames:
        assert np.isfinite(atoms.get_potential_energy())
        assert atoms.get_stress().shape == (6,)
        assert np.isfinite(atoms.get_stress()).all()
        forces = atoms.get_forces()
        assert np.linalg.norm(forces, axis=1).max() <= 50.0
        np.testing.assert_allclose(forces.sum(axis=0), 0.0, atol=0.05)


@pytest.mark.parametrize("name", sample_names())
def test_energies_are_relative_to_isolated_atoms(name: str) -> None:
    """The atom alone has none; the most stable structure is bound as PBE binds it."""
    frames = load_sample(name)
    (atom,) = (atoms for atoms in frames if len(atoms) == 1)
    assert atom.get_potential_energy() == 0.0
    assert not atom.get_forces().any()
    lowest = min(atoms.get_potential_energy() / len(atoms) for atoms in frames)
    weakest, strongest = COHESION_EV[name]
    assert -strongest < lowest < -weakest


@pytest.mark.parametrize("name", sample_names())
def test_frames_say_where_they_come_from(name: str) -> None:
    """Recipes, seed and teacher of each frame are those that come with synthzoo."""
    made = recipe_hash(load_recipe(GenerateRecipe, RECIPE[name]))[:12]
    recipe = load_recipe(RelabelRecipe, RECIPE[name])
    for atoms in load_sample(name):
        assert atoms.info["generate_recipe"] == made
        assert atoms.info["relabel_recipe"] == recipe_hash(recipe)[:12]
        assert atoms.info["teacher"] == teacher_name(recipe.teacher)
        assert atoms.info["teacher_software"] == "gpaw 26.7.0"
        assert atoms.info["seed"].startswith(
            str(load_recipe(GenerateRecipe, RECIPE[name]).seed)
        )


@pytest.mark.parametrize("name", sample_names())
def test_related_frames_share_a_group(name: str) -> None:
    """Frames of one trajectory stay on one side of a split."""
    frames = load_sample(name)
    training, validation = split_by_group(frames, 0.2, seed=0)
    sides = [
        {frames[i].info[GROUP_KEY] for i in side} for side in (training, validation)
    ]
    assert not sides[0] & sides[1]
    liquid = [atoms for atoms in frames if atoms.info["kind"] == "melt-quench"]
    assert 1 < len({atoms.info[GROUP_KEY] for atoms in liquid}) < len(liquid) / 3


@pytest.mark.parametrize("name", sample_names())
def test_finer_settings_change_little(name: str) -> None:
    """With a higher cutoff and more k-points labels stay where they are."""
    pairs = both(name)
    assert len(pairs) >= 3
    for coarse, fine in pairs:
        energy, force, _ = changes(coarse, fine)
        assert abs(energy) < 0.02
        assert force < 0.05 + 0.02 * np.abs(coarse.get_forces()).max()
        assert fine.info["teacher"] == teacher_name(
            load_recipe(RelabelRecipe, f"{RECIPE[name]}-fine").teacher
        )


@pytest.mark.long
@pytest.mark.parametrize("name", sample_names())
def test_the_teacher_gives_these_labels_again(name: str, tmp_path: Path) -> None:
    """GPAW, where it is installed, labels the same structure in the same way."""
    pytest.importorskip("gpaw")
    from synthzoo.teachers.loading import open_teacher

    teacher = open_teacher(load_recipe(RelabelRecipe, RECIPE[name]).teacher)
    (stored, _) = both(name)[0]
    again = teacher.label(stored)
    difference = again.get_potential_energy() - stored.get_potential_energy()
    assert abs(difference) < 1e-3 * len(stored)
    np.testing.assert_allclose(again.get_forces(), stored.get_forces(), atol=0.01)


if __name__ == "__main__":
    README.write_text(current_readme(), encoding="utf-8")
