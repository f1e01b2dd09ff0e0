"""How exactly a network is evaluated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from synthzoo.models.engine.jit import vector_bytes


@dataclass(frozen=True, kw_only=True)
class Precision:
    """How exactly a network is evaluated.

    ``real``: ``float32`` or ``float64``.
    ``degree``, ``intervals``: of the splines that stand for radial functions.
    """

    real: str
    degree: int
    intervals: int

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the arrays."""
        return np.dtype(self.real)

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        return vector_bytes() // self.dtype.itemsize


PRECISIONS = {
    "float32": Precision(real="float32", degree=5, intervals=192),
    "float64": Precision(real="float64", degree=7, intervals=1024),
}
"""The splines are as exact as the arithmetic."""
