"""Where synthzoo keeps what it can make again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from synthzoo.runs.files import new_file


def cache_folder(name: str) -> Path:
    """Return the folder for one kind of files; it need not be there yet.

    Raises `RuntimeError` if the user has no home.
    """
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "synthzoo" / name


def kept_or_made(folder: str, name: str, make: Callable[[], bytes]) -> bytes:
    """Return what was made once, from the disk if it is there, whole.

    ``folder``, ``name``: of the file in the user's cache; who has none makes it anew.
    """
    try:
        path = cache_folder(folder) / name
    except RuntimeError:  # nobody's home
        return make()
    content = read_kept(path)
    if content is None:
        content = make()
        keep(path, content)
    return content


def read_kept(path: Path) -> bytes | None:
    """Return what `keep` has written; None if there is nothing, or if it is damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    size = hashlib.sha256().digest_size
    digest, kept = content[:size], content[size:]
    return kept if hashlib.sha256(kept).digest() == digest else None


def keep(path: Path, content: bytes) -> None:
    """Write content to a file, with its hash before it; try no more than that."""
    with suppress(OSError):  # a full disk, or one that is not written to
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with new_file(path) as partial:
            partial.write_bytes(hashlib.sha256(content).digest() + content)
