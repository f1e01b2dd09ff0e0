"""All replicas of a model as one batch of torch-sim, part by part."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from synthzoo.errors import SynthzooError
from synthzoo.potentials import load_potential
from synthzoo.stability.protocol import Dynamics, Part, plan_parts
from synthzoo.stability.replica import ReplicaJob, first_state
from synthzoo.stability.state import (
    read_state,
    set_configuration,
    settle_states,
    write_states,
)
from synthzoo.stability.walk import Walk

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.stability.state import State
    from synthzoo.stability.torch_sim import Batch


class ReplicaBatch:
    """Runs the parts of several replicas at once; goes on from the saved states.

    A replica that fails is left out from then on. The states of all are saved together,
    so that a resumed run has the same batches as an undisturbed one. The noise of the
    thermostat is drawn for the whole batch, from the seed of the first replica and the
    number of the part.

    ``jobs``: the replicas; of one model and one protocol.
    """

    def __init__(self, jobs: Sequence[ReplicaJob]) -> None:
        self._jobs, first = tuple(jobs), jobs[0]
        self._parts = plan_parts(first.recipe, first.settings.timestep_fs)
        settle_states([job.folder for job in jobs])
        self._states = [read_state(job.folder) or first_state(job) for job in jobs]
        self._calculator: Any = load_potential(
            first.model, place=first.place
        ).calculator  # a network's, as `check_engine` has seen

    def __call__(self, number: int) -> None:
        """Run a part with the replicas that are sound, unless it was run before."""
        alive = [
            (job, state)
            for job, state in zip(self._jobs, self._states, strict=True)
            if state.failure is None and state.part == number
        ]
        if alive:
            jobs, states = [job for job, _ in alive], [state for _, state in alive]
            self._run(self._parts[number], jobs, states)

    def _run(
        self, part: Part, jobs: Sequence[ReplicaJob], states: Sequence[State]
    ) -> None:
        started = time.monotonic()
        structures = [_structure(*each) for each in zip(jobs, states, strict=True)]
        walks = [
            Walk(job.recipe, job.settings, part, state, atoms)
            for job, state, atoms in zip(jobs, states, structures, strict=True)
        ]
        with self._noise(states[0].part), np.errstate(all="ignore"):
            batch = self._batch(part, structures)
            batch.show(structures)
            with ExitStack() as watching:
                for walk, job in zip(walks, jobs, strict=True):
                    watching.enter_context(walk.watched(job.folder))
                _take_steps(batch, part.steps, walks, structures)
        for state in states:
            state.part += 1
            state.seconds += (time.monotonic() - started) / len(states)
        write_states({job.folder: s for job, s in zip(jobs, states, strict=True)})

    def _batch(self, part: Part, structures: Sequence[Atoms]) -> Batch:
        from synthzoo.stability.torch_sim import Batch

        recipe, settings = self._jobs[0].recipe, self._jobs[0].settings
        stage = recipe.moving[part.stage]
        return Batch(
            self._calculator,
            structures,
            dataclasses.replace(
                settings, timestep_fs=settings.timestep_fs * part.factor
            ),
            heated=isinstance(stage, Dynamics) and stage.ensemble == "nvt",
        )

    @contextmanager
    def _noise(self, part: int) -> Iterator[None]:
        """Seed torch for a part, and leave the caller's random numbers as they were."""
        import torch

        device = torch.device(self._calculator.device)
        devices = [device] if device.type == "cuda" else []
        seeds = np.random.SeedSequence((self._jobs[0].seed, part))
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(int(seeds.generate_state(1, np.uint64)[0] >> 1))
            try:
                yield
            except torch.OutOfMemoryError as error:
                raise SynthzooError(
                    f"{len(self._jobs)} replicas at once do not fit into the memory "
                    f"of {device}; ask for fewer."
                ) from error


def _structure(job: ReplicaJob, state: State) -> Atoms:
    atoms: Atoms = job.atoms.copy()
    set_configuration(atoms, state.now)
    return atoms


def _take_steps(
    batch: Batch, steps: int, walks: Sequence[Walk], structures: Sequence[Atoms]
) -> None:
    """Move all together; a replica in which something goes wrong is left out."""
    moving = list(zip(walks, structures, strict=True))
    for _ in range(steps):
        first = moving[0][0]
        shown = first.looks_next
        batch.step(first.thermostat_K)
        if shown:
            batch.show([atoms for _, atoms in moving])
        for walk, _ in moving:
            walk.stepped()
        sound = [number for number, (walk, _) in enumerate(moving) if walk.sound]
        if not sound:
            return
        if len(sound) < len(moving):
            batch.keep(sound)
            moving = [moving[number] for number in sound]
