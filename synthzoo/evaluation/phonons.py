"""Frequencies of crystals by finite displacements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from ase import units

from synthzoo.data import unconstrained

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator
    from numpy.typing import NDArray

DISPLACEMENT_A = 0.01
PER_CM = units.invcm
"""Energy in eV of a wave number of one per centimetre."""


def frequencies_per_cm(
    cell: Atoms,
    calculator: Calculator,
    *,
    repeat: tuple[int, int, int] = (1, 1, 1),
    wave_vector: Sequence[float] = (0.0, 0.0, 0.0),
) -> NDArray[np.float64]:
    """Return the frequencies of a crystal at one wave vector, the smallest first.

    Each atom of the cell is displaced in a supercell, in both directions along each
    axis. If the wave vector fits the supercell, the result holds for interactions of
    any range. Imaginary frequencies are negative.

    Parameters
    ----------
    cell
        Relaxed crystal of ``n`` atoms, periodic in three directions.
    calculator
        Potential.
    repeat
        Supercell.
    wave_vector
        In units of the reciprocal cell vectors; each number times that of ``repeat``
        has to be whole.

    Returns
    -------
    frequencies
        Wave numbers in 1/cm, of shape ``(3 * n,)``.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> copper = bulk("Cu", a=3.59)
    >>> at_x = frequencies_per_cm(
    ...     copper, EMT(), repeat=(2, 2, 2), wave_vector=(0.5, 0.5, 0)
    ... )
    >>> [round(float(value)) for value in at_x]
    [184, 184, 271]
    """
    supercell = cell.repeat(repeat)
    supercell.calc = calculator
    lattice = np.repeat(_images(repeat), len(cell), axis=0)
    phases = np.exp(2j * np.pi * (lattice @ np.asarray(wave_vector)))
    count = len(cell)
    columns = [
        -(phases[:, None] * _force_constants(supercell, atom, axis))
        .reshape(-1, count, 3)
        .sum(axis=0)
        .ravel()
        for atom in range(count)
        for axis in range(3)
    ]
    masses = np.repeat(cell.get_masses(), 3)
    dynamical = np.array(columns) / np.sqrt(np.outer(masses, masses))
    squares = np.linalg.eigvalsh((dynamical + dynamical.conj().T) / 2)
    quanta_eV = units._hbar * 1e10 / np.sqrt(units._e * units._amu)
    signed = np.sign(squares) * np.sqrt(np.abs(squares))
    return np.asarray(signed * quanta_eV / PER_CM)


def _images(repeat: tuple[int, int, int]) -> NDArray[np.float64]:
    """Return the cells of a supercell in ASE's order, of shape ``(cells, 3)``."""
    axes = [np.arange(copies, dtype=float) for copies in repeat]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def _force_constants(supercell: Atoms, atom: int, axis: int) -> NDArray[np.float64]:
    """Return the change of all forces with a displacement, in eV/Å², shape (n, 3)."""
    still = supercell.positions.copy()
    forces = []
    for sign in (1, -1):
        supercell.positions[atom, axis] = still[atom, axis] + sign * DISPLACEMENT_A
        forces.append(unconstrained.forces_eV_A(supercell).copy())
        supercell.positions[:] = still
    return (forces[0] - forces[1]) / (2 * DISPLACEMENT_A)
