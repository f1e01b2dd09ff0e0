"""Plain values, as YAML and JSON give them, to frozen dataclasses: strictly.

The dataclass is the schema: its fields are the keys, its annotations the types, its
defaults what may be left out. Nothing is guessed: an unknown key, a missing one, a text
where a list belongs or a `true` where a number belongs is an error that names the key.
What types cannot say stands in the annotation, too: `Annotated[float, ABOVE_0]`. A
dataclass derived from `Checked` refuses such values wherever it is made.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import reprlib
import types
from collections.abc import Callable, Hashable, Iterator, Mapping
from re import Pattern
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from synthzoo.errors import InputError

Record = TypeVar("Record")

LATER = {"later": True}
"""Metadata of a field that was added when recipes were in use; see `hashed_values`."""

_MAX_SHOWN = 60
_LARGEST_FLOAT = 10**300

_NAMES = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}

LARGEST = 10**9
"""Upper limit of counts; more is a slip of the keyboard."""


class Rule(NamedTuple):
    """What a value may be beyond its type: a mark for `Annotated`.

    Attributes
    ----------
    accepts
        Whether a value of the right type may be.
    expected
        The same in words, for messages.
    """

    accepts: Callable[[Any], bool]
    expected: str


def whole(low: int, high: int = LARGEST) -> Rule:
    """Return the rule for whole numbers within limits.

    Parameters
    ----------
    low, high
        The limits, which are allowed themselves.
    """
    text = f"from {low}" if high == LARGEST else f"from {low} to {high}"
    return Rule(lambda value: low <= value <= high, f"a whole number {text}")


def number(low: float, high: float) -> Rule:
    """Return the rule for numbers within limits.

    Parameters
    ----------
    low, high
        The limits, which are allowed themselves.
    """
    return Rule(lambda value: low <= value <= high, f"a number from {low} to {high}")


def above_0(high: float = math.inf) -> Rule:
    """Return the rule for numbers that are larger than zero.

    Parameters
    ----------
    high
        Upper limit.
    """
    text = "" if high == math.inf else f" and up to {high}"
    return Rule(lambda value: 0 < value <= high, f"a number above 0{text}")


def matching(pattern: Pattern[str], expected: str) -> Rule:
    """Return the rule for texts of one form.

    Parameters
    ----------
    pattern
        What the whole text must match.
    expected
        The same in words.
    """
    return Rule(lambda value: pattern.fullmatch(value) is not None, expected)


def _is_symbol(value: str) -> bool:
    from ase.data import atomic_numbers

    return atomic_numbers.get(value, 0) > 0


Count = Annotated[int, whole(1)]
CountFrom0 = Annotated[int, whole(0)]
Positive = Annotated[float, above_0()]
NotNegative = Annotated[float, Rule(lambda value: value >= 0, "a number from 0")]
Share = Annotated[float, number(0, 1)]
Seed = Annotated[int, whole(0, 2**32 - 1)]
Symbol = Annotated[str, Rule(_is_symbol, "a chemical symbol")]

RISING = Rule(lambda ends: ends[0] <= ends[1], "a smaller, then a larger number")
DIFFERENT = Rule(lambda values: len(set(values)) == len(values), "no entry twice")
NOT_EMPTY = Rule(lambda values: len(values) > 0, "at least one entry")

Range = Annotated[tuple[float, float], RISING]
"""Lower and upper end of an interval from which a value is drawn uniformly."""

PositiveRange = Annotated[tuple[Positive, Positive], RISING]
RangeFrom0 = Annotated[tuple[NotNegative, NotNegative], RISING]


class Checked:
    """Base of dataclasses that refuse values which break a rule of their annotations.

    Raises
    ------
    InputError
        If a value cannot be; the message names the field.
    """

    def __post_init__(self) -> None:
        for name, hint in _hints(type(self)).items():
            value = getattr(self, name)
            for path, rule, found in _broken(hint, value, name):
                raise _wrong(type(self).__name__, path, rule.expected, found)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Section(Checked):
    """Base of the recipes that are one section of a recipe file."""

    section = ""


def from_values(
    cls: type[Record], values: Any, *, source: str, path: str = ""
) -> Record:
    """Return an instance of a dataclass made from a mapping, checked at every depth.

    Parameters
    ----------
    cls
        Dataclass; its fields may be texts, numbers, literals, optional values, tuples,
        dictionaries with text keys, dataclasses, unions of dataclasses that are told
        apart by a literal field `kind`, and all of these with a `Rule`.
    values
        Mapping of field names to plain values.
    source
        What error messages start with, usually the file.
    path
        Dotted key under which the mapping lies in the source.

    Raises
    ------
    InputError
        If a key is unknown or missing, or a value is of the wrong type or breaks a
        rule.

    Examples
    --------
    >>> @dataclasses.dataclass(frozen=True, kw_only=True)
    ... class Box:
    ...     sides_A: tuple[float, ...]
    ...     label: str = "box"
    >>> from_values(Box, {"sides_A": [1, 2.5]}, source="box.yaml")
    Box(sides_A=(1.0, 2.5), label='box')
    """
    _check_keys(cls, values, source, path)
    hints = _hints(cls)
    converted = {
        key: _convert(hints[key], value, source, _inside(path, key))
        for key, value in values.items()
    }
    try:
        return cls(**converted)
    except InputError as error:  # values that do not go together
        raise InputError(f"{_place(source, path)}: {error}") from error


def hashed_values(value: Any) -> Any:
    """Return the plain values of a recipe that its hash is made of.

    A field with the metadata `LATER` is left out while it has its default, with which
    an older recipe does what it always did: its hash stays what it was.

    Parameters
    ----------
    value
        A recipe, or any value in one.

    Examples
    --------
    >>> @dataclasses.dataclass(frozen=True, kw_only=True)
    ... class Box:
    ...     side_A: float
    ...     open: bool = dataclasses.field(default=False, metadata=LATER)
    >>> hashed_values(Box(side_A=1.0)), hashed_values(Box(side_A=1.0, open=True))
    ({'side_A': 1.0}, {'side_A': 1.0, 'open': True})
    """
    if dataclasses.is_dataclass(value):
        return {
            field.name: hashed_values(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if not (
                field.metadata == LATER and getattr(value, field.name) == field.default
            )
        }
    if isinstance(value, Mapping):
        return {key: hashed_values(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [hashed_values(item) for item in value]
    return value


def _check_keys(cls: type, values: Any, source: str, path: str) -> None:
    if not isinstance(values, Mapping):
        raise _wrong(source, path, "keys and values", values)
    where = _place(source, path)
    fields = [field for field in dataclasses.fields(cls) if field.init]
    known = [field.name for field in fields]
    if unknown := [key for key in values if key not in known]:
        text = reprlib.repr(unknown)
        raise InputError(f"{where}: unknown keys {text}. Known keys: {known}.")
    needed = [field.name for field in fields if not _has_default(field)]
    if missing := [key for key in needed if key not in values]:
        raise InputError(f"{where}: missing keys {missing}. Known keys: {known}.")


def _has_default(field: dataclasses.Field[Any]) -> bool:
    missing = dataclasses.MISSING
    return field.default is not missing or field.default_factory is not missing


def _convert(annotation: Any, value: Any, source: str, path: str) -> Any:
    if dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
        return from_values(annotation, value, source=source, path=path)
    if convert := _GENERIC.get(get_origin(annotation)):
        return convert(get_args(annotation), value, source, path)
    if annotation is Any or (type(value) is annotation and _is_finite(value)):
        return value
    if annotation is float and type(value) is int and abs(value) < _LARGEST_FLOAT:
        return float(value)
    raise _wrong(source, path, _NAMES.get(annotation, str(annotation)), value)


def _annotated(members: tuple[Any, ...], value: Any, source: str, path: str) -> Any:
    converted = _convert(members[0], value, source, path)
    for rule in members[1:]:
        if not rule.accepts(converted):
            raise _wrong(source, path, rule.expected, value)
    return converted


def _literal(choices: tuple[Any, ...], value: Any, source: str, path: str) -> Any:
    if value not in choices:
        raise _wrong(source, path, f"one of {list(choices)}", value)
    return value


def _union(members: tuple[Any, ...], value: Any, source: str, path: str) -> Any:
    if value is None and type(None) in members:
        return None
    annotations = [member for member in members if member is not type(None)]
    annotation = annotations[0]
    if len(annotations) > 1:
        annotation = _of_kind(annotations, value, source, path)
    return _convert(annotation, value, source, path)


def _of_kind(classes: list[Any], value: Any, source: str, path: str) -> Any:
    """Return the dataclass whose literal field `kind` has the value that came."""
    kinds = {get_args(_hints(cls)["kind"])[0]: cls for cls in classes}
    kind = value.get("kind") if isinstance(value, Mapping) else None
    if not isinstance(kind, str) or kind not in kinds:
        raise _wrong(source, _inside(path, "kind"), f"one of {list(kinds)}", kind)
    return kinds[kind]


def _tuple(members: tuple[Any, ...], value: Any, source: str, path: str) -> Any:
    if not isinstance(value, list | tuple):
        raise _wrong(source, path, "a list", value)
    if members[1:] == (...,):
        members = (members[0],) * len(value)
    if len(members) != len(value):
        raise _wrong(source, path, f"a list of {len(members)}", value)
    return tuple(
        _convert(member, item, source, f"{path}[{index}]")
        for index, (member, item) in enumerate(zip(members, value, strict=True))
    )


def _dictionary(members: tuple[Any, ...], value: Any, source: str, path: str) -> Any:
    if not isinstance(value, Mapping):
        raise _wrong(source, path, "keys and values", value)
    keys, items = members
    return {
        _convert(keys, key, source, path): _convert(
            items, item, source, _inside(path, key)
        )
        for key, item in value.items()
    }


_GENERIC: dict[Any, Callable[[tuple[Any, ...], Any, str, str], Any]] = {
    Annotated: _annotated,
    Literal: _literal,
    Union: _union,
    types.UnionType: _union,
    tuple: _tuple,
    dict: _dictionary,
}


def _broken(annotation: Any, value: Any, path: str) -> Iterator[tuple[str, Rule, Any]]:
    """Yield the place, the rule and the value wherever one of the rules is broken."""
    origin, members = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        rules = [rule for rule in members[1:] if _breaks(rule, value)]
        yield from ((path, rule, value) for rule in rules)
    for member, item, place in _inner(origin, members, value, path):
        yield from _broken(member, item, place)


def _inner(
    origin: Any, members: tuple[Any, ...], value: Any, path: str
) -> Iterator[tuple[Any, Any, str]]:
    """Yield the annotation, the value and the place of everything inside a value."""
    if origin is Annotated:
        yield members[0], value, path
    elif origin in {Union, types.UnionType} and value is not None:
        yield from ((member, value, path) for member in members)
    elif origin is tuple and isinstance(value, list | tuple):
        expected = itertools.repeat(members[0]) if members[1:] == (...,) else members
        for index, (member, item) in enumerate(zip(expected, value, strict=False)):
            yield member, item, f"{path}[{index}]"
    elif origin is dict and isinstance(value, Mapping):
        for key, item in value.items():
            yield members[0], key, path
            yield members[1], item, _inside(path, key)


def _breaks(rule: Rule, value: Any) -> bool:
    try:
        return not rule.accepts(value)
    except TypeError:  # a text where a number belongs
        return True


@functools.cache
def _cached_hints(cls: Hashable) -> dict[str, Any]:
    return get_type_hints(cls, include_extras=True)


def _hints(cls: type) -> dict[str, Any]:
    return _cached_hints(cls)


def _place(source: str, path: str) -> str:
    return f"{source}: {path}" if path else source


def _inside(path: str, key: object) -> str:
    return f"{path}.{key}" if path else f"{key}"


def _is_finite(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _wrong(source: str, path: str, expected: str, value: Any) -> InputError:
    kind = type(value).__name__
    return InputError(
        f"{_place(source, path)}: expected {expected}, found {_shortened(value)} "
        f"({kind})."
    )


class _Short(reprlib.Repr):
    """Shows the start of a value, however large or deep it is."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = 200


def _shortened(value: Any) -> str:
    found = _Short().repr(value)
    return found if len(found) <= _MAX_SHOWN else f"{found[: _MAX_SHOWN - 3]}..."
