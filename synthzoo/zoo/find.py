"""From a reference to the folder of a checkpoint."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from synthzoo.errors import InputError
from synthzoo.models.checkpoint import Checkpoint, as_checkpoint
from synthzoo.models.config import CARD_FILE, files_of
from synthzoo.runs.files import new_folder
from synthzoo.zoo import registry
from synthzoo.zoo.cards import NO_LICENCE, ModelCard
from synthzoo.zoo.download import cached_folder, find_remote
from synthzoo.zoo.references import Place, Remote, place_of, remote_of
from synthzoo.zoo.upstream import find_converted, kept_folder

if TYPE_CHECKING:
    from synthzoo.zoo.card_records import FileRecord


def copy_checkpoint(checkpoint: Checkpoint, destination: Path) -> Path:
    """Copy a checkpoint and its card; return where the copy is.

    ``destination``: new folder, which appears only when it is complete; or such a copy.
    """
    destination = destination.absolute()
    if destination == Path.cwd():
        raise InputError("Choose a new folder; the current one cannot be replaced.")
    registry.require_whole(checkpoint.folder)
    page = registry.page_of(checkpoint)
    wanted = None
    try:
        with new_folder(destination) as partial:
            for name in files_of(checkpoint.folder):
                shutil.copyfile(checkpoint.folder / name, partial / name)
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


Location = Literal["bundled", "cached", "hub", "authors", "missing"]


def find_folder(reference: str | Path, *, offline: bool = False) -> Path:
    """Return the folder of a checkpoint, downloaded only if it is nowhere on disk.

    The hashes of a model of the register are checked before the folder is returned.

    ``reference``: folder, name or alias, or ``hf:organisation/name`` with an optional
    ``@revision``; ``zoo:`` may stand before any of them. See `place_of`.
    ``offline``: whether the network is forbidden, as by HF_HUB_OFFLINE.
    """
    return _find(place_of(reference), offline=offline)


def find_checkpoint(reference: str | Path | Checkpoint) -> Checkpoint:
    """Return a checkpoint, downloaded only if it is nowhere on disk.

    ``reference``: as for `find_folder`; a checkpoint is returned as it is.
    """
    if isinstance(reference, Checkpoint):
        return reference
    return Checkpoint(find_folder(reference).absolute(), str(reference))


def fetch(reference: str | Path, *, destination: str | Path | None = None) -> Path:
    """Download a model if needed, and return the folder of its checkpoint.

    The model can then be used without a network. For a model of the hub, the newest
    version is downloaded.

    Parameters
    ----------
    reference
        Name or alias, folder of a checkpoint, or ``hf:organisation/name``, with
        ``@revision`` for a certain version.
    destination
        New folder to which the checkpoint and its card are copied; it appears when the
        copy is complete.

    Raises
    ------
    SynthzooError
        If the model is not known, cannot be downloaded, or has another hash than its
        card says.
    InputError
        If the destination holds something else, or cannot be written.

    Examples
    --------
    >>> sorted(path.name for path in fetch("carbon-ace-2k").iterdir())
    ['config.json', 'golden.safetensors', 'model.safetensors']
    """
    folder = _find(place_of(reference), refresh=True)
    if destination is None:
        return folder
    return copy_checkpoint(as_checkpoint(folder), Path(destination))


def fetch_all() -> tuple[Path, ...]:
    """Download all models of the zoo that have a licence, and return their folders.

    Fetch a model without a licence by its name.

    Raises
    ------
    SynthzooError
        As for `fetch`.

    Examples
    --------
    >>> folders = fetch_all()  # doctest: +SKIP
    """
    left_out = set(unlicensed())
    names = (card.name for card in registry.model_cards())
    return tuple(fetch(name) for name in names if name not in left_out)


def unlicensed() -> tuple[str, ...]:
    """Return the names of the models whose authors gave no licence."""
    cards = registry.model_cards()
    return tuple(card.name for card in cards if card.licence == NO_LICENCE)


def location(card: ModelCard) -> Location:
    """Return where `find_folder` would take a model from; nothing is opened."""
    if registry.bundled_folder(card) is not None:
        return "bundled"
    if card.published is not None:
        kept = kept_folder(card).is_dir()
        return "cached" if kept else "authors"
    remote = remote_of(card)
    if remote is None:
        return "missing"
    return "cached" if cached_folder(remote) else "hub"


def _find(place: Place, *, offline: bool = False, refresh: bool = False) -> Path:
    if isinstance(place, Path):
        return place
    from huggingface_hub import is_offline_mode

    offline = offline or is_offline_mode()
    if isinstance(place, Remote):
        return find_remote(place, offline=offline, refresh=refresh)
    return find_converted(place, offline=offline)
