"""Molecular dynamics in ASE at a temperature that changes from block to block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ase import units
from ase.constraints import FixAtoms, FixCom
from ase.md.bussi import Bussi
from ase.md.langevin import Langevin
from ase.md.nose_hoover_chain import NoseHooverChainNVT
from ase.md.velocitydistribution import Stationary

from synthzoo.potentials import forget
from synthzoo.teachers.lammps import RestartingLAMMPS

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms
    from ase.calculators.calculator import Calculator

    from synthzoo.generation.kinds.from_atoms import MeltQuench, StageName
    from synthzoo.generation.kinds.values import Thermostat


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stretch of dynamics with a temperature that changes linearly.

    Attributes
    ----------
    name
        What the stage is called in ``info["stage"]``.
    duration_fs
        Its length.
    start_K, end_K
        Temperature of the thermostat at both ends.
    blocks
        After each of these equal parts, a structure is taken.
    """

    name: StageName
    duration_fs: float
    start_K: float
    end_K: float
    blocks: int


class Coupling(Protocol):
    """What a thermostat needs to know; parts of recipes have it."""

    @property
    def thermostat(self) -> Thermostat:
        """Which one."""

    @property
    def timestep_fs(self) -> float:
        """Step of the integrator."""

    @property
    def friction_per_fs(self) -> float:
        """Friction of the Langevin thermostat, inverse time constant of the others."""


class Dynamics(Protocol):
    """Moves atoms through stages, one block at a time."""

    def enter(self, stage: Stage) -> None:
        """Begin with a stage.

        Parameters
        ----------
        stage
            What comes next.
        """

    def advance(self, temperature_K: float) -> None:
        """Move the atoms through one block of the stage.

        Parameters
        ----------
        temperature_K
            Of the stage's ramp at the end of the block.
        """


class AseDynamics:
    """Dynamics in ASE; the temperature is that at the end of each block.

    ``atoms``: structure with momenta and a calculator; it is moved.
    """

    def __init__(
        self, atoms: Atoms, part: MeltQuench, rng: np.random.Generator, start_K: float
    ) -> None:
        self._steps = steps_per_block(part)
        self._thermostat = make_thermostat(atoms, part, rng, start_K)

    def enter(self, stage: Stage) -> None:
        """Do nothing: the temperature of each block is all that these need."""

    def advance(self, temperature_K: float) -> None:
        """Move the atoms through one block."""
        self._thermostat.set_temperature(temperature_K=temperature_K)
        self._thermostat.run(self._steps)


def steps_per_block(part: MeltQuench) -> int:
    """Return the number of time steps between two structures."""
    return max(1, round(part.sample_fs / part.timestep_fs))


class _Bussi(Bussi):
    """Stochastic velocity rescaling whose temperature can be changed on the way."""

    def set_temperature(self, *, temperature_K: float) -> None:
        self.temp = temperature_K * units.kB
        self.target_kinetic_energy = 0.5 * self.temp * self.ndof


class _NoseHooverChain(NoseHooverChainNVT):
    """Nosé–Hoover chain whose temperature can be changed on the way.

    The masses of the chain follow the temperature, so that its time constant stays.
    ASE's chain counts the three degrees of freedom of the centre of mass, which rests
    here: the temperature is lowered by their share.
    """

    def set_temperature(self, *, temperature_K: float) -> None:
        temperature_K *= 1 - 1 / len(self.atoms)
        kT = temperature_K * units.kB  # noqa: N806  the usual symbol
        self._thermostat._Q *= kT / self._thermostat._kT  # ASE has no setter
        self._thermostat._kT = kT


def make_thermostat(
    atoms: Atoms, coupling: Coupling, rng: np.random.Generator, start_K: float
) -> Any:
    """Return ASE dynamics with ``set_temperature(temperature_K=...)``.

    ``atoms``: structure with momenta and a calculator; its constraints are replaced.
    Two thermostats leave fixed atoms where they are, `nose-hoover` does not.
    """
    return _THERMOSTATS[coupling.thermostat](atoms, coupling, rng, start_K)


def _rest(atoms: Atoms) -> None:
    """Let fixed atoms rest, or else the centre of mass."""
    fixed = [c for c in atoms.constraints if isinstance(c, FixAtoms)]
    atoms.set_constraint(fixed or FixCom())


def _langevin(
    atoms: Atoms, part: Coupling, rng: np.random.Generator, start_K: float
) -> Any:
    _rest(atoms)
    return Langevin(
        atoms,
        part.timestep_fs * units.fs,
        temperature_K=start_K,
        friction=part.friction_per_fs / units.fs,
        fixcm=False,
        rng=rng,
    )


def _bussi(
    atoms: Atoms, part: Coupling, rng: np.random.Generator, start_K: float
) -> Any:
    _rest(atoms)
    return _Bussi(  # type: ignore[no-untyped-call]
        atoms,
        part.timestep_fs * units.fs,
        temperature_K=start_K,
        taut=units.fs / part.friction_per_fs,
        rng=rng,
    )


def _nose_hoover(
    atoms: Atoms,
    part: Coupling,
    rng: np.random.Generator,  # noqa: ARG001  the others need it
    start_K: float,
) -> Any:
    atoms.set_constraint()
    Stationary(atoms, preserve_temperature=False)
    return _NoseHooverChain(
        atoms,
        part.timestep_fs * units.fs,
        temperature_K=start_K,
        tdamp=units.fs / part.friction_per_fs,
    )


@contextmanager
def restarted(calculator: Calculator) -> Iterator[None]:
    """Let calculations depend on nothing that was computed before."""
    if not isinstance(calculator, RestartingLAMMPS):
        forget(calculator)
        yield
        return
    calculator.restart()
    try:
        yield
    finally:
        calculator.restart()  # a thermostat that is left behind would add its forces


_THERMOSTATS = {
    "langevin": _langevin,
    "bussi": _bussi,
    "nose-hoover": _nose_hoover,
}
