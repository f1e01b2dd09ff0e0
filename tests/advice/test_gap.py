"""A GAP as one of the models that `advise` compares."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

import synthzoo
from synthzoo.advice import gap
from synthzoo.advice.gap import Gap
from synthzoo.data.labelled_set import LabelledSet
from synthzoo.data.labels import Labels


def clusters(count: int) -> LabelledSet:
    """Return clusters of two elements without a cell, and energies far from zero."""
    rng = np.random.default_rng(0)
    structures, labels = [], []
    for _ in range(count):
        atoms = bulk("CuAu", "zincblende", a=5.2, cubic=True)
        atoms.pbc, atoms.cell = False, None
        atoms.positions += rng.normal(scale=0.1, size=(8, 3))
        atoms.calc = EMT()
        energy = atoms.get_potential_energy() - 100 * 4 - 200 * 4
        labels.append(Labels(energy_eV=energy, forces_eV_A=atoms.get_forces()))
        structures.append(atoms)
    return LabelledSet(structures=structures, labels=labels, origins=["x"] * count)


@pytest.mark.thorough
def test_a_gap_learns_energies_and_forces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Of two elements, without a cell, on the scale of the labels."""
    pytest.importorskip("quippy")
    monkeypatch.chdir(tmp_path)
    Gap().write(Path("relative.xml"), clusters(2), [0, 1], 0)
    assert "<GAP_params" in Path("relative.xml").read_text()
    data = clusters(12)
    tested = [10, 11]
    said = Gap().fit_and_say(data, range(10), tested, 0).judged(data.part(tested))
    size = np.sqrt(np.mean(data.part(tested).forces_eV_A ** 2))
    assert said.errors[0].force_rmse_eV_A < 0.5 * size
    assert said.errors[0].energy_rmse_meV_per_atom < 50


def test_without_gap_fit_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(gap, "PROGRAM", "no-such-program")
    with pytest.raises(synthzoo.SynthzooError, match=r"pip install 'synthzoo\[gap\]'"):
        synthzoo.advise("data.xyz", tmp_path / "advice", also=["gap"])


def test_a_fit_that_fails_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Nothing is left behind."""
    program = tmp_path / "gap_fit"
    program.write_text("#!/bin/sh\necho no memory >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(gap, "PROGRAM", str(program))
    with pytest.raises(synthzoo.SynthzooError, match="a fault: no memory"):
        Gap().write(tmp_path / "gap.xml", clusters(3), [0, 1, 2], 0)
    assert not (tmp_path / "gap.xml").exists()
