"""Arrays as compiled functions want them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from synthzoo.models.engine.emitter import CACHE_LINE

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray


def aligned(shape: int | tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Return an array of zeros that begins with a cache line.

    A vector that lies across two lines takes two reads.
    """
    kind = np.dtype(dtype)
    size = math.prod(shape if isinstance(shape, tuple) else (shape,)) * kind.itemsize
    room = np.zeros(size + CACHE_LINE, dtype=np.uint8)
    skipped = -room.ctypes.data % CACHE_LINE
    return room[skipped : skipped + size].view(kind).reshape(shape)


def aligned_copy(array: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
    """Return the values of an array in an `aligned` one."""
    found = aligned(array.shape, dtype)
    found[...] = array
    return found
