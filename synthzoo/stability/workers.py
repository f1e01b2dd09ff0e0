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

from synthzoo.errors import InputError
from synthzoo.potentials import is_calculator
from synthzoo.runs.progress import progress_bar
from synthzoo.runs.workers import GuardedThreads, Lost, call_guarded, compute_guarded
from synthzoo.stability.batching import ReplicaBatch
from synthzoo.stability.protocol import plan_parts
from synthzoo.stability.replica import Progress, Replica, ReplicaJob, first_state
from synthzoo.stability.state import last_time_fs, read_state, write_state
from synthzoo.stability.verdict import SERIES_FILE, Failure

if TYPE_CHECKING:
    from synthzoo.potentials import Model

Result = TypeVar("Result")
Group = tuple[ReplicaJob, ...]
"""Replicas that are moved together: all of a model by torch-sim, else one alone."""


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

    def run(self, groups: Sequence[Group]) -> None:
        """Run replicas to their ends; what has ended before is not run again.

        Parameters
        ----------
        groups
            Replicas that are moved together.
        """
        with _Bar(groups) as bar:
            for group in bar.unfinished:
                bar.follow(group, map(_runner(group), _numbers(group[0])))


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

    def run(self, groups: Sequence[Group]) -> None:
        """Run replicas to their ends; what has ended before is not run again.

        Parameters
        ----------
        groups
            Replicas that are moved together.
        """
        with _Bar(groups) as bar:
            futures = [
                self._threads.submit(_run_guarded, group, bar)
                for group in bar.unfinished
            ]
            for future in as_completed(futures):
                future.result()


def _run_guarded(group: Group, bar: _Bar) -> None:
    make, numbers = partial(_runner, group), _numbers(group[0])
    bar.follow(group, compute_guarded(make, numbers, limit_s=None))


def _runner(group: Group) -> Callable[[int], Progress]:
    """Return what runs a part of all replicas of a group."""
    return ReplicaBatch(group) if group[0].engine == "torch-sim" else Replica(group[0])


def grouped(jobs: Sequence[ReplicaJob]) -> tuple[Group, ...]:
    """Return which replicas of a model are moved together.

    Parameters
    ----------
    jobs
        All of one model.
    """
    if jobs and jobs[0].engine == "torch-sim":
        return (tuple(jobs),)
    return tuple((job,) for job in jobs)


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
    """
    given = [model for model in models if is_calculator(model)]
    if given and workers in {None, 1}:
        yield Place()
        return
    _check_portable(given)
    with GuardedThreads(workers or os.cpu_count() or 1) as threads:
        yield Children(threads)


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

    def __init__(self, groups: Sequence[Group]) -> None:
        self._planned = {group[0].folder: _steps_planned(group) for group in groups}
        self._done = {group[0].folder: _steps_done(group) for group in groups}
        self.unfinished = [
            group for group in groups if not all(_has_ended(job) for job in group)
        ]
        self._lock = threading.Lock()

    def __enter__(self) -> _Bar:
        self._bar = progress_bar(
            desc="md",
            unit="step",
            total=sum(self._planned.values()),
            initial=sum(self._done.values()),
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def follow(self, group: Group, results: Iterable[Progress | Lost]) -> None:
        """Wait for all parts of some replicas; note if their process is lost."""
        key = group[0].folder
        for result in results:
            done = self._planned[key]
            if isinstance(result, Lost):
                for job in group:
                    _note_crash(job, result)
            elif not result.failed:
                done = result.steps
            with self._lock:
                self._bar.update(done - self._done[key])
                self._done[key] = done


def _steps_planned(group: Group) -> int:
    parts = plan_parts(group[0].recipe, group[0].settings.timestep_fs)
    return len(group) * sum(part.steps for part in parts)


def _steps_done(group: Group) -> int:
    each = _steps_planned(group) // len(group)
    states = [read_state(job.folder) for job in group]
    ended = [_has_ended(job) for job in group]
    return sum(
        each if over else state.steps
        for state, over in zip(states, ended, strict=True)
        if state is not None
    )


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
