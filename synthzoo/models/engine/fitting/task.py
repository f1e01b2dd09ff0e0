"""What is to be computed for a fit, and how its loss pulls at what comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from synthzoo.models.engine.links import Links
    from synthzoo.models.engine.memory import Buffers, Who
    from synthzoo.models.engine.precision import Precision
    from synthzoo.models.engine.shape import NetworkShape

State = Mapping[str, Tensor]
"""Weights by name."""


class Task(NamedTuple):
    """What is to be computed: a network, and structures.

    ``names``: of the tensors, parameters among them, that are handed to `compute`.
    """

    shape: NetworkShape
    precision: Precision
    names: Sequence[str]
    who: Who
    links: Links
    positions: NDArray[np.float64]
    cells: NDArray[np.float64]
    buffers: Buffers

    @property
    def dtype(self) -> torch.dtype:
        """Of features and tables."""
        return torch.float32 if self.precision.real == "float32" else torch.float64


class Pull(NamedTuple):
    """Derivatives of a loss with respect to energies, forces and virials."""

    energies: Tensor
    forces: NDArray[np.float64]
    virials: NDArray[np.float64]
