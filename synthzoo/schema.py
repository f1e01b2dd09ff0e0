"""Plain values, as YAML and JSON give them, to frozen dataclasses: strictly.

The dataclass is the schema: its fields are the keys, its annotations the types, its
defaults what may be left out. Nothing is guessed: an unknown key, a missing one, a text
where a list belongs or a `true` where a number belongs is an error that names the key.
"""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from synthzoo.errors import InputError

Record = TypeVar("Record")

LATER = {"later": True}
"""Metadata of a field that was added when recipes were in use; see `hashed_values`."""

_NAMES = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}


def from_values(
    cls: type[Record], values: Any, *, source: str, path: str = ""
) -> Record:
    """Return an instance of a dataclass made from a mapping, checked at every depth.

    Parameters
    ----------
    cls
        Dataclass; its fields may be texts, numbers, literals, optional values, tuples,
        dictionaries with text keys, dataclasses, and unions of dataclasses that are
        told apart by a literal field `kind`.
    values
        Mapping of field names to plain values.
    source
        What error messages start with, usually the file.
    path
        Dotted key under which the mapping lies in the source.

    Raises
    ------
    InputError
        If a key is unknown or missing, or a value is of the wrong type.

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
    hints = get_type_hints(cls)
    converted = {
        key: _convert(hints[key], value, source, _inside(path, key))
        for key, value in values.items()
    }
    return cls(**converted)


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
    where = f"{source}: {path}: " if path else f"{source}: "
    fields = [field for field in dataclasses.fields(cls) if field.init]
    known = [field.name for field in fields]
    if unknown := [key for key in values if key not in known]:
        raise InputError(f"{where}unknown keys {unknown}. Known keys: {known}.")
    needed = [field.name for field in fields if not _has_default(field)]
    if missing := [key for key in needed if key not in values]:
        raise InputError(f"{where}missing keys {missing}. Known keys: {known}.")


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
    if annotation is float and type(value) is int:
        return float(value)
    raise _wrong(source, path, _NAMES.get(annotation, str(annotation)), value)


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
    kinds = {get_args(get_type_hints(cls)["kind"])[0]: cls for cls in classes}
    kind = value.get("kind") if isinstance(value, Mapping) else None
    if kind not in kinds:
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
    Literal: _literal,
    Union: _union,
    types.UnionType: _union,
    tuple: _tuple,
    dict: _dictionary,
}


def _inside(path: str, key: object) -> str:
    return f"{path}.{key}" if path else f"{key}"


def _is_finite(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _wrong(source: str, path: str, expected: str, value: Any) -> InputError:
    place = f"{source}: {path}" if path else source
    found = repr(value)
    if len(found) > 60:
        found = f"{found[:57]}..."
    kind = type(value).__name__
    return InputError(f"{place}: expected {expected}, found {found} ({kind}).")
