"""Curves that show whether a potential is sound."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase.build import bulk, fcc111, molecule

from synthzoo.data.labelled_set import LabelledSet
from synthzoo.data.labels import Labels
from synthzoo.distillation.probes import (
    CURVE_KEY,
    PLACE_KEY,
    curves_of,
    lowest_crystals,
    probe_structures,
)

if TYPE_CHECKING:
    from ase import Atoms


def labelled(structures: list[Atoms], energies_eV: list[float]) -> LabelledSet:
    return LabelledSet(
        structures=structures,
        labels=[
            Labels(energy_eV=energy, forces_eV_A=np.zeros((len(atoms), 3)))
            for atoms, energy in zip(structures, energies_eV, strict=True)
        ],
        origins=[""] * len(structures),
    )


def test_crystals_are_those_of_lowest_energy_of_each_composition():
    """Slabs and molecules have no volume to speak of."""
    rock, zinc = (bulk("NaCl", kind, a=a) for kind, a in _KINDS)
    big = rock.repeat(2)
    slab = fcc111("Cu", (1, 1, 3), vacuum=8)
    water = molecule("H2O", vacuum=6)
    data = labelled([zinc, rock, big, slab, water], [-6.0, -7.0, -55.0, -99, -99])
    assert [len(atoms) for atoms in lowest_crystals(data)] == [2]
    assert lowest_crystals(data)[0] is rock


_KINDS = (("rocksalt", 5.6), ("zincblende", 6.2))


def test_all_pairs_of_elements_are_probed():
    data = labelled([bulk("NaCl", "rocksalt", a=5.6)], [-7.0])
    names = dict.fromkeys(a.info[CURVE_KEY] for a in probe_structures(data))
    assert list(names) == ["NaCl, volume", "Cl–Cl", "Cl–Na", "Na–Na"]


def test_molecules_have_pairs_but_no_volumes():
    data = labelled([molecule("CO"), molecule("CO2")], [-10.0, -18.0])
    names = dict.fromkeys(a.info[CURVE_KEY] for a in probe_structures(data))
    assert list(names) == ["C–C", "C–O", "O–O"]


def test_curves_begin_at_their_minimum_or_at_the_widest_distance():
    """A structure that the teacher failed on leaves a gap in its curve."""
    data = labelled([bulk("Cu", cubic=True)], [-14.0])
    structures = probe_structures(data)
    places = np.array([atoms.info[PLACE_KEY] for atoms in structures])
    broken = places.copy()
    broken[1] = np.nan
    volume, pair = curves_of(
        structures, {"whole": lambda _: places, "broken": lambda _: broken}
    )
    assert volume.kind == "volume"
    assert volume.energies_eV["whole"][0] == 0
    expected = (volume.x[-1] - volume.x[0]) / 4
    assert volume.energies_eV["whole"][-1] == pytest.approx(expected)
    assert np.isnan(volume.energies_eV["broken"][1])
    assert pair.energies_eV["whole"][-1] == 0
    assert pair.energies_eV["whole"][0] == pytest.approx(pair.x[0] - pair.x[-1])
