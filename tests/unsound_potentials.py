"""Potentials that are wrong in one known way each, and small sound ones beside them.

They are wrong for real: the energy, the forces or the code have the fault, and the
dynamics run into it by themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.stress import full_3x3_to_voigt_6_stress

from synthzoo.data.pairs import find_pairs
from tests.faulty_calculators import crash

if TYPE_CHECKING:
    from ase import Atoms

LATTICE_A = 3.61


def copper(repeat: int = 2) -> Atoms:
    """Return a cube of copper near its equilibrium."""
    atoms: Atoms = bulk("Cu", a=LATTICE_A, cubic=True).repeat(repeat)
    return atoms


def _moved_A(atoms: Atoms) -> np.ndarray:
    """Return how far each atom is from the nearest point of the lattice."""
    half = LATTICE_A / 2
    moved: np.ndarray = atoms.positions - half * np.round(atoms.positions / half)
    return moved


class PairPotential(Calculator):
    """A sum over pairs, with forces and stress."""

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012  ASE's way
    reach_A = 5.0

    def pair(self, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return energy (eV) and its derivative (eV/Å) at distances (Å)."""
        raise NotImplementedError

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Any = ("energy",),
        system_changes: Any = all_changes,
    ) -> None:
        """Compute energy, forces and, where there is a volume, stress."""
        super().calculate(atoms, properties, system_changes)
        assert atoms is not None
        pairs = find_pairs(atoms, self.reach_A)
        energies, slopes = self.pair(pairs.distances_A)
        pulls = (slopes / pairs.distances_A)[:, None] * pairs.vectors_A
        forces = np.zeros((len(atoms), 3))
        np.add.at(forces, pairs.first, pulls)
        self.results = {"energy": energies.sum() / 2, "forces": forces}
        if atoms.cell.rank == 3:
            stress = np.einsum("ij,ik->jk", pulls, pairs.vectors_A) / 2
            stress /= atoms.cell.volume
            self.results["stress"] = full_3x3_to_voigt_6_stress(stress)


class NoWall(PairPotential):
    """Lennard-Jones without its wall: below the minimum the energy falls again."""

    depth_eV, minimum_A = 0.5, 2.5

    def pair(self, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Turn the repulsion of short distances into attraction."""
        x = (self.minimum_A / np.maximum(r, 0.3)) ** 6
        energy = self.depth_eV * (x**2 - 2 * x)
        slope = -12 * self.depth_eV * (x**2 - x) / r
        inside = r < self.minimum_A
        fallen = -self.depth_eV * (1 + 8 * (1 - r / self.minimum_A))
        energy = np.where(inside, fallen, energy)
        return energy, np.where(inside, 8 * self.depth_eV / self.minimum_A, slope)


class Repulsive(PairPotential):
    """Atoms that only repel each other."""

    def pair(self, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Fall off smoothly to zero at the reach."""
        left = 1 - r / self.reach_A
        return 1.0 * left**3, -3.0 * left**2 / self.reach_A


class ClosePacking(PairPotential):
    """Carbon as if it were a rare gas: pairs, so that neighbours cost nothing."""

    def pair(self, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Morse's potential with its minimum at a carbon bond."""
        x = np.exp(-2.0 * (r - 1.5))
        return 0.3 * (x**2 - 2 * x), -1.2 * (x**2 - x)


class Spoilt(Calculator):
    """EMT for copper, until an atom is too far from its place in the lattice."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012  ASE's way

    def __init__(self, reach_A: float = 0.15, **settings: Any) -> None:
        super().__init__(**settings)
        self.reach_A = reach_A
        self._emt = EMT()

    def reset(self) -> None:
        """Forget everything; EMT remembers its neighbour list otherwise."""
        super().reset()
        if hasattr(self, "_emt"):
            self._emt.reset()

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Any = ("energy",),
        system_changes: Any = all_changes,
    ) -> None:
        """Compute with EMT, and spoil it."""
        super().calculate(atoms, properties, system_changes)
        assert atoms is not None
        computed = atoms.copy()
        computed.calc = self._emt
        self.results = {
            "energy": computed.get_potential_energy(),
            "forces": computed.get_forces(),
        }
        self.spoil(_moved_A(atoms))

    def spoil(self, moved_A: np.ndarray) -> None:
        """Change the results."""

    def beyond(self, moved_A: np.ndarray) -> float:
        """Return how far beyond the reach the farthest atom is; negative inside."""
        return float(np.linalg.norm(moved_A, axis=1).max() - self.reach_A)


class Sound(Spoilt):
    """EMT, with no fault."""


class NotANumber(Spoilt):
    """The square root of a negative number."""

    def spoil(self, moved_A: np.ndarray) -> None:
        """Add a term that is defined inside only."""
        with np.errstate(invalid="ignore"):
            self.results["forces"] += 0 * np.sqrt(-self.beyond(moved_A))


class EnergyStep(Spoilt):
    """An energy that is not continuous."""

    def spoil(self, moved_A: np.ndarray) -> None:
        """Subtract a step that the forces do not know."""
        if self.beyond(moved_A) > 0:
            self.results["energy"] -= 30.0


class ForceStep(Spoilt):
    """Forces that are not continuous."""

    def spoil(self, moved_A: np.ndarray) -> None:
        """Add forces that the energy does not know."""
        if self.beyond(moved_A) > 0:
            self.results["forces"] += 300.0 * np.sign(moved_A)


class Raising(Spoilt):
    """Code that raises an error."""

    def spoil(self, moved_A: np.ndarray) -> None:
        """Give up."""
        if self.beyond(moved_A) > 0:
            raise RuntimeError("no neighbour list for this")


class Crashing(Spoilt):
    """Native code that reads address zero."""

    def spoil(self, moved_A: np.ndarray) -> None:
        """End the process."""
        if self.beyond(moved_A) > 0:
            crash()


class Whirling(Spoilt):
    """Forces with a curl: every turn gains energy."""

    strength_eV_A2 = 0.3

    def spoil(self, moved_A: np.ndarray) -> None:
        """Push each atom around its lattice point."""
        x, y, _ = moved_A.T
        whirl = np.transpose([-y, x, np.zeros(len(x))])
        self.results["forces"] += self.strength_eV_A2 * whirl


class Furnace(Whirling):
    """The same, faster than a thermostat cools."""

    strength_eV_A2 = 6.0


class ScaledForces(Spoilt):
    """Forces that are a fifth too large for the energy."""

    def spoil(self, moved_A: np.ndarray) -> None:  # noqa: ARG002  the others need it
        """Scale the forces."""
        self.results["forces"] *= 1.2


class Interrupted(Spoilt):
    """Ctrl-C while a certain step is computed."""

    def __init__(self, at: int, **settings: Any) -> None:
        super().__init__(**settings)
        self._left = at

    def spoil(self, moved_A: np.ndarray) -> None:  # noqa: ARG002  the others need it
        """Count the calls."""
        self._left -= 1
        if self._left == 0:
            raise KeyboardInterrupt


class InterruptedPairs(NoWall):
    """Lennard-Jones with its wall and stress, and Ctrl-C at a certain step."""

    def __init__(self, at: int = 0, **settings: Any) -> None:
        super().__init__(**settings)
        self._left = at

    def pair(self, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute Lennard-Jones, shifted to zero at the reach."""
        self._left -= 1
        if self._left == 0:
            raise KeyboardInterrupt
        x = (self.minimum_A / r) ** 6
        end = (self.minimum_A / self.reach_A) ** 6
        energy = self.depth_eV * (x**2 - 2 * x - end**2 + 2 * end)
        return energy, -12 * self.depth_eV * (x**2 - x) / r
