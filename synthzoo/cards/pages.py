"""Pages and tables that are made from model cards."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from synthzoo.document import markdown_table
from synthzoo.errors import InputError

if TYPE_CHECKING:
    from synthzoo.cards.card import ModelCard
    from synthzoo.cards.records import Result

_TABLE_MARKER = re.compile(r"^<!-- table: (.*) -->$", re.MULTILINE)


def render_card(card: ModelCard) -> str:
    """Return the page of a model: its head, and its body with the tables filled in.

    Parameters
    ----------
    card
        A line ``<!-- table: results -->`` of its body is replaced by that table, made
        from the head; so are ``known failures`` and ``files``.

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


def model_table(cards: Iterable[ModelCard]) -> str:
    """Return a Markdown table of the zoo's own models, one row each, for the README.

    Parameters
    ----------
    cards
        Of the register; models that others have published are left out.
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
