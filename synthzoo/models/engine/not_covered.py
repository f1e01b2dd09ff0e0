"""How the engine says that it cannot evaluate a network."""

from __future__ import annotations


class NotCovered(Exception):  # noqa: N818  an answer, not a fault
    """The engine does not evaluate such a network; says why, to follow "because"."""
