"""Read labelled structures from many files, in any format, and remember which."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from synthzoo.data.extended_xyz import parse_frame
from synthzoo.data.reading import (
    EXTENDED_XYZ,
    cut_file,
    find_format,
    reason_of,
    refuse_folder,
    with_our_units,
)
from synthzoo.data.structures import iter_structures
from synthzoo.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a structure was read.

    Attributes
    ----------
    file
        As it was named.
    index
        Number of the frame in the file, from zero.

    Examples
    --------
    >>> print(Origin(file=Path("run/OUTCAR"), index=3))
    run/OUTCAR@3
    """

    file: Path
    index: int

    def __str__(self) -> str:
        return f"{self.file}@{self.index}"


@dataclass(frozen=True, kw_only=True)
class FrameSet:
    """Structures of one or more files, one after the other.

    ``structures``: with the labels that the files have.
    ``origins``: where each was read, in the same order.
    """

    structures: list[Atoms]
    origins: list[Origin]

    @property
    def files(self) -> list[Path]:
        """The files in the order in which they were read."""
        return list(dict.fromkeys(origin.file for origin in self.origins))

    def part(self, indices: Sequence[int]) -> FrameSet:
        """Return some of the structures."""
        return FrameSet(
            structures=[self.structures[index] for index in indices],
            origins=[self.origins[index] for index in indices],
        )


def read_frames(
    sources: Path | str | Iterable[Path | str], *, format: str | None = None
) -> FrameSet:
    """Read all structures of files in any format that ASE reads.

    Extended XYZ, ASE databases and trajectories, VASP's ``OUTCAR`` and
    ``vasprun.xml``, and outputs of GPAW, CASTEP, Quantum ESPRESSO and others may be
    mixed.

    ``sources``: files, or patterns with ``*``, ``?`` and ``**``; the files of a pattern
    are taken in alphabetical order, and a file that is named twice is read once.
    """
    structures: list[Atoms] = []
    origins: list[Origin] = []
    for file in find_files(sources):
        for index, atoms in enumerate(iter_structures(file, format=format)):
            structures.append(atoms)
            origins.append(Origin(file=file, index=index))
    return FrameSet(structures=structures, origins=origins)


def find_files(sources: Path | str | Iterable[Path | str]) -> list[Path]:
    """Return the files that paths and patterns name, each once.

    ``sources``: files, or patterns with ``*``, ``?`` and ``**``.
    """
    named = [sources] if isinstance(sources, (str, Path)) else list(sources)
    if not named:
        raise InputError("No file is named; name at least one.")
    files = [file for source in named for file in _matching(Path(source))]
    return list(dict.fromkeys(files))


def _matching(source: Path) -> list[Path]:
    refuse_folder(source)
    if source.exists() or not glob.has_magic(str(source)):
        return [source]
    # `Path.glob` refuses absolute patterns
    matches = sorted(map(Path, glob.glob(str(source), recursive=True)))  # noqa: PTH207
    files = [path for path in matches if path.is_file()]
    if not files:
        raise InputError(f"No file fits the pattern {source}.")
    return files


@dataclass(frozen=True, kw_only=True)
class RawFrame:
    """A structure of a file, perhaps still as the bytes that are there.

    ``number``: its place in the file, from 1.
    ``content``: one frame of extended XYZ, or the structure.
    """

    number: int
    content: bytes | Atoms

    @property
    def atoms(self) -> int:
        """How many atoms it has."""
        if isinstance(self.content, bytes):
            return int(self.content.split(b"\n", 1)[0])
        return len(self.content)

    def parse(self) -> Atoms:
        """Return the structure."""
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
    """Yield the structures of a file in any format that ASE reads."""
    if find_format(path, format) == EXTENDED_XYZ:
        yield from _numbered(cut_file(path))
    else:
        yield from _numbered(iter_structures(path, format=format))


def _numbered(contents: Iterator[bytes | Atoms]) -> Iterator[RawFrame]:
    for number, content in enumerate(contents, start=1):
        yield RawFrame(number=number, content=content)


def count_raw_frames(path: Path, *, format: str | None = None) -> int | None:
    """Return the number of structures if it can be told by counting lines."""
    if find_format(path, format) != EXTENDED_XYZ:
        return None
    return sum(1 for _ in cut_file(path))
