"""Recipes of one element give the structures that they gave before there were more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from synthzoo.data.structures import read_structures
from synthzoo.generation.kinds.from_atoms import Dimers, Packing
from synthzoo.generation.kinds.from_prototypes import Compressed, Crystals, Surfaces
from synthzoo.generation.recipe import GenerateRecipe
from synthzoo.generation.run import generate_jobs, make_structures

if TYPE_CHECKING:
    from pathlib import Path

LENNARD_JONES = "ase:ase.calculators.lj.LennardJones"
"""It moves no atom of these parts."""

BONDS_A: dict[str, dict[str, float | None]] = {
    "C": {"diamond": 1.54, "lonsdaleite": 1.54, "layer": 1.42, "bcc": 2.0},
    "Si": {"diamond": 2.35, "lonsdaleite": 2.35, "layer": 2.25, "bcc": 2.67},
}
NEAR_A = {"C": 1.232, "Si": 1.88}


def recipe(element: str) -> GenerateRecipe:
    """Return every kind of part that needs no driver."""
    bonds_A = BONDS_A[element]
    return GenerateRecipe(
        element=element,
        seed=20261124,
        driver=f'{LENNARD_JONES}{{"isolated_atom_energies_eV": {{"{element}": 0}}}}',
        parts=(
            Packing(
                count=3,
                atoms=(8, 24),
                density_g_cm3=(1.8, 2.4),
                min_distance_A=NEAR_A[element],
            ),
            Crystals(count=4, prototypes=bonds_A, vacancy_share=0.3),
            Surfaces(count=2, prototypes={"diamond": bonds_A["diamond"]}),
            Compressed(count=2, prototypes=bonds_A, max_atoms=24),
            Dimers(count=2, distance_A=(0.9, 4.0)),
        ),
    )


PLACES_A = {
    "C": {
        "packing": (56, 474.83254),
        "crystals": (506, 4398.63379),
        "surfaces": (64, 524.16826),
        "compressed": (128, 762.05304),
        "dimers": (5, 4.9),
    },
    "Si": {
        "packing": (47, 510.73673),
        "crystals": (506, 6230.18510),
        "surfaces": (64, 799.77295),
        "compressed": (128, 1008.47837),
        "dimers": (5, 4.9),
    },
}
"""Of each kind of part: how many atoms, and the sum of all their coordinates."""


@pytest.mark.parametrize("element", BONDS_A)
def test_structures_are_those_of_the_first_version(element: str, tmp_path: Path):
    """As they were on 28 November 2026, when recipes knew one element."""
    found: dict[str, Any] = {}
    for number, job in enumerate(generate_jobs(recipe(element), driver_sha256="")):
        folder = tmp_path / str(number)
        folder.mkdir()
        make_structures(job, folder)
        structures = read_structures(next(folder.iterdir()))
        atoms = sum(map(len, structures))
        total_A = sum(float(np.abs(each.positions).sum()) for each in structures)
        found[job.part.kind] = atoms, pytest.approx(total_A, abs=1e-4)
    assert found == PLACES_A[element]
