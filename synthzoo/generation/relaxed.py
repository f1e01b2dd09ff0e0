"""Structures that take some steps along the forces of a driver."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from ase.optimize import FIRE

from synthzoo.generation.dynamics import restarted
from synthzoo.generation.kinds.from_prototypes import OfPrototypes
from synthzoo.generation.starts import bare

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms
    from ase.calculators.calculator import Calculator

    from synthzoo.generation.kinds.relaxed import Relaxed

SOFTEST_EV_A = 0.02
"""A structure whose forces are below this is relaxed."""
LONGEST_MOVE_A = 0.1
PER_JOB = 50
"""Structures that are made one after the other, at most."""


def relaxed(
    atoms: Atoms, driver: Calculator, steps: tuple[int, int], rng: np.random.Generator
) -> Atoms:
    """Return a structure after some steps along its forces, in the same cell.

    ``steps``: range of their number.
    """
    number = int(rng.integers(steps[0], steps[1], endpoint=True))
    atoms.calc = driver
    with restarted(driver), FIRE(atoms, logfile=None, maxstep=LONGEST_MOVE_A) as moving:
        moving.run(fmax=SOFTEST_EV_A, steps=number)
    return bare(atoms, pbc=atoms.pbc)


def jobs(part: Relaxed, _: tuple[int, int]) -> list[Relaxed]:
    """Return a part in shares that are made independently of each other."""
    most = max(1, PER_JOB // _per_count(part))
    whole, rest = divmod(part.of.count, most)
    return [_with_count(part, count) for count in [most] * whole + [rest] * bool(rest)]


def atom_steps(part: Relaxed) -> float:
    """Return calculations of forces times atoms, at most."""
    structures = part.of.count * _per_count(part)
    return structures * sum(part.relax_steps) / 2 * part.of.max_atoms


def sample(part: Relaxed, steps: int) -> list[Relaxed]:
    """Return one structure of each prototype, relaxed for so many steps."""
    one = _with_count(part, 1)
    return [dataclasses.replace(one, relax_steps=(steps, steps))]


def _per_count(part: Relaxed) -> int:
    """Return how many structures there are for each one that is counted."""
    return len(part.of.prototypes) if isinstance(part.of, OfPrototypes) else 1


def _with_count(part: Relaxed, count: int) -> Relaxed:
    return dataclasses.replace(part, of=dataclasses.replace(part.of, count=count))
