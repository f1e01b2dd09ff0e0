"""What happens on each atom alone, by operations of torch.

The rows of features are those of all atoms and, behind them, their derivatives along
the direction in which a loss pulls.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from synthzoo.models.engine.fitting.nonlinearities import activated
from synthzoo.models.engine.fitting.rows import blocks_of, multiplied, parts_of, rows_of
from synthzoo.models.engine.layer_shape import SELF_CONNECTION
from synthzoo.models.engine.layout import padded
from synthzoo.models.engine.program import program_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.models.engine.fitting.task import State, Task
    from synthzoo.models.engine.layout import LayerLayout, Row
    from synthzoo.models.engine.shape import Columns, Layer, Matrix


def embedded(task: Task, state: State, row: Row) -> Tensor:
    """Return the features of each type before the first layer."""
    shape, dtype = task.shape, task.dtype
    found = state[shape.attributes].to(dtype)
    if shape.embedding is not None:
        found = found @ _matrix(state, shape.embedding, dtype)
    whole = found.new_zeros(len(found), row.width)
    whole[:, torch.from_numpy(row.rooms[0].places)] = found
    return whole


def _matrix(state: State, matrix: Matrix, dtype: torch.dtype) -> Tensor:
    return matrix.factor * state[matrix.name].to(dtype).reshape(matrix.shape)


def bounds_of(types: NDArray[np.int32], count: int) -> list[tuple[int, int]]:
    """Return the ranges of atoms of each type."""
    ends = np.searchsorted(types, np.arange(count + 1)).tolist()
    return list(pairwise(ends))


def self_connected(
    rows: Tensor,
    layer: Layer,
    layout: LayerLayout,
    state: State,
    bounds: Sequence[tuple[int, int]],
) -> Tensor:
    """Return what each atom's own features add, by a matrix for its type."""
    mixings = layer.self_connection
    flat = state[layer.name + SELF_CONNECTION].reshape(-1)
    attributes = state[layer.attributes].to(rows.dtype)
    weights = [
        torch.einsum("uav,ta->tuv", (each.factor * part).view(each.shape), attributes)
        for each, part in zip(mixings, parts_of(flat, mixings), strict=True)
    ]
    both = rows.view(2, -1, rows.shape[1])
    parts = []
    for number, (first, last) in enumerate(bounds):
        if first == last:
            continue
        mine = both[:, first:last].reshape(-1, rows.shape[1])
        matrices = [matrix[number] for matrix in weights]
        made = multiplied(mine, mixings, matrices, layout.incoming, layout.mixed)
        parts.append(made.view(2, last - first, -1))
    found = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
    return found.reshape(len(rows), -1)


def gated(rows: Tensor, layer: Layer, layout: LayerLayout) -> Tensor:
    """Return what comes out of the gate."""
    given = _pieces(rows, layer, layout)
    made: list[list[tuple[int, Tensor]]] = [[] for _ in layout.outgoing.rooms]
    for part in layer.scalars:
        both = torch.cat(activated(part.name, part.factor, given[part.columns]))
        made[part.target.block].append((part.target.start, both))
    for gate in layer.gated:
        value, moving = activated(gate.name, gate.factor, given[gate.gates])
        vector, turning = given[gate.columns].chunk(2)
        both = torch.cat([value * vector, value * turning + moving * vector])
        made[gate.target.block].append((gate.target.start, both))
    blocks = [
        torch.cat([piece for _, piece in sorted(each, key=lambda one: one[0])], 2)
        for each in made
    ]
    return rows_of(blocks, layout.outgoing, rows)


def _pieces(rows: Tensor, layer: Layer, layout: LayerLayout) -> dict[Columns, Tensor]:
    """Return the channels that the gate treats in one way, with empty ones.

    Each is of shape ``(rows, components, channels)``.
    """
    columns = [part.columns for part in layer.scalars]
    for gate in layer.gated:
        columns += [gate.columns, gate.gates]
    found: dict[Columns, Tensor] = {}
    for number, block in enumerate(blocks_of(rows, layout.mixed)):
        mine = sorted(each for each in columns if each.block == number)
        sizes = [padded(each.stop - each.start, layout.width) for each in mine]
        found |= dict(zip(mine, torch.split(block, sizes, 2), strict=True))
    return found


def read(task: Task, state: State, rows: Tensor, pull: Tensor, types: Tensor) -> Tensor:
    """Return pulled energies and the derivative of all energies, as one sum."""
    shape, network = task.shape, program_of(task.shape, task.precision)
    row = network.layouts[-1].outgoing
    last = zip(shape.layers[-1].outgoing, row.rooms, blocks_of(rows, row), strict=True)
    both = torch.cat(
        [
            values[:, 0, torch.from_numpy(room.places)]
            for block, room, values in last
            if block.parity == 1
        ],
        1,
    )
    for order, matrix in enumerate(shape.readout):
        if order and shape.readout_activation is not None:
            both = torch.cat(activated(shape.readout_activation, 1.0, both))
        both = both @ _matrix(state, matrix, rows.dtype)
    value, moving = both.double().view(2, -1)
    scales, shifts = (
        state[name].double().reshape(-1) if state[name].numel() else None
        for name in (shape.scales, shape.shifts)
    )
    if scales is not None:
        scale = scales[types] if len(scales) > 1 else scales
        value, moving = scale * value, scale * moving
    if shifts is not None:
        value = value + (shifts[types] if len(shifts) > 1 else shifts)
    total: Tensor = (pull * value).sum() + moving.sum()
    return total
