"""Progress on stderr: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from typing import Any, TextIO

from tqdm import tqdm

LOG_EVERY_S = 30.0
"""Time between two lines in a log; what ends earlier leaves none."""

_LINE = "{desc}: {n_fmt} {unit}, {elapsed} so far{postfix}"
_LINE_OF_TOTAL = (
    "{desc}: {n_fmt} of {total_fmt} {unit} ({percentage:.0f} %), {elapsed} so far, "
    "{remaining} to go{postfix}"
)


SYMBOLS = ("fs",)
"""Units that are written alike for one and for many."""


class _Lines(io.TextIOBase):
    """A stream on which each state of a bar is a line of its own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        if shown := text.strip():
            self._stream.write(f"{shown}\n")
        return len(text)

    def flush(self) -> None:
        self._stream.flush()


def progress_bar(
    items: Iterable[Any] | None = None,
    *,
    desc: str,
    unit: str,
    total: float | None = None,
    initial: int = 0,
) -> tqdm[Any]:
    """Return a bar; where stderr is no terminal, it writes a line now and then.

    ``items``: what to go through; without it, the bar is moved by its method
    ``update``.
    ``total``: how many there are, if that is known.
    """
    settings: dict[str, Any] = {"mininterval": 1.0}
    if not sys.stderr.isatty():
        settings = {
            "file": _Lines(sys.stderr),
            "mininterval": LOG_EVERY_S,
            "delay": LOG_EVERY_S,
            "miniters": 1,
            "bar_format": _LINE if total is None else _LINE_OF_TOTAL,
        }
        unit = unit if unit in SYMBOLS else f"{unit}s"
    return tqdm(items, desc=desc, unit=unit, total=total, initial=initial, **settings)


def keep_silent(text: str) -> None:
    """Say nothing: what is called where nobody wants to be told."""
