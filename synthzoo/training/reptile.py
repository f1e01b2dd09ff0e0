"""Reptile: a fit to several tasks, after which few steps are enough for a new one.

A. Nichol, J. Achiam and J. Schulman, "On First-Order Meta-Learning Algorithms" (2018),
arXiv:1803.02999. For potentials, whose tasks are levels of theory: arXiv:2307.04012.
Again and again, a task is picked; k steps of Adam on it alone lead from weights θ to
θ_k; then θ ← θ + ε (θ_k - θ). As in the authors' code, Adam has no momentum here, and
its mean squares of gradients go on from task to task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import Sampler

from synthzoo.errors import InputError
from synthzoo.training.batches import AtomBatches
from synthzoo.training.module import FitModule, decay_factor, warmup_factor

if TYPE_CHECKING:
    from synthzoo.training.recipe import MetaRecipe


class TaskBatches(Sampler[list[int]]):
    """Batches of one task each, as many of it in a row as there are inner steps.

    An epoch goes through all tasks in a random order, each in whole rows of batches; so
    a fit never ends an epoch within a row. Nor is it stored there, see `WithinEpoch`.

    ``sizes``: number of atoms of each structure of each task; the indices of a task
    follow those of the tasks before.
    """

    def __init__(
        self,
        sizes: Sequence[Sequence[int]],
        batch_atoms: int,
        seed: int,
        *,
        inner_steps: int,
    ) -> None:
        self.tasks = [
            AtomBatches(own, batch_atoms, seed + number)
            for number, own in enumerate(sizes)
        ]
        self.firsts = [0, *accumulate(map(len, sizes))]
        self.inner_steps = inner_steps
        self.seed = seed
        self.epoch = 0
        self.rows = [len(batches) // inner_steps for batches in self.tasks]
        if not all(self.rows):
            raise InputError(
                f"A task of Reptile takes {inner_steps} steps in a row, but the "
                f"smallest set has {min(map(len, self.tasks))} batches. Make "
                "`inner_steps` or `batch_atoms` smaller, or give more structures."
            )

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of this epoch."""
        self.epoch = epoch
        for batches in self.tasks:
            batches.set_epoch(epoch)

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        return self.inner_steps * sum(self.rows)

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the indices of the structures of each batch."""
        rng = np.random.default_rng((self.seed, self.epoch, len(self.tasks)))
        order = rng.permutation(np.repeat(np.arange(len(self.tasks)), self.rows))
        left = [iter(batches) for batches in self.tasks]
        for task in order:
            first = self.firsts[task]
            for batch in islice(left[task], self.inner_steps):
                yield [first + index for index in batch]


class ReptileModule(FitModule):
    """A network that is fitted to tasks by Reptile.

    The last layer of a task moves by the same rule as the weights that all share; no
    other task moves it. The moving average is one over outer steps. The rate of inner
    steps grows in the warm-up and then stays; that of outer steps decays.
    """

    def __init__(self, *, meta: MetaRecipe, **options: Any) -> None:
        super().__init__(**options)
        self.meta = meta
        self._before: list[torch.Tensor] = []

    def rate_at(self, step: int) -> float:
        """Return the rate of an inner step, as a share of its largest value."""
        return warmup_factor(step, self.recipe)

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: torch.optim.Optimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Take an inner step; after the last one of a task, an outer step."""
        del epoch
        weights = list(self.model.parameters())
        if batch_idx % self.meta.inner_steps == 0:
            self._before = [weight.detach().clone() for weight in weights]
        optimizer.step(closure=optimizer_closure)
        if (batch_idx + 1) % self.meta.inner_steps == 0:
            decay = decay_factor(self.global_step, self.total_steps, self.recipe)
            with torch.no_grad():
                for weight, before in zip(weights, self._before, strict=True):
                    weight.lerp_(before, 1 - decay * self.meta.outer_rate)
            self.ema.update_parameters(self.model)
