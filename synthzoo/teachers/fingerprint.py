"""Hashes that say which potential a label came from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from synthzoo.errors import InputError
from synthzoo.files import is_there, read_pieces


def file_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a potential file.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    InputError
        If there is no such file.
    """
    if not (is_there(Path(path)) and Path(path).is_file()):
        raise InputError(f"There is no potential file {path}.")
    return _digest(Path(path), hashlib.sha256())


def file_md5(path: Path) -> str:
    """Return the MD5 of a file, as GAP files state it for their sparse points.

    Parameters
    ----------
    path
        The file.
    """
    return _digest(path, hashlib.md5(usedforsecurity=False))


def _digest(path: Path, digest: hashlib._Hash) -> str:
    for piece in read_pieces(path):
        digest.update(piece)
    return digest.hexdigest()


def files_sha256(paths: Sequence[Path]) -> str:
    """Return one hash for several files that belong together, or that of a single one.

    It is the SHA-256 of what the command ``sha256sum`` prints for the names without
    their folder, in this order.

    Parameters
    ----------
    paths
        The files, at least one.

    Raises
    ------
    InputError
        If one of them is missing.
    """
    hashes = [file_sha256(path) for path in paths]
    if len(hashes) == 1:
        return hashes[0]
    return text_sha256(
        *(f"{found}  {path.name}" for found, path in zip(hashes, paths, strict=True))
    )


def text_sha256(*lines: str) -> str:
    """Return the SHA-256 of lines of text.

    Parameters
    ----------
    *lines
        Lines without their ends.
    """
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()
