"""Isolated atoms that do not fit the teacher are told."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from synthzoo.data.labelled_set import LabelledSet
from synthzoo.data.labels import Labels
from synthzoo.data.structures import label
from synthzoo.distillation.atoms import strange_atoms
from synthzoo.evaluation.errors import judge_set

CONSTANTS_EV = {"C": -150.0, "Si": -300.0}


@pytest.mark.parametrize(
    ("isolated_eV", "told"),
    [
        ({}, False),
        ({"C": -150.0}, False),
        ({"C": -147.5}, True),
        ({"C": -147.5, "Si": -302.5}, True),
    ],
)
def test_atoms_that_the_crystals_contradict_are_told(
    isolated_eV: dict[str, float], *, told: bool
):
    """The teacher's energies are exact but for constants."""
    crystals = [bulk("SiC", "zincblende", a=4.4), bulk("Si"), bulk("C")]
    labels = [
        Labels(
            energy_eV=sum(CONSTANTS_EV[name] for name in atoms.symbols) - 5.0,
            forces_eV_A=np.zeros((2, 3)),
        )
        for atoms in crystals
    ]
    data = LabelledSet(structures=crystals, labels=labels, origins=[""] * 3)
    by_teacher = [
        label(atoms.copy(), energy_eV=-5.0, forces_eV_A=np.zeros((2, 3)))
        for atoms in crystals
    ]
    found = strange_atoms(data, judge_set(data, by_teacher), isolated_eV)
    assert bool(found) is told


def test_one_composition_leaves_the_other_constant_free():
    """An atom is not strange where another element's constant makes up for it."""
    crystal = bulk("SiC", "zincblende", a=4.4)
    labels = Labels(energy_eV=-455.0, forces_eV_A=np.zeros((2, 3)))
    data = LabelledSet(structures=[crystal], labels=[labels], origins=[""])
    teacher = label(crystal.copy(), energy_eV=-5.0, forces_eV_A=np.zeros((2, 3)))
    found = judge_set(data, [teacher])
    assert strange_atoms(data, found, {"C": -140.0}) == []
