"""Independent jobs, each with a folder of its results: parallel, resumable, in order.

A run keeps its finished jobs in a folder beside the output, so that a killed run goes
on where it was; only whole jobs are kept. When all are done, their files are joined in
the order of the jobs, whatever the order in which they ended.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from concurrent.futures import wait as wait_for
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from synthzoo.errors import InputError, InterruptedRunError, SynthzooError
from synthzoo.runs.files import (
    DISK_FULL,
    NO_ACCESS,
    named_faults,
    new_file,
    new_folder,
    refuse_existing,
    refuse_existing_path,
    remove_partial,
    sole_writer,
)
from synthzoo.runs.workers import GuardedThreads, abandon

if TYPE_CHECKING:
    from tqdm import tqdm

Job = TypeVar("Job")
JobFunction = Callable[[Job, Path], None]
"""Takes a job and a new folder, and writes the results into it."""

_LOG = logging.getLogger(__name__)

MANIFEST_FILE = "manifest.json"
COMPLETE = "complete"
"""Key in the manifest of a run of which nothing but the last steps may be missing."""

JOB_FOLDERS = "[0-9]" * 7
"""Pattern of the names of the folders in which `run_jobs` keeps finished jobs."""

CLUSTER_SIZE_IS_ASKED_EVERY_S = 5.0


def working_folder(output: Path) -> Path:
    """Return the folder that holds the finished jobs of a run until it is complete.

    Parameters
    ----------
    output
        File that the run makes.
    """
    return output.with_name(f"{output.name}.parts")


def refuse_finished(output: Path) -> None:
    """Raise `InputError` if an output is there and nothing is left of its run.

    Parameters
    ----------
    output
        File or folder that a run makes.
    """
    if not working_folder(output).exists():
        with sole_writer(output):  # which removes what a killed run has left
            refuse_existing(output)


@dataclass(kw_only=True)
class Run:
    """A run that the same call continues after a kill.

    Attributes
    ----------
    output
        File or folder that it makes.
    folder
        Where its results are kept until the output is complete.
    summary
        What `complete` has noted; None before.
    """

    output: Path
    folder: Path
    summary: dict[str, Any] | None = None

    @property
    def finished(self) -> dict[str, Any] | None:
        """What was noted, if the output is in place: only the tidying up is missing."""
        return self.summary if self.output.exists() else None

    def complete(self, summary: dict[str, Any]) -> dict[str, Any]:
        """Note that everything is computed, and return the note as JSON keeps it.

        Parameters
        ----------
        summary
            What a call shall return that finds the run complete.
        """
        record = self.folder / MANIFEST_FILE
        _write(record, _read(record) | {COMPLETE: summary})
        self.summary = _read(record)[COMPLETE]
        return self.summary

    def close(self) -> None:
        """Remove the working folder, the manifest last."""
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != MANIFEST_FILE:
                path.unlink()
        (self.folder / MANIFEST_FILE).unlink()
        self.folder.rmdir()


def join_run(output: Path, manifest: dict[str, Any]) -> Run:
    """Return a run that another process has opened, of those that share the work.

    Parameters
    ----------
    output, manifest
        As for `open_run`.
    """
    run = Run(output=output, folder=working_folder(output))
    record = run.folder / MANIFEST_FILE
    if record.is_file() and not _differences(found := _read(record), manifest):
        run.summary = found.get(COMPLETE)
    return run


@contextlib.contextmanager
def open_run(
    output: Path,
    manifest: dict[str, Any],
    *,
    results: Sequence[str] = (JOB_FOLDERS,),
    beside: Sequence[Path] = (),
) -> Iterator[Run]:
    """Start a run, or continue the same run, and keep others from its output.

    A run that ends with an error before it has any result leaves nothing behind.

    Parameters
    ----------
    output
        File or folder that the run makes.
    manifest
        What decides the result; it must not change between a run and its resumption.
    results
        Patterns, inside the working folder, of results that are worth keeping.
    beside
        Other files that the run may make.

    Raises
    ------
    InputError
        If the output exists, or the working folder holds results of other inputs.
    SynthzooError
        If another process is at work on the same output, or a file cannot be written.
    InterruptedRunError
        After Ctrl-C, if there are results.
    """
    with sole_writer(output):
        run = _opened(output, manifest, results, beside)
        try:
            with named_faults(run.folder):
                yield run
        except BaseException as error:
            kept = _has_results(run.folder, results)
            explained = _explained(error) if kept else None
            if not kept:
                shutil.rmtree(run.folder, ignore_errors=True)
            if explained is None:
                raise
            raise explained from error


def _opened(
    output: Path,
    manifest: dict[str, Any],
    results: Sequence[str],
    beside: Sequence[Path],
) -> Run:
    run = join_run(output, manifest)
    if run.finished is not None:
        return run
    folder, record = run.folder, run.folder / MANIFEST_FILE
    with contextlib.suppress(OSError):
        folder.rmdir()  # empty: a kill has hit the last moment of tidying up
    refuse_existing_path(output)
    found = _read(record) if record.is_file() else None
    if found is None or _differences(found, manifest):
        _refuse_others(folder, found, manifest, results)
        _refuse_earlier(beside)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        _write(record, manifest)
    remove_partial(folder)
    return run


def _refuse_others(
    folder: Path,
    found: dict[str, Any] | None,
    manifest: dict[str, Any],
    results: Sequence[str],
) -> None:
    """Keep results of other inputs, and folders that are none of ours."""
    if found is not None and _has_results(folder, results):
        changed = ", ".join(_differences(found, manifest))
        raise InputError(
            f"{folder} holds an unfinished run with another {changed}. Remove that "
            "folder to start anew."
        )
    if found is None and folder.exists():
        remove_partial(folder)
        if any(folder.iterdir()):
            raise InputError(
                f"{folder} is needed for unfinished results, but holds other files; "
                "move it, or choose another name for the output."
            )


def _refuse_earlier(beside: Sequence[Path]) -> None:
    for path in beside:
        if path.exists():
            raise InputError(
                f"{path} exists, from an earlier run; remove it or choose another name."
            )


def _has_results(folder: Path, patterns: Sequence[str]) -> bool:
    return any(any(folder.glob(pattern)) for pattern in patterns)


def _explained(error: BaseException) -> BaseException | None:
    """Return an error that says what is kept, where the cause lies outside."""
    kept = "What is finished is kept; run the same command again to go on"
    if isinstance(error, KeyboardInterrupt):
        return InterruptedRunError(f"{kept}.")
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return SynthzooError(f"{error}. {kept} when there is room to write.")
    if isinstance(error, OSError) and error.errno in NO_ACCESS:
        return SynthzooError(f"{error}. {kept} when that can be written.")
    return None


def run_jobs(
    function: JobFunction[Job],
    jobs: Iterable[Job],
    folder: Path,
    *,
    executor: Executor,
    progress: tqdm[Any],
    on_done: Callable[[Path], None] | None = None,
) -> int:
    """Run the jobs that are not finished yet and return the number of all jobs.

    Parameters
    ----------
    function
        Called as ``function(job, folder)`` in a worker; both must be picklable.
    jobs
        Jobs in order; taken one by one, only a few ahead of the workers.
    folder
        Working folder of the run.
    executor
        Where the jobs run; its workers must see the working folder.
    progress
        Bar that is moved by one for each job.
    on_done
        Called with the folder of each finished job, in any order.

    Raises
    ------
    SynthzooError
        If the workers are gone or the disk is full; what was finished is kept.
    """
    run = _Run(function, folder.absolute(), executor, progress, on_done)
    try:
        return run.through(jobs)
    except Exception as error:
        if not _is_loss(error, executor):
            raise
        name = f"{type(error).__name__}: {error}".rstrip(": ")
        raise SynthzooError(
            "The workers are gone: one was killed (out of memory?), or the scheduler "
            f"was lost ({name}). What is finished is kept; run the same command again "
            "to go on."
        ) from error
    finally:
        run.stop()


class _Run:
    """The jobs on their way, at most a few for each worker."""

    def __init__(
        self,
        function: Any,
        folder: Path,
        executor: Executor,
        progress: tqdm[Any],
        on_done: Callable[[Path], None] | None,
    ) -> None:
        self._function, self._folder = function, folder
        self._executor, self._progress, self._on_done = executor, progress, on_done
        self._targets: dict[Future[None], Path] = {}
        self._ended: SimpleQueue[Future[None]] = SimpleQueue()
        self._window, self._asked = 0, -CLUSTER_SIZE_IS_ASKED_EVERY_S

    def through(self, jobs: Iterable[Any]) -> int:
        count = 0
        for count, job in enumerate(jobs, start=1):
            target = self._folder / f"{count - 1:07d}"
            if target.is_dir():
                self._finish(target)
                continue
            future = self._executor.submit(_run_one, self._function, job, target)
            self._targets[future] = target
            future.add_done_callback(self._ended.put)
            while len(self._targets) >= self._room():
                self._collect()
        while self._targets:
            self._collect()
        return count

    def stop(self) -> None:
        """Take back what has not begun; wait so that nobody writes afterwards."""
        if self._targets:
            abandon(self._executor)
        wait_for([future for future in self._targets if not future.cancel()])

    def _collect(self) -> None:
        future = self._next()
        target = self._targets.pop(future)
        future.result()
        self._finish(target)

    def _next(self) -> Future[None]:
        """Return a job that has ended; tell the user if nobody works on any."""
        told = False
        while True:
            with contextlib.suppress(Empty):
                return self._ended.get(timeout=CLUSTER_SIZE_IS_ASKED_EVERY_S)
            if not told and _workers(self._executor) == 0:
                told = True
                _LOG.warning("The cluster has no workers; waiting for some.")

    def _finish(self, target: Path) -> None:
        self._progress.update()
        if self._on_done is not None:
            self._on_done(target)

    def _room(self) -> int:
        """Return how many jobs may be under way; a cluster grows and shrinks."""
        now = time.monotonic()
        if now - self._asked >= CLUSTER_SIZE_IS_ASKED_EVERY_S:
            self._window, self._asked = 2 * _workers(self._executor) + 2, now
        return self._window


def _workers(executor: Executor) -> int:
    client = _dask_client(executor)
    if client is None:
        return int(getattr(executor, "_max_workers", os.cpu_count() or 1))
    try:
        return sum(client.ncores().values())
    except (OSError, TimeoutError):
        return 1  # the jobs under way say what happened to the scheduler


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


def join(folder: Path, count: int, name: str, output: Path) -> None:
    """Write the files of that name of all jobs, one after the other, into one file.

    Parameters
    ----------
    folder
        Working folder of the run.
    count
        Number of jobs.
    name
        File in each job's folder; a job without it adds nothing.
    output
        File to write; it appears only when it is complete.
    """
    joined = folder / name  # whatever is left by a kill lies in the working folder
    with new_file(joined) as partial, partial.open("wb") as target:
        for index in range(count):
            part = folder / f"{index:07d}" / name
            if part.is_file():
                with part.open("rb") as source:
                    shutil.copyfileobj(source, target)
    joined.replace(output)


def read_results(folder: Path, count: int, name: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON file of that name of each job, in order.

    Parameters
    ----------
    folder
        Working folder of the run.
    count
        Number of jobs.
    name
        Of the file in each job's folder.
    """
    for index in range(count):
        yield json.loads((folder / f"{index:07d}" / name).read_text())


def worker_threads(workers: int | None) -> GuardedThreads:
    """Return threads that each have a child process to compute in.

    Parameters
    ----------
    workers
        How many; one for each core if not given.
    """
    return GuardedThreads(workers or os.cpu_count() or 1)


def _run_one(function: JobFunction[Job], job: Job, target: Path) -> None:
    if not (target.parent / MANIFEST_FILE).is_file():
        raise SynthzooError(
            f"A worker on {socket.gethostname()} does not see {target.parent}. Workers "
            "write their results there: use a folder that all machines share."
        )
    if target.is_dir():
        return  # the answer of the worker that did it was lost
    try:
        with new_folder(target) as partial:
            function(job, partial)
    except OSError:
        if not target.is_dir():  # otherwise another worker was given the same job
            raise


def _differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    wanted = json.loads(json.dumps(wanted))
    keys = (found.keys() | wanted.keys()) - {COMPLETE}
    return sorted(key for key in keys if found.get(key) != wanted.get(key))


def _read(record: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(record.read_text())
    return values


def _write(record: Path, manifest: dict[str, Any]) -> None:
    with new_file(record) as partial:
        partial.write_text(json.dumps(manifest, indent=1))
