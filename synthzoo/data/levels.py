"""What levels of theory are called."""

from __future__ import annotations

import re
from collections.abc import Sequence

LEVEL_KEY = "level"
"""Key in ``Atoms.info``: the level of theory of the labels."""

HIGH, LOW = "high", "low"
"""What levels are called that nobody has named: the one that a model is for, and
another one."""

LEVEL_NAME = r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,39}"
"""Pattern of what a level may be called."""


def is_level_name(text: str) -> bool:
    """Return whether a level of theory may be called so.

    Examples
    --------
    >>> is_level_name("PBE+U"), is_level_name("a/b")
    (True, False)
    """
    return re.fullmatch(LEVEL_NAME, text) is not None


def in_words(levels: Sequence[str]) -> str:
    """Return the names of all levels, the default one first, for a message.

    Examples
    --------
    >>> in_words(["rpa", "pbe"])
    'rpa (the default), pbe'
    """
    if not levels:
        return ""
    default, *others = levels
    return ", ".join([f"{default} (the default)", *others])
