"""Several levels of theory in one checkpoint: one body, a last layer for each level.

The weights of a checkpoint are those of its default level. A file beside them holds,
for each other level, the tensors that are different, and golden predictions. Whoever
asks for a level gets a network of one level, so that everything that computes with
networks need not know of levels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from synthzoo.data.levels import in_words
from synthzoo.errors import CheckpointError, InputError
from synthzoo.models.architectures import architecture_of
from synthzoo.models.config import CheckpointConfig, LevelDescription, Levels
from synthzoo.models.golden import predict_golden, unpack_golden
from synthzoo.runs.files import hash_content, hash_values

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    from synthzoo.models.golden import Golden
    from synthzoo.models.stored import StoredNetwork

WEIGHTS, GOLDEN = "weights", "golden"
"""Kinds of entries of the file, whose names are ``LEVEL/KIND/NAME``."""


@dataclass(frozen=True, kw_only=True)
class NewLevels:
    """The levels of a checkpoint that is to be written.

    ``default``: what the level is called to which weights and description belong.
    ``others``: networks of the other levels, by name, which share most of the weights.
    """

    default: str
    others: Mapping[str, StoredNetwork]


def level_names(config: CheckpointConfig) -> tuple[str, ...]:
    """Return the levels that a checkpoint has, the default one first, if it says.

    ``config``: as it stands in the checkpoint.
    """
    if config.levels is None:
        return ()
    return (config.levels.default, *config.levels.others)


def checked_level(config: CheckpointConfig, level: str, *, name: str) -> str | None:
    """Return a level other than the default one, or None for that; refuse others.

    ``config``: as it stands in the checkpoint.
    ``name``: what to call the checkpoint in the message.
    """
    known = level_names(config)
    if not known:
        raise InputError(
            f"{name} has a single level of theory, without a name: leave the level "
            f"{level!r} out."
        )
    if level not in known:
        raise InputError(
            f"{name} has no level {level!r}. Its levels are {in_words(known)}."
        )
    return None if level == known[0] else level


def config_at(config: CheckpointConfig, level: str | None) -> CheckpointConfig:
    """Return the description of one level, as that of a model without others.

    ``config``: as it stands in the checkpoint.
    ``level``: a level that it has; the default one if None.
    """
    alone = dataclasses.replace(config, levels=None)
    if config.levels is None or level is None:
        return alone
    described = config.levels.others[level]
    architecture = architecture_of(config.builder)
    return dataclasses.replace(
        alone,
        arguments=architecture.shifted(config.arguments, described.energy_shifts_eV),
        isolated_atom_energies_eV=described.isolated_atom_energies_eV,
        labels=described.labels,
        weights_sha256=hash_values(
            [config.weights_sha256, config.levels.sha256, level]
        ),
    )


def pack_levels(
    base: Mapping[str, NDArray[Any]], levels: NewLevels, golden: Sequence[Atoms]
) -> tuple[bytes, Levels]:
    """Return the content of the file of levels, and what the description says.

    ``base``: weights of the default level.
    ``golden``: structures of which each level predicts something.
    """
    from safetensors.numpy import save

    from synthzoo.models.calculator import SynthzooCalculator

    arrays, described = {}, {}
    for level, stored in levels.others.items():
        for name, value in stored.weights.items():
            if not np.array_equal(value, base[name]):
                arrays[f"{level}/{WEIGHTS}/{name}"] = np.ascontiguousarray(value)
        calculator = SynthzooCalculator(stored)
        for number, atoms in enumerate(golden):
            for name, value in predict_golden(atoms, calculator).items():
                arrays[f"{level}/{GOLDEN}/{number}.{name}"] = value
        described[level] = _description(stored)
    content = save(arrays)
    return content, Levels(
        default=levels.default, others=described, sha256=hash_content(content)
    )


def _description(stored: StoredNetwork) -> LevelDescription:
    config = stored.config
    return LevelDescription(
        energy_shifts_eV=architecture_of(config.builder).shifts_in(config.arguments),
        isolated_atom_energies_eV=config.isolated_atom_energies_eV,
        labels=config.labels,
    )


def weights_at(
    arrays: Mapping[str, NDArray[Any]],
    base: Mapping[str, NDArray[Any]],
    level: str,
    *,
    where: str,
) -> dict[str, NDArray[Any]]:
    """Return the weights of another level than the default one.

    ``arrays``: content of the file of levels. ``base``: weights of the default level.
    ``where``: what to call the file in a message.
    """
    own = _entries(arrays, level, WEIGHTS)
    for name, value in own.items():
        if name not in base or base[name].shape != value.shape:
            raise CheckpointError(
                f"{where}: {name} of level {level} is no weight of the network beside "
                "it, or has another shape."
            )
    return {**base, **own}


def golden_at(
    arrays: Mapping[str, NDArray[Any]], level: str, *, where: str
) -> list[Golden]:
    """Return the golden predictions of another level than the default one."""
    return unpack_golden(_entries(arrays, level, GOLDEN), where=f"{where}, {level}")


def _entries(
    arrays: Mapping[str, NDArray[Any]], level: str, kind: str
) -> dict[str, NDArray[Any]]:
    start = f"{level}/{kind}/"
    return {
        name.removeprefix(start): value
        for name, value in arrays.items()
        if name.startswith(start)
    }
