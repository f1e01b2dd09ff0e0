"""What the recipes of pre-training and of fine-tuning have in common."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from synthzoo.recipes.schema import (
    LATER,
    Checked,
    Count,
    CountFrom0,
    NotNegative,
    Positive,
    Seed,
    Share,
    above_0,
)

LearningRate = Annotated[float, above_0(10)]


@dataclass(frozen=True, kw_only=True)
class StepsRecipe(Checked):
    """How weights are moved, step by step.

    Attributes
    ----------
    seed
        Of the split and the order of the structures, and of weights that start from
        nothing.
    batch_atoms
        Atoms per step, at most (a larger structure is a batch of its own).
    warmup_steps
        Steps over which the rate grows linearly from a hundredth.
    decay_start
        Share of all steps after which the rate falls to zero along a half cosine.
    ema_decay
        Of the moving average of the weights, which is what is kept.
    gradient_clip
        Largest norm of the gradient.
    forces_weight
        Factor of the mean squared error of force components (eV/Å) in the loss.
    threads
        CPU threads; torch's default if not given.
    frozen
        Parts of the network that stay as they are: ``embedding``, ``layer0``,
        ``layer1`` … or ``readout``.
    layer_rate_factor
        Each layer's learning rate over that of the next one; the readout has the full
        rate.
    pull
        Strength of the pull back to the weights that the fit started from; 0 is none.
    replay_share
        Share of the atoms of a batch that are of replayed structures, if there are any.
    """

    seed: Seed = 0
    batch_atoms: Count = 96
    warmup_steps: CountFrom0 = 50
    decay_start: Share = 0.5
    ema_decay: Share = 0.995
    gradient_clip: Positive = 20.0
    forces_weight: NotNegative = 1.0
    threads: Count | None = None
    frozen: tuple[str, ...] = field(default=(), metadata=LATER)
    layer_rate_factor: Positive = field(default=1.0, metadata=LATER)
    pull: NotNegative = field(default=0.0, metadata=LATER)
    replay_share: Share = field(default=0.3, metadata=LATER)
