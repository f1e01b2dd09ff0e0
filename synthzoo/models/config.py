"""The description of a checkpoint: what ``config.json`` may say, checked strictly."""

from __future__ import annotations

import reprlib
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import synthzoo
from synthzoo.data.levels import LEVEL_NAME
from synthzoo.errors import CheckpointError, InputError
from synthzoo.models.architectures import check_arguments
from synthzoo.models.interface import Cutoff
from synthzoo.recipes.plain_values import read_json
from synthzoo.recipes.schema import (
    DIFFERENT,
    LARGEST,
    NOT_EMPTY,
    Checked,
    Symbol,
    from_values,
    matching,
    number,
)
from synthzoo.runs.files import SHA256, hash_values

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
GOLDEN_FILE = "golden.safetensors"
CARD_FILE = "README.md"
UNCERTAINTY_FILE = "uncertainty.safetensors"
LEVELS_FILE = "levels.safetensors"
MAP_FILE = "map.safetensors"
"""What `synthzoo map --onto` takes: a map of what the network was trained on."""
MODEL_FILES = (CONFIG_FILE, WEIGHTS_FILE, GOLDEN_FILE)
OPTIONAL_FILES = (UNCERTAINTY_FILE, LEVELS_FILE, MAP_FILE)


def files_of(folder: Path) -> list[str]:
    """Return the files of a checkpoint: those of each, and those that this one has."""
    extra = (name for name in OPTIONAL_FILES if (folder / name).is_file())
    return [*MODEL_FILES, *extra]


GUESSED = "guessed_elements"
"""In ``labels``: elements of whose energies the data that were fitted say nothing."""

FORMAT_VERSION = 1
"""The newest version of the format that this synthzoo reads and writes."""

FORMAT_SINCE = "0.1.0"
"""The first synthzoo that reads `FORMAT_VERSION`."""


_Sha256 = Annotated[str, matching(rf"(?:{SHA256.pattern})?", "a SHA-256")]


LevelName = Annotated[str, matching(LEVEL_NAME, "a name of letters, digits, _.+-")]
"""What a level of theory is called."""


class LevelDescription(Checked, frozen=True, kw_only=True):
    """What the energies of another level of theory than the default one are.

    ``energy_shifts_eV``: constant of each element in the energies of atoms.
    ``isolated_atom_energies_eV``, ``labels``: as in `CheckpointConfig`.
    """

    energy_shifts_eV: dict[str, Annotated[float, number(-1e9, 1e9)]]
    isolated_atom_energies_eV: dict[str, Annotated[float, number(-1e9, 1e9)]]
    labels: dict[str, Any]


class Levels(Checked, frozen=True, kw_only=True):
    """The levels of theory of a model that has several.

    ``default``: the level that the rest of the description is about.
    ``others``: the other levels, by name.
    ``sha256``: of the file with their weights and golden predictions.
    """

    default: LevelName
    others: dict[LevelName, LevelDescription]
    sha256: _Sha256 = ""


class CheckpointConfig(Checked, frozen=True, kw_only=True):
    """What ``config.json`` says about a model.

    ``builder``: name of the architecture: one of `synthzoo.models.architectures`.
    ``arguments``: its keyword arguments, apart from the elements, cutoff, dtype and
    seed.
    ``elements``: chemical symbols, in the order of the model's types.
    ``cutoff_A``: radial cutoff in Å.
    ``dtype``: precision in which the weights are stored.
    ``isolated_atom_energies_eV``: energy of the free atom of each element on the
    model's scale, in eV.
    ``labels``: what the energies are: teacher, level of theory, reference.
    ``kind``: ``potential``, or ``starting-point`` if it must be fine-tuned before use.
    ``provenance``: versions, recipe, seed and data hashes that made the weights.
    ``needs_synthzoo``: the first synthzoo that reads this format version.
    ``weights_sha256``, ``golden_sha256``: hashes of the two other files;
    `write_checkpoint` fills them in.
    ``levels``: the levels of theory, where there are several.
    """

    format_version: int
    builder: str
    arguments: dict[str, Any]
    elements: Annotated[tuple[Symbol, ...], NOT_EMPTY, DIFFERENT]
    cutoff_A: Cutoff
    dtype: str
    isolated_atom_energies_eV: dict[str, Annotated[float, number(-1e9, 1e9)]]
    labels: dict[str, Any]
    kind: Literal["potential", "starting-point"]
    provenance: dict[str, Any]
    needs_synthzoo: str = FORMAT_SINCE
    weights_sha256: _Sha256 = ""
    golden_sha256: _Sha256 = ""
    levels: Levels | None = None


UNSEALED = ("provenance", "needs_synthzoo", "golden_sha256")
"""What may change in a description without making it that of another model."""


def seal_of(config: CheckpointConfig) -> str:
    """Return a hash of all that decides what a model is and what its numbers mean.

    ``config``: the description, the hash of the weights included.
    """
    values = config_values(config).items()
    return hash_values({name: value for name, value in values if name not in UNSEALED})


def config_values(config: CheckpointConfig) -> dict[str, Any]:
    """Return what ``config.json`` says; models of one level say nothing of levels."""
    values = asdict(config)
    if config.levels is None:
        del values["levels"]
    return values


def parse_config(content: bytes, *, where: str) -> CheckpointConfig:
    """Return the description that a ``config.json`` holds."""
    try:
        raw = read_json(content, source=where)
        _check_format_version(raw)
        config = from_values(CheckpointConfig, raw, source=where)
        _check_all(config, raw)
    except InputError as error:
        raise CheckpointError(str(error)) from error
    except CheckpointError as error:
        raise CheckpointError(f"{where}: {error}") from error
    return config


def _check_format_version(raw: Any) -> None:
    if not isinstance(raw, dict):
        raise CheckpointError("expected a JSON object.")
    found = raw.get("format_version")
    if type(found) is not int or not 1 <= found < LARGEST:
        raise CheckpointError(
            f"format_version must be a whole number from 1, not {reprlib.repr(found)}."
        )
    if found > FORMAT_VERSION:
        raise CheckpointError(
            f"the checkpoint has format {found}, and this synthzoo "
            f"{synthzoo.__version__} reads up to {FORMAT_VERSION}. Install "
            f"synthzoo >= {str(raw.get('needs_synthzoo', 'the newest'))[:20]}."
        )


def _check_all(config: CheckpointConfig, raw: Mapping[str, Any]) -> None:
    """Check what no single value says."""
    given = [name for name in raw if raw[name] != ""] + ["levels"]
    if missing := [name for name in config.__struct_fields__ if name not in given]:
        raise CheckpointError(f"missing keys {missing}.")
    if config.dtype != "float32":
        raise CheckpointError(f"dtype: expected 'float32', found {config.dtype!r}.")
    versions = config.provenance.get("versions", {})
    if not isinstance(versions, dict) or not all(
        isinstance(version, str) for version in versions.values()
    ):
        raise CheckpointError("provenance: expected versions as texts by package.")
    if set(config.isolated_atom_energies_eV) != set(config.elements):
        raise CheckpointError(
            "isolated_atom_energies_eV must have one energy for each element."
        )
    if config.levels is not None:
        _check_levels(config.levels, config.elements)
    check_arguments(config.builder, config.arguments, config.elements)


def _check_levels(levels: Levels, elements: Collection[str]) -> None:
    if not levels.sha256 or not levels.others or levels.default in levels.others:
        raise CheckpointError(
            "levels: expected a default, other levels with other names, and a hash."
        )
    for name, level in levels.others.items():
        for values in (level.energy_shifts_eV, level.isolated_atom_energies_eV):
            if set(values) != set(elements):
                raise CheckpointError(
                    f"levels: {name} must have two energies for each element."
                )
