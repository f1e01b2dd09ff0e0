"""Labelled structures on disk, as arrays that are mapped and not loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from synthzoo.data.flat import FlatStructures
from synthzoo.data.labels import LabelKeys  # noqa: TC001  msgspec reads annotations
from synthzoo.data.pairs import find_edges
from synthzoo.data.structures import KIND_KEYS, label
from synthzoo.errors import InputError
from synthzoo.runs.files import hash_files, new_file, read_record, write_text
from synthzoo.runs.progress import progress_bar

if TYPE_CHECKING:
    from numpy.typing import NDArray

RECORD_FILE, SUMS_FILE = "set.json", "SHA256SUMS"
ARRAYS: dict[str, tuple[str, tuple[int, ...]]] = {
    "sizes": ("<i4", ()),
    "numbers": ("u1", ()),
    "positions_A": ("<f8", (3,)),
    "cells_A": ("<f8", (3, 3)),
    "periodic": ("?", (3,)),
    "energies_eV": ("<f8", ()),
    "stresses_eV_A3": ("<f8", (6,)),
    "forces_eV_A": ("<f8", (3,)),
    "atomic_energies_eV": ("<f8", ()),
    "groups": ("<i4", ()),
    "kinds": ("<i4", ()),
}
"""Type and shape of a row, by name: the entries of `FlatStructures`, then indices."""


@dataclass(frozen=True, kw_only=True)
class SetRecord:
    """What belongs to the whole of a stored set.

    ``keys``: where its labels were.
    ``info``: values in ``Atoms.info`` of all structures, by key, sorted.
    ``groups``, ``kinds``: names that the indices of structures point to.
    ``warnings``: what was said when the files were read.
    """

    keys: LabelKeys
    info: dict[str, list[str]]
    groups: list[str]
    kinds: list[str]
    warnings: list[str]


def array_file(folder: Path, name: str) -> Path:
    """Return where an array of a stored set is kept."""
    return folder / f"{name}.npy"


def seal(folder: Path) -> None:
    """Write the hashes of a set's files, without which it is not read."""
    write_text(folder / SUMS_FILE, _sums(folder))


def open_set(folder: Path) -> StoredSet | None:
    """Return the set in a folder; None if there is none, or if it is damaged."""
    try:
        sound = (folder / SUMS_FILE).read_bytes() == _sums(folder).encode()
    except (OSError, InputError):
        return None
    return StoredSet(folder) if sound else None


def _sums(folder: Path) -> str:
    files = [folder / RECORD_FILE, *(array_file(folder, name) for name in ARRAYS)]
    return "".join(f"{hash_files([file])}  {file.name}\n" for file in files)


class StoredSet:
    """A set on disk, of which only what is asked for comes into memory.

    ``folder``: its place, from `open_set`.
    ``record``: what belongs to the whole of it.
    ``sizes``: numbers of atoms, of shape ``(b,)``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = read_record(folder / RECORD_FILE, SetRecord)
        self._arrays: dict[str, NDArray[Any]] = {
            name: np.asarray(np.load(array_file(folder, name), mmap_mode="r"))
            for name in ARRAYS
        }
        self.sizes = self._arrays["sizes"].astype(np.int64)
        self._starts = np.cumsum(self.sizes) - self.sizes

    def __len__(self) -> int:
        return len(self.sizes)

    @cached_property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols that occur, in alphabetical order."""
        counts = np.bincount(self._arrays["numbers"])
        return tuple(sorted(chemical_symbols[z] for z in np.flatnonzero(counts)))

    @property
    def energies_eV(self) -> NDArray[np.float64]:
        """The energies of the cells, of shape ``(b,)``."""
        return self._arrays["energies_eV"]

    @property
    def stresses_eV_A3(self) -> NDArray[np.float64]:
        """The stresses, of shape ``(b, 6)``; NaN where they are not known."""
        return self._arrays["stresses_eV_A3"]

    @property
    def atomic_energies_eV(self) -> NDArray[np.float64]:
        """The energies of atoms, of shape ``(n,)``; NaN where they are not known."""
        return self._arrays["atomic_energies_eV"]

    def group(self, index: int) -> str:
        """Return the group of related structures that one belongs to."""
        return self.record.groups[int(self._arrays["groups"][index])]

    def part(self, indices: Sequence[int] | NDArray[np.int64]) -> FlatStructures:
        """Return some structures, in this order."""
        chosen = np.asarray(indices)
        sizes = self.sizes[chosen]
        ends = np.cumsum(sizes)
        atoms = np.arange(ends[-1]) + np.repeat(
            self._starts[chosen] - (ends - sizes), sizes
        )
        of_atoms = ("numbers", "positions_A", "forces_eV_A", "atomic_energies_eV")
        of_cells = ("cells_A", "periodic", "energies_eV", "stresses_eV_A3")
        return FlatStructures(
            sizes=sizes,
            **{name: self._arrays[name][atoms] for name in of_atoms},
            **{name: self._arrays[name][chosen] for name in of_cells},
        )

    def atoms(self, index: int) -> Atoms:
        """Return a structure with its labels in ASE's own place, and its kind."""
        flat = self.part([index])
        atoms = Atoms(
            flat.numbers, flat.positions_A, cell=flat.cells_A[0], pbc=flat.periodic[0]
        )
        atoms.info[KIND_KEYS[0]] = self.record.kinds[int(self._arrays["kinds"][index])]
        stress = flat.stresses_eV_A3[0]
        return label(
            atoms,
            energy_eV=float(flat.energies_eV[0]),
            forces_eV_A=flat.forces_eV_A,
            stress_eV_A3=stress if np.isfinite(stress).all() else None,
        )

    def edges(self, cutoff_A: float) -> NDArray[np.int64]:
        """Return how many neighbours the atoms of each structure have in all.

        They are counted once and kept beside the set. Returns ``counts``: of shape
        ``(b,)``.
        """
        return self._kept(f"edges-{cutoff_A!r}", lambda: self._count_edges(cutoff_A))

    def _count_edges(self, cutoff_A: float) -> NDArray[np.int64]:
        counts = np.zeros(len(self), dtype=np.int64)
        numbers = range(len(self))
        for index in progress_bar(numbers, desc="find neighbours", unit="structure"):
            flat = self.part([index])
            first, _, _ = find_edges(
                flat.positions_A, flat.cells_A[0], flat.periodic[0], cutoff_A
            )
            counts[index] = len(first)
        return counts

    def _kept(
        self, name: str, count: Callable[[], NDArray[np.int64]]
    ) -> NDArray[np.int64]:
        """Return a number for each structure, from the disk if it is there."""
        path = self.folder / name
        found = _read_kept(path)
        if found is None or len(found) != len(self):
            found = count()
            content = found.astype("<i8").tobytes()
            with suppress(OSError), new_file(path) as partial:  # a full disk, or so
                partial.write_bytes(hashlib.sha256(content).digest() + content)
        return found


def _read_kept(path: Path) -> NDArray[np.int64] | None:
    """Return what a file holds behind its hash; None if that is not there, or wrong."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    size = hashlib.sha256().digest_size
    if hashlib.sha256(content[size:]).digest() != content[:size]:
        return None
    return np.frombuffer(content[size:], dtype="<i8").astype(np.int64)
