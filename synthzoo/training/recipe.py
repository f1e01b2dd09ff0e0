"""What the recipes of pre-training and of fine-tuning have in common."""

from __future__ import annotations

from typing import Annotated, Literal

from synthzoo.errors import InputError
from synthzoo.models.recipe import ModelRecipe, NetworkRecipe
from synthzoo.recipes.schema import (
    LATER,
    Checked,
    Count,
    CountFrom0,
    NotNegative,
    Positive,
    Section,
    Seed,
    Share,
    above_0,
    number,
)

LearningRate = Annotated[float, above_0(10)]


class StepsRecipe(Checked, frozen=True, kw_only=True):
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
    stress_weight
        Factor of the mean squared error of stress components times the volume per atom
        (eV) in the loss; without stress labels there is no such term.
    stress_huber_eV
        Such errors beyond which the loss grows in proportion, no longer with their
        squares; never if not given.
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
    stress_weight: Annotated[NotNegative, LATER] = 0.0
    stress_huber_eV: Annotated[Positive | None, LATER] = None
    threads: Count | None = None
    frozen: Annotated[tuple[str, ...], LATER] = ()
    layer_rate_factor: Annotated[Positive, LATER] = 1.0
    pull: Annotated[NotNegative, LATER] = 0.0
    replay_share: Annotated[Share, LATER] = 0.3


class MetaRecipe(Checked, frozen=True, kw_only=True):
    """How a fit meta-learns from several tasks, by Reptile (arXiv:1803.02999).

    Attributes
    ----------
    inner_steps
        Steps of Adam on one task, in a row.
    outer_rate
        Share of the way that these steps have gone which is kept; it decays as
        ``decay_start`` of the fit says, while the learning rate of the inner steps
        stays.
    """

    inner_steps: Count = 10
    outer_rate: Annotated[float, above_0(1)] = 0.5


class FitRecipe(StepsRecipe, frozen=True, kw_only=True):
    """How the weights are found; `StepsRecipe` has the other attributes.

    Attributes
    ----------
    max_epochs
        Number of passes over the training set.
    learning_rate
        Of Adam, after the warm-up.
    optimizer
        ``adam``, or ``muon``, which moves the matrices of the layers and of the radial
        networks by steps with equal singular values, and all other weights as Adam
        does.
    muon_rate
        Learning rate of Muon for the matrices, after the warm-up.
    meta
        Fit by Reptile to several levels of theory, each a task, instead of to batches
        of all of them; ``ema_decay`` then counts tasks instead of steps.
    energy_weight
        Factor of the mean squared error of energy per atom (eV) in the loss.
    atomic_energy_weight
        Factor of the mean squared error of the energies of atoms (eV), for labels of
        teachers that have them: C-ACE, GAP, NEP and others.
    validation_share
        Share of the structures that is held out, whole groups each.
    keep
        Epoch whose averaged weights are kept: that with the smallest force error on the
        validation set, or the last, for a fit that starts from weights which have seen
        a part of that set.
    patience
        Epochs without a better validation error after which training stops; never if
        not given.
    energy_huber_eV, forces_huber_eV_A
        Errors (per atom, per component) beyond which the loss grows in proportion, no
        longer with their squares; never if not given.
    adam_beta2
        Decay of Adam's mean of squared gradients.
    """

    max_epochs: Count = 50
    learning_rate: LearningRate = 0.01
    energy_weight: NotNegative = 4.0
    validation_share: Share = 0.06
    keep: Literal["best", "last"] = "best"
    patience: CountFrom0 | None = None
    energy_huber_eV: Annotated[Positive | None, LATER] = None
    forces_huber_eV_A: Annotated[Positive | None, LATER] = None
    adam_beta2: Annotated[Annotated[float, number(0, 1)], LATER] = 0.999
    atomic_energy_weight: Annotated[NotNegative, LATER] = 0.0
    optimizer: Annotated[Literal["adam", "muon"], LATER] = "adam"
    muon_rate: Annotated[LearningRate, LATER] = 0.1
    meta: Annotated[MetaRecipe | None, LATER] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.meta is not None and (self.pull or self.optimizer != "adam"):
            raise InputError("`meta` needs `optimizer: adam`, and no `pull`.")


class PretrainRecipe(Section, frozen=True, kw_only=True):
    """From labelled structures to a checkpoint.

    Attributes
    ----------
    kind
        Whether the checkpoint is a potential or only a start for fine-tuning.
    structures
        Number of training structures, of those that are not held out; all of them if
        not given. Fewer are a part of more, and the validation set stays the same.
    model
        Shape of the network.
    network
        Network of another architecture, instead of ``model``.
    grow
        Features of each layer but the last, such as ``64x0e+32x1o+32x1e``, to which the
        network that the fit starts from is made wider; its predictions stay at first.
    fit
        How its weights are found.
    """

    section = "pretrain"

    kind: Literal["potential", "starting-point"] = "potential"
    structures: Annotated[Count | None, LATER] = None
    model: ModelRecipe = ModelRecipe()
    network: Annotated[NetworkRecipe | None, LATER] = None
    grow: Annotated[tuple[str, ...], LATER] = ()
    fit: FitRecipe = FitRecipe()
