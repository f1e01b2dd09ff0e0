"""What a card may not say although its types are right."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from synthzoo.cards.card import NO_LICENCE, ModelCard
from synthzoo.files import SHA256

if TYPE_CHECKING:
    from synthzoo.cards.records import Crystal

REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
"""Form of the name of a repository on the hub."""

COMMIT = re.compile(r"[0-9a-f]{40}")
"""Form of a full commit hash."""

_NAME = re.compile(r"([a-z0-9]+/)?[a-z0-9]+(-[a-z0-9]+)*")
_ADDRESS = re.compile(r"https://[\w.-]+/[\w./%-]+", re.ASCII)
_ELEMENT = re.compile(r"[A-Z][a-z]?")
_BIBTEX = re.compile(r"\s*@\w+\s*\{.*\}\s*", re.DOTALL)


def complaints(card: ModelCard) -> Iterator[tuple[str, str]]:
    """Yield the key and the fault of whatever the types alone cannot exclude.

    Parameters
    ----------
    card
        As it was read.
    """
    from synthzoo.checkpoint import MODEL_FILES

    if card.name.replace("/", "-") != card.path.stem:
        yield "synthzoo.name", f"expected the file's name {card.path.stem!r}."
    yield from _pattern_complaints(card)
    yield from _number_complaints(card)
    if "\n" in card.summary.strip():
        yield "synthzoo.summary", "expected one line."
    if (card.hub.repository is None) != (card.hub.revision is None):
        yield "synthzoo.hub", "expected a repository with its revision, or neither."
    expected = () if card.published else MODEL_FILES
    if set(card.files) != set(expected):
        yield "synthzoo.files", f"expected {list(expected)}, found {[*card.files]}."
    if (card.licence == NO_LICENCE) != (card.published is not None):
        yield "license", f"expected {NO_LICENCE!r} for what others published, only."


def _pattern_complaints(card: ModelCard) -> Iterator[tuple[str, str]]:
    hashes: dict[str, str | None] = {
        f"files.{name}.sha256": file.sha256 for name, file in card.files.items()
    }
    hashes["teacher.sha256"] = card.teacher.sha256
    addresses: dict[str, str | None] = {}
    if card.published is not None:
        addresses["published.address"] = card.published.address
        hashes["published.file.sha256"] = card.published.file.sha256
    rules: tuple[tuple[re.Pattern[str], str, Mapping[str, str | None]], ...] = (
        (_NAME, "small letters, digits and single dashes", _numbered("names", card)),
        (_ADDRESS, "an https address", addresses),
        (_ELEMENT, "a chemical symbol", _numbered("elements", card)),
        (SHA256, "64 hexadecimal digits", hashes),
        (REPOSITORY, "organisation/name", {"hub.repository": card.hub.repository}),
        (COMMIT, "a full commit hash", {"hub.revision": card.hub.revision}),
        (_BIBTEX, "a BibTeX entry", {"citation": card.citation}),
    )
    for pattern, expected, values in rules:
        for key, value in values.items():
            if value is not None and not pattern.fullmatch(value):
                yield f"synthzoo.{key}", f"expected {expected}, found {value!r}."


def _numbered(key: str, card: ModelCard) -> dict[str, str | None]:
    values = card.names if key == "names" else card.elements
    return {f"{key}[{index}]": value for index, value in enumerate(values)}


def _number_complaints(card: ModelCard) -> Iterator[tuple[str, str]]:
    positive: dict[str, float] = {
        "cutoff_A": card.cutoff_A,
        "parameters": card.parameters,
        "elements": len(card.elements),
        **{f"files.{name}.size": file.size for name, file in card.files.items()},
        **{
            f"results[{i}].structures": r.structures for i, r in enumerate(card.results)
        },
    }
    if card.published is not None:
        positive["published.avg_num_neighbors"] = card.published.avg_num_neighbors
        positive["published.file.size"] = card.published.file.size
    for key, value in positive.items():
        if value <= 0:
            yield f"synthzoo.{key}", f"expected more than 0, found {value}."
    if len(set(card.elements)) < len(card.elements):
        yield "synthzoo.elements", "an element is given twice."
    for name, crystal in _crystals(card):
        if len(crystal.volumes_A3_per_atom) != len(crystal.energies_eV_per_atom):
            yield (
                f"synthzoo.reference_values.crystals.{name}",
                "expected as many volumes as energies.",
            )


def _crystals(card: ModelCard) -> Iterable[tuple[str, Crystal]]:
    return card.reference_values.crystals.items() if card.reference_values else ()
