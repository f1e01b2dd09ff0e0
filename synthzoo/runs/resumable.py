"""Runs that a killed command continues: their results are kept beside the output.

Only whole results are kept, each in a folder of its own. When all are there, their
files are joined in the order of the jobs, whatever the order in which they ended.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

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
from synthzoo.runs.jobs import run_jobs

if TYPE_CHECKING:
    from tqdm import tqdm

Item = TypeVar("Item")

MANIFEST_FILE = "manifest.json"
COMPLETE = "complete"
"""Key in the manifest of a run of which nothing but the last steps may be missing."""

JOB_FOLDERS = "[0-9]" * 7
"""Pattern of the names of the folders in which `run_in_folders` keeps results."""


def working_folder(output: Path) -> Path:
    """Return the folder that holds the finished jobs of a run until it is complete."""
    return output.with_name(f"{output.name}.parts")


def is_missing(output: Path) -> bool:
    """Return whether an output is not there, or something is left to be tidied up."""
    return not output.exists() or working_folder(output).exists()


def refuse_finished(output: Path) -> None:
    """Raise `InputError` if an output is there and nothing is left of its run."""
    if not working_folder(output).exists():
        with sole_writer(output):  # which removes what a killed run has left
            refuse_existing(output)


@dataclass(kw_only=True)
class Run:
    """A run that the same call continues after a kill.

    ``output``: file or folder that it makes.
    ``folder``: where its results are kept until the output is complete.
    ``summary``: what `complete` has noted; None before.
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

        ``summary``: what a call shall return that finds the run complete.
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
    """Return a run that another process has opened, of those that share the work."""
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

    ``manifest``: what decides the result; it must not change between a run and its
    resumption.
    ``results``: patterns, inside the working folder, of results that are worth keeping.
    Raises `InterruptedRunError` after Ctrl-C, if there are results.
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
            "folder to start again."
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


@dataclass(frozen=True)
class _FolderJob(Generic[Item]):
    """A job whose result is a folder that is there when it is complete."""

    function: Callable[[Item, Path], None]
    item: Item
    folder: Path

    def is_done(self) -> bool:
        return self.folder.is_dir()

    def __call__(self) -> None:
        try:
            with new_folder(self.folder) as partial:
                self.function(self.item, partial)
        except OSError:
            if not self.is_done():  # otherwise another worker was given the same job
                raise


def run_in_folders(
    function: Callable[[Item, Path], None],
    items: Iterable[Item],
    folder: Path,
    *,
    executor: Executor,
    progress: tqdm[Any],
    on_done: Callable[[Path], None] | None = None,
) -> int:
    """Work on the items that are not done yet and return the number of all.

    ``function``: called as ``function(item, folder)`` in a worker to write the results
    of an item into a new folder; both must be picklable.
    ``items``: in order; taken one by one, only a few ahead of the workers.
    ``folder``: working folder of the run; the results are in its folders `JOB_FOLDERS`.
    ``progress``: bar that is moved by one for each item.
    ``on_done``: called with the folder of each item that is done, in any order.
    """
    place = folder.absolute()
    jobs = (
        _FolderJob(function, item, place / f"{number:07d}")
        for number, item in enumerate(items)
    )

    def finished(job: _FolderJob[Item]) -> None:
        progress.update()
        if on_done is not None:
            on_done(job.folder)

    return run_jobs(jobs, place / MANIFEST_FILE, executor=executor, on_done=finished)


def join(folder: Path, count: int, name: str, output: Path) -> None:
    """Write the files of that name of all jobs, one after the other, into one file.

    ``name``: file in each job's folder; a job without it adds nothing.
    ``output``: file to write; it appears only when it is complete.
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
    """Yield the JSON file of that name of each job, in order."""
    for index in range(count):
        yield json.loads((folder / f"{index:07d}" / name).read_text())


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
