"""Molecular dynamics inside LAMMPS, for teachers that are LAMMPS's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
from ase.calculators.lammps import convert

from synthzoo.data import unconstrained
from synthzoo.errors import TeacherError
from synthzoo.generation.dynamics import Stage, steps_per_block

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    from synthzoo.generation.kinds.from_atoms import MeltQuench
    from synthzoo.teachers.lammps import RestartingLAMMPS

FS_PER_PS = 1000.0
MAX_SEED = 900_000_000
"""Of LAMMPS's generator of random numbers."""

FIXES = {
    "langevin": "fix heat all langevin {start} {end} {time_ps} {seed} zero yes",
    "bussi": "fix heat all temp/csvr {start} {end} {time_ps} {seed}",
    "nose-hoover": "fix move all nvt temp {start} {end} {time_ps}",
}
"""Command of each thermostat; the first two leave the motion to another one."""


class LammpsDynamics:
    """Dynamics in LAMMPS; the temperature follows its ramp at every step.

    ``atoms``: structure with momenta and a LAMMPS calculator; it is moved.
    """

    def __init__(
        self, atoms: Atoms, part: MeltQuench, rng: np.random.Generator
    ) -> None:
        calculator: RestartingLAMMPS = atoms.calc
        calculator.restart()
        unconstrained.forces_eV_A(atoms)  # makes LAMMPS's box and atoms
        self._atoms = atoms
        self._lammps = cast("Any", calculator.lmp)
        self._prism = calculator.prism
        self._part = part
        self._rng = rng
        self._stage: Stage | None = None
        self._send_velocities()
        self._lammps.command(f"timestep {part.timestep_fs / FS_PER_PS}")
        if part.thermostat != "nose-hoover":
            self._lammps.command("fix move all nve")

    def enter(self, stage: Stage) -> None:
        """Set the thermostat to the ramp of a stage."""
        self._stage = stage
        fix = FIXES[self._part.thermostat].format(
            start=stage.start_K,
            end=stage.end_K,
            time_ps=1 / self._part.friction_per_fs / FS_PER_PS,
            seed=int(self._rng.integers(1, MAX_SEED)),
        )
        self._lammps.command("reset_timestep 0")
        self._lammps.command(fix)

    def advance(self, temperature_K: float) -> None:  # noqa: ARG002
        """Move the atoms through one block."""
        if self._stage is None:
            raise ValueError("enter a stage first")
        steps = steps_per_block(self._part)
        try:
            self._lammps.command(
                f"run {steps} start 0 stop {steps * self._stage.blocks}"
            )
        except Exception as error:  # LAMMPS raises bare exceptions
            reason = str(error).splitlines()[0]
            raise TeacherError(f"In stage {self._stage.name}: {reason}.") from error
        self._atoms.positions = self._read("x", "distance")
        self._atoms.set_velocities(self._read("v", "velocity"))

    def _send_velocities(self) -> None:
        velocities = convert(self._atoms.get_velocities(), "velocity", "ASE", "metal")
        values = self._prism.vector_to_lammps(velocities)
        buffer = np.ascontiguousarray(values).ravel()
        self._lammps.scatter_atoms("v", 1, 3, np.ctypeslib.as_ctypes(buffer))
        self._lammps.command("velocity all zero linear")  # a drift would take up heat

    def _read(self, name: str, quantity: str) -> NDArray[np.float64]:
        values = np.array(self._lammps.gather_atoms(name, 1, 3)).reshape(-1, 3)
        turned = self._prism.vector_to_ase(values)
        return np.asarray(convert(turned, quantity, "metal", "ASE"))
