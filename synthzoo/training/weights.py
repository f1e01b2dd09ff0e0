"""What the weights of several levels of theory are called in one file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

AT = "@"
"""Stands in the name of a weight between its name and that of its level."""


def weights_at(weights: Mapping[str, Tensor], level: str | None) -> dict[str, Tensor]:
    """Return the weights of one level by their names in a network of one.

    ``weights``: from `LevelledNetwork.weights`, or of a network of one level.
    ``level``: None for the default one.
    """
    found = {name: value for name, value in weights.items() if AT not in name}
    if level is not None:
        found |= {
            name.removesuffix(f"{AT}{level}"): value
            for name, value in weights.items()
            if name.endswith(f"{AT}{level}")
        }
    return found
