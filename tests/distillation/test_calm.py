"""What the stages of a distillation start from."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk, molecule

from synthzoo.data.labelled_set import LabelledSet
from synthzoo.data.labels import Labels
from synthzoo.distillation.calm import calm_start, squeezable


def test_dynamics_start_from_the_crystal_of_lowest_energy():
    """Not from a compressed one, which has no forces either, nor from an odd defect."""
    lengths = {5.2: -30.0, 5.87: -38.0, 6.2: -36.0}
    crystals = [bulk("InP", "zincblende", a=a, cubic=True) for a in lengths]
    defect = crystals[1].copy()
    defect.symbols[0] = "P"
    structures = [*crystals, defect]
    labels = [
        Labels(energy_eV=energy, forces_eV_A=np.full((8, 3), force))
        for energy, force in [*((e, 0.0) for e in lengths.values()), (-50.0, 0.0)]
    ]
    labels[1] = Labels(energy_eV=-38.0, forces_eV_A=np.full((8, 3), 1e-3))
    data = LabelledSet(structures=structures, labels=labels, origins=[""] * 4)
    start = calm_start(data)
    assert start.get_chemical_formula() == "In16P16"
    assert start.get_volume() / 32 == pytest.approx(crystals[1].get_volume() / 8)


def test_the_dynamics_of_a_molecule_start_from_it_alone():
    methane = molecule("CH4")
    labels = Labels(energy_eV=-20.0, forces_eV_A=np.zeros((5, 3)))
    data = LabelledSet(structures=[methane], labels=[labels], origins=[""])
    assert calm_start(data) == methane


def test_of_each_composition_one_structure_without_vacuum_is_squeezed():
    """Squeezing vacuum would bring no atoms together, but distort a molecule."""
    crystals = [bulk("InP", "zincblende", a=a) for a in (5.7, 5.87, 6.0)]
    other = bulk("In", "fcc", a=4.7)
    slab = bulk("P", "sc", a=2.4, cubic=True)
    slab.center(vacuum=8.0, axis=2)
    structures = [*crystals, other, slab]
    labels = [
        Labels(energy_eV=energy, forces_eV_A=np.zeros((len(atoms), 3)))
        for energy, atoms in zip(
            (-7.0, -8.0, -7.5, -3.0, -5.0), structures, strict=True
        )
    ]
    data = LabelledSet(structures=structures, labels=labels, origins=[""] * 5)
    found = squeezable(data)
    assert [len(atoms) for atoms in found] == [2, 1]
    assert found[0].get_volume() == pytest.approx(crystals[1].get_volume())
