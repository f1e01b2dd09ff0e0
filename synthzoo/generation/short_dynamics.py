"""Short dynamics of given structures at several temperatures and pressures."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.md.nptberendsen import NPTBerendsen
from ase.md.velocitydistribution import Stationary, thermalize_momenta
from ase.units import GPa, fs, kB

from synthzoo.data import unconstrained
from synthzoo.data.structures import GROUP_KEY
from synthzoo.errors import TeacherError
from synthzoo.generation.contacts import nearest_share
from synthzoo.generation.dynamics import make_thermostat, restarted
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

    from synthzoo.generation.kinds.from_file import ShortDynamics
    from synthzoo.teachers import Teacher

STEPS_PER_LOOK = 5
"""A trajectory that goes wrong is noticed after so many steps at most."""
COMPRESSIBILITY_PER_GPA = 0.01
"""Of a solid; the cell follows the pressure in the barostat's time. Softer ones lag."""
VOLUME_FACTOR = 2.0
"""A cell that grows or shrinks by more is no longer the material."""
HEAT_KT, HEAT_EV = 6.0, 1.0
"""Twice what atoms take up when they are heated from zero, and what may be released."""

_Condition = tuple[float, float | None]


def trajectories(part: ShortDynamics, seed: tuple[int, int]) -> list[ShortDynamics]:
    """Return a part once for each trajectory: a structure at one condition.

    ``part``: as `with_hashes` returns it.
    ``seed``: of the recipe, and the number of the part there.
    """
    rng = np.random.default_rng((*seed, part.trajectories))  # no job has this
    found = starts(part)
    numbers = list(found)
    order = [numbers[place] for place in rng.permutation(len(numbers))]
    rows = [_conditions(part, found[number], rng) for number in order]
    return [
        replace(
            part,
            only=(order[place],),
            trajectories=1,
            temperatures_K=(temperature,),
            pressures_GPa=() if pressure is None else (pressure,),
        )
        for place, temperature, pressure in itertools.islice(
            _in_turn(rows), part.trajectories
        )
    ]


def _conditions(
    part: ShortDynamics, start: Atoms, rng: np.random.Generator
) -> list[_Condition]:
    """Return temperatures and pressures for a structure, in an order that is drawn."""
    pressures = () if vacuum_axes(start).any() else part.pressures_GPa
    grid = list(itertools.product(part.temperatures_K, (None, *pressures)))
    return [grid[place] for place in rng.permutation(len(grid))]


def _in_turn(rows: list[list[_Condition]]) -> Iterator[tuple[int, float, float | None]]:
    for turn in itertools.count():
        for place, conditions in enumerate(rows):
            yield (place, *conditions[turn % len(conditions)])


def frames(
    part: ShortDynamics, driver: Teacher, rng: np.random.Generator
) -> Iterator[Atoms]:
    """Yield the structures of one trajectory while nothing is wrong with it.

    ``part``: one of those that `trajectories` returns.
    Raises `TeacherError` when the trajectory has gone wrong.
    """
    ((number, start),) = starts(part).items()
    atoms = computable(resized(start, part.min_atoms, part.max_atoms, rng), driver)
    calculator, pressure = driver.forces_calculator, None
    if part.pressures_GPa and "stress" in driver.calculator.implemented_properties:
        calculator, pressure = driver.calculator, part.pressures_GPa[0]
    with restarted(calculator):
        for time_fs in _run(atoms, calculator, part, pressure, rng):
            frame = bare(atoms, pbc=start.pbc)
            frame.wrap()
            frame.info = {
                GROUP_KEY: group_name(part, number),
                "start": number,
                "temperature_K": part.temperatures_K[0],
                "time_fs": time_fs,
            }
            if pressure is not None:
                frame.info["pressure_GPa"] = pressure
            yield frame


def _run(
    atoms: Atoms,
    calculator: Calculator,
    part: ShortDynamics,
    pressure_GPa: float | None,
    rng: np.random.Generator,
) -> Iterator[float]:
    """Move atoms, and yield the time whenever a structure is to be kept."""
    atoms.calc = calculator
    atoms.set_constraint()
    (temperature_K,) = part.temperatures_K
    watch = _Watch(atoms, part, pressure_GPa or 0.0)
    thermalize_momenta(atoms, temperature_K=temperature_K, rng=rng)
    Stationary(atoms)
    dynamics: Any
    if pressure_GPa is None:
        dynamics = make_thermostat(atoms, part, rng, temperature_K)
        dynamics.set_temperature(temperature_K=temperature_K)
    else:
        dynamics = NPTBerendsen(
            atoms,
            part.timestep_fs * fs,
            temperature_K=temperature_K,
            pressure_au=pressure_GPa * GPa,
            taut=fs / part.friction_per_fs,
            taup=part.barostat_fs * fs,
            compressibility_au=COMPRESSIBILITY_PER_GPA / GPa,
        )
    for sample in range(1, kept_structures(part) + 1):
        left = _steps_per_sample(part)
        while left:
            steps = min(left, STEPS_PER_LOOK)
            dynamics.run(steps)
            left -= steps
            time_fs = (sample * _steps_per_sample(part) - left) * part.timestep_fs
            watch.look(atoms, time_fs)
        yield time_fs


class _Watch:
    """Ends a trajectory that goes wrong."""

    def __init__(self, atoms: Atoms, part: ShortDynamics, pressure_GPa: float) -> None:
        self._closest = min(part.closest, nearest_share(atoms))
        self._volume_A3 = atoms.get_volume()
        self._pressure_eV_A3 = pressure_GPa * GPa
        (self._temperature_K,) = part.temperatures_K
        heat_eV = HEAT_KT * kB * self._temperature_K + HEAT_EV
        energy_eV = unconstrained.energy_eV(atoms)
        self._most_eV = energy_eV + heat_eV * len(atoms)

    def look(self, atoms: Atoms, time_fs: float) -> None:
        fault = self._fault(atoms)
        if fault is not None:
            raise TeacherError(
                f"{fault} after {time_fs:g} fs at {self._temperature_K:g} K."
            )

    def _fault(self, atoms: Atoms) -> str | None:
        energy_eV = unconstrained.energy_eV(atoms) + atoms.get_kinetic_energy()
        energy_eV += self._pressure_eV_A3 * (atoms.get_volume() - self._volume_A3)
        if not (np.isfinite(energy_eV) and np.isfinite(atoms.positions).all()):
            return "Energy or positions were not finite numbers"
        growth = atoms.get_volume() / self._volume_A3
        if not 1 / VOLUME_FACTOR <= growth <= VOLUME_FACTOR:
            return f"The volume had changed by a factor of {growth:.2g}"
        share = nearest_share(atoms)
        if share < self._closest:
            return f"Two atoms were at {share:.2f} of the sum of their covalent radii"
        if energy_eV > self._most_eV:
            return "The energy had risen by more than heat explains"
        return None


def _steps_per_sample(part: ShortDynamics) -> int:
    return max(1, round(part.sample_fs / part.timestep_fs))


def kept_structures(part: ShortDynamics) -> int:
    """Return the number of structures of one trajectory."""
    return max(1, round(part.duration_fs / part.sample_fs))


def atom_steps(part: ShortDynamics) -> float:
    """Return time steps times atoms of all trajectories."""
    steps = kept_structures(part) * _steps_per_sample(part)
    return part.trajectories * steps * mean_atoms(part)


def sample(part: ShortDynamics, steps: int) -> list[ShortDynamics]:
    """Return a short run of one structure, to measure its cost.

    ``steps``: number of time steps.
    """
    duration_fs = steps * part.timestep_fs
    return [
        replace(
            part,
            only=(middle_sized(part),),
            trajectories=1,
            temperatures_K=part.temperatures_K[:1],
            pressures_GPa=(),
            duration_fs=duration_fs,
            sample_fs=duration_fs,
        )
    ]
