"""Atoms that are fixed stay where they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase import units
from ase.build import fcc111
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.io import write

from synthzoo import run_md
from synthzoo.data.structures import read_structures
from synthzoo.errors import InputError
from synthzoo.stability.fixed import degrees_of_freedom
from synthzoo.stability.protocol import Conservation, Dynamics, MdRecipe
from synthzoo.stability.verdict import read_series

if TYPE_CHECKING:
    from ase import Atoms

WARM = Dynamics(name="warm", duration_fs=400, start_K=400)
FREE = Conservation(name="free", duration_fs=200)
PRESSURE = Dynamics(name="pressure", ensemble="npt", duration_fs=100, start_K=300)


def slab() -> Atoms:
    """Return four layers of copper, of which the lowest is fixed."""
    atoms: Atoms = fcc111("Cu", size=(2, 2, 4), vacuum=6.0)
    atoms.set_constraint(FixAtoms(mask=atoms.get_tags() == 4))
    return atoms


def recipe(*stages: Any, **settings: Any) -> MdRecipe:
    """Return a protocol of a few steps."""
    return MdRecipe(stages=stages, timestep_fs=4.0, frame_fs=40.0, **settings)


@pytest.mark.parametrize(
    "thermostat", ["langevin", pytest.param("bussi", marks=pytest.mark.thorough)]
)
def test_the_lowest_layer_of_a_slab_stays(thermostat: str, tmp_path: Path) -> None:
    """In a thermostat and at constant energy; the others have the temperature."""
    atoms = slab()
    write(tmp_path / "POSCAR", atoms, format="vasp", direct=True)
    protocol = recipe(WARM, FREE, thermostat=thermostat)
    verdict = run_md(EMT(), tmp_path / "POSCAR", tmp_path / "md", protocol=protocol)
    (replica,) = verdict.replicas
    assert replica.survived
    frames = read_structures(replica.trajectory)
    moved = np.abs(frames[-1].positions - frames[0].positions).max(axis=1)
    low = frames[0].positions[:, 2] < frames[0].positions[:, 2].min() + 0.5
    assert low.sum() == 4
    assert moved[low].max() == 0
    assert moved[~low].min() > 0.01
    kinetic_eV = frames[-1].get_kinetic_energy()
    assert read_series(replica.series).temperatures_K[-1] == pytest.approx(
        2 * kinetic_eV / (degrees_of_freedom(atoms) * units.kB), rel=1e-6
    )


def test_fixed_atoms_have_no_part_in_the_temperature() -> None:
    """Without fixed atoms it is the centre of mass that rests."""
    atoms = slab()
    assert degrees_of_freedom(atoms) == 3 * 12
    atoms.set_constraint()
    assert degrees_of_freedom(atoms) == 3 * 15


@pytest.mark.parametrize(
    ("protocol", "options", "message"),
    [
        (recipe(PRESSURE), {}, "constant pressure moves all"),
        (recipe(WARM, thermostat="nose-hoover"), {}, "nose-hoover moves all"),
        (recipe(WARM), {"engine": "torch-sim"}, "torch-sim moves all"),
    ],
)
def test_what_would_move_fixed_atoms_is_refused(
    protocol: MdRecipe, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """Rather than moving them without a word."""
    with pytest.raises(InputError, match=message):
        run_md(EMT(), slab(), tmp_path / "md", protocol=protocol, **options)


def test_a_structure_that_is_fixed_altogether_is_refused(tmp_path: Path) -> None:
    """Nothing would happen."""
    atoms = slab()
    atoms.set_constraint(FixAtoms(range(len(atoms))))
    with pytest.raises(InputError, match="nothing can move"):
        run_md(EMT(), atoms, tmp_path / "md", protocol=recipe(WARM))
