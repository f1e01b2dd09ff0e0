"""Which environments a map shows: all atoms of structures taken at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from synthzoo.data.frames import find_files, iter_raw_frames
from synthzoo.errors import InputError
from synthzoo.potentials import unique

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

Sources = Sequence[Path | str]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Structures whose atoms are shown.

    ``sets``: names of the sets.
    ``structures``: one set after the other.
    ``owners``: number of each structure's set.
    ``available``: atoms of each set in all.
    """

    sets: tuple[str, ...]
    structures: tuple[Atoms, ...]
    owners: tuple[int, ...]
    available: tuple[int, ...]

    @property
    def elements(self) -> list[str]:
        """Chemical symbols of all atoms, in alphabetical order."""
        return sorted({symbol for atoms in self.structures for symbol in atoms.symbols})

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Atoms of each structure."""
        return np.array([len(atoms) for atoms in self.structures])

    def by_atom(self, values: Sequence[int]) -> NDArray[np.int64]:
        """Return values of structures as one of each atom."""
        return np.repeat(np.asarray(values), self.sizes)

    def left_out(self) -> str:
        """Return how much of each set is shown, in words; empty if all of it is."""
        shown = np.bincount(self.by_atom(self.owners), minlength=len(self.sets))
        parts = [
            f"{count:,} of the {total:,} atoms of {name}"
            for name, count, total in zip(
                self.sets, shown.tolist(), self.available, strict=True
            )
        ]
        if shown.sum() == sum(self.available):
            return ""
        return f"Shown are {', '.join(parts)}, from structures taken at random."


def take_sample(
    sources: Sources, *, atoms: int, seed: int, format: str | None = None
) -> Sample:
    """Return structures of files with about so many atoms in all.

    Files are read twice, one structure at a time. A set that is smaller than its share
    leaves the rest to the others.

    ``sources``: files or patterns, each of which is a set.
    """
    files = [find_files(source) for source in sources]
    sizes = [_sizes(paths, format) for paths in files]
    chosen = _choose([np.array(each) for each in sizes], atoms, seed)
    found = [
        _read(paths, set(indices.tolist()), format)
        for paths, indices in zip(files, chosen, strict=True)
    ]
    return Sample(
        sets=unique([Path(source).stem for source in sources]),
        structures=tuple(each for structures in found for each in structures),
        owners=tuple(np.repeat(np.arange(len(found)), [len(s) for s in found])),
        available=tuple(sum(each) for each in sizes),
    )


def _sizes(files: Sequence[Path], format: str | None) -> list[int]:
    """Return the number of atoms of each structure."""
    sizes = [
        frame.atoms for file in files for frame in iter_raw_frames(file, format=format)
    ]
    if not sum(sizes):
        raise InputError(f"{files[0]} has no atoms.")
    return sizes


def _choose(
    sizes: Sequence[NDArray[np.int64]], atoms: int, seed: int
) -> list[NDArray[np.int64]]:
    """Return the structures to show of each set, in their order."""
    generator = np.random.default_rng(seed)
    left, waiting = atoms, len(sizes)
    chosen: dict[int, NDArray[np.int64]] = {}
    for number in np.argsort([each.sum() for each in sizes], kind="stable").tolist():
        order = generator.permutation(len(sizes[number]))
        before = np.cumsum(sizes[number][order]) - sizes[number][order]
        taken = order[before < max(left // waiting, 1)]
        chosen[number] = np.sort(taken)
        left -= int(sizes[number][taken].sum())
        waiting -= 1
    return [chosen[number] for number in range(len(sizes))]


def _read(files: Sequence[Path], wanted: set[int], format: str | None) -> list[Atoms]:
    frames = (frame for file in files for frame in iter_raw_frames(file, format=format))
    return [frame.parse() for i, frame in enumerate(frames) if i in wanted]
