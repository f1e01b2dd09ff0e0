"""Whether the files of a checkpoint are those on record, before anything is parsed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from synthzoo import registry
from synthzoo.cards import FileRecord
from synthzoo.checkpoint import CONFIG_FILE, GOLDEN_FILE, WEIGHTS_FILE, read_config
from synthzoo.errors import CheckpointError, IntegrityError


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


def check_own_hashes(folder: Path, *, way_out: str) -> None:
    """Compare the files of a checkpoint with the hashes in its ``config.json``.

    Parameters
    ----------
    folder
        The checkpoint.
    way_out
        Sentence at the end of the error.

    Raises
    ------
    CheckpointError
        If ``config.json`` does not describe a checkpoint.
    IntegrityError
        If another file cannot be read, or differs.
    """
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
