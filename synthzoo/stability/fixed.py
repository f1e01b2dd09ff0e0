"""Atoms that stay where they are: the constraint `FixAtoms` of ASE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from ase.constraints import FixAtoms

from synthzoo.errors import InputError
from synthzoo.stability.protocol import Dynamics

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    from synthzoo.stability.protocol import MdRecipe


def fixed_atoms(atoms: Atoms) -> NDArray[np.int64]:
    """Return the numbers of the atoms that stay where they are."""
    held = [c.get_indices() for c in atoms.constraints if isinstance(c, FixAtoms)]
    return np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *held]))


def keep_fixed(atoms: Atoms) -> bool:
    """Take all other constraints off; return whether there are fixed atoms."""
    fixed = fixed_atoms(atoms)
    atoms.set_constraint(FixAtoms(fixed) if len(fixed) else None)
    return bool(len(fixed))


def degrees_of_freedom(atoms: Atoms) -> int:
    """Return how many the velocities have: the centre of mass rests, or atoms do."""
    fixed = len(fixed_atoms(atoms))
    return max(1, 3 * (len(atoms) - (fixed or 1)))


def check_fixed(structures: Sequence[Atoms], recipe: MdRecipe, engine: str) -> None:
    """Refuse fixed atoms where a protocol or an engine would move them."""
    if not any(len(fixed_atoms(atoms)) for atoms in structures):
        return
    if any(len(fixed_atoms(atoms)) == len(atoms) for atoms in structures):
        raise InputError("All atoms of a structure are fixed: nothing can move.")
    if engine != "ase":
        raise InputError(
            "Some atoms are fixed, but torch-sim moves all; use the engine ase."
        )
    if recipe.moving and recipe.thermostat == "nose-hoover":
        raise InputError(
            "Some atoms are fixed, but the thermostat nose-hoover moves all; use "
            "langevin or bussi."
        )
    if any(
        isinstance(stage, Dynamics) and stage.ensemble == "npt"
        for stage in recipe.moving
    ):
        raise InputError(
            "Some atoms are fixed, but constant pressure moves all with the cell; "
            "choose a protocol without it, or take the constraint off."
        )
