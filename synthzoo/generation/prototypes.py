"""Crystals and molecules by name: sites without elements, or with one."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import ase.build
import numpy as np
from ase import Atoms
from ase.lattice.hexagonal import Graphite
from ase.spacegroup import crystal as from_spacegroup

from synthzoo.data.sound import min_distance_A
from synthzoo.errors import InputError
from synthzoo.recipes.schema import did_you_mean

VACUUM_A = 10.0
FULLERENE_LONG_BOND_A = 1.45
"""The bonds around the pentagons of ASE's C60; those between hexagons are shorter."""
LAYER_DISTANCE_OVER_BOND = 3.35 / 1.42
"""Distance of the layers of graphite over its bond length."""

BETA_TIN_C_OVER_A = 0.55
"""Close to that of tin and of silicon under pressure."""


def _diamond(element: str, bond_A: float) -> Atoms:
    return ase.build.bulk(element, "diamond", a=bond_A * 4 / math.sqrt(3), cubic=True)


def _diamond_111(element: str, bond_A: float) -> Atoms:
    """Return diamond with (111) planes across its third cell vector."""
    a = bond_A * math.sqrt(8 / 3)
    cell = ase.build.bulk(element, "hcp", a=a, c=4 * bond_A).cell
    lower = np.array([[0, 0, 0], [2 / 3, 1 / 3, 1 / 3], [1 / 3, 2 / 3, 2 / 3]])
    scaled = np.concatenate([lower, lower + np.array([0, 0, 1 / 4])])
    return Atoms([element] * 6, scaled_positions=scaled, cell=cell, pbc=True)


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


def _hcp(element: str, bond_A: float) -> Atoms:
    return ase.build.bulk(element, "hcp", a=bond_A, c=bond_A * math.sqrt(8 / 3))


def _beta_tin(element: str, bond_A: float) -> Atoms:
    a = bond_A / math.hypot(0.5, BETA_TIN_C_OVER_A / 4)
    scaled = [[0.0, 0.0, 0.0], [0.0, 0.5, 0.25], [0.5, 0.5, 0.5], [0.5, 0.0, 0.75]]
    cell = [a, a, BETA_TIN_C_OVER_A * a]
    return Atoms([element] * 4, scaled_positions=scaled, cell=cell, pbc=True)


def _tube(n: int, m: int) -> Callable[[str, float], Atoms]:
    def build(element: str, bond_A: float) -> Atoms:
        atoms: Atoms = ase.build.nanotube(n, m, length=1, bond=bond_A, symbol=element)
        atoms.center(vacuum=VACUUM_A / 2, axis=(0, 1))
        return atoms

    return build


def _chain(element: str, bond_A: float) -> Atoms:
    return Atoms([element], cell=[VACUUM_A, VACUUM_A, bond_A], pbc=True)


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
    "diamond-111": _diamond_111,
    "lonsdaleite": _lonsdaleite,
    "graphite-ab": _graphite_ab,
    "graphite-aa": _graphite_aa,
    "layer": _layer,
    "simple-cubic": _cubic("sc", 1.0),
    "bcc": _cubic("bcc", math.sqrt(3) / 2),
    "beta-tin": _beta_tin,
    "fcc": _cubic("fcc", math.sqrt(0.5)),
    "hcp": _hcp,
    "nanotube": _tube(4, 4),
    "nanotube-6-6": _tube(6, 6),
    "nanotube-7-0": _tube(7, 0),
    "nanotube-10-0": _tube(10, 0),
    "nanotube-6-3": _tube(6, 3),
    "chain": _chain,
    "fullerene": _fullerene,
    "prismane-3": _prismane(3),
    "prismane-4": _prismane(4),
    "prismane-5": _prismane(5),
}
"""Crystals and molecules by name: functions of symbol and bond length (Å)."""


@dataclass(frozen=True)
class Ordered:
    """A crystal with several sublattices.

    ``spacegroup``: its number.
    ``sites``: position of one site of each orbit in fractions of the cell, and its
    sublattice.
    ``c_over_a``: of tetragonal and hexagonal cells.
    ``gamma_deg``: angle of the cell between a and b.
    """

    spacegroup: int
    sites: tuple[tuple[int, tuple[float, float, float]], ...]
    c_over_a: float = 1.0
    gamma_deg: float = 90.0

    @property
    def sublattices(self) -> int:
        """How many elements it takes."""
        return 1 + max(sublattice for sublattice, _ in self.sites)


ORDERED = {
    "rocksalt": Ordered(225, ((0, (0, 0, 0)), (1, (0.5, 0.5, 0.5)))),
    "zincblende": Ordered(216, ((0, (0, 0, 0)), (1, (0.25, 0.25, 0.25)))),
    "wurtzite": Ordered(
        186,
        ((0, (1 / 3, 2 / 3, 0)), (1, (1 / 3, 2 / 3, 3 / 8))),
        c_over_a=math.sqrt(8 / 3),
        gamma_deg=120.0,
    ),
    "cesiumchloride": Ordered(221, ((0, (0, 0, 0)), (1, (0.5, 0.5, 0.5)))),
    "fluorite": Ordered(225, ((0, (0, 0, 0)), (1, (0.25, 0.25, 0.25)))),
    "rutile": Ordered(136, ((0, (0, 0, 0)), (1, (0.305, 0.305, 0))), c_over_a=0.644),
    "perovskite": Ordered(
        221, ((0, (0, 0, 0)), (1, (0.5, 0.5, 0.5)), (2, (0.5, 0.5, 0)))
    ),
    "L1_2": Ordered(221, ((0, (0, 0, 0)), (1, (0, 0.5, 0.5)))),
    "L1_0": Ordered(123, ((0, (0, 0, 0)), (0, (0.5, 0.5, 0)), (1, (0, 0.5, 0.5)))),
}
"""Crystals of compounds by name. Rutile: the free coordinates are those of TiO2."""

_PLACEHOLDERS = ("H", "He", "Li")
"""Any elements, different ones for different sublattices."""


def sites(name: str, bond_A: float) -> Atoms:
    """Return the cell of a prototype, with the number of its sublattice as tag.

    Its symbols mean nothing.

    ``name``: key of `PROTOTYPES` or `ORDERED`.
    ``bond_A``: shortest distance.
    """
    if name in PROTOTYPES:
        return PROTOTYPES[name]("C", bond_A)
    if name not in ORDERED:
        known = (*PROTOTYPES, *ORDERED)
        raise InputError(
            f"Unknown prototype {name!r}.{did_you_mean(name, known)} Known ones: "
            f"{', '.join(known)}."
        )
    atoms: Atoms = _unit_bonds(name).copy()
    atoms.set_cell(atoms.cell.array * bond_A, scale_atoms=True)
    return atoms


@functools.cache
def _unit_bonds(name: str) -> Atoms:
    """Return the cell of an ordered crystal whose shortest distance is 1 Å."""
    known = ORDERED[name]
    built = from_spacegroup(
        [_PLACEHOLDERS[sublattice] for sublattice, _ in known.sites],
        [position for _, position in known.sites],
        spacegroup=known.spacegroup,
        cellpar=[1, 1, known.c_over_a, 90, 90, known.gamma_deg],
    )
    tags = [_PLACEHOLDERS.index(symbol) for symbol in built.symbols]
    atoms = Atoms(built.symbols, built.positions, cell=built.cell, pbc=True, tags=tags)
    shortest = min_distance_A(atoms, cutoff_A=1.0)
    atoms.set_cell(atoms.cell.array / shortest, scale_atoms=True)
    return atoms
