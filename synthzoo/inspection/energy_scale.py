"""Whether energies vary as much as the forces demand, in structures far apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from synthzoo.inspection.energy_models import beyond_composition
from synthzoo.inspection.findings import CheckedSet, Finding
from synthzoo.inspection.related import related_works
from synthzoo.inspection.unit_ratios import (
    CLEAR_CORRELATION,
    MIN_RATIOS,
    bond_stiffness_eV,
    energy_over_forces,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

BOND_A = 2.4
"""Length of a typical bond; what is compared is known to a factor only."""
MIN_STRUCTURES = 12
PER_ELEMENT = 4
"""Structures for each element, at least: the composition explains the others."""
MIN_SPREAD_EV_PER_ATOM = 0.01
LEAST_RATIO = 0.1
"""In parts of published sets it is above 0.17, with their energies in Hartree mostly
below 0.04."""


def energies_against_bonds(data: CheckedSet) -> list[Finding]:
    """Find energies that vary far less than forces and the stiffness of bonds demand.

    For harmonic bonds of stiffness ``k``, forces ``F`` cost about ``F²/2k`` for each
    atom. Energies may vary by more, as crystals of all volumes have no forces.
    """
    ratio = _energy_over_bonds(data)
    if ratio is None or ratio > LEAST_RATIO:
        return []
    if energy_over_forces(related_works(data)) is not None:
        return []
    message = (
        f"The energies vary by {ratio:.2g} times what forces and the stiffness of "
        "bonds demand, and half of it or more is usual: are the energies in Hartree, "
        "Rydberg or per atom, or the forces in kcal/mol/Å?"
    )
    return [
        Finding(kind="energies_against_forces", severity="warning", message=message)
    ]


def _energy_over_bonds(data: CheckedSet) -> float | None:
    """Return the spread of energies over that of the energies of harmonic bonds."""
    frames = [
        i for i in data.forces_eV_A if data.comparable[i] and data.forces_eV_A[i].any()
    ]
    slopes = bond_stiffness_eV(data)
    few = len(frames) < max(MIN_STRUCTURES, PER_ELEMENT * len(data.elements))
    if few or len(slopes.values) < MIN_RATIOS:
        return None
    if slopes.correlation < CLEAR_CORRELATION:
        return None
    stiffness_eV_A2 = float(np.median(np.abs(slopes.values))) / BOND_A**2
    squares = [(data.forces_eV_A[i] ** 2).sum(axis=1).mean() for i in frames]
    spread, expected = (
        _middle_half(beyond_composition(energies, data.shares[frames]))
        for energies in (
            data.energies_eV[frames] / data.sizes[frames],
            np.array(squares) / (2 * stiffness_eV_A2),
        )
    )
    if expected < MIN_SPREAD_EV_PER_ATOM or spread == 0:
        return None
    return spread / expected


def _middle_half(values: NDArray[np.float64]) -> float:
    low, high = np.percentile(values, [25, 75])
    return float(high - low)
