"""The zoo's register: every file `model_cards/<name>.md` is one model.

A card's head holds all facts about a model. Lists, tables, hub pages and tests are made
from it, so that no fact is written twice.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import yaml

from synthzoo.cards import FileRecord, ModelCard, Result, read_card
from synthzoo.errors import InputError, UnknownModelError

_TABLE_MARKER = re.compile(r"^<!-- table: (.*) -->$", re.MULTILINE)


def cards_folder() -> Path:
    """Return the folder of model cards, inside a wheel or beside the package.

    Raises
    ------
    InputError
        If the installation has none.
    """
    package = Path(__file__).parent
    for folder in (package / "model_cards", package.parent / "model_cards"):
        if folder.is_dir():
            return folder
    raise InputError(
        f"There is no folder model_cards in or beside {package}; install synthzoo anew."
    )


def model_cards(folder: Path | None = None) -> tuple[ModelCard, ...]:
    """Return the cards of all models, sorted by name.

    Parameters
    ----------
    folder
        Where the cards lie, if not in this installation.

    Raises
    ------
    InputError
        If a card is malformed or two cards share a name.
    """
    return _read_cards(folder) if folder is not None else _installed_cards()


@functools.cache
def _installed_cards() -> tuple[ModelCard, ...]:
    return _read_cards(cards_folder())


def _read_cards(folder: Path) -> tuple[ModelCard, ...]:
    cards = tuple(read_card(path) for path in sorted(folder.glob("*.md")))
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
        Where the cards lie, if not in this installation.

    Raises
    ------
    UnknownModelError
        If no card carries the name; the message offers the nearest ones.
    """
    cards = {known: card for card in model_cards(folder) for known in card.names}
    if name in cards:
        return cards[name]
    near = difflib.get_close_matches(name.lower(), cards, n=3, cutoff=0.6)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise UnknownModelError(f"No model named {name!r}.{hint} See `synthzoo list`.")


def groups(folder: Path | None = None) -> tuple[str, ...]:
    """Return what names with a slash begin with, such as ``paper/``.

    Parameters
    ----------
    folder
        Where the cards lie, if not in this installation.
    """
    names = [name for card in model_cards(folder) for name in card.names]
    return tuple(
        sorted({name.partition("/")[0] + "/" for name in names if "/" in name})
    )


def bundled_folder(card: ModelCard) -> Path | None:
    """Return the checkpoint that is part of this installation, if there is one.

    Parameters
    ----------
    card
        A model of the register.
    """
    folder = Path(__file__).parent / "weights" / card.name
    return folder if folder.is_dir() else None


def file_record(path: Path) -> FileRecord:
    """Return the size and SHA-256 of a file, read in pieces.

    Parameters
    ----------
    path
        Any file.
    """
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
            size += len(piece)
    return FileRecord(size=size, sha256=digest.hexdigest())


def file_records(folder: Path) -> dict[str, FileRecord]:
    """Return what a card's `files` should say about the checkpoint in a folder.

    Parameters
    ----------
    folder
        A checkpoint.

    Raises
    ------
    InputError
        If a file of the checkpoint is missing.
    """
    from synthzoo.checkpoint import MODEL_FILES

    missing = [name for name in MODEL_FILES if not (folder / name).is_file()]
    if missing:
        raise InputError(f"{folder} is not a whole checkpoint: {missing} missing.")
    return {name: file_record(folder / name) for name in MODEL_FILES}


def files_yaml(records: Mapping[str, FileRecord]) -> str:
    """Return file records as the YAML lines that go under `synthzoo:` in a card.

    Parameters
    ----------
    records
        Size and hash of each file.
    """
    plain = {
        name: {"size": record.size, "sha256": record.sha256}
        for name, record in records.items()
    }
    text: str = yaml.safe_dump({"files": plain}, sort_keys=False)
    return "".join(f"  {line}" for line in text.splitlines(keepends=True))


def render_card(card: ModelCard) -> str:
    """Return the page of a model: its head, and its body with the tables filled in.

    Parameters
    ----------
    card
        A line ``<!-- table: results -->`` or ``<!-- table: files -->`` of its body is
        replaced by that table, made from the head.

    Raises
    ------
    InputError
        If the body asks for a table that does not exist.
    """

    def fill(marker: re.Match[str]) -> str:
        name = marker.group(1)
        if name not in _TABLES:
            raise InputError(
                f"{card.path}: no table {name!r}. Known tables: {list(_TABLES)}."
            )
        return _TABLES[name](card)

    return f"---\n{card.head}---\n{_TABLE_MARKER.sub(fill, card.body)}"


def model_table(folder: Path | None = None) -> str:
    """Return a Markdown table of the zoo's own models, one row each, for the README.

    Parameters
    ----------
    folder
        Where the cards lie, if not in this installation.
    """
    header = (
        "Model",
        "Elements",
        "Teacher",
        "Parameters",
        "Energy RMSE (meV/atom)",
        "Force RMSE (eV/Å)",
        "Measured on",
    )
    ours = [card for card in model_cards(folder) if card.published is None]
    return _table(header, [_model_row(card) for card in ours])


def _model_row(card: ModelCard) -> tuple[str, ...]:
    aliases = "".join(f", `{alias}`" for alias in card.aliases)
    facts = (
        f"`{card.name}`{aliases}",
        ", ".join(card.elements),
        card.teacher.potential,
        f"{card.parameters:,}",
    )
    if not card.results:
        return (*facts, "–", "–", "not measured")
    result = card.results[0]
    return (*facts, *_errors(result), result.data)


def _errors(result: Result) -> tuple[str, str]:
    energy, force = result.energy_rmse_meV_per_atom, result.force_rmse_eV_A
    return (
        "–" if energy is None else f"{energy:.1f}",
        "–" if force is None else f"{force:.3f}",
    )


def _results_table(card: ModelCard) -> str:
    header = (
        "Data",
        "Structures",
        "Energy RMSE (meV/atom)",
        "Force RMSE (eV/Å)",
        "Note",
        "Command",
    )
    rows = [
        (
            result.data,
            str(result.structures),
            *_errors(result),
            result.note,
            f"`{result.command}`" if result.command else "– (published)",
        )
        for result in card.results
    ]
    return _table(header, rows)


def _files_table(card: ModelCard) -> str:
    rows = [
        (f"`{name}`", f"{record.size:,}", f"`{record.sha256}`")
        for name, record in card.files.items()
    ]
    return _table(("File", "Bytes", "SHA-256"), rows)


_TABLES: dict[str, Callable[[ModelCard], str]] = {
    "results": _results_table,
    "files": _files_table,
}


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |"
        for line in lines
    )
