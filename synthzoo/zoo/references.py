"""What a reference to a model means; the network is not needed to know that."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from synthzoo.errors import CheckpointError, HubError, InputError, IntegrityError
from synthzoo.models.checkpoint import read_config
from synthzoo.models.config import (
    CONFIG_FILE,
    GOLDEN_FILE,
    LEVELS_FILE,
    WEIGHTS_FILE,
)
from synthzoo.runs.files import is_there
from synthzoo.zoo import registry
from synthzoo.zoo.card_records import COMMIT, REPOSITORY, FileRecord
from synthzoo.zoo.cards import ModelCard


def check_files(
    folder: Path, records: Mapping[str, FileRecord], *, way_out: str
) -> None:
    """Compare the files of a folder with their records, before anything is parsed."""
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


def check_own_hashes(folder: Path, *, way_out: str) -> None:
    """Compare the files of a checkpoint with the hashes in its ``config.json``."""
    if nature := _nature(folder / CONFIG_FILE):
        raise CheckpointError(
            f"{folder / CONFIG_FILE}{nature} does not describe a checkpoint. {way_out}"
        )
    config = read_config(folder)
    hashes = {WEIGHTS_FILE: config.weights_sha256, GOLDEN_FILE: config.golden_sha256}
    if config.levels is not None:
        hashes[LEVELS_FILE] = config.levels.sha256
        if not (folder / LEVELS_FILE).is_file():
            raise CheckpointError(f"{folder} has no {LEVELS_FILE}. {way_out}")
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


_REFERENCE = re.compile(
    rf"hf:(?P<repository>{REPOSITORY.pattern})(@(?P<revision>\w[\w./-]*))?", re.ASCII
)


@dataclass(frozen=True, kw_only=True)
class Remote:
    """A repository at a revision, and its files' hashes if the register has them.

    ``repository``: as ``organisation/name``.
    ``card``: of the model of the register that it holds; none of any other.
    """

    repository: str
    revision: str
    card: ModelCard | None = None

    @property
    def pinned(self) -> bool:
        """Whether the revision can never mean something else."""
        return COMMIT.fullmatch(self.revision) is not None

    @property
    def reference(self) -> str:
        """What a user types to get it."""
        return self.card.name if self.card else f"hf:{self.repository}@{self.revision}"


HUB = "hf:"
"""Stands before the name of a repository."""

ZOO = "zoo:"
"""May stand before any reference of a checkpoint: as teachers they are named so."""

Place = Path | Remote | ModelCard
"""A folder, a repository, or a model that is made of a file of its authors."""


def place_of(reference: str | Path) -> Place:
    """Return where the checkpoint is that a reference means.

    A folder with a ``config.json`` comes before a model of the zoo of the same name; a
    file, or a folder without one, does not. The hashes of a bundled checkpoint are
    checked.
    """
    if isinstance(reference, Path):
        return _existing(reference)
    if reference.startswith(ZOO) and not has_checkpoint(reference):
        reference = reference.removeprefix(ZOO)
    if reference.startswith(HUB):
        return _parse(reference)
    separators = [mark for mark in (os.sep, os.altsep) if mark]
    group = any(reference.startswith(name) for name in registry.groups())
    if has_checkpoint(reference) or (
        not group and any(mark in reference for mark in separators)
    ):
        return _existing(Path(reference))
    return _registered(registry.find_card(reference))


def has_checkpoint(reference: str) -> bool:
    """Return whether a reference is the path of a folder with a ``config.json``."""
    return is_there(_expanded(Path(reference)) / CONFIG_FILE)


def remote_of(card: ModelCard) -> Remote | None:
    """Return the repository of a model of the register, if it is published."""
    repository, revision = card.hub.repository, card.hub.revision
    if repository is None or revision is None:
        return None
    return Remote(repository=repository, revision=revision, card=card)


def _existing(path: Path) -> Path:
    path = _expanded(path)
    if is_there(path) and path.is_dir():
        return path
    hint = ""
    if REPOSITORY.fullmatch(str(path)):
        hint = f" For a repository of the hub write hf:{path}."
    raise CheckpointError(f"There is no folder {path}.{hint}")


def _expanded(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:  # the home folder of a user who does not exist
        return path


def _parse(reference: str) -> Place:
    match = _REFERENCE.fullmatch(reference)
    if match is None or ".." in reference:
        raise InputError(
            f"Expected hf:organisation/name or hf:organisation/name@revision, found "
            f"{reference!r}."
        )
    repository, revision = match["repository"], match["revision"]
    for card in registry.model_cards():
        published = remote_of(card)
        if (
            published
            and published.repository == repository
            and revision in {None, published.revision}
        ):
            return _registered(card)
    return Remote(repository=repository, revision=revision or "main")


def _registered(card: ModelCard) -> Place:
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
    if published := remote_of(card):
        return published
    raise HubError(
        f"{card.name} is not published yet, and this installation was made without "
        "the bundled checkpoints. Install a released synthzoo."
    )
