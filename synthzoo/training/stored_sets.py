"""Files of labelled structures, read once and found again as a set on disk."""

from __future__ import annotations

import logging
import os
import shutil
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import ase

import synthzoo
from synthzoo.data.label_choice import LabelSurvey
from synthzoo.data.labels import labels_of
from synthzoo.data.level_frames import level_in
from synthzoo.data.reading import find_format
from synthzoo.data.set_writing import SetWriter
from synthzoo.data.sound import check_structure
from synthzoo.data.stored_set import StoredSet, open_set
from synthzoo.data.structures import iter_structures
from synthzoo.data.transmute import HISTORY_KEY
from synthzoo.errors import FileWarning, InputError
from synthzoo.runs.caches import cache_folder
from synthzoo.runs.files import (
    NO_LOCKS,
    TAKEN,
    hash_values,
    new_folder,
    remove_partial,
)
from synthzoo.runs.progress import progress_bar

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.data.labels import LabelKeys, Labels

_LOG = logging.getLogger(__name__)

FORM = 3
"""Counts the forms in which sets have been written."""

SOURCE_KEYS = ("teacher", "teacher_sha256", "teacher_software")
"""Keys in ``Atoms.info`` that say where labels come from."""
RECIPE_KEY = "generate_recipe"
INFO_KEYS = (*SOURCE_KEYS, RECIPE_KEY, HISTORY_KEY)
UNKNOWN = "unknown"

MAX_LABEL = 1e4
"""Larger energies per atom (eV) and forces (eV/Å) are faults of their source."""

KEPT_DAYS = 30
"""A set that was not used for so long is removed when another one is made."""


def name_of(index: int) -> str:
    """Return what to call a structure in messages, by its index in all files."""
    return f"structure number {index + 1}"


@dataclass(frozen=True)
class _Files:
    """The structures of some files, read anew each time; what is said is said once."""

    files: Sequence[Path]
    format: str | None
    said: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[Atoms]:
        for file in self.files:
            yield from iter_structures(file, format=self.format, tell=self._tell)

    def _tell(self, message: str) -> None:
        if message not in self.said:
            self.said.append(message)
            warnings.warn(message, FileWarning, stacklevel=2)

    def name(self, sha256: str) -> str:
        """Return a name that changes if the files, or what reads them, do."""
        forms = [(file.stat().st_size, self._format_of(file)) for file in self.files]
        versions = [FORM, synthzoo.__version__, ase.__version__]
        return hash_values([*versions, sha256, forms])

    def _format_of(self, file: Path) -> str:
        return find_format(file, self.format)


def stored_set(
    files: Sequence[Path], *, sha256: str, spare: Path, format: str | None = None
) -> StoredSet:
    """Return the structures of some files, from the disk if they were read before.

    The set is kept in the user's cache under a name that the content of the files
    decides. Of several processes that want it, one makes it, and the others wait.

    ``sha256``: of the files, one after the other.
    ``spare``: folder to use if nothing can be written to the cache.
    ``format``: of all files, as ASE calls it; guessed for each if not given.
    """
    source = _Files(files, format)
    name = source.name(sha256)
    found = _cached(name, source) or _found_or_made(spare / "sets" / name, source)
    for message in found.record.warnings:
        if message not in source.said:
            warnings.warn(message, FileWarning, stacklevel=2)
    return found


def _cached(name: str, source: _Files) -> StoredSet | None:
    """Return a set in the user's cache; None if nothing can be written there."""
    try:
        folder = cache_folder("sets")
    except RuntimeError:  # nobody's home
        return None
    try:
        return _found_or_made(folder / name, source)
    except OSError:  # if that is not the cache's fault, it comes back
        return None


def _found_or_made(folder: Path, source: _Files) -> StoredSet:
    found = open_set(folder)
    if found is None:
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _turn(folder):
            found = open_set(folder) or _made(folder, source)
    with suppress(OSError):
        os.utime(folder)
    return found


def _made(folder: Path, source: _Files) -> StoredSet:
    if folder.exists():
        _LOG.warning("The stored set in %s is damaged: it is made again.", folder)
        shutil.rmtree(folder)
    _remove_old(folder.parent)
    try:
        with new_folder(folder) as partial:
            write_set(source, partial, said=source.said)
    except OSError as error:
        if error.errno not in TAKEN:  # where files cannot be locked, by another process
            raise
    found = open_set(folder)
    if found is None:
        raise InputError(f"The stored set in {folder} was damaged while it was made.")
    return found


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """Wait until no other process makes a set; remove what a killed one has left."""
    from filelock import FileLock

    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire()
        remove_partial(folder.parent, folder.name)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    try:
        yield
    finally:
        lock.release()


def _remove_old(folder: Path) -> None:
    """Remove sets that nobody has used for long, and what else is left of them."""
    limit = time.time() - KEPT_DAYS * 24 * 3600
    for path in folder.iterdir():
        with suppress(OSError):
            if path.stat().st_mtime < limit:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def write_set(
    structures: Iterable[Atoms], folder: Path, *, said: Sequence[str] = ()
) -> None:
    """Write checked structures with their labels as a set.

    Which keys hold the labels is certain after the last structure. They are taken to
    be those that the first one suggests; if that was wrong, all are read once more.

    ``structures``: to be gone through several times.
    ``folder``: a new folder.
    ``said``: what was said when they were read, as far as they are.
    """
    keys = LabelSurvey.of(islice(structures, 1)).choose().keys
    survey = LabelSurvey()
    fault = _write(_surveyed(structures, survey), folder, keys, said)
    found = survey.find()
    if found != keys:
        fault = _write(structures, folder, found, said)
    if fault is not None:
        raise fault


def _surveyed(structures: Iterable[Atoms], survey: LabelSurvey) -> Iterator[Atoms]:
    for atoms in structures:
        survey.add(atoms)
        yield atoms


def _write(
    structures: Iterable[Atoms], folder: Path, keys: LabelKeys, said: Sequence[str]
) -> InputError | None:
    """Write structures as a set; return what is wrong with the first that is wrong."""
    fault: InputError | None = None
    levels: set[str | None] = set()
    shown = progress_bar(structures, desc="read", unit="structure")
    with SetWriter(folder, info=INFO_KEYS, unknown=UNKNOWN) as writer:
        for index, atoms in enumerate(shown):
            fault = fault or _add(writer, atoms, keys, name=name_of(index))
            levels.add(level_in(atoms))
        fault = fault or _several(levels)
        if fault is None:
            writer.finish(keys, said)
    return fault


def _several(levels: set[str | None]) -> InputError | None:
    """Return that structures name several levels of theory, if they do."""
    named = sorted(name for name in levels if name is not None)
    if len(named) < 2:
        return None
    return InputError(
        f"The structures are of several levels of theory: {', '.join(named)}. Give "
        "each level in a file of its own, the others with --with."
    )


def _add(
    writer: SetWriter, atoms: Atoms, keys: LabelKeys, *, name: str
) -> InputError | None:
    """Write a structure, or return what is wrong with it."""
    try:
        writer.add(atoms, _checked_labels(atoms, keys, name=name))
    except InputError as error:
        return error
    return None


def _checked_labels(atoms: Atoms, keys: LabelKeys, *, name: str) -> Labels:
    """Return the labels of a structure if it can be trained on."""
    check_structure(atoms, name=name)
    labels = labels_of(atoms, keys, name=name)
    largest = max(abs(labels.energy_eV) / len(atoms), abs(labels.forces_eV_A).max())
    if largest > MAX_LABEL:
        raise InputError(
            f"{name} has a label of {largest:.3g} (eV per atom, or eV/Å), more than "
            "any sound structure. Leave it out, for example with `max_force_eV_A` of "
            "`relabel`."
        )
    return labels
