"""Energy, forces and stress of a structure as its calculator gives them.

ASE's own `Atoms.get_forces` and its siblings pass them through the constraints of the
structure: `FixAtoms` sets forces to zero, `Hookean` adds a spring to forces and energy.
Many files bring constraints along, and labels are free of them. So synthzoo asks for
energies, forces and stresses here only; a relaxation inside ASE still obeys them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray


def energy_eV(atoms: Atoms, *, force_consistent: bool = False) -> float:
    """Return the energy of a structure.

    ``atoms``: structure with a calculator, or with labels in place of one.
    ``force_consistent``: ask for the free energy, of which the forces are the
    derivative.
    """
    energy = atoms.get_potential_energy(force_consistent, apply_constraint=False)
    return float(energy)


def forces_eV_A(atoms: Atoms) -> NDArray[np.float64]:
    """Return the forces on the atoms of a structure, of shape ``(n_atoms, 3)``."""
    return np.asarray(atoms.get_forces(apply_constraint=False))


def stress_eV_A3(atoms: Atoms) -> NDArray[np.float64]:
    """Return the stress of a structure in Voigt order and ASE's sign."""
    return np.asarray(atoms.get_stress(apply_constraint=False))
