"""All-or-nothing files and folders: written under another name, renamed last."""

from __future__ import annotations

import errno
import hashlib
import re
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from synthzoo.errors import InputError

SHA256 = re.compile(r"[0-9a-f]{64}")
"""Form of a SHA-256."""

DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
NO_ACCESS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})

DISK_FAULTS = DISK_FULL | NO_ACCESS
"""Faults of the file system that are the user's to mend, not ours."""


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Give a neighbour to write; at the end it gets the name, after a fault it goes.

    Parameters
    ----------
    path
        Name at the end; what has it is replaced.
    """
    partial = _neighbour(path)
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a neighbour folder to fill; at the end it gets the name, or goes.

    Parameters
    ----------
    path
        Name at the end; an empty folder may have it.
    """
    partial = _neighbour(path)
    partial.mkdir(parents=True)
    try:
        yield partial
        partial.replace(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def refuse_existing(folder: Path) -> None:
    """Raise `InputError` unless a folder can be made at this place.

    Parameters
    ----------
    folder
        Where it would be; an empty folder may stand there.
    """
    if folder.is_symlink() or folder.is_file():
        raise InputError(f"{folder} exists and is not a folder; choose another name.")
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"{folder} exists and is not empty; choose another name.")


def refuse_existing_path(path: Path) -> None:
    """Raise `InputError` if anything is at this place already, an empty folder too.

    Parameters
    ----------
    path
        Where a file, or a folder that nothing may stand for, is to be made.
    """
    if path.exists():
        raise InputError(f"{path} exists; remove it or choose another name.")


def is_there(path: Path) -> bool:
    """Return whether a path exists; False, too, if it is too long to be one.

    Parameters
    ----------
    path
        What a user, or a file of others, has named.
    """
    try:
        return path.exists()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise


def packaged_folder(package: Path, name: str) -> Path:
    """Return a folder that a wheel carries inside the package, a checkout beside it.

    Parameters
    ----------
    package
        Folder of the package.
    name
        Of the folder.

    Raises
    ------
    InputError
        If the installation has none.
    """
    for folder in (package / name, package.parent / name):
        if folder.is_dir():
            return folder
    raise InputError(
        f"There is no folder {name} in or beside {package}; install synthzoo anew."
    )


def read_pieces(path: Path) -> Iterator[bytes]:
    """Yield the content of a file, which may be larger than memory.

    Parameters
    ----------
    path
        File to read.

    Yields
    ------
    piece
        Up to a MiB.
    """
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            yield piece


def hash_files(files: Sequence[Path]) -> str:
    """Return the SHA-256 of some files, one after the other.

    Parameters
    ----------
    files
        Files to read.

    Raises
    ------
    InputError
        If one is missing.
    """
    digest = hashlib.sha256()
    for file in files:
        if not file.is_file():
            raise InputError(f"There is no file {file}.")
        for piece in read_pieces(file):
            digest.update(piece)
    return digest.hexdigest()


def _neighbour(path: Path) -> Path:
    """Return a hidden name beside a path that nobody else takes, on any machine."""
    return path.with_name(f".{path.name}.part-{uuid.uuid4().hex[:12]}")
