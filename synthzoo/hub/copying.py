"""A copy of a checkpoint, with its card, in a folder of the user's choice."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from synthzoo import registry
from synthzoo.checkpoint import CARD_FILE, MODEL_FILES
from synthzoo.errors import InputError
from synthzoo.files import new_folder

if TYPE_CHECKING:
    from synthzoo.cards import FileRecord


def copy_checkpoint(folder: Path, destination: Path) -> Path:
    """Copy a checkpoint and its card; return where the copy is.

    Parameters
    ----------
    folder
        The checkpoint.
    destination
        New folder, which appears only when it is complete; or such a copy.

    Raises
    ------
    InputError
        If the destination holds something else, or cannot be written.
    """
    destination = destination.absolute()
    if destination == Path.cwd():
        raise InputError("Choose a new folder; the current one cannot be replaced.")
    page = registry.page_of(folder)
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
