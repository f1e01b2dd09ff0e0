"""Where checkpoints come from.

Only this, `synthzoo.publication` and `synthzoo.upstream` use the network.

A reference is a folder, a name of the register, or ``hf:organisation/name@revision``.
It is looked for in that order: folder, bundled, Hugging Face cache, network. Transport,
cache, locks and tokens are `huggingface_hub`'s; ours are the order, the hashes and the
errors.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import synthzoo
from synthzoo import registry
from synthzoo.cards import NO_LICENCE, FileRecord, ModelCard
from synthzoo.checkpoint import (
    CARD_FILE,
    CONFIG_FILE,
    GOLDEN_FILE,
    MODEL_FILES,
    WEIGHTS_FILE,
    read_config,
)
from synthzoo.errors import CheckpointError, HubError, InputError, IntegrityError
from synthzoo.files import new_folder
from synthzoo.hub_faults import endpoint, may_pass, one_clear_error
from synthzoo.upstream import find_converted, kept_folder

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import ModelInfo

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")
Location = Literal["bundled", "cached", "hub", "authors", "missing"]

_REFERENCE = re.compile(
    r"hf:(?P<repository>[\w.-]+/[\w.-]+)(@(?P<revision>\w[\w./-]*))?", re.ASCII
)
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
"""Form of a repository's name."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_WAITS_S = (1.0, 2.0, 4.0)
"""Pauses before a request is made again; one try more than there are pauses."""

TIMEOUT_S = 10.0
"""Of the question what a repository holds; files have `huggingface_hub`'s own."""


@dataclass(frozen=True, kw_only=True)
class _Remote:
    """A repository at a revision, and its files' hashes if the register has them."""

    repository: str
    revision: str
    card: ModelCard | None = None

    @property
    def pinned(self) -> bool:
        """Whether the revision can never mean something else."""
        return _COMMIT.fullmatch(self.revision) is not None

    @property
    def reference(self) -> str:
        """What a user types to get it."""
        return self.card.name if self.card else f"hf:{self.repository}@{self.revision}"


def find_folder(reference: str | Path, *, offline: bool = False) -> Path:
    """Return the folder of a checkpoint, downloaded only if it is nowhere on disk.

    The hashes of a model of the register are checked before the folder is returned.

    Parameters
    ----------
    reference
        Folder, name or alias, or ``hf:organisation/name`` with an optional
        ``@revision``.
    offline
        Whether the network is forbidden, as by HF_HUB_OFFLINE.

    Raises
    ------
    UnknownModelError
        If no model of the register has that name.
    CheckpointError
        If the folder does not exist, or holds no checkpoint.
    IntegrityError
        If a file is not the one on record.
    HubError
        If the hub is needed and does not deliver.
    """
    return _find(_place(reference), offline=offline)


def fetch(reference: str | Path, *, destination: Path | None = None) -> Path:
    """Return the folder of a checkpoint, up to date and ready for use without network.

    Unlike `find_folder` this asks the hub what a branch points to now.

    Parameters
    ----------
    reference
        As for `find_folder`.
    destination
        New folder to copy the checkpoint and its card to; it appears only when it is
        complete.

    Raises
    ------
    SynthzooError
        As for `find_folder`.
    InputError
        If the destination holds something else, or cannot be written.
    """
    folder = _find(_place(reference), refresh=True)
    return _copy(folder, destination) if destination is not None else folder


def fetch_all() -> tuple[Path, ...]:
    """Return the folder of every model of the register, for use without network.

    Models whose authors gave no licence are left out: only who asks for one by its name
    gets it, see `unlicensed`.

    Raises
    ------
    SynthzooError
        As for `find_folder`.
    """
    left_out = set(unlicensed())
    names = (card.name for card in registry.model_cards())
    return tuple(fetch(name) for name in names if name not in left_out)


def unlicensed() -> tuple[str, ...]:
    """Return the names of the models whose authors gave no licence."""
    cards = registry.model_cards()
    return tuple(card.name for card in cards if card.licence == NO_LICENCE)


def location(card: ModelCard) -> Location:
    """Return where `find_folder` would take a model from; nothing is opened.

    Parameters
    ----------
    card
        A model of the register.
    """
    if registry.bundled_folder(card) is not None:
        return "bundled"
    if card.published is not None:
        kept = kept_folder(card).is_dir()
        return "cached" if kept else "authors"
    published = _published(card)
    if published is None:
        return "missing"
    return "cached" if _cached(published) else "hub"


def check_files(
    folder: Path, records: Mapping[str, FileRecord], *, way_out: str
) -> None:
    """Compare the files of a folder with their records, before anything is parsed.

    Parameters
    ----------
    folder
        Where the files lie.
    records
        Size and hash of each.
    way_out
        Sentence at the end of the error.

    Raises
    ------
    IntegrityError
        If a file is missing, cannot be read, or differs; both hashes are named.
    """
    for name, record in records.items():
        path = folder / name
        try:
            found = registry.file_record(path)
        except OSError as error:
            raise IntegrityError(
                f"{path} cannot be read ({error.strerror}). {way_out}"
            ) from error
        if found != record:
            raise IntegrityError(
                f"{path}{_nature(path)} is not the file on record. Expected SHA-256 "
                f"{record.sha256} ({record.size} bytes), found {found.sha256} "
                f"({found.size} bytes). {way_out}"
            )


def _place(reference: str | Path) -> Path | _Remote | ModelCard:
    # Return the folder that a reference means, the repository to look in, or the card
    # of a model that is made of a file of its authors.
    if isinstance(reference, Path):
        return _existing(reference)
    if reference.startswith("hf:"):
        return _parse(reference)
    path = Path(reference).expanduser()
    separators = [mark for mark in (os.sep, os.altsep) if mark]
    group = any(reference.startswith(name) for name in registry.groups())
    if (path / CONFIG_FILE).is_file() or (
        not group and any(mark in reference for mark in separators)
    ):
        return _existing(path)
    return _registered(registry.find_card(reference))


def _existing(path: Path) -> Path:
    path = path.expanduser()
    if path.is_dir():
        return path
    hint = ""
    if REPOSITORY.fullmatch(str(path)):
        hint = f" For a repository of the hub write hf:{path}."
    raise CheckpointError(f"There is no folder {path}.{hint}")


def _parse(reference: str) -> Path | _Remote | ModelCard:
    match = _REFERENCE.fullmatch(reference)
    if match is None or ".." in reference:
        raise InputError(
            f"Expected hf:organisation/name or hf:organisation/name@revision, found "
            f"{reference!r}."
        )
    repository, revision = match["repository"], match["revision"]
    for card in registry.model_cards():
        published = _published(card)
        if (
            published
            and published.repository == repository
            and revision in {None, published.revision}
        ):
            return _registered(card)
    return _Remote(repository=repository, revision=revision or "main")


def _published(card: ModelCard) -> _Remote | None:
    repository, revision = card.hub.repository, card.hub.revision
    if repository is None or revision is None:
        return None
    return _Remote(repository=repository, revision=revision, card=card)


def _registered(card: ModelCard) -> Path | _Remote | ModelCard:
    folder = registry.bundled_folder(card)
    if folder is not None:
        check_files(
            folder,
            card.files,
            way_out="Install it anew: pip install --force-reinstall synthzoo",
        )
        return folder
    if card.published is not None:
        return card
    if published := _published(card):
        return published
    raise HubError(
        f"{card.name} is not published yet, and this installation was made without "
        "the bundled checkpoints. Install a released synthzoo."
    )


def _find(
    place: Path | _Remote | ModelCard, *, offline: bool = False, refresh: bool = False
) -> Path:
    if isinstance(place, Path):
        return place
    if isinstance(place, _Remote):
        return _find_remote(place, offline=offline, refresh=refresh)
    from huggingface_hub import is_offline_mode

    return find_converted(place, offline=offline or is_offline_mode())


def _find_remote(
    remote: _Remote, *, offline: bool = False, refresh: bool = False
) -> Path:
    from huggingface_hub import is_offline_mode

    offline = offline or is_offline_mode()
    folder = None
    if offline or remote.pinned or not refresh:
        folder = _cached(remote)
    if folder is None:
        folder = _download(remote, offline=offline)
    _check_remote(folder, remote)
    return folder


def _cached(remote: _Remote) -> Path | None:
    # Return the snapshot in the Hugging Face cache, if it is whole.
    from huggingface_hub import try_to_load_from_cache

    folders = set()
    for name in MODEL_FILES:
        found = try_to_load_from_cache(
            remote.repository, name, revision=remote.revision
        )
        if not isinstance(found, str):
            return None
        folders.add(Path(found).parent)
    return folders.pop() if len(folders) == 1 else None


def _check_remote(folder: Path, remote: _Remote) -> None:
    # Compare with the register, or without a record there with ``config.json``.
    way_out = f"Remove {folder.parents[1]} and run `synthzoo fetch {remote.reference}`."
    if remote.card is not None:
        check_files(folder, remote.card.files, way_out=way_out)
        return
    if nature := _nature(folder / CONFIG_FILE):
        raise CheckpointError(
            f"{folder / CONFIG_FILE}{nature} does not describe a checkpoint. {way_out}"
        )
    config = read_config(folder)
    hashes = {WEIGHTS_FILE: config.weights_sha256, GOLDEN_FILE: config.golden_sha256}
    records = {
        name: FileRecord(size=(folder / name).stat().st_size, sha256=sha256)
        for name, sha256 in hashes.items()
    }
    check_files(folder, records, way_out=way_out)


def _nature(path: Path) -> str:
    # Return what a file looks like instead of what it should be, if that is clear.
    with path.open("rb") as file:
        start = file.read(512).lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return " (a web page)"
    if start.startswith(b"version https://git-lfs"):
        return " (a Git LFS pointer)"
    return ""


def _download(remote: _Remote, *, offline: bool) -> Path:
    # Bring the files of a checkpoint, and nothing else, into the cache.
    if offline:
        raise HubError(
            f"{remote.repository}@{remote.revision} is not in the Hugging Face cache "
            "and the network may not be used (HF_HUB_OFFLINE). Run `synthzoo fetch "
            f"{remote.reference}` once where there is a network."
        )
    with one_clear_error(remote.repository, remote.revision):
        api = hub_api()
        info = patiently(lambda: _ask(api, remote))
        names = _names_to_download(info, remote)
        first = _download_file(api, remote, names[0], revision=remote.revision)
        folder = first.parent
        if folder.name != info.sha:
            raise HubError(
                f"{remote.repository}@{remote.revision} changed while it was being "
                "downloaded. Try again."
            )
        for name in names[1:]:
            _download_file(api, remote, name, revision=folder.name)
    return folder


def hub_api() -> HfApi:
    """Return the client of the hub; it knows endpoint, token and cache by itself."""
    from huggingface_hub import HfApi

    return HfApi(library_name="synthzoo", library_version=synthzoo.__version__)


def _ask(api: HfApi, remote: _Remote) -> ModelInfo:
    return api.model_info(
        remote.repository,
        revision=remote.revision,
        timeout=TIMEOUT_S,
    )


def _names_to_download(info: ModelInfo, remote: _Remote) -> list[str]:
    there = {sibling.rfilename for sibling in info.siblings or ()}
    if missing := [name for name in MODEL_FILES if name not in there]:
        raise HubError(
            f"{remote.repository}@{remote.revision} on {endpoint()} is not a synthzoo "
            f"checkpoint: {missing} missing."
        )
    return [*MODEL_FILES, *([CARD_FILE] if CARD_FILE in there else [])]


def _download_file(api: HfApi, remote: _Remote, name: str, *, revision: str) -> Path:
    path = patiently(
        lambda: api.hf_hub_download(remote.repository, name, revision=revision)
    )
    return Path(path)


def patiently(request: Callable[[], Answer]) -> Answer:
    """Return the answer to a request, made again while the hub is only busy.

    Parameters
    ----------
    request
        Called without arguments.
    """
    for wait_s in _WAITS_S:
        try:
            return request()
        except OSError as error:
            if not may_pass(error):
                raise
        logger.warning("%s is busy; next try in %g s", endpoint(), wait_s)
        time.sleep(wait_s)
    return request()


def _copy(folder: Path, destination: Path) -> Path:
    destination = destination.absolute()
    if destination == Path.cwd():
        raise InputError("Choose a new folder; the current one cannot be replaced.")
    page = page_of(folder)
    wanted = None
    try:
        with new_folder(destination) as partial:
            for name in MODEL_FILES:
                shutil.copyfile(folder / name, partial / name)
            if page is not None:
                (partial / CARD_FILE).write_text(page, encoding="utf-8")
            wanted = _contents(partial)
    except OSError as error:
        if wanted is None or not destination.exists():
            raise InputError(
                f"{destination} cannot be written: {error.strerror}."
            ) from error
        _refuse_others(destination, wanted)
    return destination


def _refuse_others(folder: Path, wanted: Mapping[str, FileRecord | None]) -> None:
    # A copy that somebody else has just made will do; anything else will not.
    if not folder.is_dir():
        raise InputError(f"{folder} exists and is not a folder.")
    if _contents(folder) != wanted:
        raise InputError(
            f"{folder} exists and holds something else. Choose another folder."
        )


def _contents(folder: Path) -> dict[str, FileRecord | None]:
    return {
        path.name: registry.file_record(path) if path.is_file() else None
        for path in folder.iterdir()
    }


def page_of(folder: Path) -> str | None:
    """Return the card of a checkpoint: the register's, or the one in its folder.

    Parameters
    ----------
    folder
        The checkpoint.
    """
    records = registry.file_records(folder)
    for card in registry.model_cards():
        if card.files == records:
            return registry.render_card(card)
    page = folder / CARD_FILE
    return page.read_text(encoding="utf-8") if page.is_file() else None
