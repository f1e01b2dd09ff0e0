"""When a loss or gradient is no number: which structures it comes from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from nequip.data import AtomicDataDict

if TYPE_CHECKING:
    from synthzoo.graphs import Graph

MAX_NAMED = 5


def explain(
    network: torch.nn.Module,
    batch: Graph,
    known: Sequence[Graph],
    names: Sequence[str],
) -> str:
    """Return in words which structures of a batch give no finite loss or gradient.

    Parameters
    ----------
    network
        As it is at the fault; its gradients are lost.
    batch
        Structures on which it happened.
    known
        All structures of the fit.
    names
        What to call them.
    """
    frames = [
        AtomicDataDict.frame_from_batched(batch, index)
        for index in range(AtomicDataDict.num_frames(batch))
    ]
    bad = [frame for frame in frames if not _is_sound(network, frame)]
    if not bad:
        return "No structure does that alone: the weights have probably diverged"
    if len(bad) == len(frames) > 1:
        return f"None of its {len(frames)} structures is: the weights have diverged"
    found = [_name(frame, known, names) for frame in bad[:MAX_NAMED]]
    more = f" and {len(bad) - MAX_NAMED} more" if len(bad) > MAX_NAMED else ""
    return f"It comes from {', '.join(found)}{more}"


def _is_sound(network: torch.nn.Module, frame: Graph) -> bool:
    """Return whether loss and gradient of a structure alone are finite."""
    network.zero_grad()
    output = network(frame.copy())
    loss = torch.zeros(())
    for key in (AtomicDataDict.TOTAL_ENERGY_KEY, AtomicDataDict.FORCE_KEY):
        known = ~torch.isnan(frame[key])  # replayed structures have no energy
        error = output[key][known] - frame[key][known]
        loss = loss.to(error.device) + error.square().sum()
    if not torch.isfinite(loss):
        return False
    loss.backward()  # type: ignore[no-untyped-call]
    norm = torch.nn.utils.clip_grad_norm_(network.parameters(), math.inf)
    return bool(torch.isfinite(norm))


def _name(frame: Graph, known: Sequence[Graph], names: Sequence[str]) -> str:
    """Return what a structure is called, found again by its positions."""
    key = AtomicDataDict.POSITIONS_KEY
    positions = frame[key].detach().cpu()
    for graph, name in zip(known, names, strict=True):
        same = graph[key].shape == positions.shape
        if same and torch.equal(graph[key].detach().cpu(), positions):
            return name
    return "a structure that cannot be named"
