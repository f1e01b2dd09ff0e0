"""Independent jobs, each with a folder of its results: parallel, resumable, in order.

A run keeps its finished jobs in a folder beside the output, so that a killed run goes
on where it was; only whole jobs are kept. When all are done, their files are joined in
the order of the jobs, whatever the order in which they ended.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor
from concurrent.futures import wait as wait_for
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from synthzoo.errors import InputError, SynthzooError
from synthzoo.files import new_file, new_folder

if TYPE_CHECKING:
    from tqdm import tqdm

Job = TypeVar("Job")
JobFunction = Callable[[Job, Path], None]
"""Takes a job and a new folder, and writes the results into it."""

MANIFEST_FILE = "manifest.json"


def working_folder(output: Path) -> Path:
    """Return the folder that holds the finished jobs of a run until it is complete.

    Parameters
    ----------
    output
        File that the run makes.
    """
    return output.with_name(f"{output.name}.parts")


def open_run(output: Path, manifest: dict[str, Any]) -> Path:
    """Return the working folder of a run, new or left by the same run before.

    Parameters
    ----------
    output
        File that the run makes.
    manifest
        What decides the result; it must not change between a run and its resumption.

    Raises
    ------
    InputError
        If the output exists, or if a working folder is there that belongs to other
        inputs.
    """
    if output.exists():
        raise InputError(f"{output} exists; remove it or choose another name.")
    if not output.parent.is_dir():
        raise InputError(f"There is no folder {output.parent} to write {output.name}.")
    folder = working_folder(output)
    record = folder / MANIFEST_FILE
    if record.is_file():
        _compare(json.loads(record.read_text()), manifest, folder)
        return folder
    folder.mkdir(exist_ok=True)
    with new_file(record) as partial:
        partial.write_text(json.dumps(manifest, indent=1, sort_keys=True))
    return folder


def _compare(found: dict[str, Any], wanted: dict[str, Any], folder: Path) -> None:
    changed = sorted(
        key
        for key in found.keys() | wanted.keys()
        if found.get(key) != json.loads(json.dumps(wanted.get(key)))
    )
    if changed:
        raise InputError(
            f"{folder} holds an unfinished run with another {', '.join(changed)}. "
            "Remove that folder to start anew."
        )


def run_jobs(
    function: JobFunction[Job],
    jobs: Iterable[Job],
    folder: Path,
    *,
    executor: Executor,
    progress: tqdm[Any],
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
        Where the jobs run.
    progress
        Bar that is moved by one for each job.

    Raises
    ------
    SynthzooError
        If a worker process was killed; what was finished is kept.
    """
    running: set[Future[None]] = set()
    count = 0
    try:
        for count, job in enumerate(jobs, start=1):
            target = folder / f"{count - 1:07d}"
            if target.is_dir():
                progress.update()
                continue
            running.add(executor.submit(_run_one, function, job, target))
            while len(running) >= _window(executor):
                running = _collect(running, progress)
        while running:
            running = _collect(running, progress)
    except BrokenProcessPool as error:
        raise SynthzooError(
            "A worker process was killed (out of memory?). The finished part is kept; "
            "run the same command again to go on, perhaps with fewer workers."
        ) from error
    finally:
        for future in running:
            future.cancel()
        wait_for(running)  # so that nobody else writes when the caller goes on
    return count


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
    with new_file(output) as partial, partial.open("wb") as target:
        for index in range(count):
            part = folder / f"{index:07d}" / name
            if part.is_file():
                with part.open("rb") as source:
                    shutil.copyfileobj(source, target)


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


@contextlib.contextmanager
def process_pool(workers: int | None) -> Iterator[Executor]:
    """Give a pool of worker processes, as many as there are cores by default.

    The workers are started afresh (not forked), so that nothing of the caller's
    threads or generators is shared; each is limited to one thread of native code.

    Parameters
    ----------
    workers
        How many; one for each core if not given.
    """
    count = workers or os.cpu_count() or 1
    with (
        _one_thread_each(),
        ProcessPoolExecutor(
            count, mp_context=multiprocessing.get_context("spawn")
        ) as pool,
    ):
        yield pool


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _run_one(function: JobFunction[Job], job: Job, target: Path) -> None:
    with new_folder(target) as partial:
        function(job, partial)


def _collect(running: set[Future[None]], progress: tqdm[Any]) -> set[Future[None]]:
    done, waiting = wait_for(running, return_when=FIRST_COMPLETED)
    for future in done:
        future.result()
        progress.update()
    return waiting


def _window(executor: Executor) -> int:
    return 2 * int(getattr(executor, "_max_workers", os.cpu_count() or 1)) + 2
