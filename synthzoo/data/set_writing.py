"""Labelled structures written to disk one by one; `stored_set` reads them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from synthzoo.data.flat import flatten
from synthzoo.data.npy_writing import GrowingArray
from synthzoo.data.stored_set import ARRAYS, RECORD_FILE, SetRecord, array_file, seal
from synthzoo.data.structures import group_of, kind_of
from synthzoo.runs.files import write_text

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.data.labels import LabelKeys, Labels


class SetWriter:
    """Writes a set of which nothing stays in memory but the names in it.

    ``folder``: a new folder.
    ``info``: keys in ``Atoms.info`` whose values are recorded.
    ``unknown``: what stands for a value that a structure does not have.
    """

    def __init__(self, folder: Path, *, info: Sequence[str], unknown: str) -> None:
        self._folder = folder
        self._unknown = unknown
        self._info: dict[str, set[str]] = {key: set() for key in info}
        self._groups: dict[str, int] = {}
        self._kinds: dict[str, int] = {}
        self._stack = ExitStack()
        self._arrays = {
            name: self._stack.enter_context(
                GrowingArray(array_file(folder, name), dtype, shape)
            )
            for name, (dtype, shape) in ARRAYS.items()
        }

    def __enter__(self) -> SetWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, atoms: Atoms, labels: Labels) -> None:
        """Write the next structure."""
        rows = vars(flatten([(atoms, labels)])) | {
            "groups": _index(self._groups, group_of(atoms)),
            "kinds": _index(self._kinds, kind_of(atoms)),
        }
        for name, array in self._arrays.items():
            array.append(rows[name])
        for key, values in self._info.items():
            values.add(str(atoms.info.get(key, self._unknown)))

    def finish(self, keys: LabelKeys, warnings: Sequence[str]) -> None:
        """Write what belongs to the whole of the set, and the hashes."""
        self._stack.close()
        record = SetRecord(
            keys=keys,
            info={key: sorted(values) for key, values in self._info.items()},
            groups=list(self._groups),
            kinds=list(self._kinds),
            warnings=list(warnings),
        )
        write_text(self._folder / RECORD_FILE, json.dumps(asdict(record)))
        seal(self._folder)


def _index(known: dict[str, int], name: str) -> np.ndarray:
    """Return the index of a name, which is a new one if the name is."""
    return np.array([known.setdefault(name, len(known))])
