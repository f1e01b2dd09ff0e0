"""A model card as a whole: the schema of its head, and the card that is made of it."""

# ruff: noqa: TC001  the types of a schema are read at run time

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from synthzoo.cards.records import (
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
from synthzoo.errors import InputError
from synthzoo.schema import (
    DIFFERENT,
    NOT_EMPTY,
    Count,
    Positive,
    matching,
)

NO_LICENCE = "none"
"""Licence of a model whose authors gave none: it may be used, but not passed on."""

_NAME = re.compile(r"([a-z0-9]+/)?[a-z0-9]+(-[a-z0-9]+)*")
_ELEMENT = re.compile(r"[A-Z][a-z]?")  # ase, which knows them, is slow to import
_BIBTEX = re.compile(r"\s*@\w+\s*\{.*\}\s*", re.DOTALL)

Name = Annotated[str, matching(_NAME, "small letters, digits and single dashes")]
Symbol = Annotated[str, matching(_ELEMENT, "a chemical symbol")]


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
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
    known_failures
        What it gets so wrong that a user must know.
    reference_values
        What the teacher says about a few crystals.
    published
        The file of others that the checkpoint is made of.
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
    known_failures: tuple[KnownFailure, ...] = ()
    reference_values: ReferenceValues | None = None
    published: Published | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The name, then the aliases."""
        return (self.name, *self.aliases)


@dataclass(frozen=True, kw_only=True)
class CardHead:
    """The head of a card; all keys but one are those that the hub knows.

    Attributes
    ----------
    license
        SPDX name in small letters, as the hub writes it, or ``none``.
    library_name
        What the model is used with.
    tags
        Keywords for the hub.
    synthzoo
        The record.
    """

    license: str
    library_name: Literal["synthzoo"]
    tags: tuple[str, ...]
    synthzoo: ModelRecord


@dataclass(frozen=True, kw_only=True)
class ModelCard(ModelRecord):
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
    path: Path = field(compare=False)
    head: str = field(repr=False)
    body: str = field(repr=False)


def published_file(card: ModelCard) -> Published:
    """Return the file of others that the checkpoint of a model is made of.

    Parameters
    ----------
    card
        A model of the register.

    Raises
    ------
    InputError
        If there is none.
    """
    if card.published is None:
        raise InputError(f"{card.path} names no file that its authors have published.")
    return card.published
