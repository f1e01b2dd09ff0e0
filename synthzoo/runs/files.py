"""All-or-nothing files and folders: written under another name, renamed last."""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from synthzoo.errors import InputError, SynthzooError, one_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

Record = TypeVar("Record")

SHA256 = re.compile(r"[0-9a-f]{64}")
"""Form of a SHA-256."""

DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
NO_ACCESS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})

DISK_FAULTS = DISK_FULL | NO_ACCESS
"""Faults of the file system that are the user's to mend, not ours."""

TAKEN = frozenset({errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR})
"""Answers to a folder that is to get the name of another one, or of a file."""

NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})
"""Answers of a file system that cannot lock files."""


def read_record(
    path: Path,
    cls: type[Record],
    *,
    of_objects: Callable[[dict[str, Any]], Any] | None = None,
    of_types: Callable[[Any, Any], Any] | None = None,
) -> Record:
    """Return what a JSON file that synthzoo has written holds.

    ``path``: the file; NaN may stand in it.
    ``cls``: what it holds: a dataclass, a struct, or a tuple of such.
    ``of_types``: makes values of types that JSON has not, from the type and what stands
    there.
    """
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text, object_hook=of_objects)
        return msgspec.convert(values, cls, dec_hook=of_types)
    except (ValueError, RecursionError) as error:  # msgspec's errors are such
        raise InputError(f"{path} is damaged: {one_line(error)}.") from error


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside a file; rename it on success, delete it on error.

    ``path``: final name; an existing file is replaced.
    Raises `OSError` if the file cannot be written; the error names it.
    """
    partial = _neighbour(path)
    try:
        with named_faults(path, partial):
            yield partial
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_arrays(
    path: Path, arrays: dict[str, NDArray[Any]], metadata: dict[str, str]
) -> None:
    """Write a whole safetensors file, which holds no code, or none; see `new_file`.

    Others may read it as any other file, which safetensors by itself forbids.
    """
    from safetensors.numpy import save_file

    with new_file(path) as partial:
        partial.touch()
        mode = partial.stat().st_mode
        save_file(arrays, partial, metadata=metadata)
        partial.chmod(mode)


def write_text(path: Path, text: str) -> None:
    """Write a whole text file, or none; see `new_file`.

    ``path``: name of the file; an existing one is replaced.
    """
    with new_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside a path; rename it on success, else delete it.

    ``path``: final name; an empty folder may have it.
    Raises `OSError` if the folder cannot be written; the error names it.
    """
    partial = _neighbour(path)
    try:
        with named_faults(path, partial):
            partial.mkdir(parents=True)
            yield partial
            partial.replace(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def named_faults(path: Path, partial: Path | None = None) -> Iterator[None]:
    """Let a fault of the file system name the file, which Python leaves out on writing.

    ``partial``: its temporary name, which would tell the user nothing.
    """
    try:
        yield
    except OSError as error:
        hidden = str(partial or path)
        name = str(error.filename or hidden)
        if error.errno not in DISK_FAULTS or not name.startswith(hidden):
            raise
        shown = str(path) + name.removeprefix(hidden)
        raise OSError(error.errno, os.strerror(error.errno), shown) from error


@contextmanager
def sole_writer(output: Path) -> Iterator[None]:
    """Keep other processes from writing to an output while a block runs.

    The operating system frees the lock when the process ends, however it ends. What a
    killed process has left of an unfinished output is removed.
    """
    from filelock import FileLock, Timeout

    if not output.parent.is_dir():
        raise InputError(f"There is no folder {output.parent} to write {output.name}.")
    place = output.with_name(f".{output.name}.lock")
    lock = FileLock(place, timeout=0)
    try:
        with named_faults(output, place):
            lock.acquire()
    except Timeout as error:
        raise SynthzooError(
            f"Another run is writing to {output}; wait until it has ended."
        ) from error
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    try:
        remove_partial(output.parent, output.name)
        yield
    finally:
        with contextlib.suppress(OSError):
            place.unlink()
        lock.release()


def remove_partial(folder: Path, name: str | None = None) -> None:
    """Remove what killed processes have left of unfinished files and folders.

    ``folder``: where to look; nobody else may be writing there.
    ``name``: final name of what was to be made; any if not given.
    """
    pattern = "*" if name is None else glob.escape(name)
    for path in folder.glob(PARTIAL.format(pattern)):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


@contextmanager
def new_output(path: Path) -> Iterator[None]:
    """Keep a place for a new file: nothing may be there, nobody else may write it."""
    with sole_writer(path):
        refuse_existing_path(path)
        yield


def refuse_existing(folder: Path) -> None:
    """Raise `InputError` unless a folder can be made at this place.

    ``folder``: where it would be; an empty folder may stand there.
    """
    if folder.is_symlink() or folder.is_file():
        raise InputError(f"{folder} exists and is not a folder; choose another name.")
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"{folder} exists and is not empty; choose another name.")


def refuse_existing_path(path: Path) -> None:
    """Raise `InputError` if anything is at this place already, an empty folder too.

    ``path``: where a file, or a folder that nothing may stand for, is to be made.
    """
    if path.exists():
        raise InputError(f"{path} exists; remove it or choose another name.")


def is_there(path: Path) -> bool:
    """Return whether a path exists; False, too, if it is too long to be one.

    ``path``: what a user, or a file of others, has named.
    """
    try:
        return path.exists()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise


@contextmanager
def new_output_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder as `new_folder` does; never replace what is there.

    ``path``: final name; an empty folder may have it.
    """
    refuse_existing(path)
    try:
        with new_folder(path) as partial:
            yield partial
    except OSError as error:
        if error.errno in TAKEN:
            refuse_existing(path)
        raise


def packaged_folder(room: Path, name: str) -> Path:
    """Return a folder that a wheel has in a subpackage, a checkout at its top level."""
    for folder in (room / name, room.parents[1] / name):
        if folder.is_dir():
            return folder
    raise InputError(
        f"There is no folder {name} in {room} or {room.parents[1]}; "
        "install synthzoo again."
    )


def read_pieces(path: Path) -> Iterator[bytes]:
    """Yield the content of a file, which may be larger than memory."""
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            yield piece


def hash_files(files: Sequence[Path], *, algorithm: str = "sha256") -> str:
    """Return the hash of some files, one after the other."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    for file in files:
        if not (is_there(file) and file.is_file()):
            raise InputError(f"There is no file {file}.")
        for piece in read_pieces(file):
            digest.update(piece)
    return digest.hexdigest()


def hash_content(content: bytes | str) -> str:
    """Return the SHA-256 of bytes, or of a text in UTF-8."""
    data = content.encode() if isinstance(content, str) else content
    return hashlib.sha256(data).hexdigest()


def hash_values(values: Any) -> str:
    """Return the SHA-256 of plain values, whatever the order of their keys."""
    return hash_content(json.dumps(values, sort_keys=True))


PARTIAL = ".{}.part-????????????"
"""Pattern of the names that unfinished files and folders have."""


def _neighbour(path: Path) -> Path:
    """Return a hidden name beside a path that nobody else takes, on any machine."""
    return path.with_name(f".{path.name}.part-{uuid.uuid4().hex[:12]}")
