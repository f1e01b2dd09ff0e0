"""Replicas at work: each in a child process of a thread, or all in this process."""

from __future__ import annotations

import contextlib
import os
import pickle
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import as_completed
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from tqdm import tqdm

from synthzoo.errors import InputError, SynthzooError
from synthzoo.guarded import GuardedThreads, Lost, call_guarded, compute_guarded
from synthzoo.resumable import DISK_FAULTS
from synthzoo.stability.plan import plan_parts
from synthzoo.stability.potentials import is_reference
from synthzoo.stability.recording import last_time_fs
from synthzoo.stability.replica import Progress, Replica, ReplicaJob, first_state
from synthzoo.stability.state import read_state, write_state
from synthzoo.stability.verdict import SERIES_FILE, Failure

if TYPE_CHECKING:
    from synthzoo.stability.potentials import Model

Result = TypeVar("Result")


class Place:
    """Where functions are called that use a potential: in this process.

    Its children work elsewhere.
    """

    def call(self, functions: Sequence[Callable[[], Result]]) -> list[Result | Lost]:
        """Return what some functions return, in order.

        Parameters
        ----------
        functions
            Without arguments; picklable.
        """
        return [function() for function in functions]

    def run(self, jobs: Sequence[ReplicaJob]) -> None:
        """Run replicas to their ends; what has ended before is not run again.

        Parameters
        ----------
        jobs
            Replicas.
        """
        with _Bar(jobs) as bar:
            for job in bar.unfinished:
                bar.follow(job, map(Replica(job), _numbers(job)))


class Children(Place):
    """Child processes, one for each of some threads; a crash costs one replica only.

    Parameters
    ----------
    threads
        Their threads.
    """

    def __init__(self, threads: GuardedThreads) -> None:
        self._threads = threads

    def call(self, functions: Sequence[Callable[[], Result]]) -> list[Result | Lost]:
        """Return what some functions return, in order.

        Parameters
        ----------
        functions
            Without arguments; picklable.
        """
        futures = [
            self._threads.submit(call_guarded, function, limit_s=None)
            for function in functions
        ]
        return [future.result() for future in futures]

    def run(self, jobs: Sequence[ReplicaJob]) -> None:
        """Run replicas to their ends; what has ended before is not run again.

        Parameters
        ----------
        jobs
            Replicas.
        """
        with _Bar(jobs) as bar:
            futures = [
                self._threads.submit(_run_guarded, job, bar) for job in bar.unfinished
            ]
            for future in as_completed(futures):
                future.result()


def _run_guarded(job: ReplicaJob, bar: _Bar) -> None:
    make = partial(Replica, job)
    bar.follow(job, compute_guarded(make, _numbers(job), limit_s=None))


@contextlib.contextmanager
def find_place(models: Sequence[Model], workers: int | None) -> Iterator[Place]:
    """Give a place to work: child processes, or this process for calculators.

    A calculator may be of a kind that no other process can have. It is computed with
    here, unless several workers are asked for.

    Parameters
    ----------
    models
        What is put to the test.
    workers
        How many replicas run at a time; one for each core if not given.

    Raises
    ------
    InputError
        If several workers are asked for, and a calculator cannot be sent to them.
    SynthzooError
        If the disk is full; what is finished is kept.
    """
    given = [model for model in models if not is_reference(model)]
    try:
        if given and workers in {None, 1}:
            yield Place()
            return
        _check_portable(given)
        with GuardedThreads(workers or os.cpu_count() or 1) as threads:
            yield Children(threads)
    except OSError as error:
        if error.errno not in DISK_FAULTS:
            raise
        raise SynthzooError(
            f"{error}. What is finished is kept; run the same command again to go on "
            "when there is room to write."
        ) from error


def _check_portable(calculators: Sequence[Any]) -> None:
    try:
        pickle.dumps(calculators)
    except Exception as error:  # pickle raises whatever the objects do
        raise InputError(
            f"The calculator cannot be sent to other processes ({error}); use one "
            "worker."
        ) from error


def _numbers(job: ReplicaJob) -> range:
    return range(len(plan_parts(job.recipe, job.settings.timestep_fs)))


class _Bar:
    """A progress bar over the steps of all replicas."""

    def __init__(self, jobs: Sequence[ReplicaJob]) -> None:
        self._planned = {
            job.folder: sum(
                part.steps for part in plan_parts(job.recipe, job.settings.timestep_fs)
            )
            for job in jobs
        }
        self._done = {job.folder: _steps_done(job) for job in jobs}
        ended = {job.folder for job in jobs if _has_ended(job)}
        for folder in ended:
            self._done[folder] = self._planned[folder]
        self.unfinished = [job for job in jobs if job.folder not in ended]
        self._lock = threading.Lock()

    def __enter__(self) -> _Bar:
        self._bar = tqdm(
            total=sum(self._planned.values()),
            initial=sum(self._done.values()),
            desc="md",
            unit=" steps",
            disable=None if self.unfinished else True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def follow(self, job: ReplicaJob, results: Iterable[Progress | Lost]) -> None:
        """Wait for all parts of a replica; note if its process is lost."""
        for result in results:
            done = self._planned[job.folder]
            if isinstance(result, Lost):
                _note_crash(job, result)
            elif not result.failed:
                done = result.steps
            with self._lock:
                self._bar.update(done - self._done[job.folder])
                self._done[job.folder] = done


def _steps_done(job: ReplicaJob) -> int:
    state = read_state(job.folder)
    return 0 if state is None else state.steps


def _has_ended(job: ReplicaJob) -> bool:
    state = read_state(job.folder)
    if state is None:
        return False
    return state.failure is not None or state.part == len(_numbers(job))


def _note_crash(job: ReplicaJob, lost: Lost) -> None:
    """Write into the state of a replica that its process was lost, twice."""
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
