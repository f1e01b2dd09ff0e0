"""The pieces of work that `engine_speed.py` times: force calls and training steps.

A piece is a function; the time counts that its last call took. What a call needs and no
program would compute for it, such as the next positions, is made outside of that time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from ase.build import bulk

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator
    from numpy.typing import NDArray
    from torch import Tensor
    from torch.nn import Module

SPACING_A = 3.57
AMPLITUDE_A = 0.06
"""Of each coordinate of an atom: that of diamond at room temperature."""

PERIODS_FS = (25.0, 60.0)
STEP_FS = 0.5
RATTLE_A, STRAIN = 0.05, 0.01
"""Spread of displacements and strains of other structures."""

STEP_CELLS = 4
"""Structures of a training step, of 24 atoms each: a step of a recipe's default."""


class Seconds(NamedTuple):
    """What some calls took, in seconds of the processor and of the clock."""

    calls: int
    cpu_s: float
    wall_s: float


def timed(pieces: Iterator[Callable[[], object]], at_least_s: float) -> Seconds:
    """Do pieces of work until they have taken so much time of the processor."""
    calls, cpu_s, wall_s = 0, 0.0, 0.0
    while not calls or cpu_s < at_least_s:
        piece = next(pieces)
        wall, cpu = time.perf_counter(), time.process_time()
        piece()
        cpu_s += time.process_time() - cpu
        wall_s += time.perf_counter() - wall
        calls += 1
    return Seconds(calls, cpu_s, wall_s)


def diamond(atoms: int, elements: tuple[str, ...] = ("C",)) -> Atoms:
    """Return a cubic cell of diamond with these elements in disorder.

    ``atoms``: eight times a cube.
    """
    repeats = round((atoms / 8) ** (1 / 3))
    crystal: Atoms = bulk("C", "diamond", a=SPACING_A, cubic=True).repeat(repeats)
    rng = np.random.default_rng(0)
    crystal.symbols = rng.permutation(np.resize(elements, len(crystal)))
    if len(crystal) != atoms:
        raise ValueError(f"{atoms} atoms do not fill a cubic cell of diamond")
    return crystal


def dynamics(crystal: Atoms, calculator: Calculator) -> Iterator[Callable[[], object]]:
    """Yield force calls on a crystal whose atoms vibrate as at room temperature."""
    rng = np.random.default_rng(1)
    shape = crystal.positions.shape
    rest_A = crystal.positions.copy()
    periods_fs = rng.uniform(*PERIODS_FS, size=shape)
    phases = rng.uniform(0, 2 * np.pi, size=shape)
    crystal.calc = calculator
    step = 0
    while True:
        angles = 2 * np.pi * step * STEP_FS / periods_fs + phases
        crystal.positions[:] = rest_A + AMPLITUDE_A * np.sin(angles)
        step += 1
        yield crystal.get_forces


def new_structures(
    crystal: Atoms, calculator: Calculator
) -> Iterator[Callable[[], object]]:
    """Yield force calls on structures that do not follow from each other.

    Each has another cell, and its atoms at other places. All are given to the same
    object, since some calculators read their files again when they are attached to
    another one.
    """
    rng = np.random.default_rng(2)
    rest = crystal.copy()
    crystal.calc = calculator
    while True:
        strain = rng.normal(scale=STRAIN, size=(3, 3))
        deform = np.eye(3) + strain + strain.T
        moved_A = rng.normal(scale=RATTLE_A, size=rest.positions.shape)
        crystal.cell[:] = rest.cell @ deform
        places = rng.permutation(rest.positions)
        crystal.positions[:] = places @ deform + moved_A
        yield crystal.get_forces


def training_steps(
    network: Module, elements: tuple[str, ...], cutoff_A: float
) -> Iterator[Callable[[], object]]:
    """Yield steps of Adam on the squared errors of energies and forces."""
    import torch

    from synthzoo.models import graphs

    graph = training_batch(elements, cutoff_A)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-4)

    def step() -> None:
        optimiser.zero_grad()
        output = network(graph.copy())
        loss = _squared(output[graphs.FORCES] - graph[graphs.FORCES])
        loss = loss + _squared(output[graphs.ENERGY] - graph[graphs.ENERGY])
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    while True:
        yield step


def training_batch(elements: tuple[str, ...], cutoff_A: float) -> dict[str, Tensor]:
    """Return a batch of rattled crystals with made-up labels."""
    from synthzoo.data.flat import flatten
    from synthzoo.data.labels import Labels
    from synthzoo.models.graphs import graph_of

    rng = np.random.default_rng(3)
    labelled = []
    for _ in range(STEP_CELLS):
        atoms = diamond(8, elements).repeat((3, 1, 1))
        atoms.positions += rng.normal(scale=RATTLE_A, size=atoms.positions.shape)
        forces: NDArray[np.float64] = rng.normal(size=atoms.positions.shape)
        labelled.append((atoms, Labels(energy_eV=0.0, forces_eV_A=forces)))
    return graph_of(flatten(labelled), elements=elements, cutoff_A=cutoff_A)


def _squared(errors: Tensor) -> Tensor:
    return errors.square().mean()
