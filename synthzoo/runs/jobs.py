"""Independent jobs on any executor: threads with children, this process, a cluster."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from concurrent.futures import wait as wait_for
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from synthzoo.errors import SynthzooError
from synthzoo.runs.workers import abandon, call_guarded

if TYPE_CHECKING:
    from synthzoo.runs.child import Lost

_LOG = logging.getLogger(__name__)

CLUSTER_SIZE_IS_ASKED_EVERY_S = 5.0


class Job(Protocol):
    """Work that leaves its result in files; picklable."""

    def is_done(self) -> bool:
        """Return whether the result is there, from an earlier run."""

    def __call__(self) -> object:
        """Do the work; what it returns is not kept."""


AnyJob = TypeVar("AnyJob", bound=Job)
Result = TypeVar("Result")


def run_jobs(
    jobs: Iterable[AnyJob],
    shared: Path,
    *,
    executor: Executor,
    on_done: Callable[[AnyJob], object] | None = None,
) -> int:
    """Run the jobs that are not done yet and return the number of all jobs.

    The first error ends the run: what has not begun is cancelled, and children are
    ended in the middle of what they do.

    ``jobs``: in order; taken one by one, only a few ahead of the workers.
    ``shared``: file or folder of the run, which its workers must see.
    ``executor``: where the jobs run: `synthzoo.runs.workers.GuardedThreads` or
    `synthzoo.runs.workers.InProcess` on this machine,
    `synthzoo.runs.cluster.dask_executor` for a cluster, or any other.
    ``on_done``: called in this thread with each job that is done, in any order.
    Raises what a job has raised.
    """
    under_way = _UnderWay(shared.absolute(), executor, on_done)
    try:
        with _named_loss(executor):
            return under_way.through(jobs)
    finally:
        under_way.stop()


def call_all(
    functions: Sequence[Callable[[], Result]], executor: Executor
) -> list[Result | Lost]:
    """Return what some picklable functions return, each called in a worker's child."""
    with _named_loss(executor):
        futures: list[Future[Any]] = [
            executor.submit(call_guarded, function, limit_s=None)
            for function in functions
        ]
        return [future.result() for future in futures]


def worker_count(executor: Executor) -> int:
    """Return how many jobs an executor runs at a time; a cluster may grow or shrink."""
    client = _dask_client(executor)
    if client is None:
        return int(getattr(executor, "_max_workers", os.cpu_count() or 1))
    try:
        return sum(client.ncores().values())
    except (OSError, TimeoutError):
        return 1  # the jobs under way say what happened to the scheduler


class _UnderWay(Generic[AnyJob]):
    """The jobs on their way, at most a few for each worker."""

    def __init__(
        self,
        shared: Path,
        executor: Executor,
        on_done: Callable[[AnyJob], object] | None,
    ) -> None:
        self._shared, self._executor, self._on_done = shared, executor, on_done
        self._jobs: dict[Future[Any], AnyJob] = {}
        self._ended: SimpleQueue[Future[Any]] = SimpleQueue()
        self._window, self._asked = 0, -CLUSTER_SIZE_IS_ASKED_EVERY_S

    def through(self, jobs: Iterable[AnyJob]) -> int:
        count = 0
        for job in jobs:
            count += 1
            if job.is_done():
                self._finish(job)
            else:
                self._submit(job)
        while self._jobs:
            self._collect()
        return count

    def stop(self) -> None:
        """Take back what has not begun; wait so that nobody writes afterwards."""
        if self._jobs:
            abandon(self._executor)
        wait_for([future for future in self._jobs if not future.cancel()])

    def _submit(self, job: AnyJob) -> None:
        future: Future[Any] = self._executor.submit(_run_one, job, self._shared)
        self._jobs[future] = job
        future.add_done_callback(self._ended.put)
        while len(self._jobs) >= self._room():
            self._collect()

    def _collect(self) -> None:
        future = self._next()
        job = self._jobs.pop(future)
        future.result()
        self._finish(job)

    def _next(self) -> Future[Any]:
        """Return a job that has ended; tell the user if nobody works on any."""
        told = False
        while True:
            with contextlib.suppress(Empty):
                return self._ended.get(timeout=CLUSTER_SIZE_IS_ASKED_EVERY_S)
            if not told and worker_count(self._executor) == 0:
                told = True
                _LOG.warning("The cluster has no workers; waiting for some.")

    def _finish(self, job: AnyJob) -> None:
        if self._on_done is not None:
            self._on_done(job)

    def _room(self) -> int:
        """Return how many jobs may be under way; a cluster grows and shrinks."""
        now = time.monotonic()
        if now - self._asked >= CLUSTER_SIZE_IS_ASKED_EVERY_S:
            self._window, self._asked = 2 * worker_count(self._executor) + 2, now
        return self._window


def _run_one(job: Job, shared: Path) -> None:
    if not shared.exists():
        raise SynthzooError(
            f"A worker on {socket.gethostname()} does not see {shared}. Workers write "
            "their results beside it: use a folder that all machines share."
        )
    if not job.is_done():  # otherwise the answer of the worker that did it was lost
        job()


@contextlib.contextmanager
def _named_loss(executor: Executor) -> Iterator[None]:
    """Let the loss of the workers be one error that says what to do."""
    try:
        yield
    except Exception as error:
        if not _is_loss(error, executor):
            raise
        name = f"{type(error).__name__}: {error}".rstrip(": ")
        raise SynthzooError(
            "The workers are gone: one was killed (out of memory?), or the scheduler "
            f"was lost ({name}). What is finished is kept; run the same command again "
            "to go on."
        ) from error


def _dask_client(executor: Executor) -> Any:
    return getattr(executor, "_client", None)


def _is_loss(error: Exception, executor: Executor) -> bool:
    if isinstance(error, SynthzooError):
        return False
    client = _dask_client(executor)
    disconnected = client is not None and client.status != "running"
    from_dask = type(error).__module__.partition(".")[0] == "distributed"
    broken = isinstance(error, BrokenExecutor | CancelledError)
    return broken or from_dask or disconnected
