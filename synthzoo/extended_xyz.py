"""Extended XYZ: frames cut apart, parsed, and written so that they read back the same.

ASE parses and writes the atoms. What its parser passes over is settled here: keys of
the format in another case, tensors of six numbers, CP2K's energies, what stands twice.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import chain, islice, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

import numpy as np
from ase.constraints import FixAtoms, FixCartesian
from ase.io.extxyz import (
    key_val_dict_to_str,
    key_val_str_to_dict,
    per_atom_properties,
    per_config_properties,
    read_xyz,
    write_xyz,
)
from ase.spacegroup.spacegroup import Spacegroup
from ase.stress import voigt_6_to_full_3x3_stress
from ase.units import Hartree

from synthzoo.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

STRUCTURE_KEYS = {key.lower(): key for key in ("Lattice", "Properties", "pbc")}
"""Keys of the format itself, which other programs write in any case."""

TENSORS = ("stress", "virial")
"""Keys whose values ASE refuses unless they are nine numbers."""

PLAIN_COLUMNS = "species:S:1:pos:R:3"
"""What a file has that does not say it."""
MOST_COLUMNS = 10_000

CP2K_COMMENT = re.compile(r"\s*i\s*=\s*\d+,\s*(time\s*=\s*\S+,\s*)?E\s*=\s*\S+")
I_PI_COMMENT = re.compile(r"\bCELL\s*[({]|\b(positions|cell)\{\w+\}")

_KEY = re.compile(
    r"""
    \\. | "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' | \{[^}]*\} | \[[^]]*\]
    | (?<!\S) (?P<key> [A-Za-z_][\w-]* ) (?= \s*= )
    """,
    re.VERBOSE,
)
_RAW = "unchecked_by_ase_"
_OWN_COLUMNS = {"Z", "species", "pos", "symbols", "move_mask"}
_LARGEST_INTEGER = np.iinfo(np.int32).max


class Frame(NamedTuple):
    """A structure of a file, and what should be said about the reading of it."""

    atoms: Atoms
    notes: tuple[str, ...]


def cut_frames(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the frames: a number of atoms, a comment, the atoms, perhaps cell vectors.

    A frame without its last line, or anything else where a number should be, is an
    error; ASE would leave out all that follows an empty line.

    Parameters
    ----------
    lines
        Of the file.

    Yields
    ------
    content
        One frame.

    Raises
    ------
    InputError
        If the lines cannot be cut.
    """
    rest = iter(lines)
    head = next(rest, b"").removeprefix(b"\xef\xbb\xbf")  # some editors' first bytes
    count = 0
    while head.strip():
        count += 1
        size = _atoms(head)
        body = list(islice(rest, size + 1))
        if len(body) < size + 1:
            raise InputError(f"the file ends {size + 1 - len(body)} line(s) too early.")
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
            f"an empty line follows structure number {count}, but it is not the end. "
            "Remove the empty lines between structures."
        )


def _atoms(line: bytes) -> int:
    try:
        size = int(line)
    except ValueError:
        size = -1
    if size < 0:
        found = line[:60].decode(errors="replace").strip()
        raise InputError(f"expected the number of its atoms, found {found!r}.")
    return size


def parse_frame(content: bytes) -> Frame:
    """Return a structure.

    Parameters
    ----------
    content
        One frame, as `cut_frames` yields it.

    Raises
    ------
    InputError
        If it holds something else than extended XYZ does. ASE raises other errors.
    """
    text = content.decode()
    comment, first_atom = [*text.split("\n", 3)[1:3], ""][:2]
    if I_PI_COMMENT.search(comment):
        raise InputError(
            "this is i-PI's own format, whose cell and units extended XYZ does not "
            "have. ipi.read_trajectory gives its structures for ase.io.write."
        )
    notes: list[str] = []

    def parse(line: str) -> dict[str, Any]:
        info = _parse_comment(line)
        notes.extend(_compare_columns(info, len(first_atom.split())))
        return info

    (atoms,) = read_xyz(io.StringIO(text), index=slice(None), properties_parser=parse)
    if CP2K_COMMENT.match(comment):
        atoms.info["E"] *= Hartree
        notes.append(
            "CP2K's energies (E) were converted from hartree to eV. Its trajectory has "
            "neither cell nor forces: the atoms are read as a molecule."
        )
    return Frame(atoms, tuple(notes))


def _parse_comment(line: str) -> dict[str, Any]:
    """Return the values of a comment line under the keys that ASE knows."""
    _refuse_rivals(line)
    info: dict[str, Any] = key_val_str_to_dict(_KEY.sub(_known_key, line))
    for key in TENSORS:
        if _RAW + key in info:
            info[key] = _tensor(key, info.pop(_RAW + key))
    return info


def _compare_columns(info: Mapping[str, Any], columns: int) -> Iterator[str]:
    """Refuse columns that are declared but not there; say what is not declared."""
    properties = info.get("Properties", PLAIN_COLUMNS)
    declared = sum(map(int, str(properties).split(":")[2::3]))
    if declared > columns > 0 or declared > MOST_COLUMNS:
        raise InputError(
            f"its header declares {declared} columns ({properties}), but its rows have "
            f"{columns}."
        )
    if declared < columns:
        yield (
            f"its rows have {columns} columns, of which the header declares {declared} "
            f"({properties}): the others are not read."
        )


def _refuse_rivals(line: str) -> None:
    """Refuse a key that has two different values."""
    keys = [found for found in _KEY.finditer(line) if found["key"]]
    ends = [*(found.start() for found in keys), len(line)]
    values: dict[str, str] = {}
    for found, (start, end) in zip(keys, pairwise(ends), strict=True):
        key = STRUCTURE_KEYS.get(found["key"].lower(), found["key"])
        value = line[start + len(found["key"]) : end].strip()
        if values.setdefault(key, value) != value:
            raise InputError(f"its comment line gives {key} twice, with two values.")


def _known_key(found: re.Match[str]) -> str:
    key = found["key"]
    if key is None:
        return found[0]
    return _RAW + key if key in TENSORS else STRUCTURE_KEYS.get(key.lower(), key)


def _tensor(key: str, value: Any) -> NDArray[np.float64]:
    """Return a symmetric tensor of nine numbers, or of six in Voigt order."""
    numbers = np.asarray(value)
    if numbers.dtype.kind not in "if" or numbers.size not in (6, 9):
        raise InputError(
            f"{key} should be nine numbers, or six in the order xx yy zz yz xz xy, not "
            f"{str(value)[:60]!r}."
        )
    if numbers.size == 9:
        return numbers.reshape(3, 3, order="F").astype(float)
    return np.asarray(voigt_6_to_full_3x3_stress(numbers.reshape(6)), dtype=float)


def write_frame(stream: TextIO, atoms: Atoms) -> set[str]:
    """Write a structure with its labels, and return what had to be left out.

    Text is quoted where it would be taken for something else. What would not read back
    as it is here, by synthzoo and by ASE, is left out.

    Parameters
    ----------
    stream
        Where to write.
    atoms
        Structure, with labels in its calculator if it has any.

    Returns
    -------
    left_out
        Names such as ``info['note']``.
    """
    results = getattr(atoms.calc, "results", {})
    results = {name: value for name, value in results.items() if value is not None}
    plain = atoms.copy()
    left_out: set[str] = set()
    plain.info = _kept(
        atoms.info | _part(results, per_config_properties), _encode, "info", left_out
    )
    arrays = _kept(
        atoms.arrays | _part(results, per_atom_properties), _column, "arrays", left_out
    )
    plain.arrays = _without_clashes(arrays, left_out)
    kept = [each for each in atoms.constraints if isinstance(each, _WRITTEN)]
    left_out |= {type(each).__name__ for each in atoms.constraints if each not in kept}
    plain.set_constraint(kept)
    write_xyz(stream, plain)
    return left_out


_WRITTEN = (FixAtoms, FixCartesian)


def _part(results: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: value for name, value in results.items() if name in names}


def _kept(
    values: Mapping[Any, Any],
    encode: Callable[[Any, Any], Any],
    place: str,
    left_out: set[str],
) -> dict[str, Any]:
    """Return values as ASE should write them, without those that cannot be written."""
    encoded = {key: _tried(encode, key, value) for key, value in values.items()}
    kept = {key: value for key, value in encoded.items() if value is not _LOST}
    left_out |= {f"{place}[{key!r}]" for key in encoded.keys() - kept.keys()}
    return kept


_LOST = object()


def _tried(encode: Callable[[Any, Any], Any], key: Any, value: Any) -> Any:
    try:
        return encode(key, value)
    except (TypeError, ValueError, OverflowError, RecursionError, InputError):
        return _LOST


def _encode(key: Any, value: Any) -> Any:
    """Return what ASE has to write so that a value of ``info`` reads back the same."""
    if isinstance(value, str):
        return _encode_text(key, str(value))
    return _first_that_survives(key, value)


@lru_cache(maxsize=4096)
def _encode_text(key: str, value: str) -> str:
    return str(_first_that_survives(key, value))


def _first_that_survives(key: str, value: Any) -> Any:
    if key.lower() in STRUCTURE_KEYS:
        raise ValueError(key)
    if isinstance(value, Spacegroup):
        value = str(value.symbol)
    if key in TENSORS:
        value = _tensor(key, value)
    elif key in per_config_properties and np.asarray(value).dtype.kind not in "iuf":
        raise TypeError(key)
    plain = isinstance(value, (str, int, float, np.number, np.bool_)) or (
        isinstance(value, np.ndarray) and value.dtype.kind in "biuf"
    )
    for candidate in (*([value] if plain else ()), _as_json(value)):
        text = key_val_dict_to_str({key: candidate})
        if len(text.splitlines()) == 1 and _survives(text, key, value):
            return candidate
    raise ValueError(value)


def _as_json(value: Any) -> str:
    """Return a value in the form that ASE's parser decodes last."""
    text = json.dumps(value, default=_as_python)
    return "_JSON " + text.replace("\\", "\\\\")


def _as_python(value: Any) -> Any:
    if not isinstance(value, (np.ndarray, np.generic)):
        raise TypeError(value)
    return value.tolist()


def _survives(text: str, key: str, value: Any) -> bool:
    try:
        found = _parse_comment(f"{text} pbc=F")  # which follows in the file
    except (ValueError, LookupError, TypeError, InputError):
        return False
    return found.keys() == {key, "pbc"} and _same(found[key], value)


def _same(found: Any, wanted: Any) -> bool:
    """Return whether a value is what was written; of numbers, their size counts."""
    if isinstance(wanted, Mapping):
        return (
            isinstance(found, Mapping)
            and found.keys() == wanted.keys()
            and all(_same(found[key], wanted[key]) for key in wanted)
        )
    if isinstance(wanted, np.ndarray) and wanted.dtype.kind in "OSU":
        wanted = wanted.tolist()
    if isinstance(wanted, (list, tuple)):
        return (
            isinstance(found, (list, np.ndarray))
            and len(found) == len(wanted)
            and all(map(_same, found, wanted))
        )
    if wanted is None or isinstance(wanted, (str, bytes)):
        return isinstance(found, type(wanted)) and found == wanted
    return _same_numbers(np.asarray(found), np.asarray(wanted))


def _same_numbers(found: NDArray[Any], wanted: NDArray[Any]) -> bool:
    if wanted.dtype.kind not in "biufO" or (found.dtype == bool) != (
        wanted.dtype == bool
    ):
        return False
    if found.size == wanted.size == 1:  # an array of one number reads back as number
        found = found.reshape(wanted.shape)
    if found.shape != wanted.shape or found.dtype.kind not in "biufO":
        return False
    as_written = found.astype(wanted.dtype)
    both_nan = (as_written != as_written) & (wanted != wanted)
    return bool(np.all((as_written == wanted) | both_nan))


def _column(name: Any, values: Any) -> NDArray[Any]:
    """Return an array as ASE should write it into columns."""
    column: NDArray[Any] = np.asarray(values)
    kind = column.dtype.kind
    if name in _OWN_COLUMNS or not re.fullmatch(r"[^\s:=,\"'\\{}\[\]]+", name):
        raise ValueError(name)
    if column.ndim not in (1, 2) or column.shape[-1] == 0 < column.ndim - 1:
        raise ValueError(column.shape)
    if kind in "iu":
        if np.abs(column).max(initial=0) > _LARGEST_INTEGER:
            raise OverflowError(name)
        return column.astype(int)
    if kind in "OU" and all(_is_word(item) for item in column.flat):
        return column.astype(object)
    if kind not in "bf":
        raise TypeError(name)
    return column


def _is_word(item: Any) -> bool:
    return isinstance(item, str) and item.split() == [item]


def _without_clashes(
    arrays: Mapping[str, NDArray[Any]], left_out: set[str]
) -> dict[str, NDArray[Any]]:
    """Leave out arrays whose columns ASE would call like those of another one."""
    taken: set[str] = set()
    kept = {}
    for name, values in arrays.items():
        count = 1 if values.ndim == 1 else values.shape[1]
        columns = {name + str(i) for i in range(count)} if count > 1 else {name}
        if columns & taken:
            left_out.add(f"arrays[{name!r}]")
        else:
            kept[name] = values
            taken |= columns
    return kept
