"""Extended XYZ: frames cut apart and parsed by ASE, nothing being passed over.

Settled here is what ASE's parser does not see, or refuses: keys of the format in
another case, tensors of six numbers, keys with two values, columns that nothing
declares, the energies of CP2K.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from ase.io.extxyz import key_val_str_to_dict, read_xyz
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
_DECISIVE = re.compile(
    "energ|force|stress|virial|unit|lattice|prop|pbc|^E$", re.IGNORECASE
)
"""What a key holds that decides about structure or labels."""
_RAW = "unchecked_by_ase_"


class Frame(NamedTuple):
    """A structure of a file, and what should be said about the reading of it."""

    atoms: Atoms
    notes: tuple[str, ...]


def cut_frames(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the frames: a number of atoms, a comment, the atoms, perhaps cell vectors.

    A frame without its last line, or anything else where a number should be, is an
    error; ASE would leave out all that follows an empty line.
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
        shown = line[:60].decode(errors="replace").strip()
        raise InputError(f"expected the number of its atoms, found {shown!r}.")
    return size


def parse_frame(content: bytes) -> Frame:
    """Return a structure."""
    text = content.decode()
    comment, first_atom = [*text.split("\n", 3)[1:3], ""][:2]
    if I_PI_COMMENT.search(comment):
        raise InputError(
            "this is i-PI's own format, whose cell and units extended XYZ does not "
            "have. ipi.read_trajectory gives its structures for ase.io.write."
        )
    notes = [*_rivals(comment)]

    def parse(line: str) -> dict[str, Any]:
        info = parse_comment(line)
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


def parse_comment(line: str) -> dict[str, Any]:
    """Return the values of a comment line under the keys that ASE knows."""
    info: dict[str, Any] = key_val_str_to_dict(_KEY.sub(_known_key, line))
    for key in TENSORS:
        if _RAW + key in info:
            info[key] = as_tensor(key, info.pop(_RAW + key))
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


def _rivals(comment: str) -> Iterator[str]:
    """Refuse a key of structure or labels that has two values; say it of others."""
    keys = [match for match in _KEY.finditer(comment) if match["key"]]
    ends = [*(match.start() for match in keys), len(comment)]
    values: dict[str, str] = {}
    for match, (start, end) in zip(keys, pairwise(ends), strict=True):
        key = STRUCTURE_KEYS.get(match["key"].lower(), match["key"])
        value = comment[start + len(match["key"]) : end].strip()
        if values.setdefault(key, value) == value:
            continue
        if _DECISIVE.search(key):
            raise InputError(f"its comment line gives {key} twice, with two values.")
        yield f"{key} stands in its comment line twice: the last value was taken."


def _known_key(found: re.Match[str]) -> str:
    key = found["key"]
    if key is None:
        return found[0]
    return _RAW + key if key in TENSORS else STRUCTURE_KEYS.get(key.lower(), key)


def as_tensor(key: str, value: Any) -> NDArray[np.float64]:
    """Return a symmetric tensor of shape ``(3, 3)``.

    ``key``: ``stress`` or ``virial``.
    ``value``: nine numbers, or six in the order xx yy zz yz xz xy.
    """
    numbers = np.asarray(value)
    if numbers.dtype.kind not in "if" or numbers.size not in (6, 9):
        raise InputError(
            f"{key} should be nine numbers, or six in the order xx yy zz yz xz xy, not "
            f"{str(value)[:60]!r}."
        )
    if numbers.size == 9:
        return numbers.reshape(3, 3, order="F").astype(float)
    return np.asarray(voigt_6_to_full_3x3_stress(numbers.reshape(6)), dtype=float)
