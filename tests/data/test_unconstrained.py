"""Constraints of a structure change no number that synthzoo tells about it."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ase.constraints
import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import (
    ExternalForce,
    FixAtoms,
    FixBondLength,
    FixBondLengths,
    FixCartesian,
    FixCartesianParametricRelations,
    FixCom,
    FixedLine,
    FixedMode,
    FixedPlane,
    FixInternals,
    FixLinearTriatomic,
    FixScaled,
    FixScaledParametricRelations,
    FixSubsetCom,
    Hookean,
    MirrorForce,
    MirrorTorque,
)

import synthzoo
from synthzoo.data import unconstrained
from synthzoo.data.structures import label, read_structures
from synthzoo.evaluation.evaluate import evaluate_models
from synthzoo.evaluation.predict_file import predict_file
from synthzoo.zoo.load import load_calculator
from tests.toy import finetuning_plan

if TYPE_CHECKING:
    from synthzoo.data.frames import FrameSet
    from synthzoo.data.labelled_set import LabelledSet
    from synthzoo.data.labels import LabelKeys

ASKS = {
    "get_forces",
    "get_potential_energies",
    "get_potential_energy",
    "get_properties",
    "get_stress",
    "get_stresses",
    "get_total_energy",
}
"""Methods of `Atoms` of which most pass a result through the constraints."""

OFFSET_EV = -3.0
NOT_TRIED = {
    "FixSymmetry",  # needs spglib
    "FixConstraint",  # the base class
    "FixParametricRelations",  # the base class of two others
    "constrained_indices",  # a function
}


def crystal() -> Atoms:
    """Return a rattled diamond cell with forces on all atoms."""
    atoms = bulk("C", cubic=True)
    atoms.rattle(0.1, seed=1)
    return atoms


def constraints() -> dict[str, Any]:
    """Return every kind of constraint that ASE has, for eight atoms."""
    ends = [0, 1, 2]
    shift = np.eye(3)[:1].tolist() * 3
    relation = (list(range(8)), ["u"], ["u", "0", "0"] * 8)
    return {
        "ExternalForce": ExternalForce(0, 1, 0.5),
        "FixAtoms": FixAtoms(range(4)),
        "FixBondLength": FixBondLength(0, 1),
        "FixBondLengths": FixBondLengths([[0, 1], [2, 3]]),
        "FixCartesian": FixCartesian([0, 1], mask=(True, False, True)),
        "FixCartesianParametricRelations": (
            FixCartesianParametricRelations.from_expressions(*relation)
        ),
        "FixCom": FixCom(),
        "FixInternals": FixInternals(bonds=[[1.5, [0, 1]]], angles_deg=[[90, ends]]),
        "FixLinearTriatomic": FixLinearTriatomic([ends]),
        "FixScaled": FixScaled(0, mask=(True, True, False)),
        "FixScaledParametricRelations": (
            FixScaledParametricRelations.from_expressions(*relation)
        ),
        "FixSubsetCom": FixSubsetCom([0, 1, 2]),
        "FixedLine": FixedLine(0, (1, 0, 0)),
        "FixedMode": FixedMode(np.array(shift * 8)[:8]),
        "FixedPlane": FixedPlane([0, 1], (0, 0, 1)),
        "Hookean": Hookean(0, 1, k=20.0, rt=0.5),
        "MirrorForce": MirrorForce(0, 1),
        "MirrorTorque": MirrorTorque(0, 1, 2, 3),
    }


def test_all_constraints_of_ase_are_here():
    """A kind that ASE gains fails this test, and is then added."""
    assert set(constraints()) == set(ase.constraints.__all__) - NOT_TRIED


@pytest.mark.parametrize("kind", constraints())
def test_a_constraint_changes_nothing(kind: str):
    """Energy, forces and stress are those of the calculator."""
    free, fixed = bulk("Cu", cubic=True).repeat((2, 1, 1)), bulk("Cu", cubic=True)
    free.rattle(0.1, seed=1)
    fixed = free.copy()
    fixed.set_constraint(constraints()[kind])
    free.calc, fixed.calc = EMT(), EMT()
    assert unconstrained.energy_eV(fixed) == free.get_potential_energy()
    np.testing.assert_array_equal(unconstrained.forces_eV_A(fixed), free.get_forces())
    np.testing.assert_array_equal(unconstrained.stress_eV_A3(fixed), free.get_stress())


def test_nothing_else_asks_a_structure():
    """The module that is tested here is the only one that calls these methods."""
    folder = Path(synthzoo.__file__).parent
    found = [
        f"{path.relative_to(folder)}:{node.lineno}"
        for path in sorted(folder.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in ASKS
        if path.name != "unconstrained.py"
    ]
    assert found == [], "use synthzoo.data.unconstrained there"


# Whole stages


@pytest.fixture(scope="module")
def files(
    tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """Write labelled frames without and with constraints, one frame for each kind."""
    calculator = load_calculator(tiny_checkpoint)
    free, fixed = [], []
    for seed, constraint in enumerate(constraints().values()):
        atoms = bulk("C", cubic=True)
        atoms.rattle(0.1, seed=seed)
        calculator.calculate(atoms)
        results = calculator.results
        atoms = label(
            atoms,
            energy_eV=results["energy"] + OFFSET_EV * len(atoms),
            forces_eV_A=1.1 * results["forces"],
        )
        free.append(atoms)
        fixed.append(atoms.copy())
        fixed[-1].calc = atoms.calc
        fixed[-1].set_constraint(constraint)
    folder = tmp_path_factory.mktemp("constraints")
    paths = folder / "free.traj", folder / "fixed.traj"
    for path, frames in zip(paths, (free, fixed), strict=True):
        ase.io.write(path, frames)
    back = ase.io.read(paths[1], index=":")
    assert all(len(atoms.constraints) == 1 for atoms in back)
    return paths


def test_errors_are_those_of_the_free_structures(
    tiny_checkpoint: Path, files: tuple[Path, Path]
):
    """To the last digit; the labels' forces are known to be a tenth too large."""
    (free,), (fixed,) = (
        evaluate_models([str(tiny_checkpoint)], path, shift=True) for path in files
    )
    assert dataclasses.replace(fixed, data=free.data) == free
    forces = np.concatenate(
        [atoms.calc.results["forces"] for atoms in read_structures(files[0])]
    )
    expected = np.sqrt(np.mean(np.square(forces / 11)))
    assert free.groups[0].force_rmse_eV_A == pytest.approx(expected, rel=1e-4)


def read(path: Path, *, energies_only: bool = False) -> tuple[FrameSet, LabelKeys]:
    from synthzoo.data.labelled_set import read_labelled

    return read_labelled([path], energies_only=energies_only)


def assert_same(first: LabelledSet, second: LabelledSet) -> None:
    np.testing.assert_array_equal(first.energies_eV, second.energies_eV)
    np.testing.assert_array_equal(first.forces_eV_A, second.forces_eV_A)


@pytest.mark.parametrize("energies_only", [False, True])
def test_a_fit_sees_the_free_structures(
    tiny_checkpoint: Path, files: tuple[Path, Path], *, energies_only: bool
):
    """Labels, the model's forces that stand in for them, reference and findings."""
    from synthzoo.finetuning.recipe import FinetuneRecipe

    free, fixed = (
        finetuning_plan(
            tiny_checkpoint,
            *read(path, energies_only=energies_only),
            FinetuneRecipe(),
        )
        for path in files
    )
    assert_same(free.training, fixed.training)
    assert (free.reference, free.notes) == (fixed.reference, fixed.notes)
    calculator = load_calculator(tiny_checkpoint)
    calculator.calculate(free.training.structures[0])
    np.testing.assert_allclose(
        free.training.labels[0].forces_eV_A,
        (1.0 if energies_only else 1.1) * calculator.results["forces"],
        atol=1e-5,
    )


def test_replay_holds_to_the_forces_of_the_free_structures(
    tiny_checkpoint: Path, files: tuple[Path, Path]
):
    """What the start says of the structures, and what their labels say."""
    from synthzoo.finetuning.replay import read_synthetic

    start = load_calculator(tiny_checkpoint)
    bare = []
    for path in files:
        frames = read_structures(path)
        for atoms in frames:
            atoms.calc = None
        bare.append(path.with_suffix(".bare.traj"))
        ase.io.write(bare[-1], frames)
    free, fixed = (read_synthetic([path], start) for path in bare)
    assert_same(free.mixed, fixed.mixed)
    assert_same(free.kept, fixed.kept)
    calculator = load_calculator(tiny_checkpoint)
    calculator.calculate(fixed.mixed.structures[0])
    np.testing.assert_allclose(
        fixed.mixed.labels[0].forces_eV_A, calculator.results["forces"], atol=1e-5
    )


@pytest.mark.thorough
def test_calibration_finds_the_number_of_the_free_structures(
    tiny_checkpoint: Path, files: tuple[Path, Path]
):
    """It is the number with which the labels were made, or near it."""
    from synthzoo.legacy.calibrate import calibrate
    from synthzoo.models.checkpoint import load_model

    found = []
    for path in files:
        frames = read_structures(path)
        for atoms in frames:
            atoms.calc.results["energy"] -= OFFSET_EV * len(atoms)
            atoms.calc.results["forces"] /= 1.1
        source = path.with_suffix(".own.traj")
        ase.io.write(source, frames)
        model, config = load_model(tiny_checkpoint)
        found.append(calibrate(model, config, source))
    free, fixed = found
    assert dataclasses.replace(fixed, data=free.data) == free
    assert free.avg_num_neighbors == pytest.approx(16.0, abs=0.05)


@pytest.mark.filterwarnings("ignore:.*cannot hold:synthzoo.errors.FileWarning")
def test_predictions_are_those_of_the_free_structures(
    tiny_checkpoint: Path, files: tuple[Path, Path], tmp_path: Path
):
    """The files that `predict` writes hold the same numbers."""
    found = []
    for path in files:
        predict_file(tiny_checkpoint, path, tmp_path / f"{path.stem}.xyz")
        found.append(read_structures(tmp_path / f"{path.stem}.xyz"))
    assert len(found[0]) == len(constraints())
    for free, fixed in zip(*found, strict=True):
        assert free.calc.results.keys() == fixed.calc.results.keys()
        for name, value in free.calc.results.items():
            np.testing.assert_array_equal(value, fixed.calc.results[name])
