"""From the file of a model card to its checked record."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from synthzoo.cards.card import CardHead, ModelCard
from synthzoo.cards.rules import complaints
from synthzoo.errors import InputError
from synthzoo.plain_values import read_yaml
from synthzoo.schema import from_values


def read_card(path: Path) -> ModelCard:
    """Return one model card, checked.

    Parameters
    ----------
    path
        Markdown file with a YAML head.

    Raises
    ------
    InputError
        If the head is missing, not YAML, or says something that cannot be; the message
        names the file and the key.
    """
    head, body = _split(path)
    parsed = from_values(CardHead, read_yaml(head, source=str(path)), source=str(path))
    record = parsed.synthzoo
    card = ModelCard(
        **{entry.name: getattr(record, entry.name) for entry in fields(record)},
        licence=parsed.license,
        tags=parsed.tags,
        path=path,
        head=head,
        body=body,
    )
    for key, complaint in complaints(card):
        raise InputError(f"{path}: {key}: {complaint}")
    return card


def _split(path: Path) -> tuple[str, str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as text: {error}") from error
    parts = re.split(r"^---\n", text, maxsplit=2, flags=re.MULTILINE)
    if len(parts) != 3 or parts[0]:
        raise InputError(f"{path}: expected a YAML head between two lines `---`.")
    return parts[1], parts[2]
