"""Families of structures around a given one: rattle, relax a little, repeat.

The procedure is that of arXiv:2506.10956. What is added: strain spares vacuum, unlike
atoms are swapped now and then, and a strained copy is no duplicate.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from ase.geometry import complete_cell
from ase.units import kB

from synthzoo.data import unconstrained
from synthzoo.data.structures import GROUP_KEY
from synthzoo.errors import TeacherError
from synthzoo.generation.contacts import nearest_share
from synthzoo.generation.cutting import opened
from synthzoo.generation.dynamics import restarted
from synthzoo.generation.start_files import group_name, mean_atoms, middle_sized, starts
from synthzoo.generation.starts import (
    bare,
    computable,
    resized,
    vacuum_axes,
)

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator
    from numpy.typing import NDArray

    from synthzoo.generation.kinds.from_file import Around
    from synthzoo.recipes.schema import Range
    from synthzoo.teachers import Teacher

TRIALS_PER_STRUCTURE = 10
"""After so many attempts for each structure that is wanted, a family has its size."""
SLAB_GAP_A = 10.0
"""Vacuum that opens a crystal to a slab."""
STOPPED_SHARE = 0.25
"""Largest probability with which a relaxation is cut short after a step."""
SMALLEST_FORCE_EV_A = 1e-6
"""A weaker force has no direction."""
BOND_A = 2.5
"""A strain moves neighbours against each other by about itself times this length."""


STEPS_PER_STRUCTURE = 5
"""About so many times forces are computed for each structure."""

FAULTS = {
    "number": "energies or forces that are not finite numbers",
    "forces": "large forces",
    "alike": "being like another structure",
    "close": "atoms that are too close",
}
"""Why a structure is refused, in words."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """A structure of a family.

    ``energy_eV``: per atom.
    ``forces_eV_A``: of shape ``(n, 3)``.
    ``deformation``: what multiplies positions (as rows) in the cell of the start to get
    those in the cell of this structure, of shape ``(3, 3)``.
    ``generation``: number of its ancestors.
    """

    atoms: Atoms
    energy_eV: float
    forces_eV_A: NDArray[np.float64]
    deformation: NDArray[np.float64]
    generation: int

    @property
    def largest_eV_A(self) -> float:
        """Length of the largest force."""
        return float(np.linalg.norm(self.forces_eV_A, axis=1).max())

    @property
    def sites_A(self) -> NDArray[np.float64]:
        """Positions in the cell of the start, about their mean, of shape ``(n, 3)``."""
        sites = self.atoms.positions @ np.linalg.inv(self.deformation)
        return np.asarray(sites - sites.mean(axis=0))


def family(part: Around, driver: Teacher, rng: np.random.Generator) -> Iterator[Atoms]:
    """Yield the family of a structure, the structure itself first.

    ``part``: of one structure, with the number of structures of its family; they are
    slabs if its ``open_share`` is not 0.
    Raises `TeacherError` at the end if there are fewer.
    """
    ((number, start),) = starts(part).items()
    atoms = resized(start, part.min_atoms, part.max_atoms, rng)
    if part.open_share:
        atoms = opened(atoms, int(rng.integers(3)), SLAB_GAP_A, rng)
    atoms = computable(atoms, driver)
    calculator = driver.forces_calculator
    with restarted(calculator):
        grown = Family(atoms, calculator, part, rng)
        members = grown.grow(part.count)
    for member in members:
        frame = bare(member.atoms, pbc=start.pbc)
        frame.wrap()
        frame.info = {GROUP_KEY: group_name(part, number), "start": number}
        frame.info["generation"] = member.generation
        yield frame
    if len(members) < part.count:
        reasons = [f"{n} for {FAULTS[fault]}" for fault, n in grown.refused.items()]
        raise TeacherError(
            f"Structure {number} gave {len(members)} of {part.count} structures; "
            f"attempts were refused, {', '.join(reasons)}."
        )


def shares(part: Around, _: tuple[int, int]) -> list[Around]:
    """Return a part for each family: one or two for each structure of its file.

    ``part``: as `with_hashes` returns it.
    """
    found = starts(part)
    ends = [place * part.count // len(found) for place in range(len(found) + 1)]
    families = []
    for (number, atoms), count in zip(
        found.items(), np.diff(ends).tolist(), strict=True
    ):
        share = 0.0 if vacuum_axes(atoms).any() else part.open_share
        slabs = round(share * count)
        families += [
            replace(part, only=(number,), count=members, open_share=slab)
            for slab, members in ((0.0, count - slabs), (1.0, slabs))
            if members
        ]
    return families


def atom_steps(part: Around) -> float:
    """Return calculations of forces times atoms of all families, about."""
    return part.count * STEPS_PER_STRUCTURE * mean_atoms(part)


def sample(part: Around, steps: int) -> list[Around]:
    """Return a small family that costs about so many calculations."""
    count = max(1, round(steps / STEPS_PER_STRUCTURE))
    middle = (middle_sized(part),)
    return [replace(part, only=middle, count=count, distinct_A=0.0)]


class Family:
    """A structure and its descendants.

    ``members``: all of them, the start first.
    ``refused``: how many attempts failed for each reason.
    """

    def __init__(
        self,
        start: Atoms,
        calculator: Calculator,
        part: Around,
        rng: np.random.Generator,
    ) -> None:
        self._calculator, self._part, self._rng = calculator, part, rng
        self._stretched = _without_vacuum(start)
        founder = self._computed(start.copy(), np.eye(3), 0)
        if not np.isfinite([founder.energy_eV, founder.largest_eV_A]).all():
            raise TeacherError(f"The start has {FAULTS['number']}.")
        self._closest = min(part.closest, nearest_share(start))
        self._max_force_eV_A = max(part.max_force_eV_A, founder.largest_eV_A)
        self.members = [founder]
        self.refused: Counter[str] = Counter()

    def grow(self, count: int) -> list[Member]:
        """Return so many members, or fewer if too many attempts fail."""
        for _ in range(TRIALS_PER_STRUCTURE * count):
            if len(self.members) >= count:
                break
            parent = self._parent()
            child = self._relaxed(*self._shaken(parent), parent)
            if child is not None:
                self.members.append(child)
        return self.members[:count]

    def _parent(self) -> Member:
        """Draw a member: by its energy, or for a share by its generation."""
        energies = np.array([member.energy_eV for member in self.members])
        low = np.exp((energies.min() - energies) / self._kT_eV)
        late = np.array([member.generation + 1.0 for member in self.members])
        share = self._part.late_share
        odds = (1 - share) * low / low.sum() + share * late / late.sum()
        return self.members[int(self._rng.choice(len(odds), p=odds / odds.sum()))]

    @property
    def _kT_eV(self) -> float:
        return self._part.temperature_K * kB

    def _shaken(self, parent: Member) -> tuple[Atoms, NDArray[np.float64], float]:
        """Return a parent in another cell with moved atoms, and by how much it was.

        The cell is a strained one of the start, so that strains do not add up.
        """
        rng, part = self._rng, self._part
        strain = np.zeros((3, 3))
        if part.strain is not None:
            random = rng.normal(scale=_draw_log(part.strain, rng), size=(3, 3))
            strain = self._stretched @ (random + random.T) / 2 @ self._stretched
        deformation = np.eye(3) + strain
        atoms = parent.atoms.copy()
        change = np.linalg.inv(parent.deformation) @ deformation
        atoms.set_cell(atoms.cell.array @ change)
        atoms.positions = atoms.positions @ change
        if rng.random() < part.swap_share:
            self._swap(atoms)
        width_A = _draw_log(part.rattle_A, rng)
        moves = rng.normal(scale=width_A, size=(len(atoms), 3))
        atoms.positions += moves - moves.mean(axis=0)
        return atoms, deformation, width_A

    def _swap(self, atoms: Atoms) -> None:
        """Exchange two atoms of different elements, if there are any."""
        first = int(self._rng.integers(len(atoms)))
        others = np.flatnonzero(atoms.numbers != atoms.numbers[first])
        if len(others):
            pair = [first, int(self._rng.choice(others))]
            atoms.positions[pair] = atoms.positions[pair[::-1]]

    def _relaxed(
        self,
        atoms: Atoms,
        deformation: NDArray[np.float64],
        width_A: float,
        parent: Member,
    ) -> Member | None:
        """Follow the forces for a number of steps that is drawn; None if refused."""
        found, fault = None, None
        for step in range(self._part.relax_steps + 1):
            child = self._computed(atoms.copy(), deformation, parent.generation + 1)
            fault = self._fault(child)
            if fault in {"number", "alike"}:
                break
            if fault is None:
                found = child
                rise = max(child.energy_eV - parent.energy_eV, 0.0) / self._kT_eV
                if self._rng.random() < min(STOPPED_SHARE, math.exp(-rise)):
                    break
            forces = child.forces_eV_A
            lengths = np.linalg.norm(forces, axis=1, keepdims=True)
            moves = forces / np.maximum(lengths, SMALLEST_FORCE_EV_A)
            atoms.positions += width_A / (step + 1) * moves
        if found is None:
            self.refused[str(fault)] += 1
        return found

    def _computed(
        self, atoms: Atoms, deformation: NDArray[np.float64], generation: int
    ) -> Member:
        atoms.calc = self._calculator
        energy_eV = unconstrained.energy_eV(atoms) / len(atoms)
        forces_eV_A = unconstrained.forces_eV_A(atoms).copy()
        atoms.calc = None
        return Member(
            atoms=atoms,
            energy_eV=energy_eV,
            forces_eV_A=forces_eV_A,
            deformation=deformation,
            generation=generation,
        )

    def _fault(self, child: Member) -> str | None:
        if not np.isfinite([child.energy_eV, child.largest_eV_A]).all():
            return "number"
        if child.largest_eV_A > self._max_force_eV_A:
            return "forces"
        if self._is_known(child):
            return "alike"
        return "close" if nearest_share(child.atoms) < self._closest else None

    def _is_known(self, child: Member) -> bool:
        sites = np.stack([member.sites_A for member in self.members])
        strains = np.stack([member.deformation for member in self.members])
        moved_A = np.linalg.norm(sites - child.sites_A, axis=2).mean(axis=1)
        strained_A = BOND_A * np.linalg.norm(strains - child.deformation, axis=(1, 2))
        return bool((moved_A + strained_A).min() < self._part.distinct_A)


def _without_vacuum(atoms: Atoms) -> NDArray[np.float64]:
    """Return the projection on the directions in which matter goes on."""
    normals = np.linalg.inv(complete_cell(atoms.cell.array)).T[vacuum_axes(atoms)]
    basis = np.linalg.qr(normals.T)[0]
    return np.asarray(np.eye(3) - basis @ basis.T)


def _draw_log(interval: Range, rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(*np.log(interval))))
