"""What a learning curve is made of: starts, sizes and draws of structures."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthzoo.data.frames import FrameSet, read_frames
from synthzoo.data.label_choice import find_label_keys
from synthzoo.data.level_frames import part_of_level
from synthzoo.errors import InputError
from synthzoo.finetuning.jobs import visits_from_scratch
from synthzoo.finetuning.recipe import FinetuneRecipe, resolve_recipe
from synthzoo.finetuning.replay import find_replay
from synthzoo.potentials import Model, find_checkpoint, model_name
from synthzoo.recipes.loading import recipe_values
from synthzoo.runs.files import hash_files, hash_values

if TYPE_CHECKING:
    from synthzoo.data.labelled_set import LabelledSet
    from synthzoo.data.labels import LabelKeys
    from synthzoo.models.checkpoint import Checkpoint

DIRECT = "direct"
"""Stands for a network that starts from nothing; ``direct:MODEL`` has its shape."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where fits begin.

    ``name``: what it is called in tables.
    ``checkpoint``: with the weights, or only the shape of the network.
    """

    name: str
    checkpoint: Checkpoint
    fresh: bool

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What decides the fit: the weights, or the network that gets random ones."""
        config = self.checkpoint.config
        if not self.fresh:
            return {"weights_sha256": config.weights_sha256}
        return {
            "builder": config.builder,
            "arguments": config.arguments,
            "elements": config.elements,
            "cutoff_A": config.cutoff_A,
        }


def find_starts(models: Sequence[Model]) -> list[Start]:
    """Return where to begin, in order.

    ``models``: checkpoints, as for `synthzoo.potentials.resolve`, and `DIRECT`: a new
    network of the shape of the first checkpoint, or of the one that is named after a
    colon.
    """
    if not models:
        raise InputError("No model is named; name at least one to start from.")
    names = [model_name(model) for model in models]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise InputError(f"{', '.join(doubled)} is named twice.")
    given = [model for model in models if not _is_fresh(model)]
    return [_start(model, names, given) for model in models]


def _is_fresh(model: Model) -> bool:
    text = f"{model}:" if isinstance(model, str) else ""
    return text.startswith(f"{DIRECT}:")


def _start(model: Model, names: Sequence[str], given: Sequence[Model]) -> Start:
    name = model_name(model)
    if not _is_fresh(model):
        short = Path(name).name if Path(name).is_dir() else name
        alone = [Path(other).name for other in names].count(Path(name).name) == 1
        return Start(
            name=short if alone else name,
            checkpoint=find_checkpoint(model, needed_for="benchmark"),
            fresh=False,
        )
    shape = name.partition(":")[2] or next(iter(given), None)
    if shape is None:
        raise InputError(
            f"`{DIRECT}` trains a new network of the first checkpoint's shape, but no "
            f"checkpoint is named; write {DIRECT}:MODEL."
        )
    checkpoint = find_checkpoint(shape, needed_for=DIRECT)
    return Start(name=name, checkpoint=checkpoint, fresh=True)


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """Where the structures are.

    ``training``, ``test``: files to draw from, and to measure on.
    ``least_atoms``: smaller structures are left out of both.
    """

    training: tuple[Path, ...]
    test: tuple[Path, ...]
    least_atoms: int = 1
    energy_key: str | None = None
    forces_key: str | None = None
    format: str | None = None

    def description(self) -> dict[str, Any]:
        """Return what decides the structures and their labels."""
        return {
            "training_sha256": hash_files(self.training),
            "test_sha256": hash_files(self.test),
            "least_atoms": self.least_atoms,
            "keys": [self.energy_key, self.forces_key],
            **({} if self.format is None else {"format": self.format}),
        }


@lru_cache(maxsize=4)
def read_part(
    source: DataSource, files: tuple[Path, ...]
) -> tuple[FrameSet, LabelKeys]:
    """Return the structures of some files that are large enough, and their keys.

    ``files``: to read; they are read once.
    """
    frames = part_of_level(read_frames(files, format=source.format), None)
    kept = [
        index
        for index, atoms in enumerate(frames.structures)
        if len(atoms) >= source.least_atoms
    ]
    if not kept:
        raise InputError(
            f"{', '.join(file.name for file in files)} holds no structure of at least "
            f"{source.least_atoms} atoms."
        )
    chosen = frames.part(kept)
    keys = find_label_keys(
        chosen.structures,
        energy_key=source.energy_key,
        forces_key=source.forces_key,
    )
    return chosen, keys


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run: fit a start to one draw of structures, then measure.

    ``size``: number of structures; 0 is the start as it is, on the scale of all of
    them.
    ``draw``: number of the draw, and seed of the fit. Of one draw, fewer structures are
    a part of more.
    ``recipe``: how to fine-tune, with nothing left open.
    """

    start: Start
    size: int
    draw: int
    source: DataSource
    recipe: FinetuneRecipe

    def training(self) -> tuple[FrameSet, LabelKeys]:
        """Return the structures to fit to; all of them for size 0."""
        return _drawn(self.source, self.size, self.draw)

    def test(self) -> LabelledSet:
        """Return the structures to measure on."""
        from synthzoo.data.labelled_set import as_labelled

        return as_labelled(*read_part(self.source, self.source.test))

    @cached_property
    def replay(self) -> list[Path]:
        """Synthetic structures that are mixed into the fit, as `finetune` does."""
        if self.start.fresh or not (self.size and self.recipe.replay_share):
            return []
        return find_replay(None, self.start.checkpoint.config)

    def key(self, source: dict[str, Any]) -> dict[str, Any]:
        """Return what decides the result."""
        fitted = recipe_values(self.recipe) if self.size else {}
        mixed = {"replay_sha256": hash_files(self.replay)} if self.replay else {}
        for name in ("threads", "direct_visits"):  # the first is how, the second visits
            fitted.pop(name, None)
        return {
            "start": self.start.identity,
            "size": self.size,
            "draw": self.draw,
            "recipe": fitted,
            **mixed,
            **source,
        }

    def file_name(self, key: dict[str, Any]) -> str:
        """Return a readable name for its result that no other run has."""
        readable = re.sub(r"[^\w.]+", "-", self.start.name)
        return f"{readable}-{self.size}-{self.draw}-{hash_values(key)[:12]}"


def make_jobs(
    starts: Sequence[Start],
    sizes: Sequence[int],
    draws: int,
    *,
    source: DataSource,
    recipe: FinetuneRecipe,
    direct_visits: int | None = None,
) -> list[Job]:
    """Return all runs, the first draw of everything first.

    ``draws``: how many for each size; for size 0 there is one.
    ``recipe``: what it leaves open follows from the number of structures, as in
    `finetune`.
    ``direct_visits``: structures that a fit from nothing sees in all; by default a
    number that grows with the size.
    """
    _check_sizes(sizes, source)
    if recipe.seeds > 1:
        raise InputError(
            "A learning curve shows single fits: leave `seeds` out of the recipe, and "
            "give --draws."
        )
    jobs = []
    for draw in range(draws):
        for size in sizes:
            drawn, _ = _drawn(source, size, draw)
            atoms = [len(structure) for structure in drawn.structures]
            for start in starts:
                if size == 0 and (start.fresh or draw):
                    continue
                resolved = _resolved(recipe, atoms, draw, start)
                if start.fresh:
                    visits = direct_visits or recipe.direct_visits
                    resolved = dataclasses.replace(
                        resolved, visits=visits or visits_from_scratch(atoms)
                    )
                jobs.append(
                    Job(
                        start=start,
                        size=size,
                        draw=draw,
                        source=source,
                        recipe=resolved,
                    )
                )
    return jobs


def _resolved(
    recipe: FinetuneRecipe, atoms: Sequence[int], draw: int, start: Start
) -> FinetuneRecipe:
    """Return what `finetune` would do with a test file: nothing is held out."""
    whole = dataclasses.replace(recipe, seed=draw, held_out_share=0.0, check_share=0.0)
    return resolve_recipe(whole, atoms, kind=start.checkpoint.config.kind)


def _drawn(source: DataSource, size: int, draw: int) -> tuple[FrameSet, LabelKeys]:
    """Return a draw of so many structures, or all for 0, and where the labels are."""
    pool, keys = read_part(source, source.training)
    order = np.random.default_rng(draw).permutation(len(pool.structures))
    chosen = order[:size] if size else np.sort(order)
    return pool.part(chosen.tolist()), keys


def _check_sizes(sizes: Sequence[int], source: DataSource) -> None:
    pool, _ = read_part(source, source.training)
    count = len(pool.structures)
    wrong = [size for size in sizes if size < 0 or size > count]
    if wrong or not sizes:
        raise InputError(
            f"Sizes {wrong or 'are missing'}: the training files hold {count} "
            f"structures of at least {source.least_atoms} atoms. Give numbers from 0 "
            f"(no fine-tuning) to {count}."
        )
