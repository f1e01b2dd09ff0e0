"""Plain values, as YAML and JSON give them, to frozen structs of msgspec: strictly.

The struct is the schema: its fields are the keys, its annotations the types, its
defaults what may be left out. Nothing is guessed: an unknown key, a missing one, a text
where a list belongs or a `true` where a number belongs is an error that names the key.
What types cannot say stands in the annotation, too: `Annotated[float, above_0()]`. The
same holds for structs that a program makes.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import itertools
import reprlib
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Literal,
    NamedTuple,
    TypeVar,
    Union,
    get_args,
    get_origin,
)

import msgspec
from msgspec import Meta

from synthzoo.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

Record = TypeVar("Record", bound="Checked")

LARGEST = 10**9
"""Upper limit of counts; more is a slip of the keyboard."""

LATER = "later"
"""Marks a field that was added when recipes were in use; see `hashed_values`."""

_LARGEST_NUMBER = 1e300
_MAX_SHOWN = 60
_UNIONS = {Union, types.UnionType}

_NAMES = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}


def whole(low: int, high: int = LARGEST) -> Meta:
    """Return the rule for whole numbers within limits."""
    text = f"from {low}" if high == LARGEST else f"from {low} to {high}"
    return Meta(ge=low, le=high, description=f"a whole number {text}")


def number(low: float, high: float = _LARGEST_NUMBER) -> Meta:
    """Return the rule for numbers within limits."""
    text = f"from {low:g}" if high == _LARGEST_NUMBER else f"from {low:g} to {high:g}"
    return Meta(ge=low, le=high, description=f"a number {text}")


def above_0(high: float = _LARGEST_NUMBER) -> Meta:
    """Return the rule for numbers that are larger than zero."""
    text = "" if high == _LARGEST_NUMBER else f" and up to {high}"
    return Meta(gt=0, le=high, description=f"a number above 0{text}")


def matching(pattern: str, expected: str) -> Meta:
    """Return the rule for texts of one form.

    ``pattern``: regular expression that the whole text must match.
    """
    return Meta(pattern=rf"\A(?:{pattern})\Z", description=expected)


class Rule(NamedTuple):
    """What a field may be beyond what msgspec checks: a mark of its own annotation.

    ``accepts``: whether a value of the right type may be.
    ``description``: the same in words, for messages.
    """

    accepts: Callable[[Any], bool]
    description: str


_ELEMENTS = (
    "A[cglmrstu]|B[aehikr]?|C[adeflmnorsu]?|D[bsy]|E[rsu]|F[elmr]?|G[ade]|H[efgos]?|"
    "I[nr]?|Kr?|L[airuv]|M[cdgnot]|N[abdehiop]?|O[gs]?|P[abdmortu]?|R[abefghnu]|"
    "S[bcegimnr]?|T[abcehilms]|[UVW]|Xe|Yb?|Z[nr]"
)  # ase, which knows them, is slow to import

Count = Annotated[int, whole(1)]
CountFrom0 = Annotated[int, whole(0)]
Number = Annotated[
    float, Meta(ge=-_LARGEST_NUMBER, le=_LARGEST_NUMBER, description="a number")
]
Positive = Annotated[float, above_0()]
NotNegative = Annotated[float, number(0)]
Share = Annotated[float, number(0, 1)]
Seed = Annotated[int, whole(0, 2**32 - 1)]
Symbol = Annotated[str, matching(_ELEMENTS, "a chemical symbol")]

RISING = Rule(lambda ends: ends[0] <= ends[1], "a smaller, then a larger number")
DIFFERENT = Rule(lambda values: len(set(values)) == len(values), "no entry twice")
NOT_EMPTY = Meta(min_length=1, description="at least one entry")

Range = Annotated[tuple[Number, Number], RISING]
"""Lower and upper end of an interval from which a value is drawn uniformly."""

PositiveRange = Annotated[tuple[Positive, Positive], RISING]
RangeFrom0 = Annotated[tuple[NotNegative, NotNegative], RISING]


@functools.cache
def _dataclass_fields(names: tuple[str, ...]) -> dict[str, dataclasses.Field[Any]]:
    fields = dataclasses.fields(dataclasses.make_dataclass("Fields", names))
    return {field.name: field for field in fields}


class _DataclassFields:
    """Lets `dataclasses.replace`, `asdict` and `fields` take structs, too."""

    def __get__(
        self, _: object, owner: type[Checked]
    ) -> dict[str, dataclasses.Field[Any]]:
        return _dataclass_fields(owner.__struct_fields__)


class Checked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of structs that are checked wherever they are made.

    Raises
    ------
    InputError
        If a value cannot be; the message names the field.
    """

    __dataclass_fields__: ClassVar = _DataclassFields()

    def __post_init__(self) -> None:
        cls = type(self)
        values = {name: _plain(getattr(self, name)) for name in cls.__struct_fields__}
        try:
            msgspec.convert(values, _twin(cls))
            given = ((values[name], rule) for name, rule in _rules(cls))
            sound = all(value is None or rule.accepts(value) for value, rule in given)
        except msgspec.ValidationError:
            sound = False
        if not sound:
            raise InputError(f"{cls.__name__}: {_complaint(_twin(cls), values, '')}")


Beside = TypeVar("Beside", bound="Section")


class Section(Checked, frozen=True, kw_only=True):
    """Base of the recipes that are one section of a recipe file."""

    section: ClassVar[str] = ""

    def beside(self: Beside, folder: Path) -> Beside:
        """Return the recipe, with the files that it names and that lie in a folder.

        ``folder``: of the recipe file.
        """
        del folder
        return self


class Kind(Checked, tag_field="kind", frozen=True, kw_only=True):
    """Base of structs of several kinds, which the key ``kind`` tells apart."""

    @property
    def kind(self) -> str:
        """What stands under ``kind``."""
        return str(self.__struct_config__.tag)


def from_values(cls: type[Record], values: Any, *, source: str) -> Record:
    """Return a struct made from a mapping, checked at every depth.

    ``source``: what error messages start with, usually the file.

    Examples
    --------
    >>> class Box(Checked, frozen=True, kw_only=True):
    ...     sides_A: tuple[float, ...]
    ...     label: str = "box"
    >>> from_values(Box, {"sides_A": [1, 2.5]}, source="box.yaml")
    Box(sides_A=(1.0, 2.5), label='box')
    """
    try:
        return msgspec.convert(values, cls)
    except (msgspec.ValidationError, InputError) as error:
        complaint = _complaint(cls, values, "") or str(error)
        raise InputError(f"{source}: {complaint}") from error


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a question after the known name that is closest, if one is close.

    Examples
    --------
    >>> did_you_mean("rocksallt", ["diamond", "rocksalt"])
    ' Did you mean rocksalt?'
    """
    close = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean {close[0]}?" if close else ""


@contextmanager
def inside(place: str) -> Iterator[None]:
    """Put a place before what an input error says.

    ``place``: such as a file or ``parts[0]``; nothing is put before if it is empty.
    """
    try:
        yield
    except InputError as error:
        raise InputError(_at(place, str(error))) from error


def hashed_values(value: Any) -> Any:
    """Return the plain values of a recipe that its hash is made of.

    A field with the mark `LATER` is left out while it has its default, with which an
    older recipe does what it always did: its hash stays what it was.

    Examples
    --------
    >>> class Box(Checked, frozen=True, kw_only=True):
    ...     side_A: float
    ...     open: Annotated[bool, LATER] = False
    >>> hashed_values(Box(side_A=1.0)), hashed_values(Box(side_A=1.0, open=True))
    ({'side_A': 1.0}, {'side_A': 1.0, 'open': True})
    """
    if isinstance(value, Checked):
        kind = {"kind": value.kind} if isinstance(value, Kind) else {}
        return kind | {
            field.name: hashed_values(getattr(value, field.name))
            for field in _fields(type(value))
            if LATER not in _marks(field.type)
            or getattr(value, field.name) != field.default
        }
    if isinstance(value, Mapping):
        return {key: hashed_values(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [hashed_values(item) for item in value]
    return value


_fields = functools.cache(msgspec.structs.fields)


@functools.cache
def _twin(cls: type[Checked]) -> type[msgspec.Struct]:
    """Return a struct of the same fields that is not checked when it is made."""
    fields = [(field.name, field.type) for field in _fields(cls)]
    return msgspec.defstruct(cls.__name__, fields)


@functools.cache
def _rules(cls: type[Checked]) -> list[tuple[str, Rule]]:
    marks = (
        (field.name, mark) for field in _fields(cls) for mark in _marks(field.type)
    )
    return [(name, mark) for name, mark in marks if isinstance(mark, Rule)]


def _parted(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return an annotation without its marks, and the marks."""
    if get_origin(hint) is not Annotated:
        return hint, ()
    return get_args(hint)[0], hint.__metadata__


def _marks(hint: Any) -> list[Any]:
    base, marks = _parted(hint)
    members = get_args(base) if get_origin(base) in _UNIONS else ()
    return [*marks, *(mark for member in members for mark in _marks(member))]


def _plain(value: Any) -> Any:
    """Return numbers of numpy as Python's own."""
    if type(value) in {list, tuple}:
        return type(value)(map(_plain, value))
    return value.tolist() if hasattr(value, "tolist") else value


def _complaint(hint: Any, value: Any, path: str) -> str | None:
    """Return where a value is not what it should be, and how; None if all is well."""
    base, marks = _parted(hint)
    if wrong := _wrong_keys(base, value):
        return _at(path, wrong)
    for inside in _inside(base, value, path):
        if complaint := _complaint(*inside):
            return complaint
    try:
        msgspec.convert(value, base)
    except InputError as error:  # values that do not go together
        return _at(path, str(error))
    except msgspec.ValidationError:
        expected = _in_words(hint)
    else:
        broken = (mark for mark in marks if not _keeps(mark, base, value))
        expected = next((mark.description for mark in broken), "")
    found = f"{_shortened(value)} ({type(value).__name__})"
    choices = get_args(base) if get_origin(base) is Literal else ()
    hint = did_you_mean(str(value), [str(choice) for choice in choices])
    text = f"expected {expected}, found {found}.{hint}"
    return _at(path, text) if expected else None


def _wrong_keys(cls: Any, values: Any) -> str | None:
    if not _is_struct(cls) or not isinstance(values, Mapping):
        return None
    kind = cls.__struct_config__.tag_field
    known = [kind, *cls.__struct_fields__] if kind else [*cls.__struct_fields__]
    if unknown := [key for key in values if key not in known]:
        hint = did_you_mean(str(unknown[0]), known)
        return f"unknown keys {reprlib.repr(unknown)}.{hint} Known keys: {known}."
    needed = [field.name for field in _fields(cls) if field.required]
    if missing := [key for key in needed if key not in values]:
        return f"missing keys {missing}. Known keys: {known}."
    return None


def _inside(hint: Any, value: Any, path: str) -> Iterator[tuple[Any, Any, str]]:
    """Yield the annotation, the value and the place of everything inside a value."""
    origin, members = get_origin(hint), get_args(hint)
    if origin in _UNIONS and value is not None:
        yield from _member(members, value, path)
    elif origin is tuple and isinstance(value, list | tuple):
        expected = itertools.repeat(members[0]) if members[1:] == (...,) else members
        for index, (member, item) in enumerate(zip(expected, value, strict=False)):
            yield member, item, f"{path}[{index}]"
    elif isinstance(value, Mapping):
        yield from _entries(hint, value, path)


def _entries(hint: Any, values: Any, path: str) -> Iterator[tuple[Any, Any, str]]:
    if _is_struct(hint):
        for field in _fields(hint):
            if field.name in values:
                yield field.type, values[field.name], _inner(path, field.name)
    elif get_origin(hint) is dict:
        of_key, of_item = get_args(hint)
        for key, item in values.items():
            yield of_key, key, path
            yield of_item, item, _inner(path, key)


def _member(members: Any, value: Any, path: str) -> Iterator[tuple[Any, Any, str]]:
    """Yield the member of a union that a value is meant to be, if that can be told."""
    members = [member for member in members if member is not type(None)]
    if len(members) == 1:
        yield members[0], value, path
    elif isinstance(value, Mapping) and all(map(_is_struct, members)):
        kinds = {member.__struct_config__.tag: member for member in members}
        kind = value.get("kind")
        yield Literal[tuple(kinds)], kind, _inner(path, "kind")
        yield kinds[kind], value, path


def _in_words(hint: Any) -> str:
    """Return what a value should be."""
    base, marks = _parted(hint)
    origin, members = get_origin(base), get_args(base)
    if origin is tuple:
        return "a list" if ... in members else f"a list of {len(members)}"
    if origin is dict or _is_struct(base):
        return "keys and values"
    if described := [mark.description for mark in marks if isinstance(mark, Meta)]:
        return str(described[0])
    if origin is Literal:
        return f"one of {list(members)}" if members[1:] else repr(members[0])
    if origin in _UNIONS:
        return " or ".join(dict.fromkeys(map(_in_words, members)))
    return _NAMES.get(base, str(base))


def _keeps(mark: Any, base: Any, value: Any) -> bool:
    if isinstance(mark, Rule):
        return mark.accepts(value)
    if isinstance(mark, Meta):
        try:
            msgspec.convert(value, Annotated[base, mark])
        except msgspec.ValidationError:
            return False
    return True


def _is_struct(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, msgspec.Struct)


def _at(path: str, text: str) -> str:
    return f"{path}: {text}" if path else text


def _inner(path: str, key: object) -> str:
    return f"{path}.{key}" if path else f"{key}"


class _Short(reprlib.Repr):
    """Shows the start of a value, however large or deep it is."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = 200


def _shortened(value: Any) -> str:
    found = _Short().repr(value)
    return found if len(found) <= _MAX_SHOWN else f"{found[: _MAX_SHOWN - 3]}..."
