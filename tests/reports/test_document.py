"""One list of blocks becomes Markdown and HTML; nothing in it can break the page."""

from __future__ import annotations

from pathlib import Path

import pytest
from jinja2 import UndefinedError

from synthzoo.reports.document import (
    Block,
    Figure,
    Heading,
    Items,
    Paragraph,
    Table,
    render,
    to_html,
    to_markdown,
    write_document,
)


def test_markup_from_a_name_is_text_on_the_page():
    """The name of a model or file that looks like HTML is shown, not obeyed."""
    attack = "<script>alert('x')</script>"
    blocks: list[Block] = [
        Heading(text=attack),
        Paragraph(text=attack),
        Items(texts=(attack,)),
        Table(header=(attack,), rows=((attack,),)),
    ]
    page = to_html(blocks)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 6  # the title counts twice


def test_a_caption_cannot_leave_its_attribute(tmp_path: Path):
    """Quotes in a caption are escaped."""
    file = tmp_path / "figure.png"
    file.write_bytes(b"\x89PNG")
    page = to_html([Heading(text="A"), Figure(file=file, caption='" onload="x')])
    assert 'alt="&#34; onload=&#34;x"' in page
    assert "data:image/png;base64,iVBORw==" in page


def test_code_and_emphasis_are_marked_up():
    """Backticks and double asterisks mean the same in both formats."""
    blocks: list[Block] = [Heading(text="A"), Paragraph(text="**Run** `x < y`.")]
    assert "<p><strong>Run</strong> <code>x &lt; y</code>.</p>" in to_html(blocks)
    assert to_markdown(blocks) == "# A\n\n**Run** `x < y`.\n"


def test_only_the_first_heading_is_the_title(tmp_path: Path):
    """Both files are written, with one heading of the first level."""
    path = write_document(tmp_path, [Heading(text="One"), Heading(text="Two")])
    assert path.read_text() == "# One\n\n## Two\n"
    page = path.with_suffix(".html").read_text()
    assert "<title>One</title>" in page
    assert "<h1>One</h1>\n<h2>Two</h2>" in page


def test_a_name_that_is_missing_is_an_error():
    """A template never leaves a gap where a number should be."""
    with pytest.raises(UndefinedError, match="title"):
        render("demo.md", summary=None)
