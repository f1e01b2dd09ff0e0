"""A short document of text, tables and figures, as Markdown and as one HTML file."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from synthzoo.runs.files import write_text

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


@dataclass(frozen=True, kw_only=True)
class Heading:
    """A heading; the first one is the title."""

    form: ClassVar = "heading"
    text: str


@dataclass(frozen=True, kw_only=True)
class Paragraph:
    """Text; `code` in backticks, the important in double asterisks."""

    form: ClassVar = "paragraph"
    text: str


@dataclass(frozen=True, kw_only=True)
class Items:
    """A list of texts."""

    form: ClassVar = "items"
    texts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows below a header, as many cells each."""

    form: ClassVar = "table"
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A picture beside the document, and what it shows."""

    form: ClassVar = "figure"
    file: Path
    caption: str


MARKDOWN_FILE = "report.md"
HTML_FILE = "report.html"

Block = Heading | Paragraph | Items | Table | Figure


def write_document(folder: Path, blocks: Sequence[Block]) -> Path:
    """Write a document as Markdown and as HTML; return the path of the former.

    ``folder``: where to write; the figures are there.
    """
    path = folder / MARKDOWN_FILE
    write_text(path, to_markdown(blocks))
    write_text(folder / HTML_FILE, to_html(blocks))
    return path


def to_markdown(blocks: Sequence[Block]) -> str:
    """Return a document as Markdown; figures are named by their file.

    Examples
    --------
    >>> print(to_markdown([Heading(text="Errors"), Paragraph(text="Small.")]))
    # Errors
    <BLANKLINE>
    Small.
    <BLANKLINE>
    """
    return render("document.md", title=_title(blocks), blocks=blocks)


def to_html(blocks: Sequence[Block]) -> str:
    """Return a document as one HTML file that holds its figures.

    ``blocks``: from top to bottom; the files of the figures are read.
    """
    return render("document.html", title=_title(blocks), blocks=blocks)


def render(template: str, **values: Any) -> str:
    """Return a template of the folder ``templates``, filled in; HTML is escaped.

    ``**values``: what it names; a name that is missing is an error.
    """
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=PackageLoader("synthzoo.reports"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "base64": lambda file: base64.b64encode(file.read_bytes()).decode(),
        "inline": _inline,
        "markdown_table": lambda table: markdown_table(table.header, table.rows),
    }
    return environment


def _title(blocks: Sequence[Block]) -> Heading:
    return next(block for block in blocks if isinstance(block, Heading))


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    r"""Return a Markdown table; a bar in a cell is escaped.

    Examples
    --------
    >>> print(markdown_table(("a", "b"), [("1", "2|3")]))
    | a | b |
    | --- | --- |
    | 1 | 2\|3 |
    """
    lines = [header, ["---"] * len(header), *rows]
    escaped = ([cell.replace("|", r"\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)


def _inline(text: str) -> Markup:
    """Return text as HTML, with its code and its emphasis marked up."""
    from markupsafe import Markup, escape

    marked = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", str(escape(text)))
    return Markup(re.sub(r"`(.+?)`", r"<code>\1</code>", marked))  # noqa: S704  escaped
