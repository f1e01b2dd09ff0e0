"""The kinds of network that a checkpoint may hold: a new one is a file and a line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from synthzoo.errors import CheckpointError
from synthzoo.models.nequip_network import NequIP

if TYPE_CHECKING:
    from synthzoo.models.interface import Architecture, Arguments

ARCHITECTURES: dict[str, Architecture] = {
    "NequIPGNNModel": NequIP("NequIPGNNModel"),
    "FullNequIPGNNModel": NequIP("FullNequIPGNNModel"),
    "LegacyNequIPModel": NequIP("LegacyNequIPModel"),
}
"""By the `builder` of a checkpoint's description."""


def architecture_of(builder: str) -> Architecture:
    """Return the architecture that a description names."""
    if builder not in ARCHITECTURES:
        raise CheckpointError(
            f"the builder {builder!r} is not allowed; use one of "
            f"{', '.join(ARCHITECTURES)}."
        )
    return ARCHITECTURES[builder]


def check_arguments(
    builder: str, arguments: Arguments, elements: Sequence[str]
) -> None:
    """Refuse a description of a network that is not allowed; nothing is built.

    ``elements``: chemical symbols of the network, in its order.
    """
    architecture_of(builder).check_arguments(arguments, elements)
