"""Arrays written to disk row by row, whose number is known at the end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.format import dtype_to_descr, write_array_header_1_0

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray


class GrowingArray:
    """An array in numpy's own format, written from its first row to its last.

    numpy leaves room in the header for a larger number of rows, which is filled in at
    the end. Until then, the file is that of an array without rows.

    ``shape``: of a row.
    """

    def __init__(self, path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> None:
        self._dtype = np.dtype(dtype)
        self._shape = shape
        self._rows = 0
        self._file = path.open("wb")
        self._write_header()

    def append(self, rows: NDArray[Any]) -> None:
        """Write some rows, of shape ``(n, *shape)``."""
        self._file.write(np.ascontiguousarray(rows, dtype=self._dtype).tobytes())
        self._rows += len(rows)

    def __enter__(self) -> GrowingArray:
        return self

    def __exit__(self, *_: object) -> None:
        with self._file:
            self._file.seek(0)
            self._write_header()

    def _write_header(self) -> None:
        header = {
            "descr": dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self._rows, *self._shape),
        }
        write_array_header_1_0(self._file, header)
