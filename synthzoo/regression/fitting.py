"""How networks on SOAP are fitted: random batches, a rate that falls to zero."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from synthzoo.errors import DivergedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.regression.environments import Environments

Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""Of spectra, atomic numbers, and targets of a batch."""

BATCH = 128
"""Environments that are shown at a time."""
AT_ONCE = 4096
"""Environments that are predicted at a time."""
WARM_SHARE = 0.05
"""Of all steps, in which the rate grows; from then on it falls."""


@dataclass(frozen=True, kw_only=True)
class NetworkChoice:
    """How a network is made and fitted.

    ``width``: features of each of the hidden layers.
    ``visits``: environments that are shown to it in all, repetitions included.
    ``learning_rate``: of Adam, at its largest.
    """

    width: int
    visits: int
    learning_rate: float
    dropout: float
    seed: int


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let torch's random numbers be those of a seed, and then as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def fit_modules(
    rates: Sequence[tuple[torch.nn.Module, float]],
    loss: Loss,
    environments: Environments,
    targets: NDArray[np.float64],
    choice: NetworkChoice,
    *,
    batch_size: int = BATCH,
) -> None:
    """Move the weights of modules so that a loss gets smaller.

    ``rates``: modules, each with its largest learning rate.
    ``targets``: of each environment, ``(n,)``.
    """
    steps = max(1, math.ceil(choice.visits / batch_size))
    optimiser = torch.optim.Adam(
        [{"params": module.parameters(), "lr": rate} for module, rate in rates]
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        max_lr=[rate for _, rate in rates],
        total_steps=steps + 1,
        pct_start=WARM_SHARE,
        cycle_momentum=False,
    )
    wanted = torch.from_numpy(targets.astype(np.float32))
    for module, _ in rates:
        module.train()
    for batch in _batches(len(environments), batch_size, steps, choice.seed):
        spectra, numbers = tensors(environments.take(batch))
        value = loss(spectra, numbers, wanted[batch])
        if not torch.isfinite(value):
            raise DivergedError("The loss is not a number: give a smaller rate.")
        optimiser.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    for module, _ in rates:
        module.eval()


def _batches(
    count: int, size: int, steps: int, seed: int
) -> Iterator[NDArray[np.int64]]:
    """Yield batches of environments, all of them once before any comes again."""
    generator = np.random.default_rng(seed)
    left = np.zeros(0, dtype=np.int64)
    for _ in range(steps):
        while len(left) < size:
            left = np.concatenate([left, generator.permutation(count)])
        yield left[:size]
        left = left[size:]


def tensors(environments: Environments) -> tuple[torch.Tensor, torch.Tensor]:
    """Return spectra and atomic numbers of environments."""
    numbers = environments.numbers.astype(np.int64)
    return torch.from_numpy(environments.spectra), torch.from_numpy(numbers)


def predict_in_parts(
    function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    environments: Environments,
) -> NDArray[np.float64]:
    """Return what a function of spectra and numbers gives for each environment."""
    found = []
    with torch.inference_mode():
        for start in range(0, len(environments), AT_ONCE):
            part = np.arange(start, min(start + AT_ONCE, len(environments)))
            found.append(function(*tensors(environments.take(part))).double().numpy())
    return np.concatenate(found)
