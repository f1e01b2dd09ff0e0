"""Melt–quench–anneal trajectories, driven by a teacher."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from ase.md.velocitydistribution import thermalize_momenta
from ase.optimize import FIRE

from synthzoo.data.sound import min_distance_A
from synthzoo.errors import TeacherError
from synthzoo.generation.builders import cut_open
from synthzoo.generation.dynamics import (
    AseDynamics,
    Dynamics,
    Stage,
    restarted,
    steps_per_block,
)
from synthzoo.generation.grids import draw, grid_points
from synthzoo.generation.lammps_dynamics import LammpsDynamics
from synthzoo.generation.packing import density_points, pack
from synthzoo.teachers.lammps import RestartingLAMMPS

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

    from synthzoo.generation.kinds.from_atoms import MeltQuench, StageName
    from synthzoo.generation.species import Species
    from synthzoo.recipes.schema import Range

RELAX_STEPS = 15
"""Steps that take the worst forces off a random packing before it is heated."""

SAMPLED_DENSITIES = 3
"""At which the cost of the dynamics is measured."""

FUSED_A = 0.6
"""Atoms that come this close have left what any potential was fitted to."""


def trajectories(part: MeltQuench, seed: tuple[int, int]) -> list[MeltQuench]:
    """Return a part once for each trajectory, on the points of its grid if it has.

    ``seed``: of the recipe, and the number of the part there.
    """
    densities = density_points(part)
    temperatures = grid_points(part.anneal_K, part.anneal_step_K)
    rng = np.random.default_rng((*seed, part.trajectories))  # no job has this
    points = _dealt(list(itertools.product(densities, temperatures)), part, rng)
    return [
        dataclasses.replace(part, density_g_cm3=density, anneal_K=temperature)
        for density, temperature in points
    ]


def _dealt(
    points: list[tuple[Range | None, Range]],
    part: MeltQuench,
    rng: np.random.Generator,
) -> list[tuple[Range | None, Range]]:
    order = rng.permutation(len(points))
    return [points[order[item % len(order)]] for item in range(part.trajectories)]


def trajectory(
    part: MeltQuench, species: Species, calculator: Calculator, rng: np.random.Generator
) -> list[Atoms]:
    """Return the structures that are kept of one melt–quench–anneal trajectory.

    ``calculator``: drives the dynamics; that of a LAMMPS teacher does it inside of
    LAMMPS.
    """
    with restarted(calculator):
        return _trajectory(part, species, calculator, rng)


def _trajectory(
    part: MeltQuench, species: Species, calculator: Calculator, rng: np.random.Generator
) -> list[Atoms]:
    atoms = pack(part, species, rng)
    atoms.calc = calculator
    with FIRE(atoms, logfile=None, maxstep=0.1) as relaxation:
        relaxation.run(fmax=1.0, steps=RELAX_STEPS)
    bulk, surface = _stages(part, rng)
    thermalize_momenta(atoms, temperature_K=bulk[0].start_K, rng=rng)
    kept = list(_run(atoms, bulk, part, rng))
    if part.surface_fs > 0:
        momenta = atoms.get_momenta()
        atoms = cut_open(atoms, int(rng.integers(3)), part.vacuum_A)
        atoms.calc = calculator
        atoms.set_momenta(momenta)
        kept += _run(atoms, [surface], part, rng)
    return kept


def kept_structures(part: MeltQuench) -> int:
    """Return the number of structures that are kept of each trajectory."""
    bulk, surface = _stages(part, np.random.default_rng(0))
    stages = [*bulk, surface] if part.surface_fs > 0 else bulk
    return sum(stage.blocks for stage in stages if stage.name not in part.leave_out)


def atom_steps(part: MeltQuench) -> float:
    """Return the time steps times atoms of all trajectories."""
    every = dataclasses.replace(part, leave_out=())
    steps = kept_structures(every) * steps_per_block(part)
    return part.trajectories * steps * sum(part.atoms) / 2


def sample(part: MeltQuench, count: int) -> list[MeltQuench]:
    """Return short melts of a part at a few of its densities, to measure their cost.

    ``count``: number of time steps of each.
    """
    atoms = round(sum(part.atoms) / 2)
    duration_fs = count * part.timestep_fs
    melt = dataclasses.replace(
        part,
        atoms=(atoms, atoms),
        density_step_g_cm3=None,
        melt_fs=duration_fs,
        quench_fs=0.0,
        anneal_fs=0.0,
        cool_fs=0.0,
        surface_fs=0.0,
        sample_fs=duration_fs,
    )
    if part.density_g_cm3 is None:
        return [melt] * SAMPLED_DENSITIES
    return [
        dataclasses.replace(melt, density_g_cm3=(float(density), float(density)))
        for density in np.linspace(*part.density_g_cm3, SAMPLED_DENSITIES)
    ]


def _stages(part: MeltQuench, rng: np.random.Generator) -> tuple[list[Stage], Stage]:
    melt, anneal, cold, surface = (
        draw(interval, rng)
        for interval in (part.melt_K, part.anneal_K, part.cold_K, part.surface_K)
    )
    bulk = [
        _stage("melt", part.melt_fs, (melt, melt), part),
        _stage("quench", part.quench_fs, (melt, cold), part),
        _stage("anneal", part.anneal_fs, (anneal, anneal), part),
        _stage("cool", part.cool_fs, (anneal, cold), part),
    ]
    opened = _stage("surface", part.surface_fs, (surface, surface), part)
    return [stage for stage in bulk if stage.duration_fs > 0], opened


def _stage(
    name: StageName, duration_fs: float, ends_K: Range, part: MeltQuench
) -> Stage:
    return Stage(
        name=name,
        duration_fs=duration_fs,
        start_K=ends_K[0],
        end_K=ends_K[1],
        blocks=max(1, round(duration_fs / part.sample_fs)),
    )


def _run(
    atoms: Atoms, stages: list[Stage], part: MeltQuench, rng: np.random.Generator
) -> Iterator[Atoms]:
    dynamics = _dynamics(atoms, stages[0].start_K, part, rng)
    for stage in stages:
        dynamics.enter(stage)
        ramp = np.linspace(stage.start_K, stage.end_K, stage.blocks + 1)
        for temperature in ramp[1:]:
            dynamics.advance(float(temperature))
            _check(atoms, stage)
            if stage.name not in part.leave_out:
                yield _frame(atoms, stage, float(temperature))


def _dynamics(
    atoms: Atoms, start_K: float, part: MeltQuench, rng: np.random.Generator
) -> Dynamics:
    if isinstance(atoms.calc, RestartingLAMMPS):
        return LammpsDynamics(atoms, part, rng)
    return AseDynamics(atoms, part, rng, start_K)


def _check(atoms: Atoms, stage: Stage) -> None:
    if not np.isfinite(atoms.positions).all() or min_distance_A(atoms) < FUSED_A:
        raise TeacherError(
            f"The dynamics failed in stage {stage.name}: two atoms came closer than "
            f"{FUSED_A} Å. Use a shorter time step or a lower temperature."
        )


def _frame(atoms: Atoms, stage: Stage, temperature_K: float) -> Atoms:
    frame = Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=True)
    frame.wrap()
    frame.info.update(stage=stage.name, temperature_K=round(temperature_K, 1))
    return frame
