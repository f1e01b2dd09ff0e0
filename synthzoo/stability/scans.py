"""Curves on which nothing is random: two atoms apart, and a structure squeezed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from ase.data import chemical_symbols, covalent_radii

from synthzoo.data import unconstrained
from synthzoo.data.structures import dimer
from synthzoo.potentials import Model, forget, load_potential
from synthzoo.stability.detectors import shortest_contact
from synthzoo.stability.protocol import Dimers, Squeeze
from synthzoo.stability.verdict import Failure, Scan

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator
    from numpy.typing import NDArray

    from synthzoo.models.place import Place
    from synthzoo.stability.protocol import Limits, MdRecipe
    from synthzoo.stability.verdict import FailureKind

DIMER_GAP_A = 12.0
"""Between the periodic images of a dimer, beyond its longest distance."""


def scan_model(
    model: Model, atoms: Atoms, recipe: MdRecipe, place: Place
) -> tuple[Scan, ...]:
    """Return the curves of a protocol, judged."""
    if len(recipe.moving) == len(recipe.stages):
        return ()
    calculator = load_potential(model, place=place).calculator
    scans: list[Scan] = []
    for stage in recipe.stages:
        if isinstance(stage, Dimers):
            scans += scan_dimers(calculator, atoms, stage, recipe.limits)
        elif isinstance(stage, Squeeze):
            scans.append(scan_squeeze(calculator, atoms, stage, recipe.limits))
    return tuple(scans)


def scan_dimers(
    calculator: Calculator, atoms: Atoms, stage: Dimers, limits: Limits
) -> list[Scan]:
    """Return the energy of each pair of elements over their distance."""
    pairs = itertools.combinations_with_replacement(sorted(set(atoms.numbers)), 2)
    return [
        _dimer(calculator, int(first), int(second), stage, limits)
        for first, second in pairs
    ]


def scan_squeeze(
    calculator: Calculator, atoms: Atoms, stage: Squeeze, limits: Limits
) -> Scan:
    """Return the energy of a structure that is compressed alike in all directions."""
    contact = shortest_contact(atoms, limits)
    shortest = 1.0 if contact is None else contact.ratio
    scales = np.geomspace(1.0, min(0.95, stage.nearest / shortest), stage.points)
    structures = (_scaled(atoms, scale) for scale in scales.tolist())
    energies = _energies(calculator, structures) / len(atoms)
    wrong = _judge_wall(
        energies, limits.hole_eV_per_atom, limits.wall_eV_per_atom, "eV/atom"
    )
    failure = None
    if wrong is not None:
        where, what = wrong
        detail = f"at {scales[where]:.2f} times its length, the structure's {what}"
        failure = _failure("wall", stage.name, detail)
    return Scan(
        kind="squeeze",
        name=str(atoms.symbols),
        x=tuple(scales.tolist()),
        energies_eV=tuple(energies.tolist()),
        failure=failure,
    )


def _dimer(
    calculator: Calculator, first: int, second: int, stage: Dimers, limits: Limits
) -> Scan:
    radii_A = float(covalent_radii[first] + covalent_radii[second])
    ends = (stage.farthest * radii_A, stage.nearest * radii_A)
    distances = np.geomspace(*ends, stage.points)
    symbols = [chemical_symbols[first], chemical_symbols[second]]
    pairs = (
        dimer(symbols, distance, side_A=ends[0] + DIMER_GAP_A)
        for distance in distances.tolist()
    )
    energies = _energies(calculator, pairs)
    name = "–".join(symbols)
    wrong = _judge_wall(energies, limits.hole_eV, limits.wall_eV, "eV")
    failure = None
    if wrong is not None:
        where, what = wrong
        detail = f"{name} at {distances[where]:.2f} Å: the {what}"
        failure = _failure("dimer", stage.name, detail)
    return Scan(
        kind="dimer",
        name=name,
        x=tuple(distances.tolist()),
        energies_eV=tuple(energies.tolist()),
        failure=failure,
    )


def _judge_wall(
    energies: NDArray[np.float64], hole: float, wall: float, unit: str
) -> tuple[int, str] | None:
    """Return where a curve is wrong that should fall to a minimum, then rise.

    The energies are given from far to near. From the minimum on, or from where they
    first have risen by as much as a wall is high, they must not fall by more than a
    hole is deep; and at the nearest point they must have risen.
    """
    bad = np.flatnonzero(~np.isfinite(energies))
    if len(bad):
        return int(bad[0]), "energy is not a finite number"
    lowest = int(energies.argmin())
    climbed = np.flatnonzero(energies - np.minimum.accumulate(energies) >= wall)
    start = min(lowest, *climbed[:1].tolist(), len(energies) - 1)
    falls = np.maximum.accumulate(energies[start:]) - energies[start:]
    if falls.max() > hole:
        where = start + int(falls.argmax())
        return where, f"energy falls by {falls.max():.2g} {unit} where it should rise"
    height = energies[-1] - energies[lowest]
    if height < wall:
        return len(energies) - 1, (
            f"energy is only {height:.2g} {unit} above its minimum: there is no wall"
        )
    return None


def _energies(
    calculator: Calculator, structures: Iterator[Atoms]
) -> NDArray[np.float64]:
    return np.array([_energy(calculator, atoms) for atoms in structures])


def _energy(calculator: Calculator, atoms: Atoms) -> float:
    forget(calculator)
    atoms.calc = calculator
    try:
        return unconstrained.energy_eV(atoms)
    except Exception:  # noqa: BLE001  calculators raise what they like
        return math.nan


def _scaled(atoms: Atoms, scale: float) -> Atoms:
    scaled: Atoms = atoms.copy()
    scaled.set_constraint()
    scaled.set_cell(atoms.cell.array * scale, scale_atoms=False)
    scaled.set_positions(atoms.positions * scale)
    return scaled


def _failure(kind: FailureKind, stage: str, detail: str) -> Failure:
    return Failure(kind=kind, stage=stage, time_fs=0.0, step=0, detail=detail)
