"""Energies, forces and virials of a network of torch, as the engine computes them.

What is computed can be differentiated with respect to the network's weights, as a fit
needs it. The gradient of a loss of forces and virials is that of a derivative of the
energies, along the direction in which the loss pulls; `synthzoo.models.engine.duals`
has the loops for that. Atoms alone, a few dozen operations of torch evaluate.
"""

# mypy: disable-error-code="no-untyped-def"
# ruff: noqa: ANN001, ANN205  torch's contexts, and the gradients it wants, have no type

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from synthzoo.models.engine import duals
from synthzoo.models.engine.combinations import coupling_of
from synthzoo.models.engine.evaluation import Workspace
from synthzoo.models.engine.geometry import LINKS
from synthzoo.models.engine.jit import Library, vector_bytes
from synthzoo.models.engine.layer_shape import FIRST, SECOND, SELF_CONNECTION
from synthzoo.models.engine.layout import padded
from synthzoo.models.engine.network import network_of
from synthzoo.models.engine.program import program_of, sources
from synthzoo.models.engine.splines import coefficients, grid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.models.engine.layout import LayerLayout, Room, Row
    from synthzoo.models.engine.links import Links
    from synthzoo.models.engine.memory import Buffers, Who
    from synthzoo.models.engine.precision import Precision
    from synthzoo.models.engine.shape import (
        Columns,
        Layer,
        Matrix,
        Mixing,
        NetworkShape,
    )

State = Mapping[str, Tensor]
"""Weights by name."""


@cache
def _library(shape: NetworkShape, precision: Precision) -> Any:
    """Return the compiled loops of a network for training."""
    layouts = program_of(shape, precision).layouts
    signatures = {}
    for number in range(len(layouts)):
        signatures[f"forward{number}"] = tuple(duals.FORWARD.values())
        signatures[f"backward{number}"] = tuple(duals.BACKWARD.values())

    def write() -> str:
        from llvmlite import ir

        module = ir.Module("fitting")
        for number, (layer, layout) in enumerate(
            zip(shape.layers, layouts, strict=True)
        ):
            options: dict[str, Any] = {
                "precision": precision,
                "first_layer": number == 0,
            }
            duals.write_forward(
                module, layer, layout, name=f"forward{number}", **options
            )
            duals.write_backward(
                module, layer, layout, name=f"backward{number}", **options
            )
        return str(module)

    key = f"fitting {sources()} {precision} {vector_bytes()} {shape.layers}"
    return Library(key, write, signatures)


class Task(NamedTuple):
    """What is to be computed: a network, and structures.

    ``names``: of the tensors, parameters among them, that are handed to `compute`.
    """

    shape: NetworkShape
    precision: Precision
    names: Sequence[str]
    who: Who
    links: Links
    positions: NDArray[np.float64]
    cells: NDArray[np.float64]
    buffers: Buffers


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


class Pull(NamedTuple):
    """Derivatives of a loss with respect to energies, forces and virials."""

    energies: Tensor
    forces: NDArray[np.float64]
    virials: NDArray[np.float64]


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
    loops = _Loops.of(task, edges, pull)
    shape, layouts = task.shape, program_of(task.shape, task.precision).layouts
    types = torch.from_numpy(task.who.types).long()
    features = _embedded(task, state, layouts[0].incoming)[types]
    features = torch.cat([features, torch.zeros_like(features)])
    norm = torch.tensor(shape.norm, dtype=features.dtype)[types].repeat(2)[:, None]
    bounds = _bounds(task.who.types, len(shape.elements))
    for number, (layer, layout) in enumerate(zip(shape.layers, layouts, strict=True)):
        row = layout.incoming
        flat = state[layer.name + FIRST].reshape(-1)
        sent = _mapped(features, layer.first, flat, row, row) * norm
        made = cast("Any", _Messages).apply(sent, tables[number], loops, number)
        summed: Tensor = made
        flat = state[layer.name + SECOND].reshape(-1)
        mixed = _mapped(summed, layer.second, flat, layout.summed, layout.mixed)
        if layer.self_connection:
            mixed = mixed + _self_connected(features, layer, layout, state, bounds)
        features = _gated(mixed, layer, layout)
    return _read(task, state, features, pull.energies, types)


@dataclass(frozen=True)
class _Loops:
    """The compiled loops, and how the edges move."""

    library: Any
    layouts: Sequence[LayerLayout]
    layers: Sequence[Layer]
    edges: list[int]
    capacity: int
    precision: Precision
    atoms: int
    held: tuple[NDArray[Any], ...]

    @classmethod
    def of(cls, task: Task, edges: Mapping[str, NDArray[Any]], pull: Pull) -> _Loops:
        """Return the loops for edges that move as they are pulled."""
        atoms = len(task.who)
        moves = _moves(task, edges, pull)
        arrays = (*(edges[name] for name in LINKS), *moves)
        most = int(edges["counts"].max(initial=0))
        return cls(
            library=_library(task.shape, task.precision),
            layouts=program_of(task.shape, task.precision).layouts,
            layers=task.shape.layers,
            edges=[array.ctypes.data for array in arrays],
            capacity=padded(most + 1, task.precision.width),
            precision=task.precision,
            atoms=atoms,
            held=arrays,
        )

    def call(self, name: str, number: int, tensors: Sequence[Tensor]) -> None:
        """Call a function for all atoms."""
        size = duals.scratch_size(self.layers[number], self.precision)
        scratch = torch.empty(size * self.capacity, dtype=tensors[0].dtype)
        offsets = torch.empty(self.capacity, dtype=torch.int32)
        getattr(self.library, f"{name}{number}")(
            0,
            self.atoms,
            *self.edges,
            *(tensor.data_ptr() for tensor in tensors),
            self.atoms,
            scratch.data_ptr(),
            offsets.data_ptr(),
            self.capacity,
        )


def _moves(
    task: Task, edges: Mapping[str, NDArray[Any]], pull: Pull
) -> list[NDArray[Any]]:
    """Return how the vector of each edge moves, for each axis.

    Forces are less the derivative of the energy, so that atoms move against their
    pull; a virial is the derivative with respect to strain.
    """
    starts, others = edges["starts"], edges["others"]
    near = np.repeat(np.arange(len(task.who)), np.diff(starts))
    vectors = np.stack([edges[axis] for axis in "xyz"], axis=1)[: len(near)]
    found = pull.forces[near] - pull.forces[others[: len(near)]]
    if pull.virials.any():
        strains = pull.virials[task.who.owners[near]]
        found = found + np.einsum("eab,eb->ea", strains, vectors)
    moves = np.zeros((3, len(others)), dtype=task.precision.dtype)
    moves[:, : len(near)] = found.T
    return list(moves)


class _Messages(torch.autograd.Function):
    """Sums of messages and of their derivatives, as `duals` defines them."""

    @staticmethod
    def forward(ctx, features: Tensor, table: Tensor, loops: _Loops, number: int):
        features, table = features.contiguous(), table.contiguous()
        width = loops.layouts[number].summed.width
        sums = features.new_zeros(len(features), width)
        loops.call("forward", number, (features, table, sums))
        ctx.save_for_backward(features, table)
        ctx.loops, ctx.number = loops, number
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx, slopes: Tensor):
        features, table = ctx.saved_tensors
        found = torch.zeros_like(features), torch.zeros_like(table)
        ctx.loops.call(
            "backward", ctx.number, (features, table, slopes.contiguous(), *found)
        )
        return *found, None, None


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
        found = _ACTIVATIONS[layer.radial_activation](found @ matrix)
    # The last map is linear, as the splines are: here there are fewer functions.
    found = coefficients(found, precision.degree) @ last
    columns, scales = _columns(layer, layout)
    table = found.new_zeros(len(found), layout.columns)
    table[:, columns] = found * scales
    return table.to(_dtype(precision))


def _columns(layer: Layer, layout: LayerLayout) -> tuple[Tensor, Tensor]:
    """Return where each radial function lies in the table, and its factor."""
    columns = np.zeros(layer.functions, dtype=np.int64)
    scales = np.zeros(layer.functions)
    for path, column in zip(layer.paths, layout.functions, strict=True):
        mine = slice(path.weight, path.weight + path.channels)
        columns[mine] = column + layout.incoming.rooms[path.source].places
        scales[mine] = coupling_of(path).scale
    return torch.from_numpy(columns), torch.from_numpy(scales)


def _dtype(precision: Precision) -> torch.dtype:
    return torch.float32 if precision.real == "float32" else torch.float64


def _ssp(x: Tensor) -> Tensor:
    return torch.nn.functional.softplus(x) - math.log(2.0)


_ACTIVATIONS: dict[str, Any] = {
    "silu": torch.nn.functional.silu,
    "tanh": torch.tanh,
    "ssp": _ssp,
}


def _slope(name: str, x: Tensor) -> Tensor:
    """Return the derivative of a nonlinearity."""
    if name == "tanh":
        return 1 - torch.tanh(x).square()
    sigmoid = torch.sigmoid(x)
    return sigmoid if name == "ssp" else sigmoid * (1 + x * (1 - sigmoid))


def _activated(name: str, factor: float, both: Tensor) -> tuple[Tensor, Tensor]:
    """Return a nonlinearity of values, and its derivative times theirs.

    ``both``: values and, behind them, their derivatives along the direction.
    """
    value, moving = both.chunk(2)
    return factor * _ACTIVATIONS[name](value), factor * _slope(name, value) * moving


def _embedded(task: Task, state: State, row: Row) -> Tensor:
    """Return the features of each type before the first layer."""
    shape, dtype = task.shape, _dtype(task.precision)
    found = state[shape.attributes].to(dtype)
    if shape.embedding is not None:
        found = found @ _matrix(state, shape.embedding, dtype)
    whole = found.new_zeros(len(found), row.width)
    whole[:, torch.from_numpy(row.rooms[0].places)] = found
    return whole


def _matrix(state: State, matrix: Matrix, dtype: torch.dtype) -> Tensor:
    return matrix.factor * state[matrix.name].to(dtype).reshape(matrix.shape)


def _blocks(rows: Tensor, row: Row) -> list[Tensor]:
    """Return the blocks of rows: (rows, components, channels)."""
    sizes = [room.components * room.stride for room in row.rooms]
    return [
        part.reshape(len(rows), room.components, room.stride)
        for part, room in zip(torch.split(rows, sizes, 1), row.rooms, strict=True)
    ]


def _joined(blocks: Sequence[Tensor | None], row: Row, like: Tensor) -> Tensor:
    """Return rows of blocks; those that are missing are zero."""
    parts = [
        like.new_zeros(len(like), room.components * room.stride)
        if block is None
        else block.reshape(len(like), -1)
        for block, room in zip(blocks, row.rooms, strict=True)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


def _placed(matrix: Tensor, source: Room, target: Room) -> Tensor:
    """Return a matrix of channels as they lie in memory."""
    if (source.stride, target.stride) == tuple(matrix.shape):
        return matrix
    whole = matrix.new_zeros(source.stride, target.stride)
    rows, columns = torch.from_numpy(source.places), torch.from_numpy(target.places)
    whole[rows[:, None], columns] = matrix
    return whole


def _mapped(
    rows: Tensor, mixings: Sequence[Mixing], flat: Tensor, source: Row, target: Row
) -> Tensor:
    """Return what linear maps of channels make of rows."""
    matrices = [
        (each.factor * part).view(each.shape)
        for each, part in zip(mixings, _parts(flat, mixings), strict=True)
    ]
    return _multiplied(rows, mixings, matrices, source, target)


def _parts(flat: Tensor, mixings: Sequence[Mixing]) -> Sequence[Tensor]:
    """Return the weights of each map; they lie one behind the other."""
    parts: Sequence[Tensor] = torch.split(
        flat, [each.stop - each.start for each in mixings]
    )
    return parts


def _multiplied(
    rows: Tensor,
    mixings: Sequence[Mixing],
    matrices: Sequence[Tensor],
    source: Row,
    target: Row,
) -> Tensor:
    """Return what matrices of channels make of rows."""
    before = _blocks(rows, source)
    after: list[Tensor | None] = [None] * len(target.rooms)
    for each, matrix in zip(mixings, matrices, strict=True):
        room, result = source.rooms[each.source], target.rooms[each.target]
        made = before[each.source] @ _placed(matrix, room, result)
        old = after[each.target]
        after[each.target] = made if old is None else old + made
    return _joined(after, target, rows)


def _bounds(types: NDArray[np.int32], count: int) -> list[tuple[int, int]]:
    """Return the ranges of atoms of each type."""
    ends = np.searchsorted(types, np.arange(count + 1)).tolist()
    return list(pairwise(ends))


def _self_connected(
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
        for each, part in zip(mixings, _parts(flat, mixings), strict=True)
    ]
    both = rows.view(2, -1, rows.shape[1])
    parts = []
    for number, (first, last) in enumerate(bounds):
        if first == last:
            continue
        mine = both[:, first:last].reshape(-1, rows.shape[1])
        matrices = [matrix[number] for matrix in weights]
        made = _multiplied(mine, mixings, matrices, layout.incoming, layout.mixed)
        parts.append(made.view(2, last - first, -1))
    found = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
    return found.reshape(len(rows), -1)


def _gated(rows: Tensor, layer: Layer, layout: LayerLayout) -> Tensor:
    """Return what comes out of the gate."""
    given = _pieces(rows, layer, layout)
    made: list[list[tuple[int, Tensor]]] = [[] for _ in layout.outgoing.rooms]
    for part in layer.scalars:
        both = torch.cat(_activated(part.name, part.factor, given[part.columns]))
        made[part.target.block].append((part.target.start, both))
    for gate in layer.gated:
        value, moving = _activated(gate.name, gate.factor, given[gate.gates])
        vector, turning = given[gate.columns].chunk(2)
        both = torch.cat([value * vector, value * turning + moving * vector])
        made[gate.target.block].append((gate.target.start, both))
    blocks = [
        torch.cat([piece for _, piece in sorted(each, key=lambda one: one[0])], 2)
        for each in made
    ]
    return _joined(blocks, layout.outgoing, rows)


def _pieces(rows: Tensor, layer: Layer, layout: LayerLayout) -> dict[Columns, Tensor]:
    """Return the channels that the gate treats in one way, with empty ones.

    Each is of shape ``(rows, components, channels)``.
    """
    columns = [part.columns for part in layer.scalars]
    for gate in layer.gated:
        columns += [gate.columns, gate.gates]
    found: dict[Columns, Tensor] = {}
    for number, block in enumerate(_blocks(rows, layout.mixed)):
        mine = sorted(each for each in columns if each.block == number)
        sizes = [padded(each.stop - each.start, layout.width) for each in mine]
        found |= dict(zip(mine, torch.split(block, sizes, 2), strict=True))
    return found


def _read(
    task: Task, state: State, rows: Tensor, pull: Tensor, types: Tensor
) -> Tensor:
    """Return pulled energies and the derivative of all energies, as one sum."""
    shape, network = task.shape, program_of(task.shape, task.precision)
    row = network.layouts[-1].outgoing
    last = zip(shape.layers[-1].outgoing, row.rooms, _blocks(rows, row), strict=True)
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
            both = torch.cat(_activated(shape.readout_activation, 1.0, both))
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
