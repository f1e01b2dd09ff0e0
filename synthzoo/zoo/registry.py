"""The zoo's register: every file `model_cards/<name>.md` is one model.

A card's head holds all facts about a model. Lists, tables, hub pages and tests are made
from it, so that no fact is written twice.
"""

from __future__ import annotations

import difflib
import functools
from pathlib import Path
from typing import TYPE_CHECKING

from synthzoo.errors import InputError, UnknownModelError
from synthzoo.models.config import CARD_FILE, GOLDEN_FILE, MODEL_FILES, WEIGHTS_FILE
from synthzoo.runs.files import hash_files, packaged_folder
from synthzoo.zoo.card_records import FileRecord
from synthzoo.zoo.cards import ModelCard, read_card, render_card

if TYPE_CHECKING:
    from collections.abc import Iterable

    from synthzoo.models.checkpoint import Checkpoint
    from synthzoo.models.config import CheckpointConfig


def cards_folder() -> Path:
    """Return the folder of the model cards that come with synthzoo."""
    return packaged_folder(Path(__file__).parent, "model_cards")


def model_cards(folder: Path | None = None) -> tuple[ModelCard, ...]:
    """Return the cards of all models, sorted by name.

    Parameters
    ----------
    folder
        Folder of the cards, if not that of this installation.

    Raises
    ------
    InputError
        If a card is malformed or two cards share a name.

    Examples
    --------
    >>> [card.name for card in model_cards() if "Si" in card.elements][0]
    'silicon-ace-3k-energy'
    """
    return _read_cards(folder) if folder is not None else _installed_cards()


@functools.cache
def _installed_cards() -> tuple[ModelCard, ...]:
    return _read_cards(cards_folder(), trusted=True)


def _read_cards(folder: Path, *, trusted: bool = False) -> tuple[ModelCard, ...]:
    paths = sorted(folder.glob("*.md"))
    cards = tuple(read_card(path, trusted=trusted) for path in paths)
    owners: dict[str, ModelCard] = {}
    for card in cards:
        for name in card.names:
            if name in owners:
                raise InputError(
                    f"{card.path}: the name {name!r} is taken by {owners[name].path}."
                )
            owners[name] = card
    return cards


def find_card(name: str, folder: Path | None = None) -> ModelCard:
    """Return the card of the model with this name or alias.

    Parameters
    ----------
    name
        Name or alias.
    folder
        Folder of the cards, if not that of this installation.

    Raises
    ------
    UnknownModelError
        If no card has this name; the message suggests similar ones, or the model that
        replaced it.

    Examples
    --------
    >>> card = find_card("carbon")
    >>> card.name, card.elements, card.licence
    ('carbon-ace-69k', ('C',), 'mit')
    """
    cards = {known: card for card in model_cards(folder) for known in card.names}
    if name in cards:
        return cards[name]
    hint = _replaced(name, folder) or _similar(name, cards)
    raise UnknownModelError(f"No model named {name!r}.{hint} See `synthzoo list`.")


def _replaced(name: str, folder: Path | None) -> str:
    heirs = [card for card in model_cards(folder) if name in card.replaces]
    return "".join(
        f" {card.name} has replaced it. Did you mean {card.names[-1]!r}?"
        for card in heirs
    )


def _similar(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""


def groups(folder: Path | None = None) -> tuple[str, ...]:
    """Return what names with a slash begin with, such as ``paper/``.

    ``folder``: where the cards lie, if not in this installation.
    """
    names = [name for card in model_cards(folder) for name in card.names]
    return tuple(
        sorted({name.partition("/")[0] + "/" for name in names if "/" in name})
    )


def bundled_folder(card: ModelCard) -> Path | None:
    """Return the checkpoint that is part of this installation, if there is one."""
    folder = Path(__file__).parent / "weights" / card.name
    return folder if folder.is_dir() else None


def file_record(path: Path) -> FileRecord:
    """Return the size and SHA-256 of a file."""
    return FileRecord(size=path.stat().st_size, sha256=hash_files([path]))


def require_whole(folder: Path) -> None:
    """Refuse a folder that lacks a file of a checkpoint."""
    missing = [name for name in MODEL_FILES if not (folder / name).is_file()]
    if missing:
        raise InputError(f"{folder} is not a whole checkpoint: {missing} missing.")


def card_of(config: CheckpointConfig) -> ModelCard | None:
    """Return the card of the register that a checkpoint has, wherever its folder is.

    It is known by the hashes of its weights and of its golden predictions, which carry
    the hash of the description; one that was converted from a published file, by the
    hash of that file and by what the file does not say.
    """
    return next((card for card in model_cards() if _describes(card, config)), None)


def _describes(card: ModelCard, config: CheckpointConfig) -> bool:
    if card.published is None:
        recorded = [card.files[name].sha256 for name in (WEIGHTS_FILE, GOLDEN_FILE)]
        return recorded == [config.weights_sha256, config.golden_sha256]
    return (
        config.provenance.get("source_sha256") == card.published.file.sha256
        and config.arguments.get("avg_num_neighbors")
        == card.published.avg_num_neighbors
        and (config.elements, config.cutoff_A) == (card.elements, card.cutoff_A)
    )


def page_of(checkpoint: Checkpoint) -> str | None:
    """Return the page of a checkpoint: its card's, or the one in its folder."""
    card = card_of(checkpoint.config)
    if card is not None:
        return render_card(card)
    page = checkpoint.folder / CARD_FILE
    return page.read_text(encoding="utf-8") if page.is_file() else None
