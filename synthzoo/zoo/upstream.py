"""Models that others publish as files of 2023: downloaded, checked, converted, kept.

The file and the checkpoint made of it lie in the folder of `huggingface_hub` for what
libraries keep besides repositories (HF_ASSETS_CACHE). Nothing is passed on to others.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from synthzoo.errors import HubError, IntegrityError, one_line
from synthzoo.runs.files import hash_values
from synthzoo.zoo import registry
from synthzoo.zoo.cards import ModelCard, published_file
from synthzoo.zoo.limits import limited_answers

if TYPE_CHECKING:
    from synthzoo.zoo.card_records import FileRecord, Published

CONVERSION = 1
"""Raised when the conversion changes, so that kept checkpoints are made anew."""

TIMEOUT_S = 10.0
"""Longest silence of the host."""

PARTIAL_CONTENT = 206
"""Answer of a host that sends the rest of a file only."""

PARTIAL = ".part"
"""Ending of a file that has not arrived completely; the next try goes on from there."""


def kept_folder(card: ModelCard) -> Path:
    """Return where the checkpoint of a model is, or will be; nothing is opened.

    ``card``: a model of the register that others have published.
    """
    published = published_file(card)
    made_of = [CONVERSION, published.file.sha256, published.avg_num_neighbors]
    return _folder(card) / f"checkpoint-{hash_values(made_of)[:12]}"


def find_converted(card: ModelCard, *, offline: bool) -> Path:
    """Return the checkpoint of a model, downloaded and converted if it is not kept.

    ``card``: a model of the register that others have published.
    ``offline``: whether the network is forbidden, as by HF_HUB_OFFLINE.
    """
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

    folder = kept_folder(card)
    if folder.is_dir():
        return folder
    with _clear_disk_errors(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(folder.parent / ".lock"):
            if not folder.is_dir():
                source = _find_file(card, offline=offline)
                from synthzoo.zoo.published import convert_published

                convert_published(card, source, folder)
    return folder


def _folder(card: ModelCard) -> Path:
    # As huggingface_hub does it, but without loading it: `synthzoo list` comes here.
    caches = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("HF_HOME", f"{caches}/huggingface")
    assets = os.environ.get("HF_ASSETS_CACHE", f"{home}/assets")
    return Path(os.path.expandvars(assets)).expanduser() / "synthzoo" / card.name


def _find_file(card: ModelCard, *, offline: bool) -> Path:
    """Return the published file, seen to be the one on record."""
    published = published_file(card)
    path = _folder(card) / published.address.rpartition("/")[2]
    if path.is_file():
        _check(path, published)
        return path
    if offline:
        raise HubError(
            f"{card.name} has not been downloaded, and the network may not be used "
            f"(HF_HUB_OFFLINE). Run `synthzoo fetch {card.name}` once where there is a "
            "network."
        )
    partial = path.with_name(path.name + PARTIAL)
    _download(published, partial)
    _check(partial, published)
    return partial.replace(path)


def _download(published: Published, partial: Path) -> None:
    """Bring the rest of a file; what has come stays if the connection breaks off."""
    from huggingface_hub import errors

    while True:
        before = partial.stat().st_size if partial.is_file() else 0
        try:
            with partial.open("ab") as file, _limits(published):
                _receive(published, file)
        except errors.HTTPError as error:  # type: ignore[attr-defined]
            if partial.stat().st_size == before:  # otherwise the next try brings more
                raise HubError(
                    f"{published.address} cannot be downloaded ({one_line(error)}). "
                    "Check the connection and the proxy and try again: what has "
                    "arrived is kept. Or get the file in another way and give it to "
                    "`synthzoo import-paper`."
                ) from error
        else:
            return


def _limits(published: Published) -> AbstractContextManager[None]:
    name = published.address.rpartition("/")[2]
    return limited_answers(name, limit=2 * published.file.size)


def _receive(published: Published, file: BinaryIO) -> None:
    """Append what is missing of a file, and no more than that."""
    from huggingface_hub import get_session

    asked = {"Accept-Encoding": "identity"}
    if have := file.tell():
        asked["Range"] = f"bytes={have}-"
    with get_session().stream(
        "GET",
        published.address,
        headers=asked,
        timeout=TIMEOUT_S,
        follow_redirects=True,
    ) as answer:
        answer.raise_for_status()
        if answer.status_code != PARTIAL_CONTENT:
            file.truncate(0)
        for piece in answer.iter_bytes():
            file.write(piece)
            if file.tell() > published.file.size:
                return


def _check(path: Path, published: Published) -> None:
    found = registry.file_record(path)
    if found != published.file:
        path.unlink()
        raise IntegrityError(
            f"{published.address} is not the file on record: {_words(found)} came, "
            f"expected {_words(published.file)}. It was removed; try again."
        )


def _words(record: FileRecord) -> str:
    return f"SHA-256 {record.sha256} ({record.size} bytes)"


@contextmanager
def _clear_disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise HubError(
            f"{folder} cannot be written ({error.strerror or error}). Set HF_HOME or "
            "HF_ASSETS_CACHE to a folder with space that you may write to."
        ) from error
