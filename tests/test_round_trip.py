"""The loop of docs/active-learning.md runs as it is written there."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase.build import bulk

from synthzoo.data.structures import label, write_structures
from synthzoo.teachers.loading import load_teacher
from tests.test_pages import ROOT, blocks

if TYPE_CHECKING:
    from collections.abc import Callable

GPAW = '''
"""Stands for GPAW: C-ACE, which is as good a truth and takes milliseconds."""
from synthzoo.teachers.loading import load_teacher


def GPAW(mode, xc, occupations, kpts, txt):
    return load_teacher("ace:{file}").calculator
'''
PAGE = ROOT / "docs" / "active-learning.md"


@pytest.mark.long
def test_the_page_about_active_learning_runs_as_written(
    shared: Callable[[str], Path], tmp_path: Path
):
    """From crystals to melts: what is new in the first round is less so later."""
    pytest.importorskip("pyace")
    file = shared("potentials/c_ace.yace")
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "gpaw.py").write_text(GPAW.format(file=file))
    truth = load_teacher(f"ace:{file}").calculator
    crystals = []
    for seed in range(15):
        atoms = bulk("C", cubic=True)
        atoms.set_cell(atoms.cell * (0.96 + 0.005 * seed), scale_atoms=True)
        atoms.rattle(0.1, seed=seed)
        atoms.calc = truth
        crystals.append(
            label(
                atoms,
                energy_eV=atoms.get_potential_energy(),
                forces_eV_A=atoms.get_forces(),
            )
        )
    write_structures(tmp_path / "my_dft.xyz", crystals)
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
    gains = [
        json.loads((tmp_path / name / "metrics.json").read_text())["gain"]
        for name in ("round-2", "round-3")
    ]
    for gain in gains:
        assert gain["after"][0]["structures"] == 5
        assert (
            gain["after"][0]["force_rmse_eV_A"] < gain["before"][0]["force_rmse_eV_A"]
        )
    assert gains[1]["surprise"] < gains[0]["surprise"]
    assert np.isfinite(gains[1]["expected_eV_A"])


SMALL = "carbon-ace-2k"
