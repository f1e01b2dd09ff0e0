"""Replicas at work: how they run on an executor, and a bar over their time."""

from __future__ import annotations

import contextlib
import pickle
import threading
from collections.abc import Callable, Container, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthzoo.errors import InputError
from synthzoo.potentials import is_calculator
from synthzoo.runs.child import Lost
from synthzoo.runs.jobs import run_jobs
from synthzoo.runs.progress import progress_bar
from synthzoo.runs.workers import InProcess, compute_guarded, worker_threads
from synthzoo.stability.batching import ReplicaBatch
from synthzoo.stability.protocol import plan_parts, planned_fs
from synthzoo.stability.replica import Replica, ReplicaJob, first_state
from synthzoo.stability.state import last_time_fs, read_state, write_state
from synthzoo.stability.verdict import SERIES_FILE, Failure

if TYPE_CHECKING:
    from synthzoo.potentials import Model

LOOK_EVERY_S = 1.0
"""Time between two looks at how far the replicas are."""


@dataclass(frozen=True)
class Group:
    """Replicas that are moved together: all of a model by torch-sim, else one alone."""

    jobs: tuple[ReplicaJob, ...]

    def is_done(self) -> bool:
        """Return whether all replicas have come to their ends."""
        return all(map(_has_ended, self.jobs))

    def __call__(self) -> None:
        """Run the replicas part by part; note it in their states if they crash."""
        make, first = partial(_runner, self.jobs), self.jobs[0]
        for result in compute_guarded(make, _numbers(first), limit_s=None):
            if isinstance(result, Lost):
                for job in self.jobs:
                    _note_crash(job, result)


def _runner(jobs: Sequence[ReplicaJob]) -> Callable[[int], None]:
    """Return what runs a part of all replicas of a group."""
    return ReplicaBatch(jobs) if jobs[0].engine == "torch-sim" else Replica(jobs[0])


def grouped(jobs: Sequence[ReplicaJob]) -> tuple[Group, ...]:
    """Return which replicas of a model are moved together."""
    if jobs and jobs[0].engine == "torch-sim":
        return (Group(tuple(jobs)),)
    return tuple(Group((job,)) for job in jobs)


@contextlib.contextmanager
def find_executor(
    models: Sequence[Model], workers: int | None, executor: Executor | None
) -> Iterator[Executor]:
    """Give what runs the replicas: child processes, or this process for calculators.

    A calculator may be of a kind that no other process can have. It is computed with
    here, unless several workers are asked for.

    ``workers``: how many replicas run at a time; one for each core if not given.
    ``executor``: what the caller has, such as a cluster.
    """
    calculators = [model for model in models if is_calculator(model)]
    if executor is None and calculators and workers in {None, 1}:
        yield InProcess()
        return
    _check_portable(calculators)
    if executor is not None:
        yield executor
        return
    with worker_threads(workers) as threads:
        yield threads


def _check_portable(calculators: Sequence[Any]) -> None:
    try:
        pickle.dumps(calculators)
    except Exception as error:  # pickle raises whatever the objects do
        raise InputError(
            f"The calculator cannot be sent to other processes ({error}); use one "
            "worker."
        ) from error


def run_replicas(groups: Sequence[Group], folder: Path, executor: Executor) -> None:
    """Run replicas, whose folders are in one, to their ends; not those that ended."""
    jobs = [job for group in groups for job in group.jobs]
    ended: set[Path] = set()

    def note(group: Group) -> None:
        ended.update(job.folder for job in group.jobs)

    with _bar(jobs, ended):
        run_jobs(groups, folder, executor=executor, on_done=note)


@contextlib.contextmanager
def _bar(jobs: Sequence[ReplicaJob], ended: Container[Path]) -> Iterator[None]:
    """Show how much time replicas have simulated; their files say it, on any machine.

    One that has ended counts in full.
    """

    def done_fs() -> int:
        return sum(
            round(
                planned_fs(job.recipe)
                if job.folder in ended
                else last_time_fs(job.folder / SERIES_FILE)
            )
            for job in jobs
        )

    def watch() -> None:
        while not over.wait(LOOK_EVERY_S):
            with contextlib.suppress(OSError):  # a network file system may be slow
                bar.update(done_fs() - bar.n)

    total = sum(round(planned_fs(job.recipe)) for job in jobs)
    bar = progress_bar(desc="md", unit="fs", total=total, initial=done_fs())
    over = threading.Event()
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
        bar.close()


def _numbers(job: ReplicaJob) -> range:
    return range(len(plan_parts(job.recipe, job.settings.timestep_fs)))


def _has_ended(job: ReplicaJob) -> bool:
    state = read_state(job.folder)
    if state is None:
        return False
    return state.failure is not None or state.part == len(_numbers(job))


def _note_crash(job: ReplicaJob, lost: Lost) -> None:
    """Write into the state of a replica that its process was lost, twice."""
    if _has_ended(job):
        return
    state = read_state(job.folder) or first_state(job)
    time_fs = max(state.time_fs, last_time_fs(job.folder / SERIES_FILE))
    part = plan_parts(job.recipe, job.settings.timestep_fs)[state.part]
    later = round((time_fs - state.time_fs) / job.settings.timestep_fs)
    state.failure = Failure(
        kind="crash",
        stage=job.recipe.moving[part.stage].name,
        time_fs=time_fs,
        step=state.steps + later,
        detail=f"the calculator {lost.reason}",
    )
    write_state(job.folder, state)
