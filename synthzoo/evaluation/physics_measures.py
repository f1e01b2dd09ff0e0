"""What a potential says about carbon and silicon: layers, elasticity, phonons, defects.

Names of quantities hold their units. Each potential is measured at its own lattice
constants. What a potential does not hold together is not a number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms, units
from ase.build import bulk, diamond100, diamond111, graphene, molecule, nanotube
from ase.calculators.calculator import PropertyNotImplementedError
from ase.filters import FrechetCellFilter
from ase.lattice.hexagonal import Graphite
from ase.optimize import BFGS

from synthzoo.data import unconstrained
from synthzoo.errors import InputError
from synthzoo.evaluation.crystal_properties import (
    KnownCrystal,
    energy_eV,
    lattice_constants_A,
)
from synthzoo.evaluation.crystals import elastic_constants_GPa, relax_crystals
from synthzoo.evaluation.phonons import frequencies_per_cm

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

Values = Iterator[tuple[str, float]]
"""Names of quantities, and what a potential says."""

LAYER_DISTANCES_A = (2.4, 2.6, 2.8, 3.0, 3.2, 3.4, 3.6, 3.8, 4.0)
SEPARATED_A = 8.0
ABOVE_SEPARATE = "energy above separate layers (meV/atom)"
RELAXED_FROM_A = 2.8
PRESSED_TO_A = 3.1
DIMER_DISTANCES_A = {
    "C": (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2),
    "Si": (1.2, 1.4, 1.6, 1.8, 2.0, 2.2, 2.4),
}
DISSOCIATED_A = 10.0
CELL_A = 25.0
VACUUM_A = 8.0
MAX_FORCE_EV_A = 0.005
MAX_STEPS = 300
DEFECT_FORCE_EV_A = 0.02
DEFECT_STEPS = 200

SLIDES = {"AB": (0.0, 0.0), "AA": (2 / 3, 1 / 3), "sheared": (0.17, 0.0)}
"""By how much the upper layer of graphite is slid from AB, in lattice constants."""
CURVE_DISTANCES_A = (*np.arange(24, 41) / 10, 4.3, 4.6, 5.0, 5.5, 6.0, 7.0, SEPARATED_A)
COMPARED_A = (2.55, 4.05)
"""Layer distances between which curves are compared."""
NO_MINIMUM_BELOW_A = 3.2
DIMER_CURVE_A = {
    "C": tuple(np.arange(50, 505, 10) / 100),
    "Si": tuple(np.arange(12, 61) / 10),
}
DIMER_DRAWN_TO_EV = 15.0
TUBE = (5, 5)

SLABS: dict[str, Callable[..., Atoms]] = {"(111)": diamond111, "(100)": diamond100}

CUBIC_START_A = {
    "C": {"sc": 1.77, "bcc": 2.36, "fcc": 3.08},
    "Si": {"sc": 2.53, "bcc": 3.09, "fcc": 3.88},
}
"""Lattice constants near which those of other lattices are looked for."""
HCP_START_A = (2.74, 4.48)
BETA_TIN_START_A = (4.81, 2.65)


@dataclass(frozen=True, kw_only=True)
class Curve:
    """What a potential says along one coordinate.

    Attributes
    ----------
    title
        What is moved.
    x_label, y_label
        What the axes are, with their units.
    x, y
        Points, each of shape ``(n,)``.
    drawn_to
        Ends of the axis in figures, up and down, where walls are far higher; where the
        points end if not given.
    """

    title: str
    x_label: str
    y_label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    drawn_to: float | None = None


def carbon(calculator: Calculator) -> Values:
    """Yield what a potential says about carbon."""
    relaxed = relax_crystals(calculator, np.random.default_rng(0))
    sheet, flat = relaxed["graphene"]
    diamond, _ = relaxed["diamond"]
    alone = sheet.energy_eV_per_atom, diamond.energy_eV_per_atom
    yield "graphene: lattice constant (Å)", sheet.a_A
    yield from _modes_of_graphene(flat, calculator)
    yield from layer_energies(sheet.a_A, calculator).items()
    yield from _pressed_graphite(sheet.a_A, calculator)
    yield "diamond: lattice constant (Å)", diamond.a_A
    yield from _elasticity("C", diamond.a_A, calculator)
    yield from _modes_of_diamond("C", diamond.a_A, calculator)
    yield "diamond: energy above graphene (meV/atom)", 1000 * (alone[1] - alone[0])
    yield from _sheets_and_cages(sheet.a_A, alone[0], calculator)
    yield from _defects_of_graphene(sheet.a_A, alone[0], calculator)
    yield from _vacancy("C", diamond.a_A, alone[1], calculator)
    yield from _surfaces("C", diamond.a_A, alone[1], calculator)
    yield from _other_lattices("C", alone[1], calculator)
    yield from _dimer("C", calculator)


def silicon(calculator: Calculator) -> Values:
    """Yield what a potential says about silicon."""
    crystal = _cubic("Si", "diamond", 5.43)
    (a_A,) = _lengths_A(crystal, calculator)
    alone = energy_eV(crystal.build(a_A), calculator) / 2
    yield "diamond: lattice constant (Å)", a_A
    yield from _elasticity("Si", a_A, calculator)
    yield from _modes_of_diamond("Si", a_A, calculator)
    yield from _vacancy("Si", a_A, alone, calculator)
    yield from _interstitials("Si", a_A, alone, calculator)
    yield from _surfaces("Si", a_A, alone, calculator)
    yield from _other_lattices("Si", alone, calculator)
    for name, known in {"hcp": _HCP, "beta-tin": _BETA_TIN}.items():
        lengths = _lengths_A(known, calculator)
        atoms = known.build(*lengths)
        above = energy_eV(atoms, calculator) / len(atoms) - alone
        yield f"{name}: energy above diamond (meV/atom)", 1000 * above


def carbon_curves(calculator: Calculator) -> dict[str, Curve]:
    """Return energies over the distance of layers and of two atoms, by their title."""
    sheet, _ = relax_crystals(calculator, np.random.default_rng(0))["graphene"]
    curves = [
        Curve(
            title=f"graphite {stacking}",
            x_label="layer distance (Å)",
            y_label="energy above\nseparate layers (meV/atom)",
            x=CURVE_DISTANCES_A,
            y=tuple(
                _above_separate_meV(
                    _graphite(sheet.a_A, distance, calculator, stacking), sheet.a_A
                )
                for distance in CURVE_DISTANCES_A
            ),
        )
        for stacking in SLIDES
    ]
    curves.append(_dimer_curve("C", calculator))
    return {curve.title: curve for curve in curves}


def silicon_curves(calculator: Calculator) -> dict[str, Curve]:
    """Return energies over the volume of three crystals, by their title."""
    crystals = {
        "diamond": _cubic("Si", "diamond", 5.43),
        "beta-tin": _BETA_TIN,
        "hcp": _HCP,
    }
    stretches = np.linspace(0.9, 1.1, 21)
    curves = {}
    for title, known in crystals.items():
        cells = [
            known.build(*(np.array(known.start_A) * stretch)) for stretch in stretches
        ]
        curves[title] = Curve(
            title=f"{title} Si",
            x_label="volume (Å³/atom)",
            y_label="energy (eV/atom)",
            x=tuple(atoms.get_volume() / len(atoms) for atoms in cells),
            y=tuple(energy_eV(atoms, calculator) / len(atoms) for atoms in cells),
        )
    curves["dimer"] = _dimer_curve("Si", calculator)
    return curves


def layer_energies(a_A: float, calculator: Calculator) -> dict[str, float]:
    """Return the energy of graphite (AB) at some layer distances, by its name.

    ``a_A``: lattice constant of a layer.
    """
    return {
        f"graphite at {distance} Å: {ABOVE_SEPARATE}": _above_separate_meV(
            _graphite(a_A, distance, calculator), a_A
        )
        for distance in LAYER_DISTANCES_A
    }


def minima_below(curve: Curve, limit: float) -> list[tuple[float, float]]:
    """Return the minima of a curve, x and y, between its ends and below a limit."""
    y = np.array(curve.y)
    inside = (y[1:-1] < y[:-2]) & (y[1:-1] < y[2:])
    points = zip(curve.x[1:-1], curve.y[1:-1], inside, strict=True)
    return [(x, y) for x, y, is_minimum in points if is_minimum and x < limit]


def _pressed_graphite(a_A: float, calculator: Calculator) -> Values:
    """Yield where graphite ends that starts with layers too close, and its pressure."""
    relaxed = _graphite(a_A, RELAXED_FROM_A, calculator)
    everything: Any = FrechetCellFilter(relaxed)
    BFGS(everything, logfile=None).run(MAX_FORCE_EV_A, MAX_STEPS)
    begun = f"graphite relaxed from {RELAXED_FROM_A} Å"
    yield f"{begun}: layer distance (Å)", float(relaxed.cell.lengths()[2] / 2)
    yield f"{begun}: {ABOVE_SEPARATE}", _above_separate_meV(relaxed, a_A)
    pressed = _graphite(a_A, PRESSED_TO_A, calculator)
    yield (
        f"graphite at {PRESSED_TO_A} Å: pressure along z (GPa)",
        float(-unconstrained.stress_eV_A3(pressed)[2] / units.GPa),
    )


def _graphite(
    a_A: float, layers_A: float, calculator: Calculator, stacking: str = "AB"
) -> Atoms:
    constants = {"a": a_A, "c": 2 * layers_A}
    atoms: Atoms = Graphite("C", latticeconstant=constants, pbc=True)
    upper = atoms.positions[:, 2] > layers_A / 2
    atoms.positions[upper] += np.array(SLIDES[stacking]) @ atoms.cell.array[:2]
    atoms.calc = calculator
    return atoms


def _above_separate_meV(graphite: Atoms, a_A: float) -> float:
    """Return the energy per atom above that of layers without any interaction."""
    separate = _graphite(a_A, SEPARATED_A, graphite.calc)
    above_eV = unconstrained.energy_eV(graphite) - unconstrained.energy_eV(separate)
    return float(1000 * above_eV / len(graphite))


def _modes_of_graphene(flat: Atoms, calculator: Calculator) -> Values:
    at_gamma = frequencies_per_cm(flat, calculator)
    yield "graphene: E2g mode (cm⁻¹)", float(at_gamma[-1])
    at_k = frequencies_per_cm(
        flat, calculator, repeat=(3, 3, 1), wave_vector=(1 / 3, 1 / 3, 0.0)
    )
    yield "graphene: TO mode at K (cm⁻¹)", float(at_k[-1])


def _modes_of_diamond(element: str, a_A: float, calculator: Calculator) -> Values:
    cell = bulk(element, "diamond", a=a_A)
    at_gamma = frequencies_per_cm(cell, calculator)
    yield "diamond: Raman mode at Γ (cm⁻¹)", float(at_gamma[-1])
    at_x = frequencies_per_cm(
        cell, calculator, repeat=(2, 2, 2), wave_vector=(0.5, 0.5, 0.0)
    )
    yield "diamond: TA mode at X (cm⁻¹)", float(at_x[0])
    at_l = frequencies_per_cm(
        cell, calculator, repeat=(2, 2, 2), wave_vector=(0.5, 0.0, 0.0)
    )
    yield "diamond: TA mode at L (cm⁻¹)", float(at_l[0])


def _elasticity(element: str, a_A: float, calculator: Calculator) -> Values:
    try:
        constants = elastic_constants_GPa(bulk(element, "diamond", a=a_A), calculator)
    except (PropertyNotImplementedError, NotImplementedError):
        return
    c11, c12, c44 = constants[0, 0], constants[0, 1], constants[3, 3]
    yield "diamond: C11 (GPa)", float(c11)
    yield "diamond: C12 (GPa)", float(c12)
    yield "diamond: C44 (GPa)", float(c44)
    yield "diamond: bulk modulus (GPa)", float((c11 + 2 * c12) / 3)
    yield "diamond: shear modulus (C11 - C12)/2 (GPa)", float((c11 - c12) / 2)


def _relaxed_eV(atoms: Atoms, calculator: Calculator) -> float:
    """Return the energy of a structure whose atoms have relaxed in a fixed cell."""
    atoms.pbc = True
    atoms.calc = calculator
    try:
        BFGS(atoms, logfile=None).run(fmax=DEFECT_FORCE_EV_A, steps=DEFECT_STEPS)
        return unconstrained.energy_eV(atoms)
    except InputError:  # atoms on top of each other
        return math.nan


def _sheets_and_cages(a_A: float, sheet_eV: float, calculator: Calculator) -> Values:
    bond_A = a_A / math.sqrt(3)
    cage = molecule("C60")
    cage.center(vacuum=VACUUM_A)
    tube = nanotube(*TUBE, length=2, bond=bond_A)
    tube.center(vacuum=VACUUM_A, axis=(0, 1))
    for name, atoms in {"C60": cage, f"nanotube {TUBE}": tube}.items():
        above_eV = _relaxed_eV(atoms, calculator) / len(atoms) - sheet_eV
        yield f"{name}: energy above graphene (meV/atom)", 1000 * above_eV
    chain = KnownCrystal(name="chain", build=_chain, start_A=(1.3,), shape="chain")
    (bond_A,) = _lengths_A(chain, calculator)
    yield "chain: bond length (Å)", bond_A
    above_eV = energy_eV(_chain(bond_A), calculator) - sheet_eV
    yield "chain: energy above graphene (meV/atom)", 1000 * above_eV


def _chain(bond_A: float) -> Atoms:
    return Atoms("C", cell=[2 * VACUUM_A, 2 * VACUUM_A, bond_A], pbc=True)


def _defects_of_graphene(a_A: float, sheet_eV: float, calculator: Calculator) -> Values:
    whole = graphene(a=a_A, size=(6, 6, 1), vacuum=VACUUM_A)
    whole.pbc = True
    holed = whole.copy()
    del holed[0]
    energy = _relaxed_eV(holed, calculator) - len(holed) * sheet_eV
    yield "graphene: vacancy (eV)", energy
    turned = whole.copy()
    bond = turned.get_distance(0, 1, vector=True)
    middle = turned.positions[0] + bond / 2
    across = np.array([-bond[1], bond[0], 0.0]) / 2
    turned.positions[:2] = middle - across, middle + across
    energy = _relaxed_eV(turned, calculator) - len(turned) * sheet_eV
    yield "graphene: Stone–Wales defect (eV)", energy


def _cubes(element: str, a_A: float) -> Atoms:
    atoms: Atoms = bulk(element, "diamond", a=a_A, cubic=True).repeat(2)
    return atoms


def _vacancy(
    element: str, a_A: float, crystal_eV: float, calculator: Calculator
) -> Values:
    atoms = _cubes(element, a_A)
    del atoms[0]
    energy = _relaxed_eV(atoms, calculator) - len(atoms) * crystal_eV
    yield "diamond: vacancy (eV)", energy


def _interstitials(
    element: str, a_A: float, crystal_eV: float, calculator: Calculator
) -> Values:
    places = {"tetrahedral": (0.5, 0.5, 0.5), "hexagonal": (0.625, 0.625, 0.375)}
    for name, place in places.items():
        atoms = _cubes(element, a_A)
        atoms += Atoms(element, positions=[np.array(place) * a_A])
        energy = _relaxed_eV(atoms, calculator) - len(atoms) * crystal_eV
        yield f"diamond: {name} interstitial (eV)", energy
    atoms = _cubes(element, a_A)
    shift = 0.12 * a_A * np.array([1.0, 1.0, 0.0])
    atoms += Atoms(element, positions=[atoms.positions[0] + shift])
    atoms.positions[0] -= shift
    energy = _relaxed_eV(atoms, calculator) - len(atoms) * crystal_eV
    yield "diamond: dumbbell interstitial (eV)", energy


def _surfaces(
    element: str, a_A: float, crystal_eV: float, calculator: Calculator
) -> Values:
    for name, build in SLABS.items():
        slab: Atoms = build(element, size=(1, 1, 14), a=a_A, vacuum=VACUUM_A)
        del slab[[0, -1]]  # in (111) these have three bonds less, not one
        area_A2 = float(np.linalg.norm(np.cross(*slab.cell.array[:2])))
        above_eV = _relaxed_eV(slab, calculator) - len(slab) * crystal_eV
        energy = above_eV / (2 * area_A2) * units.m**2 / units.J
        yield f"diamond {name} 1×1: surface energy (J/m²)", energy


def _cubic(element: str, shape: str, start_A: float) -> KnownCrystal:
    return KnownCrystal(
        name=shape,
        build=lambda a: bulk(element, shape, a=a),
        start_A=(start_A,),
        shape=shape,
    )


def _beta_tin(a_A: float, c_A: float) -> Atoms:
    scaled = [[0.0, 0.0, 0.0], [0.0, 0.5, 0.25], [0.5, 0.5, 0.5], [0.5, 0.0, 0.75]]
    return Atoms("Si4", scaled_positions=scaled, cell=[a_A, a_A, c_A], pbc=True)


_HCP = KnownCrystal(
    name="hcp Si",
    build=lambda a, c: bulk("Si", "hcp", a=a, c=c),
    start_A=HCP_START_A,
    shape="hcp",
)
_BETA_TIN = KnownCrystal(
    name="beta-tin Si", build=_beta_tin, start_A=BETA_TIN_START_A, shape="beta-tin"
)


def _lengths_A(known: KnownCrystal, calculator: Calculator) -> tuple[float, ...]:
    found = lattice_constants_A(known, calculator)
    return (math.nan,) * len(known.start_A) if found is None else found


def _other_lattices(element: str, diamond_eV: float, calculator: Calculator) -> Values:
    for shape, start_A in CUBIC_START_A[element].items():
        known = _cubic(element, shape, start_A)
        found = lattice_constants_A(known, calculator)
        above_eV = math.nan
        if found is not None:
            atoms = known.build(*found)
            above_eV = energy_eV(atoms, calculator) / len(atoms) - diamond_eV
        yield f"{shape}: energy above diamond (meV/atom)", 1000 * above_eV


def _two_atoms_eV(element: str, distance_A: float, calculator: Calculator) -> float:
    positions = [[0, 0, 0], [0, 0, distance_A]]
    atoms = Atoms([element] * 2, positions, cell=[CELL_A] * 3, pbc=True)
    return energy_eV(atoms, calculator)


def _dimer(element: str, calculator: Calculator) -> Values:
    apart_eV = _two_atoms_eV(element, DISSOCIATED_A, calculator)
    for distance in DIMER_DISTANCES_A[element]:
        yield (
            f"{element}2 at {distance} Å: energy above two atoms (eV)",
            _two_atoms_eV(element, distance, calculator) - apart_eV,
        )
    curve = _dimer_curve(element, calculator)
    lowest = int(np.argmin(curve.y))
    yield f"{element}2: binding energy (eV)", -curve.y[lowest]


def _dimer_curve(element: str, calculator: Calculator) -> Curve:
    apart_eV = _two_atoms_eV(element, DISSOCIATED_A, calculator)
    distances_A = DIMER_CURVE_A[element]
    return Curve(
        title=f"{element}2",
        x_label="distance (Å)",
        y_label="energy above\ntwo atoms (eV)",
        x=distances_A,
        y=tuple(
            _two_atoms_eV(element, distance, calculator) - apart_eV
            for distance in distances_A
        ),
        drawn_to=DIMER_DRAWN_TO_EV,
    )
