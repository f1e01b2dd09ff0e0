"""The frames of a file, cut apart without being parsed where that is cheap.

To parse extended XYZ takes longer than some teachers need for a label. Who hands out
frames to many workers therefore only counts lines, and the workers parse.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from ase.io.extxyz import read_xyz
from ase.io.formats import UnknownFileTypeError, filetype, open_with_compression

from synthzoo.errors import InputError
from synthzoo.structures import iter_structures, refuse_empty

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
            text = self.content.decode()
            atoms: Atoms
            (atoms,) = read_xyz(io.StringIO(text), index=slice(None))
        except Exception as error:  # ASE raises whatever it likes
            raise InputError(
                f"Structure number {self.number} of the input cannot be read "
                f"({type(error).__name__}: {error})."
            ) from error
        return atoms


def iter_raw_frames(path: Path) -> Iterator[RawFrame]:
    """Yield the structures of a file in any format that ASE reads.

    Parameters
    ----------
    path
        File; the format is recognised by ASE.

    Yields
    ------
    frame
        Unparsed if the format is extended XYZ.

    Raises
    ------
    InputError
        If the file is missing, empty, of unknown format, or cut short.
    """
    if is_extended_xyz(path):
        with open_with_compression(str(path), "rb") as stream:
            contents: Iterable[bytes | Atoms] = _cut(path, stream)
            yield from _numbered(contents)
    else:
        yield from _numbered(iter_structures(path))


def count_raw_frames(path: Path) -> int | None:
    """Return the number of structures if it can be told by counting lines.

    Parameters
    ----------
    path
        File in any format that ASE reads.

    Raises
    ------
    InputError
        If the file is missing or an extended XYZ file is empty or cut short.
    """
    return sum(1 for _ in iter_raw_frames(path)) if is_extended_xyz(path) else None


def is_extended_xyz(path: Path) -> bool:
    """Return whether ASE takes a file for extended XYZ.

    Parameters
    ----------
    path
        File.

    Raises
    ------
    InputError
        If there is no such file, or it is empty.
    """
    refuse_empty(path)
    try:
        return bool(filetype(str(path)) == "extxyz")
    except UnknownFileTypeError:
        return False


def _numbered(contents: Iterable[bytes | Atoms]) -> Iterator[RawFrame]:
    for number, content in enumerate(contents, start=1):
        yield RawFrame(number=number, content=content)


def _cut(path: Path, lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the frames: a number of atoms, a comment, the atoms, perhaps cell vectors.

    A frame without its last line, or anything else where a number should be, is an
    error; ASE would leave out all that follows an empty line.
    """
    rest = iter(lines)
    count = 0
    head = next(rest, b"")
    while head.strip():
        count += 1
        size = _atoms(head, path, count)
        body = list(islice(rest, size + 1))
        if len(body) < size + 1:
            raise InputError(
                f"{path}: structure number {count} cannot be read: the file ends "
                f"{size + 1 - len(body)} line(s) too early."
            )
        vectors = []
        for head in rest:
            if not head.lstrip().startswith(b"VEC"):
                break
            vectors.append(head)
        else:
            head = b""
        yield b"".join([b"%d\n" % size, *body, *vectors])
    if any(line.strip() for line in chain([head], rest)):
        raise InputError(
            f"{path}: an empty line follows structure number {count}, but it is not "
            "the end. Remove the empty lines between structures."
        )
    if count == 0:
        raise InputError(f"{path} holds no structure.")


def _atoms(line: bytes, path: Path, number: int) -> int:
    try:
        return int(line)
    except ValueError as error:
        raise InputError(
            f"{path}: structure number {number} cannot be read: expected the number "
            f"of its atoms, found {line[:60].decode(errors='replace').strip()!r}."
        ) from error
