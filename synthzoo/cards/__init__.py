"""Model cards: one Markdown file for each model, whose YAML head is its record.

The dataclasses of `card` and `records` are the schema of the head. An unknown key, a
missing one or a value that cannot be is refused with the file and the key.
"""

from synthzoo.cards.card import NO_LICENCE, ModelCard, published_file
from synthzoo.cards.pages import model_table, render_card
from synthzoo.cards.reading import read_card
from synthzoo.cards.records import (
    Crystal,
    FileRecord,
    Published,
    ReferenceValues,
    Result,
)

__all__ = [
    "NO_LICENCE",
    "Crystal",
    "FileRecord",
    "ModelCard",
    "Published",
    "ReferenceValues",
    "Result",
    "model_table",
    "published_file",
    "read_card",
    "render_card",
]
