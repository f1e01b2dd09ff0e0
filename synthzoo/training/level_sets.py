"""Further levels of theory in a pre-training: their structures, and what is learnt."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthzoo.data.frames import find_files
from synthzoo.data.levels import HIGH, LOW, is_level_name
from synthzoo.errors import InputError
from synthzoo.models.levels import NewLevels
from synthzoo.runs.files import hash_files
from synthzoo.training.batches import Mixed
from synthzoo.training.sets import find_provenance, make_sets
from synthzoo.training.stored_sets import stored_set
from synthzoo.training.weights import weights_at

if TYPE_CHECKING:
    import torch

    from synthzoo.models.config import CheckpointConfig
    from synthzoo.training.levels import LevelledNetwork
    from synthzoo.training.place import TrainingPlace
    from synthzoo.training.recipe import PretrainRecipe
    from synthzoo.training.sets import PretrainSets


@dataclass(frozen=True, kw_only=True)
class LevelFiles:
    """Files of other levels of theory than the default one, by name.

    ``default``: what the default level is called.
    """

    default: str
    others: Mapping[str, Sequence[Path]]

    def manifest(self) -> dict[str, Any]:
        """Return what decides the result; nothing where there is one level."""
        if not self.others:
            return {}
        hashes = {name: hash_files(files) for name, files in self.others.items()}
        return {"level": self.default, "levels": hashes}


def find_level_files(
    levels: Mapping[str, Any] | str | Path | Sequence[str | Path] | None,
    level: str | None,
    *,
    place: TrainingPlace,
    recipe: PretrainRecipe,
) -> LevelFiles:
    """Return the files of other levels; refuse what a fit to several cannot do."""
    if not levels:
        _check_only_level(level, recipe)
        return LevelFiles(default=HIGH, others={})
    named = levels if isinstance(levels, Mapping) else {LOW: levels}
    default = level or HIGH
    for name in (default, *named):
        if not is_level_name(name):
            raise InputError(f"A level of theory cannot be called {name!r}.")
    if default in named:
        raise InputError(f"Two levels of theory are called {default}: rename one.")
    if place.compiled or place.kernels or place.processes > 1:
        raise InputError(
            "Several levels of theory are fitted in one process, neither compiled nor "
            "with kernels."
        )
    if recipe.fit.optimizer != "adam":
        raise InputError("Several levels of theory need `optimizer: adam`.")
    others = {name: find_files(files) for name, files in named.items()}
    return LevelFiles(default=default, others=others)


def _check_only_level(level: str | None, recipe: PretrainRecipe) -> None:
    """Refuse what needs the data of other levels."""
    if level is not None:
        raise InputError(
            f"All data are of one level, {level}: give the structures of the "
            "others with --with."
        )
    if recipe.fit.meta is not None:
        raise InputError(
            "The recipe meta-learns from several tasks, but there is one: give the "
            "structures of the others with --with."
        )


@dataclass(frozen=True, kw_only=True)
class LevelSets:
    """The structures of other levels, by name, and where their labels come from."""

    default: str
    sets: Mapping[str, PretrainSets]
    teachers: Mapping[str, str]

    def mixed(self) -> list[Mixed]:
        """Return what is mixed into the batches: one pass over all in each epoch."""
        return [
            Mixed(part.training.at_level(number))
            for number, part in enumerate(self.sets.values(), start=1)
        ]

    def network(
        self, network: torch.nn.Module, config: CheckpointConfig
    ) -> torch.nn.Module:
        """Return a network with a last layer for each level."""
        from synthzoo.training.levels import LevelledNetwork, readout_name

        weight = network.get_parameter(readout_name(network, config)).detach()
        return LevelledNetwork(network, config, dict.fromkeys(self.sets, weight))

    def new_levels(
        self, network: LevelledNetwork, config: CheckpointConfig
    ) -> NewLevels:
        """Return the levels of a fitted network besides the default one.

        ``config``: of the default level, with what is known of its labels.
        """
        from synthzoo.models.stored import StoredNetwork

        others = {}
        for name in self.sets:
            labels = config.labels | {"teacher": self.teachers[name]}
            weights = {
                key: value.detach().cpu().numpy().copy()
                for key, value in weights_at(network.weights(), name).items()
            }
            described = dataclasses.replace(config, labels=labels)
            others[name] = StoredNetwork(described, weights, config.dtype)
        return NewLevels(default=self.default, others=others)


def read_level_sets(
    files: LevelFiles,
    recipe: PretrainRecipe,
    cutoff_A: float,
    *,
    spare: Path,
    format: str | None,
    elements: Sequence[str],
) -> LevelSets | None:
    """Return the structures of other levels, or None where there is one level.

    ``spare``: folder to use if nothing can be written to the cache.
    ``elements``: of the default level.
    """
    sets, teachers = {}, {}
    for name, paths in files.others.items():
        stored = stored_set(
            list(paths), sha256=hash_files(paths), spare=spare, format=format
        )
        if set(stored.elements) != set(elements):
            raise InputError(
                f"Level {name} holds {', '.join(stored.elements)}, but level "
                f"{files.default} holds {', '.join(elements)}: give structures with "
                "the same elements."
            )
        teachers[name] = find_provenance(stored)["teacher"]
        sets[name] = make_sets(stored, recipe, cutoff_A)
    if not sets:
        return None
    return LevelSets(default=files.default, sets=sets, teachers=teachers)
