"""YAML and JSON texts to plain values: no key twice, nothing endless, no code.

Both formats are read strictly here, and only here: a key that is given twice, a number
that is not finite and nesting without end are errors of one line that name the place.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import yaml

from synthzoo.errors import InputError, one_line

MAX_DEPTH = 32
MAX_VALUES = 200_000
MAX_CHARACTERS = 2**20

_FAULTS = (
    yaml.YAMLError,
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)
"""What PyYAML's constructors raise where a tag and its text do not go together."""

_YAML_1_2_FLOAT = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+$")


def read_yaml(text: str, *, source: str, trusted: bool = False) -> Any:
    """Return the plain values of a YAML text.

    ``source``: what error messages start with, usually the file.
    ``trusted``: whether it came with synthzoo; it is read faster then.
    """
    if len(text) > MAX_CHARACTERS:
        raise InputError(
            f"{source} has {len(text)} characters; the limit is {MAX_CHARACTERS}."
        )
    loader = _FastLoader if trusted else _StrictLoader
    return _read(lambda: yaml.load(text, loader), source, "YAML")  # noqa: S506  a SafeLoader


def read_json(text: str | bytes, *, source: str) -> Any:
    """Return the plain values of a JSON text.

    ``source``: what error messages start with, usually the file.
    """

    def parse() -> Any:
        return json.loads(
            text,
            object_pairs_hook=_without_doubles,
            parse_constant=_finite,
            parse_float=_finite,
        )

    return _read(parse, source, "JSON")


def _read(parse: Callable[[], Any], source: str, name: str) -> Any:
    try:
        values = parse()
        _refuse_endless(values)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" (line {mark.line + 1})" if mark else ""
        raise InputError(
            f"{source} is not valid {name}: {error.problem}{where}."
        ) from error
    except RecursionError as error:
        raise InputError(f"{source} is not valid {name}: nested too deep.") from error
    except _FAULTS as error:
        raise InputError(f"{source} is not valid {name}: {one_line(error)}.") from error
    return values


class _Strict(yaml.constructor.SafeConstructor):
    """Takes no key twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:  # noqa: FBT001, FBT002  PyYAML's signature
        scalars = (key for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        if twice := _doubles(key.value for key in scalars):
            raise yaml.constructor.ConstructorError(
                None, None, f"keys given twice: {twice}", node.start_mark
            )
        return super().construct_mapping(node, deep=deep)


class _StrictLoader(_Strict, yaml.SafeLoader):
    """Reads plain values."""


class _FastLoader(_Strict, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Does so ten times faster by libyaml, which endless nesting would crash."""


for _loader in (_StrictLoader, _FastLoader):  # 1e-3 is a number, as in YAML 1.2
    _loader.add_implicit_resolver(
        "tag:yaml.org,2002:float", _YAML_1_2_FLOAT, list("-+.0123456789")
    )


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if twice := _doubles(key for key, _ in pairs):
        raise ValueError(f"keys given twice: {twice}")
    return dict(pairs)


def _doubles(keys: Iterable[str]) -> list[str]:
    return sorted(key for key, count in Counter(keys).items() if count > 1)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is not a finite number")
    return number


def _refuse_endless(values: Any) -> None:
    """Raise `ValueError` for nesting too deep or aliases that unfold without end."""
    pending, count = [(values, 0)], 0
    while pending:
        value, depth = pending.pop()
        count += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH}")
        if count > MAX_VALUES:
            raise ValueError(f"more than {MAX_VALUES} values")
        inside = value.values() if isinstance(value, dict) else value
        if isinstance(value, dict | list | set | tuple):
            pending.extend((item, depth + 1) for item in inside)
