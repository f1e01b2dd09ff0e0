"""The part of the demo that fine-tunes: 25 structures of a sample, before and after."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthzoo.samples import load_sample
from synthzoo.structures import group_of, kind_of, write_structures
from synthzoo.tuning.recipe import FinetuneRecipe

if TYPE_CHECKING:
    from ase import Atoms

SAMPLE = "carbon-pbe"
KINDS = ("crystals", "surfaces")
"""Strained, rattled and compressed crystals, and surfaces: no two of them related.

On 39 others, 25 of them with half a batch of replay took `carbon-ace-18k` from 53 to 49
meV/atom and from 0.57 to 0.46 eV/Å, from 55 to 51 and 0.57 to 0.54, and from 47 to 48
and 0.63 to 0.55 (three draws); `carbon-ace-8k` from 79 to 54 and 0.57 to 0.49, and from
84 to 76 and 0.58 to 0.53 (the first two).

The other kinds of the sample are no example of what 25 structures teach. Of the squared
error of the energies of disordered carbon, four fifths are that of 16 quenched frames
out of 94, from eight trajectories: cells of 8 atoms that crystallised into dense nets
unlike each other, on which `carbon` is wrong by 0.2 to 0.6 eV/atom with either sign. By
which of them are drawn, the energies of the others went from 163 to 202 meV/atom
without replay, or from 181 to 157.
"""

REPLAY = "zoo"
"""25 cells of 8 atoms hold so few forces that a fit to nothing else learns them by
heart: on two draws of crystals, 288 steps ended at 56 and 67 meV/atom without replay,
and at 49 and 51 with half a batch of it."""

REPLAY_SHARE = 0.3
"""`carbon-ace-44k` goes from 63 to 63 meV/atom and from 0.58 to 0.47 eV/Å, and from 59
to 56 and 0.60 to 0.52 (two draws); with a share of 0.1 the first goes to 70 and 0.46,
with 0.5 to 63 and 0.47, the second to 54 and 0.53."""

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
    energy_rmse_meV_per_atom
        On the test structures, before and after; before with the best constant per
        atom on the training structures.
    force_rmse_eV_A
        The same of the forces.
    verdict
        In words.
    seconds
        From the files to the report.
    """

    sample: str
    training_structures: int
    test_structures: int
    energy_rmse_meV_per_atom: tuple[float, float]
    force_rmse_eV_A: tuple[float, float]
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
        How; if not given, by the command's own defaults but for the share of replay.

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
        recipe=recipe or FinetuneRecipe(replay_share=REPLAY_SHARE),
        test=folder / TEST_FILE,
        replay=REPLAY,
    )
    metrics = json.loads((summary.output / "metrics.json").read_text(encoding="utf-8"))
    (judged,) = metrics["unseen"]
    return TunedSample(
        sample=SAMPLE,
        training_structures=summary.training_structures,
        test_structures=judged["after"][0]["structures"],
        energy_rmse_meV_per_atom=_before_after(judged, "energy_rmse_meV_per_atom"),
        force_rmse_eV_A=_before_after(judged, "force_rmse_eV_A"),
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


def _before_after(judged: dict[str, Any], field: str) -> tuple[float, float]:
    return judged["before"][0][field], judged["after"][0][field]
