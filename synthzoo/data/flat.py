"""Labelled structures as flat arrays, one structure after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    from synthzoo.data.labels import Labels


@dataclass(frozen=True, kw_only=True)
class FlatStructures:
    """``b`` structures with ``n`` atoms in all, and their labels.

    ``sizes``: numbers of atoms, of shape ``(b,)``.
    ``numbers``: atomic numbers, of shape ``(n,)``.
    ``positions_A``, ``forces_eV_A``: of shape ``(n, 3)``.
    ``cells_A``: vectors in rows, of shape ``(b, 3, 3)``.
    ``periodic``: of shape ``(b, 3)``.
    ``energies_eV``: of shape ``(b,)``.
    ``stresses_eV_A3``: in Voigt order and ASE's sign, of shape ``(b, 6)``; NaN where
    they are not known.
    ``atomic_energies_eV``: of shape ``(n,)``; NaN where they are not known.
    """

    sizes: NDArray[np.int64]
    numbers: NDArray[np.integer]
    positions_A: NDArray[np.float64]
    cells_A: NDArray[np.float64]
    periodic: NDArray[np.bool_]
    energies_eV: NDArray[np.float64]
    stresses_eV_A3: NDArray[np.float64]
    forces_eV_A: NDArray[np.float64]
    atomic_energies_eV: NDArray[np.float64]


def flatten(structures: Sequence[tuple[Atoms, Labels]]) -> FlatStructures:
    """Return some structures with their labels as arrays of their own."""
    return FlatStructures(
        sizes=np.array([len(atoms) for atoms, _ in structures]),
        numbers=np.concatenate([atoms.numbers for atoms, _ in structures]),
        positions_A=np.concatenate([atoms.positions for atoms, _ in structures]),
        cells_A=np.stack([atoms.cell.array for atoms, _ in structures]),
        periodic=np.stack([atoms.pbc for atoms, _ in structures]),
        energies_eV=np.array([labels.energy_eV for _, labels in structures]),
        stresses_eV_A3=stack_stresses([labels for _, labels in structures]),
        forces_eV_A=np.concatenate([labels.forces_eV_A for _, labels in structures]),
        atomic_energies_eV=np.concatenate(
            [
                np.full(len(atoms), np.nan)
                if labels.atomic_energies_eV is None
                else labels.atomic_energies_eV
                for atoms, labels in structures
            ]
        ),
    )


def stack_stresses(labels: Sequence[Labels]) -> NDArray[np.float64]:
    """Return stresses, of shape ``(b, 6)``; NaN where they are not known."""
    unknown = np.full(6, np.nan)
    found = [
        unknown if each.stress_eV_A3 is None else each.stress_eV_A3 for each in labels
    ]
    return np.array(found, dtype=np.float64).reshape(-1, 6)
