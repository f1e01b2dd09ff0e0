"""How results are printed for people."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from synthzoo.cli.options import echo_result

if TYPE_CHECKING:
    import pytest


@dataclass(frozen=True)
class Made:
    """Something with several entries."""

    report: Path
    elements: tuple[str, ...]
    verdict: tuple[str, ...]
    seconds: dict[str, float]


def test_sentences_have_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    made = Made(
        Path("r.md"), ("C", "Si"), ("Better.", "It lives."), {"fit": 2.5, "md": 1.0}
    )
    echo_result(made, as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "report    r.md",
        "elements  C, Si",
        "verdict   Better.",
        "          It lives.",
        "seconds   fit: 2.5",
        "          md: 1.0",
    ]
