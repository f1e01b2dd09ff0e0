"""Model cards: one Markdown file for each model, whose YAML head is its record.

The structs here and of `card_records` are the schema of the head. An unknown key, a
missing one or a value that cannot be is refused with the file and the key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from synthzoo.errors import InputError
from synthzoo.models.config import LEVELS_FILE, MAP_FILE, MODEL_FILES
from synthzoo.recipes.plain_values import read_yaml
from synthzoo.recipes.schema import (
    DIFFERENT,
    NOT_EMPTY,
    Checked,
    Count,
    Positive,
    Symbol,
    from_values,
    matching,
)
from synthzoo.reports.document import markdown_table
from synthzoo.zoo.card_records import (
    FileRecord,
    HubPlace,
    KnownFailure,
    OneLine,
    Published,
    ReferenceValues,
    Result,
    Teacher,
    TrainingRun,
)

NO_LICENCE = "none"
"""Licence of a model whose authors gave none: it may be used, but not passed on."""

_NAME = r"([a-z0-9]+/)?[a-z0-9]+(-[a-z0-9]+)*"
_BIBTEX = r"\s*@\w+\s*\{[\s\S]*\}\s*"

Name = Annotated[str, matching(_NAME, "small letters, digits and single dashes")]


class ModelRecord(Checked, frozen=True, kw_only=True):
    """What stands under `synthzoo:` in the head of a card.

    Attributes
    ----------
    name
        Also the name of the card's file, with a dash for a slash, and of the folder of
        weights.
    summary
        One line.
    kind
        A potential, or only a start for fine-tuning.
    elements
        Chemical symbols that the model knows.
    cutoff_A
        Radius within which atoms see each other.
    parameters
        Number of weights.
    teacher
        What made the labels.
    files
        Size and hash of each file of the checkpoint; none if it is made when needed.
    hub
        Where it can be downloaded.
    training
        What it was trained on, and the cost.
    results
        Measured errors.
    citation
        BibTeX.
    aliases
        Shorter names.
    replaces
        Names of models that left the package for this one.
    known_failures
        What it gets so wrong that a user must know.
    reference_values
        What the teacher says about a few crystals.
    published
        The file of others that the checkpoint is made of.
    levels
        Names of its levels of theory, the default one first, if it has several.
    """

    name: Name
    summary: OneLine
    kind: Literal["potential", "starting-point"]
    elements: Annotated[tuple[Symbol, ...], NOT_EMPTY, DIFFERENT]
    cutoff_A: Positive
    parameters: Count
    teacher: Teacher
    files: dict[str, FileRecord]
    hub: HubPlace
    training: TrainingRun
    results: tuple[Result, ...]
    citation: Annotated[str, matching(_BIBTEX, "a BibTeX entry")]
    aliases: tuple[Name, ...] = ()
    replaces: tuple[Name, ...] = ()
    known_failures: tuple[KnownFailure, ...] = ()
    reference_values: ReferenceValues | None = None
    published: Published | None = None
    levels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        expected = [] if self.published else [*MODEL_FILES]
        if self.levels:
            expected.append(LEVELS_FILE)
        if set(self.files) - {MAP_FILE} != set(expected):
            raise InputError(f"files: expected {expected}, found {[*self.files]}.")

    @property
    def names(self) -> tuple[str, ...]:
        """The name, then the aliases."""
        return (self.name, *self.aliases)


class CardHead(Checked, frozen=True, kw_only=True):
    """The head of a card; all keys but one are those that the hub knows.

    ``license``: SPDX name in small letters, as the hub writes it, or ``none``.
    ``library_name``: what the model is used with.
    """

    license: str
    library_name: Literal["synthzoo"]
    tags: tuple[str, ...]
    synthzoo: ModelRecord

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.license == NO_LICENCE) != (self.synthzoo.published is not None):
            raise InputError(
                f"license: expected {NO_LICENCE!r} for what others published, only."
            )


class ModelCard(ModelRecord, frozen=True, kw_only=True):
    """One model of the zoo: its record and its page.

    Attributes
    ----------
    licence
        SPDX name in small letters, as the hub writes it, or ``none``.
    tags
        Keywords for the hub.
    path
        The card's file.
    head
        The YAML text.
    body
        The Markdown text.
    """

    licence: str
    tags: tuple[str, ...]
    path: Path
    head: str
    body: str

    def __repr__(self) -> str:
        return f"ModelCard(name={self.name!r}, path={str(self.path)!r})"


def published_file(card: ModelCard) -> Published:
    """Return the file of others that the checkpoint of a model is made of."""
    if card.published is None:
        raise InputError(f"{card.path} names no file that its authors have published.")
    return card.published


def read_card(path: Path, *, trusted: bool = False) -> ModelCard:
    """Return one model card, checked.

    ``trusted``: whether it came with synthzoo.
    """
    head, body = _split(path)
    values = read_yaml(head, source=str(path), trusted=trusted)
    parsed = from_values(CardHead, values, source=str(path))
    record = parsed.synthzoo
    if record.name.replace("/", "-") != path.stem:
        expected = f"expected the file's name {path.stem!r}"
        raise InputError(f"{path}: synthzoo.name: {expected}, found {record.name!r}.")
    return ModelCard(
        **msgspec.structs.asdict(record),
        licence=parsed.license,
        tags=parsed.tags,
        path=path,
        head=head,
        body=body,
    )


def _split(path: Path) -> tuple[str, str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as text: {error}") from error
    parts = re.split(r"^---\n", text, maxsplit=2, flags=re.MULTILINE)
    if len(parts) != 3 or parts[0]:
        raise InputError(f"{path}: expected a YAML head between two lines `---`.")
    return parts[1], parts[2]


_TABLE_MARKER = re.compile(r"^<!-- table: (.*) -->$", re.MULTILINE)


def render_card(card: ModelCard) -> str:
    """Return the page of a model: its head, and its body with the tables filled in.

    ``card``: a line ``<!-- table: results -->`` of its body is replaced by that table,
    made from the head; so are ``known failures`` and ``files``.
    """

    def fill(marker: re.Match[str]) -> str:
        name = marker.group(1)
        if name not in _TABLES:
            raise InputError(
                f"{card.path}: no table {name!r}. Known tables: {list(_TABLES)}."
            )
        return _TABLES[name](card)

    return f"---\n{card.head}---\n{_TABLE_MARKER.sub(fill, card.body)}"


def model_table(cards: Iterable[ModelCard]) -> str:
    """Return a Markdown table of the zoo's own models, one row each, for the README.

    ``cards``: of the register; models that others have published are left out.
    """
    header = (
        "Model",
        "Elements",
        "Teacher",
        "Parameters",
        "Energy RMSE (meV/atom)",
        "Force RMSE (eV/Å)",
        "Measured on",
        "Known failures",
    )
    rows = [_model_row(card) for card in cards if card.published is None]
    return markdown_table(header, rows)


def _model_row(card: ModelCard) -> tuple[str, ...]:
    aliases = "".join(f", `{alias}`" for alias in card.aliases)
    facts = (
        f"`{card.name}`{aliases}",
        ", ".join(card.elements),
        card.teacher.potential,
        f"{card.parameters:,}",
    )
    failures = "; ".join(failure.title for failure in card.known_failures) or "–"
    if not card.results:
        return (*facts, "–", "–", "not measured", failures)
    result = card.results[0]
    return (*facts, *_errors(result), result.data, failures)


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
    return markdown_table(header, rows)


def _failures_table(card: ModelCard) -> str:
    rows = [
        (failure.title, value.quantity, f"{value.model:g}", f"{value.teacher:g}")
        for failure in card.known_failures
        for value in failure.values
    ]
    header = ("Failure", "Quantity", "This model", card.teacher.name)
    return markdown_table(header, rows)


def _files_table(card: ModelCard) -> str:
    rows = [
        (f"`{name}`", f"{record.size:,}", f"`{record.sha256}`")
        for name, record in card.files.items()
    ]
    return markdown_table(("File", "Bytes", "SHA-256"), rows)


_TABLES: dict[str, Callable[[ModelCard], str]] = {
    "results": _results_table,
    "known failures": _failures_table,
    "files": _files_table,
}
