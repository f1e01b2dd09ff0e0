"""Sheets of atoms: stacks of honeycomb layers, and flat networks of rings."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from synthzoo.data.pairs import find_pairs
from synthzoo.generation.builders import rattle, strained_cell
from synthzoo.generation.grids import draw
from synthzoo.generation.packing import pack_plane
from synthzoo.generation.prototypes import VACUUM_A, sites
from synthzoo.generation.relaxed import relaxed

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator
    from numpy.typing import NDArray

    from synthzoo.generation.kinds.sheets import Layers, Networks
    from synthzoo.generation.species import Species

PER_CELL = 2
"""Atoms in the smallest cell of a honeycomb."""
ELONGATION = 2
"""At most so many times as many cells lie along one side as along the other."""
NEIGHBOURS_WITHIN = 1.2
"""In a honeycomb, only neighbours are closer than so many bond lengths."""
RIPPLES = ((1, 0), (0, 1), (1, 1))
"""Waves of a buckled sheet along each of its sides."""
PER_JOB = 50
"""Networks that are made one after the other."""


def stack(part: Layers, species: Species, rng: np.random.Generator) -> Atoms:
    """Return honeycomb layers over each other: slid, strained, buckled and rattled."""
    number = int(rng.integers(part.layers[0], part.layers[1], endpoint=True))
    sheet = _honeycomb(part.bond_A, *_sides(part.max_atoms // number, rng))
    gaps_A = _gaps_A(part, number, rng)
    slides = _slides(part, number, sheet, rng)
    atoms = _stacked(sheet, gaps_A, slides, draw(part.buckle_A, rng), rng)
    atoms.set_chemical_symbols(species.on_sites(len(atoms), rng))
    cell = strained_cell(atoms, part.stretch, part.max_strain, rng)
    atoms.set_cell(cell, scale_atoms=True)
    rattle(atoms, draw(part.rattle_A, rng), rng)
    _remove(atoms, part.vacancies, rng)
    return atoms


def mean_stack(part: Layers) -> float:
    """Return about how many atoms a stack has: its sides are drawn up to the limit."""
    return (PER_CELL + part.max_atoms) / 2


def network(
    part: Networks, species: Species, driver: Calculator, rng: np.random.Generator
) -> Atoms:
    """Return a flat network that has moved some steps along the forces of a driver.

    Forces in a plane have no part across it: it stays flat until it is rattled.
    """
    atoms = _disordered(part, species, rng)
    _remove(atoms, part.vacancies, rng)
    flat = relaxed(atoms, driver, part.relax_steps, rng)
    _ripple(flat, slice(None), draw(part.buckle_A, rng), rng)
    cell = strained_cell(flat, part.stretch, part.max_strain, rng)
    flat.set_cell(cell, scale_atoms=True)
    rattle(flat, draw(part.rattle_A, rng), rng)
    flat.wrap()
    return flat


def jobs(part: Networks, _: tuple[int, int]) -> list[Networks]:
    """Return a part in shares that are made independently of each other."""
    whole, rest = divmod(part.count, PER_JOB)
    counts = [PER_JOB] * whole + [rest] * bool(rest)
    return [dataclasses.replace(part, count=count) for count in counts]


def atom_steps(part: Networks) -> float:
    """Return calculations of forces times atoms of all networks, about."""
    return part.count * sum(part.relax_steps) / 2 * sum(part.atoms) / 2


def sample(part: Networks, steps: int) -> list[Networks]:
    """Return one network that is relaxed for so many steps."""
    return [dataclasses.replace(part, count=1, relax_steps=(steps, steps))]


def _honeycomb(bond_A: float, along: int, across: int) -> Atoms:
    sheet: Atoms = sites("layer", bond_A).repeat((along, across, 1))
    return sheet


def _sides(most_atoms: int, rng: np.random.Generator) -> tuple[int, int]:
    """Return the cells along two sides of a sheet of at most so many atoms."""
    cells = max(1, most_atoms // PER_CELL)
    short = int(rng.integers(1, math.isqrt(cells), endpoint=True))
    longest = min(cells // short, ELONGATION * short)
    return short, int(rng.integers(short, longest, endpoint=True))


def _gaps_A(part: Layers, number: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the distances above each layer, the last one to the next image."""
    uneven = rng.random() < part.uneven_share
    gaps_A = [draw(part.distance_A, rng) for _ in range(number if uneven else 1)]
    found = np.resize(gaps_A, number)
    if rng.random() < part.open_share:
        found[-1] = max(VACUUM_A, found[-1])
    return found


def _slides(
    part: Layers, number: int, sheet: Atoms, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return by how much each layer is slid along the plane, of shape ``(n, 3)``."""
    stacking = part.stackings[int(rng.integers(len(part.stackings)))]
    bond = sheet.positions[1] - sheet.positions[0]
    order = np.arange(number)
    if stacking == "any":
        fractions = np.pad(rng.random((number, 2)), ((0, 0), (0, 1)))
        return np.asarray(fractions @ sheet.cell.array)
    steps = {"aa": 0 * order, "ab": order % 2, "abc": order % 3}[stacking]
    return np.outer(steps, bond)


def _stacked(
    sheet: Atoms,
    gaps_A: NDArray[np.float64],
    slides: NDArray[np.float64],
    buckle_A: float,
    rng: np.random.Generator,
) -> Atoms:
    """Return layers over each other in a periodic cell.

    ``gaps_A``: above each layer, of shape ``(n,)``.
    ``slides``: of each layer, of shape ``(n, 3)``.
    """
    flat = sheet.copy()
    flat.positions[:, 2] = 0.0
    flat.cell[2] = [0.0, 0.0, float(gaps_A.sum())]
    flat.pbc = True
    stacked: Atoms = flat[:0]
    heights_A = np.cumsum(gaps_A) - gaps_A
    for height_A, slide in zip(heights_A, slides, strict=True):
        layer = flat.copy()
        layer.positions += slide
        layer.positions[:, 2] = height_A
        stacked += layer
    for number in range(len(gaps_A)):
        layer_atoms = slice(number * len(sheet), (number + 1) * len(sheet))
        _ripple(stacked, layer_atoms, buckle_A, rng)
    return stacked


def _ripple(
    atoms: Atoms, layer: slice, height_A: float, rng: np.random.Generator
) -> None:
    """Let a layer rise and fall once along its sides."""
    wave = RIPPLES[int(rng.integers(len(RIPPLES)))]
    along = atoms.get_scaled_positions(wrap=False)[layer, :2] @ np.array(wave)
    phase = rng.random()
    atoms.positions[layer, 2] += height_A * np.sin(2 * np.pi * (along + phase))


def _disordered(part: Networks, species: Species, rng: np.random.Generator) -> Atoms:
    count = int(rng.integers(part.atoms[0], part.atoms[1], endpoint=True))
    area_A2 = draw(part.area_A2, rng)
    if rng.random() < part.packed_share:
        symbols = species.on_sites(count, rng)
        return pack_plane(symbols, count * area_A2, part.min_distance_A, rng)
    along = max(1, math.isqrt(count // PER_CELL))
    across = max(1, count // PER_CELL // along)
    atoms = _honeycomb(1.0, along, across)
    atoms.set_chemical_symbols(species.on_sites(len(atoms), rng))
    _rotate_bonds(atoms, draw(part.rotated_share, rng), rng)
    found_A2 = np.linalg.norm(np.cross(*atoms.cell.array[:2])) / len(atoms)
    cell = atoms.cell.array * math.sqrt(area_A2 / found_A2)
    atoms.set_cell(cell, scale_atoms=True)
    atoms.cell[2] = [0.0, 0.0, VACUUM_A]
    atoms.positions[:, 2] = VACUUM_A / 2
    atoms.pbc = True
    return atoms


def _rotate_bonds(atoms: Atoms, share: float, rng: np.random.Generator) -> None:
    """Turn bonds of a honeycomb of unit bonds by 90° in its plane, no atom twice."""
    pairs = find_pairs(atoms, NEIGHBOURS_WITHIN)
    wanted, turned = round(share * len(pairs) / 2), set[int]()
    for number in rng.permutation(len(pairs)):
        first, second = int(pairs.first[number]), int(pairs.second[number])
        if len(turned) >= 2 * wanted:
            break
        if turned.isdisjoint((first, second)):
            turned |= {first, second}
            half = pairs.vectors_A[number] / 2
            across = np.array([-half[1], half[0], 0.0])
            atoms.positions[first] += half - across
            atoms.positions[second] += across - half


def _remove(atoms: Atoms, vacancies: tuple[int, int], rng: np.random.Generator) -> None:
    """Take out a number of atoms that is drawn, but never all."""
    number = int(rng.integers(vacancies[0], vacancies[1], endpoint=True))
    gone = rng.permutation(len(atoms))[: min(number, len(atoms) - 1)]
    del atoms[gone.tolist()]
