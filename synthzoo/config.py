"""The description of a checkpoint: what ``config.json`` may say, checked strictly."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import synthzoo
from synthzoo.architecture import check_arguments, is_number
from synthzoo.errors import CheckpointError
from synthzoo.files import SHA256

FORMAT_VERSION = 1
"""The newest version of the format that this synthzoo reads and writes."""

FORMAT_SINCE = "0.1.0"
"""The first synthzoo that reads `FORMAT_VERSION`."""

KINDS = ("potential", "starting-point")
MAX_CUTOFF_A = 20.0


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """What ``config.json`` says about a model.

    Attributes
    ----------
    format_version
        Version of the checkpoint format.
    builder
        Name of the nequip model builder.
    arguments
        Its keyword arguments, apart from the elements, cutoff, dtype and seed.
    elements
        Chemical symbols, in the order of the model's types.
    cutoff_A
        Radial cutoff in Å.
    dtype
        Precision in which the weights are stored.
    isolated_atom_energies_eV
        Energy of the free atom of each element on the model's scale, in eV.
    labels
        What the energies are: teacher, level of theory, reference.
    kind
        ``potential``, or ``starting-point`` if it must be fine-tuned before use.
    provenance
        Versions, recipe, seed and data hashes that made the weights.
    needs_synthzoo
        The first synthzoo that reads this format version.
    weights_sha256, golden_sha256
        Hashes of the two other files; `write_checkpoint` fills them in.
    """

    format_version: int
    builder: str
    arguments: dict[str, Any]
    elements: tuple[str, ...]
    cutoff_A: float
    dtype: str
    isolated_atom_energies_eV: dict[str, float]
    labels: dict[str, Any]
    kind: Literal["potential", "starting-point"]
    provenance: dict[str, Any]
    needs_synthzoo: str = FORMAT_SINCE
    weights_sha256: str = ""
    golden_sha256: str = ""


def parse_config(content: bytes, *, where: str) -> CheckpointConfig:
    """Return the description that a ``config.json`` holds.

    Parameters
    ----------
    content
        Of the file.
    where
        What to call it in messages.

    Raises
    ------
    CheckpointError
        If it is no JSON, of a newer format, or describes what is not allowed.
    """
    try:
        raw = json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{where} is not sound JSON ({error}).") from error
    if not isinstance(raw, dict):
        raise CheckpointError(f"{where} must hold a JSON object.")
    try:
        _check_format_version(raw)
        _check_values(raw)
    except CheckpointError as error:
        raise CheckpointError(f"{where}: {error}") from error
    return CheckpointConfig(**{**raw, "elements": tuple(raw["elements"])})


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _check_format_version(raw: Mapping[str, Any]) -> None:
    found = raw.get("format_version")
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise CheckpointError(
            f"format_version must be a whole number from 1, not {found!r}."
        )
    if found > FORMAT_VERSION:
        raise CheckpointError(
            f"the checkpoint has format {found}, and this synthzoo "
            f"{synthzoo.__version__} reads up to {FORMAT_VERSION}. Install "
            f"synthzoo >= {str(raw.get('needs_synthzoo', 'the newest'))[:20]}."
        )


def _check_values(raw: Mapping[str, Any]) -> None:
    known = [field.name for field in fields(CheckpointConfig)]
    if unknown := sorted(set(raw) - set(known)):
        raise CheckpointError(f"unknown keys {unknown}; known are {known}.")
    if missing := [name for name in known if name not in raw]:
        raise CheckpointError(f"missing keys {missing}.")
    for name, (accepts, expected) in _VALUE_RULES.items():
        if not accepts(raw[name]):
            raise CheckpointError(f"{name} must be {expected}.")
    if set(raw["isolated_atom_energies_eV"]) != set(raw["elements"]):
        raise CheckpointError(
            "isolated_atom_energies_eV must have one energy for each element."
        )
    check_arguments(raw["builder"], raw["arguments"], raw["elements"])


def _is_element_list(value: Any) -> bool:
    from ase.data import atomic_numbers

    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(entry, str) and entry in atomic_numbers for entry in value)
        and len(set(value)) == len(value)
    )


def _is_sha256(value: Any) -> bool:
    return isinstance(value, str) and SHA256.fullmatch(value) is not None


def _is_table_of_numbers(value: Any) -> bool:
    return isinstance(value, dict) and all(is_number(entry) for entry in value.values())


_VALUE_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "builder": (lambda value: isinstance(value, str), "a name"),
    "arguments": (lambda value: isinstance(value, dict), "an object"),
    "elements": (_is_element_list, "a list of different chemical symbols"),
    "cutoff_A": (
        lambda value: is_number(value) and 0 < value <= MAX_CUTOFF_A,
        f"a number above 0 and up to {MAX_CUTOFF_A} (Å)",
    ),
    "dtype": (lambda value: value == "float32", "'float32'"),
    "isolated_atom_energies_eV": (_is_table_of_numbers, "an object of numbers"),
    "labels": (lambda value: isinstance(value, dict), "an object"),
    "kind": (lambda value: value in KINDS, f"one of {KINDS}"),
    "provenance": (lambda value: isinstance(value, dict), "an object"),
    "needs_synthzoo": (lambda value: isinstance(value, str), "a version"),
    "weights_sha256": (_is_sha256, "a SHA-256"),
    "golden_sha256": (_is_sha256, "a SHA-256"),
}
