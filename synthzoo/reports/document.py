"""A short document of text, tables and figures, as Markdown and as one HTML file."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from synthzoo.runs.files import write_text

STYLE = """\
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto;
       padding: 0 1rem; color: #1c2430; }
table { border-collapse: collapse; margin: 1rem 0; font-size: 0.95rem; }
th, td { padding: 0.3rem 0.8rem; border-bottom: 1px solid #d9dde3; text-align: right; }
th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; }
code { background: #f2f4f7; padding: 0.1rem 0.3rem; }
"""


@dataclass(frozen=True, kw_only=True)
class Heading:
    """A heading; the first one is the title."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Paragraph:
    """Text; `code` in backticks, the important in double asterisks."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Items:
    """A list of texts."""

    texts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows below a header, as many cells each."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A picture beside the document, and what it shows."""

    file: Path
    caption: str


MARKDOWN_FILE = "report.md"
HTML_FILE = "report.html"

Block = Heading | Paragraph | Items | Table | Figure


def write_document(folder: Path, blocks: Sequence[Block]) -> Path:
    """Write a document as Markdown and as HTML; return the path of the former.

    Parameters
    ----------
    folder
        Where to write; the figures are there.
    blocks
        From top to bottom.
    """
    path = folder / MARKDOWN_FILE
    write_text(path, to_markdown(blocks))
    write_text(folder / HTML_FILE, to_html(blocks))
    return path


def to_markdown(blocks: Sequence[Block]) -> str:
    """Return a document as Markdown; figures are named by their file.

    Parameters
    ----------
    blocks
        From top to bottom.

    Examples
    --------
    >>> print(to_markdown([Heading(text="Errors"), Paragraph(text="Small.")]))
    # Errors
    <BLANKLINE>
    Small.
    <BLANKLINE>
    """
    parts, depth = [], "#"
    for block in blocks:
        if isinstance(block, Heading):
            parts.append(f"{depth} {block.text}")
            depth = "##"
        elif isinstance(block, Table):
            parts.append(markdown_table(block.header, block.rows))
        elif isinstance(block, Items):
            parts.append("\n".join(f"- {text}" for text in block.texts))
        elif isinstance(block, Figure):
            parts.append(f"![{block.caption}]({block.file.name})")
        else:
            parts.append(block.text)
    return "\n\n".join(parts) + "\n"


def to_html(blocks: Sequence[Block]) -> str:
    """Return a document as one HTML file that holds its figures.

    Parameters
    ----------
    blocks
        From top to bottom; the files of the figures are read.
    """
    parts, level = [], "h1"
    for block in blocks:
        if isinstance(block, Heading):
            parts.append(f"<{level}>{_inline(block.text)}</{level}>")
            level = "h2"
        elif isinstance(block, Table):
            parts.append(_html_table(block))
        elif isinstance(block, Items):
            items = "".join(f"<li>{_inline(text)}</li>" for text in block.texts)
            parts.append(f"<ul>{items}</ul>")
        elif isinstance(block, Figure):
            parts.append(_html_figure(block))
        else:
            parts.append(f"<p>{_inline(block.text)}</p>")
    title = next((html.escape(b.text) for b in blocks if isinstance(b, Heading)), "")
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{title}</title><style>{STYLE}</style></head><body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    r"""Return a Markdown table; a bar in a cell is escaped.

    Parameters
    ----------
    header
        Names of the columns.
    rows
        As many cells each.

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


def _html_table(table: Table) -> str:
    head = "".join(f"<th>{_inline(cell)}</th>" for cell in table.header)
    rows = "".join(
        "<tr>" + "".join(f"<td>{_inline(cell)}</td>" for cell in row) + "</tr>"
        for row in table.rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _html_figure(figure: Figure) -> str:
    content = base64.b64encode(figure.file.read_bytes()).decode()
    caption = html.escape(figure.caption)
    return f'<p><img alt="{caption}" src="data:image/png;base64,{content}"></p>'


def _inline(text: str) -> str:
    """Return text with its code and its emphasis marked up."""
    escaped = html.escape(text)
    escaped = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", escaped)
    return re.sub(r"`(.+?)`", r"<code>\1</code>", escaped)
