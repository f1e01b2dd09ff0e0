"""Frames of one system in nearly one place: what their forces and stress promise."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase.stress import voigt_6_to_full_3x3_stress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.inspection.findings import CheckedSet

MOST_MOVE_A = 0.6
"""Farther apart, two frames are not compared."""
LEAST_MOVE_A = 1e-3
MOST_STRAIN = 0.08
SAME_STRAIN = 1e-5
NEXT_FRAMES = 20
"""Each frame is compared with so many that follow it."""
MOST_FRAMES = 500
"""Of one system; the others would add nothing."""
CANCELLATION = 0.1
"""Share of the work that has to be left when its parts are added up."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """One step from a frame to another of the same system.

    Attributes
    ----------
    frames
        The two structures.
    move_A
        How far the atom that moves most goes, apart from the change of the cell.
    energy_eV
        Difference of the energies.
    by_forces_eV
        Minus the mean forces times the displacements.
    by_stress_eV
        Mean stress times strain times volume; zero if the cell is the same, not a
        number if it is not and there is no stress.
    """

    frames: tuple[int, int]
    move_A: float
    energy_eV: float
    by_forces_eV: float
    by_stress_eV: float


def related_works(data: CheckedSet) -> list[Work]:
    """Return the steps between close frames whose parts do not cancel.

    Along a straight line the mean of the forces at both ends is exact for harmonic
    motion, so that atoms may move by tenths of an Å.

    Parameters
    ----------
    data
        Set with energies and forces.
    """
    systems: dict[bytes, list[int]] = defaultdict(list)
    for index in data.forces_eV_A:
        atoms = data.structures[index]
        if np.isfinite(data.energies_eV[index]) and len(atoms) > 1:
            systems[atoms.numbers.tobytes() + atoms.pbc.tobytes()].append(index)
    return [
        work
        for frames in systems.values()
        for work in _works(data, frames[:MOST_FRAMES])
    ]


def _works(data: CheckedSet, frames: list[int]) -> Iterator[Work]:
    cells = np.array([data.structures[i].cell.complete().array for i in frames])
    places = np.array([data.structures[i].positions for i in frames])
    scaled = places @ np.linalg.inv(cells)
    periodic = data.structures[frames[0]].pbc
    for first in range(len(frames) - 1):
        others = slice(first + 1, first + 1 + NEXT_FRAMES)
        steps = scaled[others] - scaled[first]
        steps -= np.round(steps) * periodic
        middle = (cells[others] + cells[first]) / 2
        strains = np.linalg.solve(middle, cells[others] - cells[first])
        moves = steps @ middle
        far = np.linalg.norm(moves, axis=2).max(axis=1)
        strained = np.abs(strains).max(axis=(1, 2))
        for k in np.flatnonzero((far < MOST_MOVE_A) & (strained < MOST_STRAIN)):
            pair = (frames[first], frames[first + 1 + k])
            strain = strains[k] if strained[k] > SAME_STRAIN else None
            work = _work(data, pair, moves[k], strain)
            if work is not None:
                yield work


def _work(
    data: CheckedSet,
    pair: tuple[int, int],
    moves_A: NDArray[np.float64],
    strain: NDArray[np.float64] | None,
) -> Work | None:
    first, second = pair
    farthest = float(np.linalg.norm(moves_A, axis=1).max())
    forces = (data.forces_eV_A[first] + data.forces_eV_A[second]) / 2
    parts = -(forces * moves_A).sum(axis=1)
    by_stress = _by_stress(data, pair, strain)
    if farthest < LEAST_MOVE_A and strain is None:
        return None
    total = abs(parts.sum()) + (abs(by_stress) if np.isfinite(by_stress) else 0.0)
    if total <= CANCELLATION * np.abs(parts).sum() or total == 0:
        return None
    return Work(
        frames=pair,
        move_A=farthest,
        energy_eV=float(data.energies_eV[second] - data.energies_eV[first]),
        by_forces_eV=float(parts.sum()),
        by_stress_eV=by_stress,
    )


def _by_stress(
    data: CheckedSet, pair: tuple[int, int], strain: NDArray[np.float64] | None
) -> float:
    if strain is None:
        return 0.0
    if not all(index in data.stresses_eV_A3 for index in pair):
        return float("nan")
    stress = sum(
        voigt_6_to_full_3x3_stress(data.stresses_eV_A3[index]) for index in pair
    )
    volume = sum(data.structures[index].get_volume() for index in pair)
    return float((stress * strain).sum() / 2 * volume / 2)
