"""Energies, forces and virials of a network of torch, as the engine computes them.

What is computed can be differentiated with respect to the network's weights, as a fit
needs it. The gradient of a loss of forces and virials is that of a derivative of the
energies, along the direction in which the loss pulls; `synthzoo.models.engine.duals`
has the loops for that. Atoms alone, a few dozen operations of torch evaluate.
"""

# mypy: disable-error-code="no-untyped-def"
# ruff: noqa: ANN001, ANN205  torch's contexts, and the gradients it wants, have no type

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from synthzoo.models.engine.evaluation import Workspace
from synthzoo.models.engine.fitting.atoms import (
    bounds_of,
    embedded,
    gated,
    read,
    self_connected,
)
from synthzoo.models.engine.fitting.messages import Loops, message_sums
from synthzoo.models.engine.fitting.radial import radial_table
from synthzoo.models.engine.fitting.rows import mapped
from synthzoo.models.engine.fitting.task import Pull, State, Task
from synthzoo.models.engine.geometry import LINKS
from synthzoo.models.engine.layer_shape import FIRST, SECOND
from synthzoo.models.engine.network import network_of
from synthzoo.models.engine.program import program_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


def compute(task: Task, tensors: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Return energies of atoms, forces and virials, in double precision.

    They are of shapes ``(n,)``, ``(n, 3)`` and ``(structures, 3, 3)``, in the order of
    the task's atoms; virials are derivatives with respect to strain.
    """
    state = dict(zip(task.names, tensors, strict=True))
    layouts = program_of(task.shape, task.precision).layouts
    tables = [
        radial_table(task, state, layer, layout)
        for layer, layout in zip(task.shape.layers, layouts, strict=True)
    ]
    found = cast("Any", _Pass).apply(task, *tables, *tensors)
    return cast("tuple[Tensor, Tensor, Tensor]", found)


class _Pass(torch.autograd.Function):
    """The pass, and the gradient of what comes out of it."""

    @staticmethod
    def forward(ctx, task: Task, *tensors: Tensor):
        layers = len(task.shape.layers)
        weights = {
            name: value.detach().numpy()
            for name, value in zip(task.names, tensors[layers:], strict=True)
        }
        tables = [table.detach().numpy() for table in tensors[:layers]]
        network = network_of(task.shape, weights, task.precision, tables=tables)
        workspace = Workspace(network, task.who, task.links, buffers=task.buffers)
        found = workspace.evaluate(task.positions, task.cells)
        ctx.save_for_backward(*tensors)
        ctx.task, ctx.edges = task, _kept(workspace.edges)
        return (
            torch.from_numpy(found.energies),
            torch.from_numpy(found.forces),
            torch.from_numpy(found.virials),
        )

    @staticmethod
    @once_differentiable
    def backward(ctx, energies: Tensor, forces: Tensor, virials: Tensor):
        wanted = [
            number for number, need in enumerate(ctx.needs_input_grad[1:]) if need
        ]
        with torch.enable_grad():
            tensors = [
                value.detach().requires_grad_(number in wanted)
                for number, value in enumerate(ctx.saved_tensors)
            ]
            layers = len(ctx.task.shape.layers)
            tables = tensors[:layers]
            state = dict(zip(ctx.task.names, tensors[layers:], strict=True))
            pull = Pull(energies, forces.numpy(), virials.numpy())
            total = moving_energy(ctx.task, state, tables, ctx.edges, pull)
            slopes = torch.autograd.grad(
                total, [tensors[number] for number in wanted], allow_unused=True
            )
        found: list[Tensor | None] = [None] * len(tensors)
        for number, slope in zip(wanted, slopes, strict=True):
            found[number] = slope
        return None, *found


def _kept(edges: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return copies of what the next pass would write over."""
    return {name: edges[name].copy() for name in LINKS}


def moving_energy(
    task: Task,
    state: State,
    tables: Sequence[Tensor],
    edges: Mapping[str, NDArray[Any]],
    pull: Pull,
) -> Tensor:
    """Return what has the gradient of the loss with respect to the weights.

    That is the sum of the energies times their pull, and of the derivative of the
    energies in the direction in which forces and virials pull.
    """
    loops = Loops.of(task, edges, pull)
    shape, layouts = task.shape, program_of(task.shape, task.precision).layouts
    types = torch.from_numpy(task.who.types).long()
    features = embedded(task, state, layouts[0].incoming)[types]
    features = torch.cat([features, torch.zeros_like(features)])
    norm = torch.tensor(shape.norm, dtype=features.dtype)[types].repeat(2)[:, None]
    bounds = bounds_of(task.who.types, len(shape.elements))
    for number, (layer, layout) in enumerate(zip(shape.layers, layouts, strict=True)):
        row = layout.incoming
        flat = state[layer.name + FIRST].reshape(-1)
        sent = mapped(features, layer.first, flat, row, row) * norm
        summed = message_sums(sent, tables[number], loops, number)
        flat = state[layer.name + SECOND].reshape(-1)
        mixed = mapped(summed, layer.second, flat, layout.summed, layout.mixed)
        if layer.self_connection:
            mixed = mixed + self_connected(features, layer, layout, state, bounds)
        features = gated(mixed, layer, layout)
    return read(task, state, features, pull.energies, types)
