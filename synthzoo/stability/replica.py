"""One replica: its run, part by part, each from a saved state to the next."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase.md.velocitydistribution import Stationary, thermalize_momenta

from synthzoo.models.place import ANYWHERE, Place
from synthzoo.potentials import Model, forget, load_potential
from synthzoo.stability.fixed import keep_fixed
from synthzoo.stability.protocol import plan_parts
from synthzoo.stability.state import (
    State,
    configuration,
    read_state,
    set_configuration,
    write_state,
)
from synthzoo.stability.walk import Walk

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.stability.engines import Engine
    from synthzoo.stability.integrators import Settings
    from synthzoo.stability.protocol import MdRecipe


@dataclass(frozen=True, kw_only=True)
class ReplicaJob:
    """What a replica does.

    ``model``: what is put to the test.
    ``atoms``: structure at the start; velocities are drawn anew.
    ``seed``: of the velocities and the thermostat.
    ``folder``: for its files; it exists.
    ``place``: where a model of the zoo computes.
    """

    model: Model
    atoms: Atoms
    recipe: MdRecipe
    settings: Settings
    seed: int
    folder: Path
    place: Place = ANYWHERE
    engine: Engine = "ase"


class Replica:
    """Runs the parts of a replica; goes on from the saved state if there is one.

    Every part starts from the saved numbers alone, so that a resumed run is the same as
    an undisturbed one.
    """

    def __init__(self, job: ReplicaJob) -> None:
        self._job = job
        self._parts = plan_parts(job.recipe, job.settings.timestep_fs)
        self._state = read_state(job.folder) or first_state(job)
        self._atoms = job.atoms.copy()
        self._calculator = load_potential(job.model, place=job.place).calculator

    def __call__(self, number: int) -> None:
        """Run a part, unless it was run before or something has gone wrong."""
        state = self._state
        if state.failure is None and number == state.part:
            self._run(number)

    def _run(self, number: int) -> None:
        started, state, job = time.monotonic(), self._state, self._job
        set_configuration(self._atoms, state.now)
        self._atoms.calc = self._calculator
        forget(self._calculator)
        part = self._parts[number]
        Walk(job.recipe, job.settings, part, state, self._atoms).go(job.folder)
        state.part += 1
        state.seconds += time.monotonic() - started
        write_state(job.folder, state)


def first_state(job: ReplicaJob) -> State:
    """Return the structure at the start with velocities drawn from the seed."""
    rng = np.random.default_rng(job.seed)
    atoms = job.atoms.copy()
    some_rest = keep_fixed(atoms)
    thermalize_momenta(atoms, job.recipe.first_K, rng=rng)
    if not some_rest:
        Stationary(atoms)
    now = configuration(atoms)
    return State(now=now, stage_start=now, rng=dict(rng.bit_generator.state))
