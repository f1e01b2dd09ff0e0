"""Structures made without a potential: packings, crystals, slabs, dimers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import ase.build
import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers
from ase.geometry import find_mic
from ase.lattice.hexagonal import Graphite
from ase.units import _amu as amu_kg

from synthzoo.data.sound import min_distance_A
from synthzoo.data.structures import dimer
from synthzoo.errors import InputError

if TYPE_CHECKING:
    from synthzoo.generation.recipe import (
        Compressed,
        Crystals,
        Dimers,
        MeltQuench,
        Packing,
        Surfaces,
    )
    from synthzoo.recipes.schema import Range

MAX_TRIALS_PER_ATOM = 2000
VACUUM_A = 10.0
FULLERENE_LONG_BOND_A = 1.45
"""The bonds around the pentagons of ASE's C60; those between hexagons are shorter."""
LAYER_DISTANCE_OVER_BOND = 3.35 / 1.42
"""Distance of the layers of graphite over its bond length."""

BETA_TIN_C_OVER_A = 0.55
"""Close to that of tin and of silicon under pressure."""


def draw(interval: Range, rng: np.random.Generator) -> float:
    """Return a number drawn uniformly from an interval."""
    return float(rng.uniform(*interval))


def pack(part: Packing | MeltQuench, element: str, rng: np.random.Generator) -> Atoms:
    """Return a random packing in a cubic cell of a size and density that are drawn."""
    count = int(rng.integers(part.atoms[0], part.atoms[1] + 1))
    density = draw(part.density_g_cm3, rng)
    mass_g = atomic_masses[atomic_numbers[element]] * amu_kg * 1000
    length_A = (count * mass_g / density * 1e24) ** (1 / 3)
    cell = np.eye(3) * length_A
    positions = np.empty((0, 3))
    for _ in range(count * MAX_TRIALS_PER_ATOM):
        trial = rng.uniform(0, length_A, size=3)
        _, distances = find_mic(positions - trial, cell, pbc=True)
        if not len(positions) or distances.min() >= part.min_distance_A:
            positions = np.vstack([positions, trial])
        if len(positions) == count:
            return Atoms(f"{element}{count}", positions=positions, cell=cell, pbc=True)
    raise InputError(
        f"{count} atoms of {element} at {density:.2f} g/cm³ cannot be placed "
        f"{part.min_distance_A} Å apart; lower the density or min_distance_A."
    )


def crystal(
    part: Crystals, prototype: str, element: str, rng: np.random.Generator
) -> Atoms:
    """Return a strained and rattled crystal, now and then with a vacancy.

    ``prototype``: key of `PROTOTYPES` that is in ``part.prototypes``.
    """
    atoms = _repeated(prototype, element, part.prototypes, part.max_atoms)
    strain = rng.uniform(-part.max_strain, part.max_strain, size=(3, 3))
    deformation = np.eye(3) * draw(part.stretch, rng) + (strain + strain.T) / 2
    cell = atoms.cell.array @ deformation
    if part.squeeze_c != (1.0, 1.0):  # older recipes draw the same numbers as before
        cell[2] *= draw(part.squeeze_c, rng)
    atoms.set_cell(cell, scale_atoms=True)
    _rattle(atoms, draw(part.rattle_A, rng), rng)
    if len(atoms) > 1 and rng.random() < part.vacancy_share:
        del atoms[int(rng.integers(len(atoms)))]
    return atoms


def slab(
    part: Surfaces, prototype: str, element: str, rng: np.random.Generator
) -> Atoms:
    """Return a rattled crystal that is cut open along one of its lattice vectors.

    ``prototype``: key of `PROTOTYPES` that is in ``part.prototypes``.
    """
    atoms = _repeated(prototype, element, part.prototypes, part.max_atoms)
    axis = int(rng.integers(3))
    atoms.positions += rng.random() * atoms.cell.array[axis]
    atoms = cut_open(atoms, axis, draw(part.vacuum_A, rng))
    _rattle(atoms, draw(part.rattle_A, rng), rng)
    return atoms


def compressed(
    part: Compressed, prototype: str, element: str, rng: np.random.Generator
) -> Atoms:
    """Return a rattled crystal that is scaled until two atoms are too close.

    ``prototype``: key of `PROTOTYPES` that is in ``part.prototypes``.
    """
    atoms = _repeated(prototype, element, part.prototypes, part.max_atoms)
    _rattle(atoms, draw(part.rattle_A, rng), rng)
    bond_A = part.prototypes[prototype]
    wanted_A = bond_A * draw(part.shortest, rng)
    found_A = min_distance_A(atoms, cutoff_A=2 * bond_A)
    atoms.set_cell(atoms.cell.array * wanted_A / found_A, scale_atoms=True)
    return atoms


def cut_open(atoms: Atoms, axis: int, vacuum_A: float) -> Atoms:
    """Return a periodic structure with a gap of vacuum across one cell vector.

    ``vacuum_A``: by how much, in Å.
    """
    opened: Atoms = atoms.copy()
    opened.wrap()
    cell = opened.cell.array.copy()
    cell[axis] *= 1 + vacuum_A / np.linalg.norm(cell[axis])
    opened.set_cell(cell)
    return opened


def dimers(part: Dimers, element: str) -> list[Atoms]:
    """Return pairs of atoms at evenly spaced distances, and one isolated atom."""
    side_A = 2 * VACUUM_A + part.distance_A[1]
    pairs = [
        dimer([element] * 2, distance, side_A=side_A)
        for distance in np.linspace(*part.distance_A, part.count)
    ]
    return [*pairs, Atoms(element, cell=[side_A] * 3, pbc=True)]


def crystal_size(prototype: str, max_atoms: int) -> int:
    """Return the number of atoms of a crystal before any is taken out.

    ``max_atoms``: the cell is repeated up to this size.
    """
    return len(_repeated(prototype, "C", {prototype: 1.5}, max_atoms))


def _repeated(
    prototype: str, element: str, bonds_A: dict[str, float], max_atoms: int
) -> Atoms:
    if prototype not in PROTOTYPES:
        raise InputError(
            f"Unknown prototype {prototype!r}. Known ones: {', '.join(PROTOTYPES)}."
        )
    atoms = PROTOTYPES[prototype](element, bonds_A[prototype])
    while True:
        axis = int(np.argmin(np.where(atoms.pbc, atoms.cell.lengths(), np.inf)))
        copies = [2 if index == axis else 1 for index in range(3)]
        if not atoms.pbc.any() or 2 * len(atoms) > max_atoms:
            break
        atoms = atoms.repeat(copies)
    atoms.pbc = True
    return atoms


def _rattle(atoms: Atoms, width_A: float, rng: np.random.Generator) -> None:
    atoms.positions += rng.normal(scale=width_A, size=atoms.positions.shape)


def _diamond(element: str, bond_A: float) -> Atoms:
    return ase.build.bulk(element, "diamond", a=bond_A * 4 / math.sqrt(3), cubic=True)


def _lonsdaleite(element: str, bond_A: float) -> Atoms:
    a = bond_A * math.sqrt(8 / 3)
    return ase.build.bulk(f"{element}2", "wurtzite", a=a, c=a * math.sqrt(8 / 3))


def _graphite_ab(element: str, bond_A: float) -> Atoms:
    height = 2 * LAYER_DISTANCE_OVER_BOND * bond_A
    graphite: Atoms = Graphite(
        element,
        latticeconstant={"a": bond_A * math.sqrt(3), "c": height},
        pbc=True,
    )
    return graphite


def _layer(element: str, bond_A: float) -> Atoms:
    sheet: Atoms = ase.build.graphene(
        f"{element}2", a=bond_A * math.sqrt(3), vacuum=VACUUM_A / 2
    )
    return sheet


def _graphite_aa(element: str, bond_A: float) -> Atoms:
    atoms = _layer(element, bond_A)
    cell = atoms.cell.array.copy()
    cell[2, 2] = LAYER_DISTANCE_OVER_BOND * bond_A
    atoms.set_cell(cell)
    atoms.positions[:, 2] = 0.0
    atoms.pbc = True
    return atoms


def _cubic(structure: str, neighbour_over_a: float) -> Callable[[str, float], Atoms]:
    def build(element: str, bond_A: float) -> Atoms:
        return ase.build.bulk(
            element, structure, a=bond_A / neighbour_over_a, cubic=True
        )

    return build


def _beta_tin(element: str, bond_A: float) -> Atoms:
    a = bond_A / math.hypot(0.5, BETA_TIN_C_OVER_A / 4)
    scaled = [[0.0, 0.0, 0.0], [0.0, 0.5, 0.25], [0.5, 0.5, 0.5], [0.5, 0.0, 0.75]]
    cell = [a, a, BETA_TIN_C_OVER_A * a]
    return Atoms([element] * 4, scaled_positions=scaled, cell=cell, pbc=True)


def _tube(element: str, bond_A: float) -> Atoms:
    atoms: Atoms = ase.build.nanotube(4, 4, length=1, bond=bond_A, symbol=element)
    atoms.center(vacuum=VACUUM_A / 2, axis=(0, 1))
    return atoms


def _fullerene(element: str, bond_A: float) -> Atoms:
    atoms: Atoms = ase.build.molecule("C60")
    atoms.set_chemical_symbols([element] * len(atoms))
    atoms.positions *= bond_A / FULLERENE_LONG_BOND_A
    atoms.center(vacuum=VACUUM_A / 2)
    return atoms


def _prismane(sides: int) -> Callable[[str, float], Atoms]:
    """Return a builder of two rings over each other; with four sides it is a cube."""

    def build(element: str, bond_A: float) -> Atoms:
        angles = 2 * math.pi * np.arange(sides) / sides
        radius_A = bond_A / (2 * math.sin(math.pi / sides))
        ring = radius_A * np.stack([np.cos(angles), np.sin(angles)], 1)
        positions = [(x, y, z) for z in (0.0, bond_A) for x, y in ring]
        atoms = Atoms([element] * len(positions), positions=positions)
        atoms.center(vacuum=VACUUM_A / 2)
        return atoms

    return build


PROTOTYPES: dict[str, Callable[[str, float], Atoms]] = {
    "diamond": _diamond,
    "lonsdaleite": _lonsdaleite,
    "graphite-ab": _graphite_ab,
    "graphite-aa": _graphite_aa,
    "layer": _layer,
    "simple-cubic": _cubic("sc", 1.0),
    "bcc": _cubic("bcc", math.sqrt(3) / 2),
    "beta-tin": _beta_tin,
    "fcc": _cubic("fcc", math.sqrt(0.5)),
    "nanotube": _tube,
    "fullerene": _fullerene,
    "prismane-3": _prismane(3),
    "prismane-4": _prismane(4),
    "prismane-5": _prismane(5),
}
"""Crystals and molecules by name: functions of symbol and bond length (Å)."""
