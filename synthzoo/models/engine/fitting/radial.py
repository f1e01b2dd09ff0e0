"""Tables of the radial functions of a layer, from the weights that they depend on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from synthzoo.models.engine.combinations import coupling_of
from synthzoo.models.engine.fitting.nonlinearities import ACTIVATIONS
from synthzoo.models.engine.splines import coefficients, grid

if TYPE_CHECKING:
    from synthzoo.models.engine.fitting.task import State, Task
    from synthzoo.models.engine.layout import LayerLayout
    from synthzoo.models.engine.shape import Layer


def radial_table(task: Task, state: State, layer: Layer, layout: LayerLayout) -> Tensor:
    """Return the coefficients of a layer's splines, ``(rows, columns)``."""
    precision, shape = task.precision, task.shape
    x = torch.from_numpy(grid(precision.intervals, precision.degree))[:, None]
    frequencies = state[shape.bessels].double().reshape(1, -1)
    p = shape.cutoff_power
    cutoff = (
        1.0
        - (p + 1) * (p + 2) / 2 * x**p
        + p * (p + 2) * x ** (p + 1)
        - p * (p + 1) / 2 * x ** (p + 2)
    )
    found = torch.sinc(x * frequencies) * frequencies
    found = found * (shape.embedding_factor * cutoff)
    *matrices, last = (
        factor * state[name].double()
        for name, factor in zip(layer.radial, layer.radial_factors, strict=True)
    )
    for matrix in matrices:
        found = ACTIVATIONS[layer.radial_activation](found @ matrix)
    # The last map is linear, as the splines are: here there are fewer functions.
    found = coefficients(found, precision.degree) @ last
    columns, scales = _columns(layer, layout)
    table = found.new_zeros(len(found), layout.columns)
    table[:, columns] = found * scales
    return table.to(task.dtype)


def _columns(layer: Layer, layout: LayerLayout) -> tuple[Tensor, Tensor]:
    """Return where each radial function lies in the table, and its factor."""
    columns = np.zeros(layer.functions, dtype=np.int64)
    scales = np.zeros(layer.functions)
    for path, column in zip(layer.paths, layout.functions, strict=True):
        mine = slice(path.weight, path.weight + path.channels)
        columns[mine] = column + layout.incoming.rooms[path.source].places
        scales[mine] = coupling_of(path).scale
    return torch.from_numpy(columns), torch.from_numpy(scales)
