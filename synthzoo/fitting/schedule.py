"""Learning rates: over the steps of a fit, and of the parts of a network."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from synthzoo.errors import InputError

if TYPE_CHECKING:
    import torch

    from synthzoo.recipes import FitRecipe

WARMUP_START = 0.01


def rate_factor(step: int, total_steps: int, recipe: FitRecipe) -> float:
    """Return the learning rate at a step, as a share of its largest value.

    Linear warm-up, constant, then half a cosine down to zero.

    Parameters
    ----------
    step
        Steps taken so far.
    total_steps
        Steps of the whole fit.
    recipe
        Length of the warm-up and start of the decay.
    """
    warmup = min(1.0, WARMUP_START + step / max(1, recipe.warmup_steps))
    start = recipe.decay_start * total_steps
    if step <= start:
        return warmup
    done = min(1.0, (step - start) / max(1.0, total_steps - start))
    return warmup * (1 + math.cos(math.pi * done)) / 2


def parameter_groups(
    network: torch.nn.Module, recipe: FitRecipe
) -> list[dict[str, Any]]:
    """Return the weights to train, by part of the network, each with its rate.

    Parameters
    ----------
    network
        Module to train; frozen weights are marked as such.
    recipe
        With the frozen parts and the rates.

    Raises
    ------
    InputError
        If a frozen part is not one of the network's, or nothing is left to train.
    """
    if not recipe.frozen and recipe.layer_rate_factor == 1:
        return [{"params": list(network.parameters()), "lr": recipe.learning_rate}]
    parts: dict[str, list[torch.nn.Parameter]] = {}
    for name, value in network.named_parameters():
        parts.setdefault(_part_of(name), []).append(value)
    names = sorted(parts, key=_depth)
    if unknown := sorted(set(recipe.frozen) - set(names)):
        raise InputError(
            f"{', '.join(unknown)} cannot be frozen: the parts of this network are "
            f"{', '.join(names)}."
        )
    groups = []
    for above, name in enumerate(reversed(names)):
        if name in recipe.frozen:
            for value in parts[name]:
                value.requires_grad = False
            continue
        rate = recipe.learning_rate * recipe.layer_rate_factor**above
        groups.append({"params": parts[name], "lr": rate})
    if not groups:
        raise InputError("Every part of the network is frozen: nothing can be fitted.")
    return groups[::-1]


def _part_of(name: str) -> str:
    """Return the part of the network that a weight belongs to."""
    if match := re.search(r"\blayer(\d+)_", name):
        return f"layer{match[1]}"
    return "readout" if "readout" in name else "embedding"


def _depth(part: str) -> int:
    return {"embedding": -1, "readout": 10**6}.get(part) or int(
        part.removeprefix("layer")
    )
