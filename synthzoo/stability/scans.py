"""Curves on which nothing is random: two atoms apart, and a structure squeezed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from ase.data import chemical_symbols, covalent_radii
from ase.units import kB

from synthzoo.data import unconstrained
from synthzoo.data.structures import dimer
from synthzoo.potentials import Model, forget, load_potential
from synthzoo.stability.contacts import shortest_contact
from synthzoo.stability.protocol import Dimers, Squeeze
from synthzoo.stability.verdict import Failure, Scan

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator
    from numpy.typing import NDArray

    from synthzoo.models.place import Place
    from synthzoo.stability.protocol import MdRecipe
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
            scans += scan_dimers(calculator, atoms, stage, recipe)
        elif isinstance(stage, Squeeze):
            scans.append(scan_squeeze(calculator, atoms, stage, recipe))
    return tuple(scans)


def scan_dimers(
    calculator: Calculator, atoms: Atoms, stage: Dimers, recipe: MdRecipe
) -> list[Scan]:
    """Return the energy of each pair of elements over their distance.

    Two atoms alone may be far from everything that a model was fitted to. So the curve
    is judged only as far in as atoms of the protocol's temperature come.
    """
    pairs = itertools.combinations_with_replacement(sorted(set(atoms.numbers)), 2)
    return [
        _dimer(calculator, int(first), int(second), stage, recipe)
        for first, second in pairs
    ]


def scan_squeeze(
    calculator: Calculator, atoms: Atoms, stage: Squeeze, recipe: MdRecipe
) -> Scan:
    """Return the energy of a structure that is compressed alike in all directions.

    Like that of a dimer, the curve is judged only as far in as atoms come.
    """
    limits = recipe.limits
    contact = shortest_contact(atoms, limits)
    shortest = 1.0 if contact is None else contact.ratio
    scales = np.geomspace(1.0, min(0.95, stage.nearest / shortest), stage.points)
    structures = (_scaled(atoms, scale) for scale in scales.tolist())
    energies = _energies(calculator, structures) / len(atoms)
    wrong = _judge_wall(
        energies,
        hole=limits.hole_eV_per_atom,
        wall=limits.wall_eV_per_atom,
        unit="eV/atom",
        reach=_reach_eV(recipe),
    )
    failure = None
    if wrong is not None:
        where, what = wrong
        detail = f"at {scales[where]:.2f} times its length, the structure's {what}"
        detail += _judged(recipe, "eV/atom")
        failure = _failure("wall", stage.name, detail)
    return Scan(
        kind="squeeze",
        name=atoms.get_chemical_formula(),
        x=tuple(scales.tolist()),
        energies_eV=tuple(energies.tolist()),
        failure=failure,
    )


def _dimer(
    calculator: Calculator, first: int, second: int, stage: Dimers, recipe: MdRecipe
) -> Scan:
    radii_A = float(covalent_radii[first] + covalent_radii[second])
    side_A = stage.farthest * radii_A + DIMER_GAP_A
    symbols = [chemical_symbols[first], chemical_symbols[second]]

    def energies_at(distances: NDArray[np.float64]) -> NDArray[np.float64]:
        pairs = (dimer(symbols, r, side_A=side_A) for r in distances.tolist())
        return _energies(calculator, pairs)

    limits = recipe.limits
    outer = np.geomspace(stage.farthest, stage.nearest, stage.points)
    distances = radii_A * outer
    energies = energies_at(distances)
    if energies[-1] - energies.min() < limits.wall_eV:
        more = radii_A * _farther_in(outer, stage.innermost)
        distances = np.concatenate([distances, more])
        energies = np.concatenate([energies, energies_at(more)])
    name = "–".join(symbols)
    wrong = _judge_wall(
        energies,
        hole=limits.hole_eV,
        wall=limits.wall_eV,
        unit="eV",
        reach=_reach_eV(recipe),
    )
    failure = None
    if wrong is not None:
        where, what = wrong
        detail = f"{name} alone, at {distances[where]:.2f} Å: the {what}"
        detail += _judged(recipe, "eV")
        failure = _failure("dimer", stage.name, detail)
    return Scan(
        kind="dimer",
        name=name,
        x=tuple(distances.tolist()),
        energies_eV=tuple(energies.tolist()),
        failure=failure,
    )


def _reach_eV(recipe: MdRecipe) -> float:
    """Return how high above its minimum a curve is judged."""
    if recipe.hottest_K is None:
        return math.inf
    limits = recipe.limits
    return max(limits.wall_eV, limits.thermal_reach * recipe.hottest_K * kB)


def _judged(recipe: MdRecipe, unit: str) -> str:
    """Return in brackets how high a curve was judged; nothing if all of it was."""
    if recipe.hottest_K is None:
        return ""
    return (
        f" (judged up to {_reach_eV(recipe):.2g} {unit} above the minimum, as far as "
        f"atoms come at {recipe.hottest_K:g} K)"
    )


def _farther_in(ratios: NDArray[np.float64], end: float) -> NDArray[np.float64]:
    """Return how a falling geometric series goes on, down to about an end."""
    if end >= ratios[-1]:
        return np.zeros(0)
    steps = math.ceil(math.log(end / ratios[-1]) / math.log(ratios[1] / ratios[0]))
    return np.geomspace(ratios[-1], end, steps + 1)[1:]


def _judge_wall(
    energies: NDArray[np.float64],
    *,
    hole: float,
    wall: float,
    unit: str,
    reach: float = math.inf,
) -> tuple[int, str] | None:
    """Return where a curve is wrong that should fall to a minimum, then rise.

    The energies are given from far to near. From the minimum on, or from where they
    first have risen by as much as a wall is high, they must not fall by more than a
    hole is deep, unless they have risen beyond reach; and at the nearest point they
    must have risen.
    """
    bad = np.flatnonzero(~np.isfinite(energies))
    if len(bad):
        return int(bad[0]), "energy is not a finite number"
    climb = energies - np.minimum.accumulate(energies)
    beyond = np.flatnonzero(climb >= max(wall, reach))
    energies = energies[: beyond[0] + 1] if len(beyond) else energies
    lowest = int(energies.argmin())
    climbed = np.flatnonzero(climb[: len(energies)] >= wall)
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
