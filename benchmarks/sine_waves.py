"""Reptile on the sine waves of its source (arXiv:1803.02999, section 5.1).

    python benchmarks/sine_waves.py

A small network learns waves of random amplitude and phase, by Reptile or with the waves
mixed. Then it is shown 10 points of a new wave, in 32 steps. The mean squared error on
all points of 20 new waves tells what the start was worth.
"""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from synthzoo.training.module import make_optimizer
from synthzoo.training.recipe import FitRecipe, MetaRecipe
from synthzoo.training.reptile import ReptileModule

if TYPE_CHECKING:
    from torch import Tensor

POINTS = torch.linspace(-5, 5, 50)[:, None]
SHOWN, STEPS, RATE = 10, 32, 0.02
NEW_WAVES, FIRST_NEW = 20, 100


def main() -> None:
    """Print the errors from three starts, with 8,000 steps each but the last."""
    starts = {
        "Reptile": trained(MetaRecipe(inner_steps=10, outer_rate=0.3), 800, 0.003),
        "mixed": trained(MetaRecipe(inner_steps=1, outer_rate=1.0), 8000, 0.003),
        "random weights": new_network(),
    }
    for name, network in starts.items():
        print(f"{name}: {error_on_new_waves(network):.2f}")  # noqa: T201


def new_network() -> torch.nn.Module:
    """Return a network with random weights."""
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(1, 64),
        torch.nn.Tanh(),
        torch.nn.Linear(64, 64),
        torch.nn.Tanh(),
        torch.nn.Linear(64, 1),
    )


def trained(meta: MetaRecipe, tasks: int, rate: float) -> torch.nn.Module:
    """Return a network that was fitted to so many waves, one after the other."""
    network, rng = new_network(), torch.Generator().manual_seed(1)
    recipe = FitRecipe(meta=meta, learning_rate=rate, warmup_steps=0, ema_decay=0.9)
    module = ReptileModule(
        network=network,
        recipe=recipe,
        meta=meta,
        total_steps=tasks * meta.inner_steps,
        names=lambda _: [],
    )
    optimizer = make_optimizer(module.model, recipe)
    for _ in range(tasks):
        wave = new_wave(rng)
        for step in range(meta.inner_steps):
            shown = torch.randperm(len(POINTS), generator=rng)[:SHOWN]

            def slopes(wave: Tensor = wave, shown: Tensor = shown) -> None:
                network.zero_grad()
                error(network, wave, shown).backward()  # type: ignore[no-untyped-call]

            module.optimizer_step(0, step, optimizer, slopes)
    return network


def new_wave(rng: torch.Generator) -> Tensor:
    """Return the values of a wave of random amplitude and phase."""
    amplitude, phase = torch.rand(2, generator=rng)
    wave: Tensor = (0.1 + 4.9 * amplitude) * torch.sin(POINTS + 2 * math.pi * phase)
    return wave


def error(network: torch.nn.Module, wave: Tensor, shown: Tensor) -> Tensor:
    """Return the mean squared error on some points."""
    found: Tensor = (network(POINTS[shown]) - wave[shown]).square().mean()
    return found


def error_on_new_waves(network: torch.nn.Module) -> float:
    """Return the mean error on all points of new waves, after a few steps on each."""
    return float(np.mean([_error_on(network, seed) for seed in range(NEW_WAVES)]))


def _error_on(network: torch.nn.Module, seed: int) -> float:
    rng = torch.Generator().manual_seed(FIRST_NEW + seed)
    wave, tuned = new_wave(rng), copy.deepcopy(network)
    shown = torch.randperm(len(POINTS), generator=rng)[:SHOWN]
    optimizer = torch.optim.SGD(tuned.parameters(), lr=RATE)
    for _ in range(STEPS):
        optimizer.zero_grad()
        error(tuned, wave, shown).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return float(error(tuned, wave, torch.arange(len(POINTS))).detach())


if __name__ == "__main__":
    main()
