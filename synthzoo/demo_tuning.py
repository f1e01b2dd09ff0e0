"""The part of the demo that fine-tunes: 25 structures of a sample, before and after."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from synthzoo.evaluate import GroupErrors
from synthzoo.samples import load_sample
from synthzoo.structures import group_of, kind_of, write_structures

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.tuning.recipe import FinetuneRecipe

SAMPLE = "carbon-pbe"
KINDS = ("crystals", "surfaces")
"""Strained, rattled and compressed crystals, and surfaces: no two of them related.

The disordered structures of the sample are few, of a few trajectories, and unlike each
other: 25 of them teach little about the rest.
"""

TUNED_FOLDER = "tuned"
TRAINING_FILE = "tuning.xyz"
TEST_FILE = "tuning-test.xyz"


@dataclass(frozen=True, kw_only=True)
class TunedSample:
    """What fine-tuning on a part of a DFT sample gave on the rest of it.

    Attributes
    ----------
    sample
        Name of the sample.
    training_structures, test_structures
        Sizes of the two parts; no group of related frames is in both.
    before, after
        Errors on the test structures: all, then by kind. Those before are taken with
        the best constant per atom on the training structures.
    verdict
        In words.
    seconds
        From the files to the report.
    """

    sample: str
    training_structures: int
    test_structures: int
    before: tuple[GroupErrors, ...]
    after: tuple[GroupErrors, ...]
    verdict: str
    seconds: float


def tune_sample(
    checkpoint: Path,
    folder: Path,
    *,
    structures: int,
    seed: int,
    recipe: FinetuneRecipe | None = None,
) -> TunedSample:
    """Fine-tune a checkpoint on a few structures of the sample, test it on the others.

    Parameters
    ----------
    checkpoint
        Where to start.
    folder
        Where the two sets and the tuned checkpoint are written.
    structures
        How many to fine-tune on.
    seed
        Of their choice.
    recipe
        How; if not given, by the command's own defaults.

    Raises
    ------
    InputError
        If the checkpoint is no model of these structures.
    """
    from synthzoo.tuning.finetuning import finetune

    frames = [atoms for atoms in load_sample(SAMPLE) if kind_of(atoms) in KINDS]
    training, test = split_sample(frames, structures, seed)
    write_structures(folder / TRAINING_FILE, training)
    write_structures(folder / TEST_FILE, test)
    summary = finetune(
        checkpoint,
        folder / TRAINING_FILE,
        folder / TUNED_FOLDER,
        recipe=recipe,
        test=folder / TEST_FILE,
    )
    metrics = json.loads((summary.output / "metrics.json").read_text(encoding="utf-8"))
    (judged,) = metrics["unseen"]
    before, after = (
        tuple(GroupErrors(**errors) for errors in judged[side])
        for side in ("before", "after")
    )
    return TunedSample(
        sample=SAMPLE,
        training_structures=summary.training_structures,
        test_structures=after[0].structures,
        before=before,
        after=after,
        verdict=summary.verdict,
        seconds=summary.seconds,
    )


def split_sample(
    frames: list[Atoms], count: int, seed: int
) -> tuple[list[Atoms], list[Atoms]]:
    """Return one frame of each of so many groups, and all frames of the other groups.

    Parameters
    ----------
    frames
        Related ones share a group.
    count
        How many to draw.
    seed
        Of the draw.
    """
    rng = np.random.default_rng(seed)
    groups: dict[str, list[Atoms]] = {}
    for atoms in frames:
        groups.setdefault(group_of(atoms), []).append(atoms)
    names = sorted(groups)
    rng.shuffle(names)
    drawn = [groups[name][rng.integers(len(groups[name]))] for name in names[:count]]
    return drawn, [atoms for name in names[count:] for atoms in groups[name]]
