"""Extended XYZ, written by ASE, that reads back the same."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
from ase.constraints import FixAtoms, FixCartesian
from ase.io.extxyz import (
    key_val_dict_to_str,
    per_atom_properties,
    per_config_properties,
    write_xyz,
)
from ase.spacegroup.spacegroup import Spacegroup

from synthzoo.data.extended_xyz import STRUCTURE_KEYS, TENSORS, as_tensor, parse_comment
from synthzoo.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

LONGEST_REMEMBERED = 500
"""Characters of a text whose form is kept for the next structure."""

_WRITTEN_CONSTRAINTS = (FixAtoms, FixCartesian)
_OWN_COLUMNS = {"Z", "species", "pos", "symbols", "move_mask"}
"""Names that mean something else in the columns of a file."""
_LARGEST_INTEGER = np.iinfo(np.int32).max
"""Of a column, on reading."""
_LOST = object()


def write_frame(stream: TextIO, atoms: Atoms) -> set[str]:
    """Write a structure with its labels, and return what had to be left out.

    Text is quoted where it would be taken for something else. What would not read back
    as it is here, by synthzoo and by ASE, is left out.

    ``atoms``: structure, with labels in its calculator if it has any.
    Returns ``left_out``: names such as ``info['note']``.
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
    kept = [
        each for each in atoms.constraints if isinstance(each, _WRITTEN_CONSTRAINTS)
    ]
    left_out |= {type(each).__name__ for each in atoms.constraints if each not in kept}
    plain.set_constraint(kept)
    write_xyz(stream, plain)
    return left_out


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


def _tried(encode: Callable[[Any, Any], Any], key: Any, value: Any) -> Any:
    try:
        return encode(key, value)
    except (TypeError, ValueError, OverflowError, RecursionError, InputError):
        return _LOST


def _encode(key: Any, value: Any) -> Any:
    """Return what ASE has to write so that a value of ``info`` reads back the same."""
    if isinstance(value, str) and len(value) <= LONGEST_REMEMBERED:
        return _encode_text(key, str(value))
    if isinstance(value, float) and math.isfinite(value) and _holds_numbers(key):
        return value
    if key in TENSORS and _is_finite(value):
        return as_tensor(key, value)
    return _first_that_survives(key, value)


@lru_cache(maxsize=4096)
def _holds_numbers(key: Any) -> bool:
    """Return whether a finite number reads back under a key; then any other does."""
    return isinstance(_tried(_first_that_survives, key, 0.5), float)


def _is_finite(value: Any) -> bool:
    return (
        isinstance(value, np.ndarray)
        and value.dtype == float
        and bool(np.isfinite(value).all())
    )


@lru_cache(maxsize=4096)
def _encode_text(key: str, value: str) -> str:
    return str(_first_that_survives(key, value))


def _first_that_survives(key: Any, value: Any) -> Any:
    if not isinstance(key, str) or key.lower() in STRUCTURE_KEYS:
        raise TypeError(key)
    if isinstance(value, Spacegroup):
        value = str(value.symbol)
    if key in TENSORS:
        value = as_tensor(key, value)
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
        read = parse_comment(f"{text} pbc=F")  # which follows in the file
    except (ValueError, LookupError, TypeError, InputError):
        return False
    return read.keys() == {key, "pbc"} and _same(read[key], value)


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
