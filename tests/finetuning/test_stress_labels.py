"""Stress labels of a user's data: fitted where they are sound, and only there."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.units import GPa

from synthzoo.data.labelled_set import read_labelled
from synthzoo.data.structures import label, write_structures
from synthzoo.finetuning.checks import Examination, Examined, examine, fit_for_use
from synthzoo.finetuning.data_check import check_data
from synthzoo.finetuning.plan import starting_calculator
from synthzoo.finetuning.run import finetune
from synthzoo.models.checkpoint import as_checkpoint, write_checkpoint
from synthzoo.models.network import build_model
from tests.conftest import tiny_config

SOUND, IN_KBAR, OF_VASP = 1.0, 10 / GPa, -1.0


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a start for copper, untrained."""
    folder = tmp_path_factory.mktemp("start") / "start"
    config = tiny_config(("Cu",), kind="starting-point")
    model = build_model(config, seed=0).eval()
    write_checkpoint(folder, model=model, config=config, golden=[bulk("Cu")])
    return folder


def copper(factor: float) -> list[Atoms]:
    """Return crystals of several volumes and two molecules, labelled by EMT."""
    structures = [molecule("H2"), molecule("N2")]
    for atoms in structures:
        atoms.symbols[:] = "Cu"
        atoms.positions *= 2.5
    for number, scale in enumerate(np.linspace(0.97, 1.03, 12)):
        atoms = bulk("Cu", cubic=True)
        atoms.set_cell(scale * atoms.cell, scale_atoms=True)
        atoms.rattle(0.05, seed=number)
        structures.append(atoms)
    labelled = []
    for atoms in structures:
        atoms.calc = EMT()
        stress = factor * atoms.get_stress() if atoms.pbc.all() else None
        labelled.append(
            label(
                atoms,
                energy_eV=atoms.get_potential_energy(),
                forces_eV_A=atoms.get_forces(),
                stress_eV_A3=stress,
            )
        )
    return labelled


def examined(start: Path, folder: Path, factor: float) -> tuple[Examination, Examined]:
    """Return what a fine-tuning sees of such a set."""
    write_structures(folder / "cu.xyz", copper(factor))
    frames, keys = read_labelled([folder / "cu.xyz"])
    found = examine(frames, keys, starting_calculator(as_checkpoint(start)))
    return found, fit_for_use(found)


def test_stress_is_fitted_where_a_cell_is_periodic(start: Path, tmp_path: Path):
    """Molecules among the crystals have none."""
    _, used = examined(start, tmp_path, SOUND)
    known = [labels.stress_eV_A3 is not None for labels in used.labelled.labels]
    assert known == [atoms.pbc.all() for atoms in used.labelled.structures]
    assert sum(known) == 12
    assert check_data(start, tmp_path / "cu.xyz").stress_key == "calculator"


@pytest.mark.parametrize("factor", [IN_KBAR, OF_VASP])
def test_stress_of_another_unit_or_sign_is_not_fitted(
    start: Path, tmp_path: Path, factor: float
):
    """The other labels are, and the doubt is told."""
    found, used = examined(start, tmp_path, factor)
    assert check_data(start, tmp_path / "cu.xyz").stress_key is None
    assert not any(labels.stress_eV_A3 is not None for labels in used.labelled.labels)
    (doubt,) = [each for each in found.findings if each.kind.startswith("stress_")]
    assert doubt.severity == "warning"
    assert doubt.message.endswith("Stress is not fitted.")


@pytest.mark.thorough
def test_a_fit_with_stress_has_the_smaller_error_of_it(start: Path, tmp_path: Path):
    """The report shows the errors, and says how many labels there were."""
    write_structures(tmp_path / "cu.xyz", copper(SOUND))
    errors = []
    for weight in (0.0, 3.0):
        made = finetune(
            start,
            tmp_path / "cu.xyz",
            tmp_path / f"tuned-{weight}",
            visits=600,
            check_share=0,
            threads=1,
            stress_weight=weight,
        )
        text = made.report.read_text()
        assert ("stress of 12 of them" in text) == (weight > 0)
        rows = [line.split("|") for line in text.splitlines() if "| after" in line]
        assert "Stress RMSE (GPa)" in text
        errors.append(float(rows[0][-2]))
    assert errors[1] < 0.7 * errors[0]
