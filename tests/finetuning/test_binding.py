"""Free atoms: right where they are known, and named where they are not."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from synthzoo.data.samples import load_sample
from synthzoo.data.structures import label, write_structures
from synthzoo.finetuning.data_check import check_data
from synthzoo.finetuning.recipe import FinetuneRecipe
from synthzoo.finetuning.request import Request, read_sets
from synthzoo.finetuning.run import finetune
from synthzoo.models.checkpoint import (
    as_checkpoint,
    read_config,
    write_checkpoint,
)
from synthzoo.models.network import build_model
from synthzoo.zoo.load import load_calculator
from tests.conftest import tiny_config

if TYPE_CHECKING:
    from synthzoo.models.calculator import SynthzooCalculator

ATOM_EV = {"C": -148.314, "Si": -158.545}
STRONGER_EV = {"C": -0.9, "Si": -0.4}
"""What the labels bind each atom more strongly than the start."""

SHORT = FinetuneRecipe(visits=280, learning_rate=0.01, check_share=0.0, threads=1)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a checkpoint of carbon and silicon whose free atoms have some energy."""
    config = tiny_config(("C", "Si"))
    shifts = {"C": 0.3, "Si": -0.2}
    config = dataclasses.replace(
        config,
        arguments=config.arguments | {"per_type_energy_shifts": shifts},
        isolated_atom_energies_eV=shifts,
    )
    folder = tmp_path_factory.mktemp("start") / "tiny"
    model = build_model(config, seed=0)
    write_checkpoint(folder, model=model, config=config, golden=crystals(2))
    return folder


def crystals(count: int) -> list[Atoms]:
    """Return rattled crystals of many compositions."""
    found = []
    for seed in range(count):
        atoms = bulk("C", "diamond", a=4.2, cubic=True)
        atoms.symbols[: seed % 7 + 1] = "Si"
        atoms.rattle(0.05, seed=seed)
        found.append(atoms)
    return found


@pytest.fixture(scope="module")
def data(start: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write total energies of the start, with other free atoms and binding."""
    calculator = load_calculator(start)
    frames = []
    for atoms in crystals(14):
        atoms.calc = calculator
        energy = atoms.get_potential_energy() - sum(
            calculator.config.isolated_atom_energies_eV[name]
            - ATOM_EV[name]
            - STRONGER_EV[name]
            for name in atoms.symbols
        )
        frames.append(
            label(atoms, energy_eV=energy, forces_eV_A=np.array(atoms.get_forces()))
        )
    path = tmp_path_factory.mktemp("data") / "dft.xyz"
    write_structures(path, frames)
    return path


def alone_eV(calculator: SynthzooCalculator, element: str) -> float:
    """Return what a model says about one atom."""
    atom = Atoms(element, cell=[20.0] * 3, pbc=True, calculator=calculator)
    return float(atom.get_potential_energy())


@pytest.mark.thorough
def test_free_atoms_that_are_known_stay_right(start: Path, data: Path, tmp_path: Path):
    """Though the data bind more strongly: the fit begins with that, and keeps it."""
    given = dict(ATOM_EV)
    finetune(start, data, tmp_path / "mine", recipe=SHORT, isolated_energies_eV=given)
    tuned = load_calculator(tmp_path / "mine")
    errors = []
    for atoms, wanted in zip(crystals(14), energies(data), strict=True):
        atoms.calc = tuned
        errors.append((atoms.get_potential_energy() - wanted) / len(atoms))
    # 2 % of the change without replay; a short fit with it is not that close
    assert abs(np.mean(errors)) < 0.2 * abs(np.mean(list(STRONGER_EV.values())))
    for name, energy in ATOM_EV.items():
        assert alone_eV(tuned, name) == pytest.approx(energy, abs=1e-6)
        assert read_config(tmp_path / "mine").isolated_atom_energies_eV[name] == energy


@pytest.mark.thorough
def test_a_constant_is_added_to_atoms_with_neighbours_alone():
    """By the bundled model, for structures that the change was not found for."""
    from synthzoo.data.labels import Labels
    from synthzoo.finetuning.binding import bind_atoms
    from synthzoo.models.calculator import calculator_of
    from synthzoo.models.checkpoint import load_model
    from synthzoo.models.graphs import to_graph
    from synthzoo.models.isolation import nequip_session
    from synthzoo.zoo.find import find_folder

    sample = [atoms for atoms in load_sample("carbon-pbe") if len(atoms) > 1]
    order = np.random.default_rng(0).permutation(len(sample))
    network, config = load_model(find_folder("carbon"))
    graphs = [
        to_graph(
            sample[index],
            Labels(energy_eV=0.0, forces_eV_A=np.zeros((len(sample[index]), 3))),
            elements=config.elements,
            cutoff_A=config.cutoff_A,
        )
        for index in order[:20]
    ]
    free = to_graph(
        Atoms("C"),
        Labels(energy_eV=0.0, forces_eV_A=np.zeros((1, 3))),
        elements=config.elements,
        cutoff_A=config.cutoff_A,
    )
    with nequip_session():
        bind_atoms(network, config, graphs, [-0.94], free=[free])
    network.requires_grad_(requires_grad=False).eval()
    before = load_calculator("carbon", device="cpu")
    after = calculator_of(network, config)
    moved, bent = [], []
    for index in order[20:40]:
        atoms = sample[index].copy()
        atoms.calc = before
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        atoms.calc = after
        moved.append((atoms.get_potential_energy() - energy) / len(atoms))
        bent.append(np.sqrt(np.mean((atoms.get_forces() - forces) ** 2)))
    assert moved == pytest.approx([-0.94] * 20, abs=0.1)
    assert max(bent) < 0.3
    assert alone_eV(after, "C") == alone_eV(before, "C") == 0.0


def energies(path: Path) -> list[float]:
    """Return the labels of a file."""
    from synthzoo.data.structures import read_structures

    return [atoms.get_potential_energy() for atoms in read_structures(path)]


@pytest.mark.thorough
def test_free_atoms_that_are_not_known_are_named(
    start: Path, data: Path, tmp_path: Path
):
    """With what the tuned model says of them, and how to give what is right."""
    told = str(check_data(start, data).reference)
    assert "--isolated-energy C=ENERGY" in told
    recipe = dataclasses.replace(SHORT, visits=14)
    summary = finetune(start, data, tmp_path / "mine", recipe=recipe)
    assert summary.reference == told
    assert told in (tmp_path / "mine" / "report.md").read_text()
    tuned = load_calculator(tmp_path / "mine")
    for name in ATOM_EV:
        assert f"{name} {alone_eV(tuned, name):.4f} eV" in told
    given = check_data(start, data, isolated_energies_eV=dict(ATOM_EV)).reference
    assert "--isolated-energy" not in str(given)
    one = check_data(start, data, isolated_energies_eV={"C": ATOM_EV["C"]}).reference
    assert "--isolated-energy Si=ENERGY" in str(one)


def test_what_is_replayed_is_bound_as_the_data_are(start: Path, data: Path):
    """Or it would pull the fit back to the binding of the start."""
    request = Request(
        name="mine",
        start=as_checkpoint(start),
        files=[data],
        recipe=SHORT,
        isolated_energies_eV=dict(ATOM_EV),
    )
    plan = read_sets(request).plan
    synthetic = plan.training
    binding = plan.reference.binding_eV
    assert binding == pytest.approx(STRONGER_EV, abs=0.2)
    moved = plan.replayed(synthetic)
    for (atoms, found), label_before in zip(moved, synthetic.labels, strict=True):
        added = sum(binding[name] for name in atoms.symbols)
        assert found.energy_eV == pytest.approx(label_before.energy_eV + added)
        np.testing.assert_array_equal(found.forces_eV_A, label_before.forces_eV_A)
