"""What the checks of `synthzoo md` cost, and what parallel replicas and memory do.

Run it on an otherwise idle machine with two cores or more:

    python benchmarks/stability.py carbon

The argument is a model that knows carbon; 64 atoms of diamond are moved. The checked
and the bare loop take turns, so that other load meets both alike.
"""

from __future__ import annotations

import argparse
import dataclasses
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ase import units
from ase.build import bulk
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta

from synthzoo import run_md
from synthzoo.potentials import load_potential
from synthzoo.stability.integrators import Settings
from synthzoo.stability.protocol import Dynamics, MdRecipe, plan_parts
from synthzoo.stability.replica import Replica, ReplicaJob

if TYPE_CHECKING:
    from ase import Atoms

PART_STEPS = 100
SETTINGS = Settings(
    thermostat="langevin", friction_per_fs=0.01, timestep_fs=1.0, barostat_fs=1000.0
)


def main() -> None:
    """Run all benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="carbon")
    parser.add_argument(
        "--turns", type=int, default=20, help=f"{PART_STEPS} steps each"
    )
    parser.add_argument(
        "--replica-steps", type=int, default=3000, help="each warms up once"
    )
    parser.add_argument("--memory-steps", type=int, default=100_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    diamond = bulk("C", cubic=True).repeat(2)
    show_overhead(options.model, diamond, options.turns)
    show_replicas(options.model, diamond, options.replica_steps)
    show_memory(options.memory_steps)


def show(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def recipe(steps: int, **settings: Any) -> MdRecipe:
    """Return a protocol of so many steps of 1 fs at 300 K."""
    stage = Dynamics(name="warm", duration_fs=float(steps), start_K=300.0)
    return MdRecipe(stages=(stage,), timestep_fs=1.0, **settings)


def show_overhead(model: str, atoms: Atoms, turns: int) -> None:
    """Time a bare ASE loop and a replica in turns, in processor time."""
    protocol = recipe(turns * PART_STEPS, save_fs=float(PART_STEPS))
    bare = bare_loop(model, atoms)
    with replica_of(model, atoms, protocol) as replica:
        times = [
            take_turns(partial(bare.run, PART_STEPS), partial(replica, number), number)
            for number in range(turns)
        ][1:]
    plain, checked = 1000 * np.median(times, axis=0) / PART_STEPS
    extra = 100 * statistics.median(ours / plain for plain, ours in times) - 100
    show("| loop | CPU ms/step |\n| --- | --- |")
    show(f"| bare ASE | {plain:.2f} |\n| checked and written | {checked:.2f} |")
    show(f"median overhead of {len(times)} turns: {extra:.1f} %")


def take_turns(
    first: Callable[[], object], second: Callable[[], object], turn: int
) -> tuple[float, float]:
    """Return the processor time of two actions; who begins alternates."""
    if turn % 2:
        later = cpu_seconds(second)
        return cpu_seconds(first), later
    return cpu_seconds(first), cpu_seconds(second)


def bare_loop(model: str, atoms: Atoms) -> Langevin:
    """Return ASE's dynamics alone."""
    moved = atoms.copy()
    moved.calc = load_potential(model).calculator
    rng = np.random.default_rng(0)
    thermalize_momenta(moved, 300.0, rng=rng)
    friction = SETTINGS.friction_per_fs / units.fs
    return Langevin(
        moved, units.fs, temperature_K=300, friction=friction, fixcm=False, rng=rng
    )


@contextmanager
def replica_of(model: Any, atoms: Atoms, protocol: MdRecipe) -> Iterator[Replica]:
    """Give a replica in a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        yield Replica(
            ReplicaJob(
                model=model,
                atoms=atoms,
                recipe=protocol,
                settings=SETTINGS,
                seed=0,
                folder=Path(folder),
            )
        )


def show_replicas(model: str, atoms: Atoms, steps: int) -> None:
    """Time two replicas at once and one after the other."""
    protocol = recipe(steps, replicas=2)
    seconds = {}
    for workers in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            verdict = run_md(
                model, atoms, Path(folder) / "md", protocol=protocol, workers=workers
            )
        alone = [replica.seconds for replica in verdict.replicas]
        seconds[workers] = sum(alone) if workers == 1 else max(alone)
    show("\n| two replicas | seconds of dynamics |\n| --- | --- |")
    show(f"| one after the other | {seconds[1]:.1f} |\n| at once | {seconds[2]:.1f} |")
    show(f"ratio: {seconds[1] / seconds[2]:.2f}")


def show_memory(steps: int) -> None:
    """Follow the largest memory of a long run of copper."""
    from ase.calculators.emt import EMT

    protocol = dataclasses.replace(recipe(steps), save_fs=1000.0, frame_fs=50.0)
    parts = len(plan_parts(protocol, SETTINGS.timestep_fs))
    show("\n| steps | largest memory so far (MiB) |\n| --- | --- |")
    with replica_of(EMT(), bulk("Cu", cubic=True), protocol) as replica:
        for number in range(parts):
            replica(number)
            if number in {parts // 10, parts // 2, parts - 1}:
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                show(f"| {(number + 1) * steps // parts} | {peak:.1f} |")


def cpu_seconds(action: Callable[[], object]) -> float:
    """Return the processor time that something takes."""
    start = time.process_time()
    action()
    return time.process_time() - start


if __name__ == "__main__":
    main()
