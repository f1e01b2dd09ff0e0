"""What every teacher has to show before its labels are used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers, covalent_radii
from ase.stress import voigt_6_to_full_3x3_stress

from synthzoo.data import unconstrained
from synthzoo.errors import TeacherError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.teachers.teacher import Teacher

CLUSTER = np.array([[0.0, 0.0, 0.0], [1.12, 0.07, 0.0], [0.26, 1.25, 0.2]])
"""Three atoms without symmetry, in units of a bond length."""

CRYSTAL_STRETCH = 1.03
VACUUM_A = 6.0
MIN_BOND_A = 1.2
"""Hydrogen is no crystal at its own bond length."""

DIRECTION_SEED = 1
SAME_ENERGY = 0.01
SAME_FORCE = 0.1
"""Differences (eV, eV/Å) of equal values that pass, in units of the tolerance."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One property that any potential has, measured.

    ``element``: chemical symbol, or two with a hyphen between them.
    """

    name: str
    element: str
    found: float
    expected: float
    limit: float
    unit: str

    @property
    def passed(self) -> bool:
        """Whether the two values agree; never if one is not a number."""
        return abs(self.found - self.expected) <= self.limit


MANY_ELEMENTS, SAMPLE = 20, 4
"""A teacher of more elements than these is tested with a sample of them."""

FEW_ELEMENTS = 4
"""So many elements, at most, are all paired with each other."""


def check_teacher(teacher: Teacher) -> tuple[Check, ...]:
    """Return what a teacher says about a few structures of its elements.

    Universal potentials, with more elements than `MANY_ELEMENTS`, are tested with a
    sample of them.

    Forces and stress are compared with finite differences of the energy along one
    random direction, and energies and forces with those after a translation and a
    rotation; an isolated atom must not depend on its place.

    A self-consistent code would take minutes for that in every worker. Its forces alone
    are tested, on a crystal with two atoms; its stress cannot be by such small steps,
    as the number of plane waves jumps with the cell.
    """
    elements = elements_to_test(teacher.elements)
    if teacher.self_consistent:
        return tuple(
            check for element in elements for check in _crystal_forces(teacher, element)
        )
    looks = (_forces, _stress, _isolated, _translation, _rotation)
    alone = [
        check for one in elements for look in looks for check in look(teacher, one)
    ]
    unlike = [
        check
        for pair in pairs_to_test(elements)
        for look in (_forces, _stress)
        for check in look(teacher, *pair)
    ]
    return (*alone, *unlike)


def elements_to_test(elements: Sequence[str]) -> tuple[str, ...]:
    """Return the elements that are tested: all, or some from all over a long list."""
    if len(elements) <= MANY_ELEMENTS:
        return tuple(elements)
    spacing = len(elements) / SAMPLE
    return tuple(elements[int((index + 0.5) * spacing)] for index in range(SAMPLE))


def pairs_to_test(elements: Sequence[str]) -> list[tuple[str, str]]:
    """Return the pairs of unlike elements that are tested.

    All of them if elements are few; otherwise each element with the next one.
    """
    if len(elements) <= FEW_ELEMENTS:
        return list(combinations(elements, 2))
    return list(pairwise([*elements, elements[0]]))


def require_passed(teacher: Teacher) -> None:
    """Refuse a teacher that fails one of its checks; see `check_teacher`."""
    for check in check_teacher(teacher):
        if not check.passed:
            raise TeacherError(
                f"{teacher.reference} fails its test of {check.name} for "
                f"{check.element}: found {check.found:.6f} {check.unit}, expected "
                f"{check.expected:.6f} within {check.limit:.1g}."
            )


def _bond_A(*elements: str) -> float:
    radii_A = [covalent_radii[atomic_numbers[element]] for element in elements]
    return max(MIN_BOND_A, float(2 * np.mean(radii_A)))


def _cluster(*elements: str) -> Atoms:
    symbols = (len(CLUSTER) * elements)[: len(CLUSTER)]
    atoms = Atoms(symbols, positions=CLUSTER * _bond_A(*elements))
    atoms.center(vacuum=VACUUM_A)
    return atoms


def _crystal(*elements: str, cubic: bool = True) -> Atoms:
    """Return rattled diamond, or zincblende of two elements."""
    lattice_A = CRYSTAL_STRETCH * _bond_A(*elements) * 4 / np.sqrt(3)
    name = "".join(elements)
    prototype = "diamond" if len(elements) == 1 else "zincblende"
    atoms = bulk(name, prototype, a=lattice_A, cubic=cubic)
    atoms.rattle(0.03 * lattice_A, seed=DIRECTION_SEED)
    return atoms


def _forces(teacher: Teacher, *elements: str) -> list[Check]:
    return _slope(teacher, _cluster(*elements), "-".join(elements))


def _crystal_forces(teacher: Teacher, element: str) -> list[Check]:
    return _slope(teacher, _crystal(element, cubic=False), element)


def _slope(teacher: Teacher, atoms: Atoms, element: str) -> list[Check]:
    rng = np.random.default_rng(DIRECTION_SEED)
    direction = rng.normal(size=atoms.positions.shape)
    direction /= np.linalg.norm(direction)
    along = float((unconstrained.forces_eV_A(teacher.label(atoms)) * direction).sum())
    energies = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions += sign * teacher.step_A * direction
        energies.append(unconstrained.energy_eV(teacher.label(moved)))
    slope = -(energies[0] - energies[1]) / (2 * teacher.step_A)
    return [_derivative("forces", teacher, element, along, slope, "eV/Å")]


def _stress(teacher: Teacher, *elements: str) -> list[Check]:
    atoms = _crystal(*elements)
    if "stress" not in teacher.calculator.implemented_properties:
        return []
    strain = _symmetric_strain()
    stress = voigt_6_to_full_3x3_stress(
        unconstrained.stress_eV_A3(teacher.label(atoms))
    )
    step = teacher.step_A / _bond_A(*elements)
    energies = []
    for sign in (1, -1):
        strained = atoms.copy()
        cell = atoms.cell.array @ (np.eye(3) + sign * step * strain)
        strained.set_cell(cell, scale_atoms=True)
        energies.append(unconstrained.energy_eV(teacher.label(strained)))
    slope = (energies[0] - energies[1]) / (2 * step * len(atoms))
    along = atoms.get_volume() / len(atoms) * float((stress * strain).sum())
    name = "-".join(elements)
    return [_derivative("stress", teacher, name, along, slope, "eV/atom")]


def _symmetric_strain() -> NDArray[np.float64]:
    strain = np.random.default_rng(DIRECTION_SEED).normal(size=(3, 3))
    strain = strain + strain.T
    return np.asarray(strain / np.linalg.norm(strain))


def _derivative(
    name: str, teacher: Teacher, element: str, found: float, slope: float, unit: str
) -> Check:
    return Check(
        name=name,
        element=element,
        found=found,
        expected=slope,
        limit=teacher.tolerance * max(1.0, abs(slope)),
        unit=unit,
    )


def _isolated(teacher: Teacher, element: str) -> list[Check]:
    energies, forces = [], []
    for vacuum_A in (VACUUM_A, 1.5 * VACUUM_A):
        atom = Atoms(element)
        atom.center(vacuum=vacuum_A)
        labelled = teacher.label(atom)
        energies.append(unconstrained.energy_eV(labelled))
        forces.append(np.abs(unconstrained.forces_eV_A(labelled)).max())
    return [
        _same_energy("an isolated atom (energy)", teacher, element, energies),
        _no_force("an isolated atom (forces)", teacher, element, max(forces)),
    ]


def _translation(teacher: Teacher, element: str) -> list[Check]:
    atoms = _crystal(element)
    moved = atoms.copy()
    moved.positions += np.array([0.31, 0.52, 0.17]) @ atoms.cell.array
    moved.wrap()
    return _compare("translation", teacher, (atoms, moved), np.eye(3))


def _rotation(teacher: Teacher, element: str) -> list[Check]:
    atoms = _cluster(element)
    rotation = np.linalg.qr(np.random.default_rng(DIRECTION_SEED).normal(size=(3, 3))).Q
    turned = atoms.copy()
    turned.positions = atoms.positions @ rotation.T
    turned.center(vacuum=VACUUM_A)
    return _compare("rotation", teacher, (atoms, turned), rotation)


def _compare(
    name: str,
    teacher: Teacher,
    pair: tuple[Atoms, Atoms],
    rotation: NDArray[np.float64],
) -> list[Check]:
    """Return whether a structure and a moved copy have one energy, and its forces."""
    first, second = map(teacher.label, pair)
    element = first[0].symbol
    energies = [unconstrained.energy_eV(labelled) for labelled in (first, second)]
    turned = unconstrained.forces_eV_A(first) @ rotation.T
    worst = np.abs(unconstrained.forces_eV_A(second) - turned).max()
    return [
        _same_energy(f"{name} (energy)", teacher, element, energies),
        _no_force(f"{name} (difference of forces)", teacher, element, worst),
    ]


def _same_energy(
    name: str, teacher: Teacher, element: str, energies: list[float]
) -> Check:
    return Check(
        name=name,
        element=element,
        found=energies[1],
        expected=energies[0],
        limit=SAME_ENERGY * teacher.tolerance,
        unit="eV",
    )


def _no_force(name: str, teacher: Teacher, element: str, worst: float) -> Check:
    return Check(
        name=name,
        element=element,
        found=float(worst),
        expected=0.0,
        limit=SAME_FORCE * teacher.tolerance,
        unit="eV/Å",
    )
