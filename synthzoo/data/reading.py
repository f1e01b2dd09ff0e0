"""Files become structures here: formats, frames, units; ASE's faults in our words."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import ase.db
import numpy as np
from ase.io.formats import (
    UnknownFileTypeError,
    filetype,
    get_compression,
    ioformats,
    open_with_compression,
)

from synthzoo.data.code_outputs import frames_of_code, peek, way_out
from synthzoo.data.declared_units import convert_declared
from synthzoo.data.extended_xyz import CP2K_COMMENT, Frame, cut_frames, parse_frame
from synthzoo.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms
    from ase.db.row import AtomsRow

T = TypeVar("T")

EXTENDED_XYZ = "extxyz"
DATABASES = ("db", "json")
LONGEST_REASON = 200
"""Characters of ASE's own words in a message."""

_BY_CONTENT = {
    "vasp-xml": re.compile(rb"\s*<\?xml[^>]*>\s*(<!--.*?-->\s*)*<modeling>", re.DOTALL),
    "vasp-out": re.compile(rb"\s*vasp\.\d"),
    "abinit-out": re.compile(rb"\s*\.Version\s.{1,40}\sof ABINIT", re.DOTALL),
}
"""What ASE knows by the file's name only, or takes for something else."""

_GUESSED = "The format was guessed: if it is another one, name it with --format."
_PYMATGEN = re.compile(rb'"@module":\s*"pymatgen')
_CP2K_OUTPUT = re.compile(rb"^ *CP2K\| ", re.MULTILINE)
_CP2K_VECTORS = re.compile(r"-(frc|vel)-\d+\.xyz(\.\w+)?$", re.IGNORECASE)


def find_format(path: Path, wanted: str | None = None) -> str:
    """Return the format of a file, as ASE calls it."""
    refuse_empty(path)
    if wanted is not None:
        return _known(wanted)
    root, _ = get_compression(path.name)
    if Path(root).suffix.lower() in (".xyz", ".extxyz"):
        return EXTENDED_XYZ
    head = _peek(path)
    _refuse_foreign(path, head)
    by_content = next(
        (n for n, known in _BY_CONTENT.items() if known.match(head)), None
    )
    try:
        name = by_content or filetype(str(path.absolute()))
    except UnknownFileTypeError:
        name = ""
    if name in ioformats and ioformats[name].can_read:
        return str(name)
    if head.split(b"\n", 1)[0].strip().isdigit():
        return EXTENDED_XYZ
    raise InputError(
        f"{path}: ASE does not recognise this format. Name it with --format, such as "
        "vasp-xml, espresso-out or extxyz."
    )


def _known(name: str) -> str:
    readable = [known for known, each in ioformats.items() if each.can_read]
    if name in readable:
        return name
    near = difflib.get_close_matches(name, readable, n=3) or ["extxyz", "vasp-xml"]
    raise InputError(
        f"ASE reads no format called {name!r}; is it {' or '.join(near)}? "
        "`ase info --formats` lists all."
    )


def _peek(path: Path) -> bytes:
    try:
        return peek(path)
    except Exception as error:  # each kind of compression has its own
        raise InputError(f"{path} cannot be read: {reason_of(error)}.") from error


def refuse_empty(path: Path) -> None:
    """Raise `InputError` unless there is a file with something in it."""
    refuse_folder(path)
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty: it holds no structure.")


def refuse_folder(path: Path) -> None:
    """Raise `InputError` if a folder stands where files of structures are wanted."""
    if not path.is_dir():
        return
    if (path / "type.raw").is_file():
        made = "npy" if any(path.glob("set.*")) else "raw"
        raise InputError(f"{path} is a data set of deepmd. {_dpdata(path, made)}")
    raise InputError(
        f"{path} is a folder; name the files in it, such as '{path}/*.xyz'."
    )


def _dpdata(path: Path, made: str) -> str:
    return (
        "dpdata converts it (pip install dpdata): "
        f"dpdata {path} -i deepmd/{made} -o extxyz -O set.xyz"
    )


def _refuse_foreign(path: Path, head: bytes) -> None:
    """Name the way out for files that ASE does not read, or takes for others."""
    if path.suffix in (".npy", ".raw"):
        folder = next(
            (f for f in path.absolute().parents if (f / "type.raw").is_file()), None
        )
        if folder is not None:
            made = path.suffix.removeprefix(".")
            raise InputError(
                f"{path} is part of a data set of deepmd. {_dpdata(folder, made)}"
            )
    if _PYMATGEN.search(head):
        raise InputError(
            f"{path} was written by pymatgen. Convert it in Python: "
            "pymatgen.io.ase.AseAtomsAdaptor.get_atoms(structure) gives structures for "
            "ase.io.write; energies and forces have to be added."
        )
    if _CP2K_OUTPUT.search(head):
        raise InputError(
            f"{path} is CP2K's output, which ASE does not read. dpdata does (pip "
            f"install dpdata): dpdata {path} -i cp2k/output -o extxyz -O set.xyz"
        )


def read_frames_of(path: Path, wanted: str | None = None) -> Iterator[Frame]:
    """Yield the structures of a file in eV and Å, with what there is to say of each.

    Yields ``frame``: labels, where the file has them, sit in a `SinglePointCalculator`.
    """
    name = find_format(path, wanted)
    frames = map(with_our_units, _frames(path, name))
    yield from _in_our_words(frames, path, name, guessed=wanted is None)


def cut_file(path: Path) -> Iterator[bytes]:
    """Yield the frames of an extended XYZ file without parsing them."""
    yield from _in_our_words(_cut(path), path, EXTENDED_XYZ, guessed=True)


def _in_our_words(
    frames: Iterator[T], path: Path, name: str, *, guessed: bool
) -> Iterator[T]:
    """Yield frames; what goes wrong becomes an `InputError` that says where."""
    hint = _GUESSED if guessed else ""
    count = 0
    while True:
        streamed = count or name in (EXTENDED_XYZ, *DATABASES)
        which = f"{path}: structure number {count + 1}" if streamed else str(path)
        try:
            frame = next(frames)
        except StopIteration:
            break
        except InputError as error:
            raise InputError(f"{which} cannot be read: {error}") from error
        except Exception as error:  # ASE raises whatever it likes
            words = [
                f"{which} cannot be read as {name}: {reason_of(error)}.",
                way_out(path, name),
                "" if count else hint,
            ]
            raise InputError(" ".join(filter(None, words))) from error
        count += 1
        yield frame
    if count == 0:
        raise InputError(f"{path} holds no structure, read as {name}. {hint}".strip())


def with_our_units(frame: Frame) -> Frame:
    """Return a frame in eV and Å.

    ``frame``: as it stands in the file; its structure is changed.
    """
    return Frame(frame.atoms, (*frame.notes, *convert_declared(frame.atoms)))


def reason_of(error: Exception) -> str:
    """Return kind and text of an exception of ASE's on one line."""
    text = " ".join(str(error).split()).rstrip(".")
    if len(text) > LONGEST_REASON:
        text = f"{text[:LONGEST_REASON]} …"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _frames(path: Path, name: str) -> Iterator[Frame]:
    if name == EXTENDED_XYZ:
        yield from _extended_xyz_frames(path)
    elif name in DATABASES:
        yield from _rows(path, name)
    else:
        yield from frames_of_code(path, name)


def _extended_xyz_frames(path: Path) -> Iterator[Frame]:
    if _CP2K_VECTORS.search(path.name):
        _refuse_cp2k_vectors(path)
    yield from map(parse_frame, _cut(path))


def _cut(path: Path) -> Iterator[bytes]:
    with open_with_compression(str(path), "rb") as stream:
        yield from cut_frames(stream)


def _refuse_cp2k_vectors(path: Path) -> None:
    comment = [*_peek(path).split(b"\n", 2), b""][1].decode(errors="replace")
    if CP2K_COMMENT.match(comment):
        raise InputError(
            "CP2K writes forces or velocities into such a file where XYZ has "
            "positions. dpdata joins a run's files (pip install dpdata): format "
            "cp2k/aimd_output."
        )


def _rows(path: Path, name: str) -> Iterator[Frame]:
    """Yield the rows of a database, with what users added: `iread` leaves it out."""
    kind = "aselmdb" if path.suffix == ".aselmdb" else name
    with ase.db.connect(path, type=kind, serial=True) as rows:
        for row in rows.select():
            yield Frame(_row_atoms(row), ())


def _row_atoms(row: AtomsRow) -> Atoms:
    atoms: Atoms = row.toatoms()
    atoms.info.update(row.key_value_pairs)
    for key, value in row.data.items():
        per_atom = isinstance(value, np.ndarray) and value.shape[:1] == (len(atoms),)
        place = atoms.arrays if per_atom else atoms.info
        place.setdefault(key, value)
    return atoms
