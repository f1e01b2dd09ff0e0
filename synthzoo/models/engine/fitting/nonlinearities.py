"""Nonlinearities of values, and of how they move along a direction."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


def _ssp(x: Tensor) -> Tensor:
    return torch.nn.functional.softplus(x) - math.log(2.0)


ACTIVATIONS: dict[str, Any] = {
    "silu": torch.nn.functional.silu,
    "tanh": torch.tanh,
    "ssp": _ssp,
}


def _slope(name: str, x: Tensor) -> Tensor:
    """Return the derivative of a nonlinearity."""
    if name == "tanh":
        return 1 - torch.tanh(x).square()
    sigmoid = torch.sigmoid(x)
    return sigmoid if name == "ssp" else sigmoid * (1 + x * (1 - sigmoid))


def activated(name: str, factor: float, both: Tensor) -> tuple[Tensor, Tensor]:
    """Return a nonlinearity of values, and its derivative times theirs.

    ``both``: values and, behind them, their derivatives along the direction.
    """
    value, moving = both.chunk(2)
    return factor * ACTIVATIONS[name](value), factor * _slope(name, value) * moving
