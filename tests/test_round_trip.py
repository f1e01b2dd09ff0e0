"""The loop of docs/active-learning.md runs as it is written there."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.md.langevin import Langevin

from synthzoo.data.structures import label, write_structures
from synthzoo.evaluation.evaluate import evaluate_models
from synthzoo.teachers.loading import load_teacher
from tests.test_pages import ROOT, blocks

if TYPE_CHECKING:
    from collections.abc import Callable

    from ase import Atoms
    from ase.calculators.calculator import Calculator

GPAW = '''
"""Stands for GPAW: C-ACE, which is as good a truth and takes milliseconds."""
from synthzoo.evaluation.evaluate import evaluate_models
from synthzoo.teachers.loading import load_teacher


def GPAW(mode, xc, occupations, kpts, txt):
    return load_teacher("ace:{file}").calculator
'''
PAGE = ROOT / "docs" / "active-learning.md"


@pytest.mark.long
def test_the_page_about_active_learning_runs_as_written(
    shared: Callable[[str], Path], tmp_path: Path
):
    """From cold crystals: hot ones are new at first, less so later."""
    pytest.importorskip("pyace")
    file = shared("potentials/c_ace.yace")
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "gpaw.py").write_text(GPAW.format(file=file))
    truth = load_teacher(f"ace:{file}").calculator
    write_structures(tmp_path / "my_dft.xyz", cold(truth))
    write_structures(tmp_path / "hot.xyz", hot(truth))
    bulk("C", cubic=True).write(tmp_path / "start.xyz")
    # a fifth of the work of `carbon`, and the same commands
    script = "\n".join(blocks(PAGE, "sh")).replace("carbon my_dft", f"{SMALL} my_dft")
    path = f"{tmp_path / 'modules'}{os.pathsep}{ROOT}"
    subprocess.run(
        ["/bin/bash", "-e", "-c", script],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path},
        check=True,
    )
    check_rounds(tmp_path)


def check_rounds(folder: Path) -> None:
    """Check what three rounds have left in a folder."""
    second, third = (
        json.loads((folder / name / "metrics.json").read_text())
        for name in ("round-2", "round-3")
    )
    assert second["gain"]["surprise"] > third["gain"]["surprise"] > 0
    assert second["gain"]["after"][0]["structures"] == 5
    assert "they were new to it, so go on" in second["verdict"]
    first, last = (
        found.groups[0].force_rmse_eV_A
        for found in evaluate_models(
            [folder / "round-1", folder / "round-3"], folder / "hot.xyz"
        )
    )
    assert last < first


def cold(truth: Calculator) -> list[Atoms]:
    """Return strained and rattled diamond."""
    found = []
    for seed in range(15):
        atoms = bulk("C", cubic=True)
        atoms.set_cell(atoms.cell * (0.96 + 0.005 * seed), scale_atoms=True)
        atoms.rattle(0.1, seed=seed)
        found.append(labelled(atoms, truth))
    return found


def hot(truth: Calculator) -> list[Atoms]:
    """Return diamond that is heated to 5000 K in 2 ps, in five runs."""
    found = []
    for seed in range(5):
        atoms = bulk("C", cubic=True)
        atoms.rattle(0.02, seed=100 + seed)
        atoms.calc = truth
        dynamics = Langevin(
            atoms,
            1 * units.fs,
            temperature_K=300,
            friction=0.02 / units.fs,
            fixcm=False,
            rng=np.random.default_rng(seed),
        )
        for start_K in range(300, 5000, 588):
            for part in range(250):
                dynamics.set_temperature(temperature_K=start_K + 2.35 * part)
                dynamics.run(1)
            found.append(labelled(atoms, truth))
    return found


def labelled(atoms: Atoms, truth: Calculator) -> Atoms:
    """Return a structure with the labels of a potential."""
    atoms.calc = truth
    energy_eV, forces_eV_A = atoms.get_potential_energy(), atoms.get_forces()
    return label(atoms, energy_eV=energy_eV, forces_eV_A=forces_eV_A)


SMALL = "carbon-ace-2k"
