"""The frames of a file, cut apart without being parsed where that is cheap.

To parse extended XYZ takes longer than some teachers need for a label. Who hands out
frames to many workers therefore only counts lines, and the workers parse.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from synthzoo.errors import InputError
from synthzoo.extended_xyz import parse_frame
from synthzoo.reading import (
    EXTENDED_XYZ,
    cut_file,
    find_format,
    reason_of,
    with_our_units,
)
from synthzoo.structures import iter_structures

if TYPE_CHECKING:
    from ase import Atoms


@dataclass(frozen=True, kw_only=True)
class RawFrame:
    """A structure of a file, perhaps still as the bytes that are there.

    Attributes
    ----------
    number
        Its place in the file, from 1.
    content
        One frame of extended XYZ, or the structure.
    """

    number: int
    content: bytes | Atoms

    def parse(self) -> Atoms:
        """Return the structure.

        Raises
        ------
        InputError
            If the bytes are no structure.
        """
        if not isinstance(self.content, bytes):
            return self.content
        try:
            return with_our_units(parse_frame(self.content)).atoms
        except Exception as error:  # ASE raises whatever it likes
            reason = str(error) if isinstance(error, InputError) else reason_of(error)
            raise InputError(
                f"Structure number {self.number} of the input cannot be read: "
                f"{reason.rstrip('.')}."
            ) from error


def iter_raw_frames(path: Path, *, format: str | None = None) -> Iterator[RawFrame]:
    """Yield the structures of a file in any format that ASE reads.

    Parameters
    ----------
    path
        File.
    format
        As ASE calls it; guessed if not given.

    Yields
    ------
    frame
        Unparsed if the format is extended XYZ.

    Raises
    ------
    InputError
        If the file is missing, empty, of another or an unknown format, or cut short.
    """
    if find_format(path, format) == EXTENDED_XYZ:
        yield from _numbered(cut_file(path))
    else:
        yield from _numbered(iter_structures(path, format=format))


def _numbered(contents: Iterator[bytes | Atoms]) -> Iterator[RawFrame]:
    for number, content in enumerate(contents, start=1):
        yield RawFrame(number=number, content=content)


def count_raw_frames(path: Path, *, format: str | None = None) -> int | None:
    """Return the number of structures if it can be told by counting lines.

    Parameters
    ----------
    path
        File.
    format
        As ASE calls it; guessed if not given.

    Raises
    ------
    InputError
        If the file is missing, of an unknown format, or an extended XYZ file that is
        empty or cut short.
    """
    if find_format(path, format) != EXTENDED_XYZ:
        return None
    return sum(1 for _ in cut_file(path))
