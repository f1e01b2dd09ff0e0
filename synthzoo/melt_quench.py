"""Melt–quench–anneal trajectories, driven by a teacher."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms, units
from ase.constraints import FixCom
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from ase.optimize import FIRE

from synthzoo.builders import cut_open, draw, pack
from synthzoo.errors import InputError
from synthzoo.structures import min_distance_A

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

    from synthzoo.parts import MeltQuench

RELAX_STEPS = 15
"""Steps that take the worst forces off a random packing before it is heated."""

FUSED_A = 0.6
"""Atoms that come this close have left what any potential was fitted to."""


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
    """

    name: str
    duration_fs: float
    start_K: float
    end_K: float


def trajectory(
    part: MeltQuench, element: str, calculator: Calculator, rng: np.random.Generator
) -> list[Atoms]:
    """Return the structures that are kept of one melt–quench–anneal trajectory.

    Parameters
    ----------
    part
        Stages, temperatures and sampling.
    element
        Chemical symbol.
    calculator
        Drives the dynamics.
    rng
        Source of all randomness of this trajectory.

    Raises
    ------
    InputError
        If the atoms cannot be packed, or if they fuse or fly apart on the way.
    """
    atoms = pack(part, element, rng)  # type: ignore[arg-type]  # has the same ranges
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


def _stages(part: MeltQuench, rng: np.random.Generator) -> tuple[list[Stage], Stage]:
    melt, anneal, cold, surface = (
        draw(interval, rng)
        for interval in (part.melt_K, part.anneal_K, part.cold_K, part.surface_K)
    )
    bulk = [
        Stage(name="melt", duration_fs=part.melt_fs, start_K=melt, end_K=melt),
        Stage(name="quench", duration_fs=part.quench_fs, start_K=melt, end_K=cold),
        Stage(name="anneal", duration_fs=part.anneal_fs, start_K=anneal, end_K=anneal),
        Stage(name="cool", duration_fs=part.cool_fs, start_K=anneal, end_K=cold),
    ]
    opened = Stage(
        name="surface", duration_fs=part.surface_fs, start_K=surface, end_K=surface
    )
    return [stage for stage in bulk if stage.duration_fs > 0], opened


def _run(
    atoms: Atoms, stages: list[Stage], part: MeltQuench, rng: np.random.Generator
) -> Iterator[Atoms]:
    atoms.set_constraint(FixCom())
    dynamics = Langevin(
        atoms,
        part.timestep_fs * units.fs,
        temperature_K=stages[0].start_K,
        friction=part.friction_per_fs / units.fs,
        fixcm=False,
        rng=rng,
    )
    every = max(1, round(part.sample_fs / part.timestep_fs))
    for stage in stages:
        blocks = max(1, round(stage.duration_fs / part.sample_fs))
        for temperature in np.linspace(stage.start_K, stage.end_K, blocks + 1)[1:]:
            dynamics.set_temperature(temperature_K=float(temperature))
            dynamics.run(every)
            _check(atoms, stage)
            yield _frame(atoms, stage, float(temperature))


def _check(atoms: Atoms, stage: Stage) -> None:
    if not np.isfinite(atoms.positions).all() or min_distance_A(atoms) < FUSED_A:
        raise InputError(
            f"The driver lost its atoms in stage {stage.name}: two of them came closer "
            f"than {FUSED_A} Å. Use a shorter time step or a lower temperature."
        )


def _frame(atoms: Atoms, stage: Stage, temperature_K: float) -> Atoms:
    frame = Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=True)
    frame.wrap()
    frame.info.update(stage=stage.name, temperature_K=round(temperature_K, 1))
    return frame
