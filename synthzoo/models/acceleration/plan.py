"""What of a layer of NequIP follows from its shape alone: blocks, maps and paths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from e3nn.o3 import Irreps, Linear, wigner_3j

from synthzoo.models.acceleration import message_kernels as kernels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from e3nn.o3 import FullyConnectedTensorProduct
    from nequip.nn import ConvNetLayer
    from numpy.typing import NDArray


class Block(NamedTuple):
    """Channels of one irreducible representation.

    ``width``: components of each: 1 for scalars, 3 for vectors.
    """

    channels: int
    width: int


class Mixing(NamedTuple):
    """A matrix between the channels of two blocks, inside a flat array of weights.

    ``shape``: channels in, channels of the atom's type if those take part, channels
    out.
    """

    source: int
    target: int
    start: int
    stop: int
    shape: tuple[int, ...]
    factor: float


class Path(NamedTuple):
    """A path of the messages.

    ``kind``: irreps of features, edge and result.
    ``weight``: the first of its weights on an edge.
    """

    kind: tuple[Any, Any, Any]
    source: int
    place: int
    channels: int
    weight: int
    factor: float


class Columns(NamedTuple):
    """Some channels of a block."""

    block: int
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What of a layer follows from its shape alone.

    ``incoming``, ``summed``, ``mixed``: blocks of features: of the layer's input, of
    the summed messages, and of what goes into the gate.
    ``first``, ``second``, ``self_connection``: matrices before the messages and after
    them, and from the layer's input past the messages.
    ``paths``, ``factors``: of the messages, as
    `synthzoo.models.acceleration.message_kernels` wants them.
    ``gated``: channels of vectors, each with those of the scalars that gate them.
    """

    incoming: tuple[Block, ...]
    summed: tuple[Block, ...]
    mixed: tuple[Block, ...]
    first: tuple[Mixing, ...]
    second: tuple[Mixing, ...]
    self_connection: tuple[Mixing, ...]
    paths: NDArray[np.int64]
    factors: NDArray[np.float64]
    scalars: tuple[Columns, ...]
    gated: tuple[tuple[Columns, Columns], ...]


def make_plan(layer: ConvNetLayer) -> Plan:
    """Return the plan of a layer that has scalars and vectors only."""
    conv = layer.conv
    summed = conv.linear_2.irreps_in
    paths, factors = _path_table(layer, summed)
    scalars, gated = gate_columns(layer.equivariant_nonlin, conv.linear_2.irreps_out)
    return Plan(
        incoming=_blocks(conv.linear_1.irreps_in),
        summed=_blocks(summed),
        mixed=_blocks(conv.linear_2.irreps_out),
        first=mixings(conv.linear_1),
        second=mixings(conv.linear_2),
        self_connection=mixings(conv.sc) if conv.sc is not None else (),
        paths=paths,
        factors=factors,
        scalars=scalars,
        gated=gated,
    )


def _blocks(irreps: Irreps) -> tuple[Block, ...]:
    return tuple(Block(mul, irrep.dim) for mul, irrep in irreps)


def mixings(module: Linear | FullyConnectedTensorProduct) -> tuple[Mixing, ...]:
    """Return the maps of channels of a linear layer, or of a product with scalars.

    ``module``: layer of e3nn, or its product of features with the scalars of the atoms'
    types.
    """
    mixes = []
    start = 0
    for entry in module.instructions:
        stop = start + int(np.prod(entry.path_shape))
        factor = float(entry.path_weight)
        if isinstance(module, Linear):
            source = entry.i_in
        else:  # e3nn's coupling with a scalar
            source = entry.i_in1
            factor /= module.irreps_out[entry.i_out].ir.dim ** 0.5
        mixes.append(Mixing(source, entry.i_out, start, stop, entry.path_shape, factor))
        start = stop
    return tuple(mixes)


def message_paths(layer: ConvNetLayer) -> list[Path]:
    """Return the paths of a layer's messages."""
    product = layer.conv.tp_scatter.tp
    paths, weight = [], 0
    for entry in product.instructions:
        channels, before = product.irreps_in1[entry.i_in1]
        edge = product.irreps_in2[entry.i_in2].ir
        after = product.irreps_out[entry.i_out].ir
        paths.append(
            Path(
                kind=(before, edge, after),
                source=entry.i_in1,
                place=entry.i_out,
                channels=channels,
                weight=weight,
                factor=float(entry.path_weight),
            )
        )
        weight += channels
    return paths


def _path_table(
    layer: ConvNetLayer, summed: Irreps
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the table of the messages' paths, and the factor of each."""
    product = layer.conv.tp_scatter.tp
    x_starts = [part.start for part in product.irreps_in1.slices()]
    places = _places(product.irreps_out, summed)
    rows, factors = [], []
    for path in message_paths(layer):
        orders = [irrep.l for irrep in path.kind]
        kind, corner = _kind(*orders)
        x_start, place = x_starts[path.source], places[path.place]
        rows.append((kind, path.channels, path.weight, x_start, *place))
        coupling = wigner_3j(*orders, dtype=torch.float64)
        factors.append(float(coupling[corner]) * path.factor)
    return np.array(rows, dtype=np.int64), np.array(factors)


def _kind(before: int, edge: int, after: int) -> tuple[int, tuple[int, int, int]]:
    """Return the kind of a path by its orders, and a component of its coupling."""
    if edge == 0:
        return (kernels.VECTOR if before else kernels.SCALAR), (0, 0, 0)
    if before == 0:
        return kernels.RISING, (0, 0, 0)
    return (kernels.CROSS, (0, 1, 2)) if after else (kernels.DOT, (0, 0, 0))


def _places(separate: Irreps, joined: Irreps) -> list[tuple[int, int]]:
    """Return where each part's first component begins, and how far the next one is.

    ``separate``: sorted parts, of which several may be of one kind.
    ``joined``: the same, with those of one kind as one block, whose components lie
    behind one another.
    """
    starts = [part.start for part in joined.slices()]
    places = []
    block, used = 0, 0
    for channels, irrep in separate:
        if used == joined[block].mul or irrep != joined[block].ir:
            block, used = block + 1, 0
        places.append((starts[block] + used, joined[block].mul))
        used += channels
    return places


def gate_columns(
    gate: Any, mixed: Irreps
) -> tuple[tuple[Columns, ...], tuple[tuple[Columns, Columns], ...]]:
    """Return the channels of scalars, and of gated vectors with their gates.

    ``mixed``: features that go into it, those of one kind as one block.
    """
    named = [
        (name, part)
        for name, irreps in zip(
            ("scalars", "gates", "gated"), gate.sc.irreps_outs, strict=True
        )
        for part in irreps
    ]
    order = Irreps([part for _, part in named]).sort().inv
    block_of = {irrep: block for block, (_, irrep) in enumerate(mixed)}
    used = dict.fromkeys(block_of.values(), 0)
    by_gate: dict[str, dict[int, Columns]] = {"scalars": {}, "gates": {}, "gated": {}}
    for index in order:
        name, (channels, irrep) = named[index]
        block = block_of[irrep]
        stop = used[block] + channels
        by_gate[name][index] = Columns(block, used[block], stop)
        used[block] = stop
    scalars, gates, gated = (
        tuple(columns for _, columns in sorted(by_gate[name].items()))
        for name in ("scalars", "gates", "gated")
    )
    return scalars, _pair(gated, gates)


def _pair(
    gated: Sequence[Columns], gates: Sequence[Columns]
) -> tuple[tuple[Columns, Columns], ...]:
    """Return each block of vectors with the columns of the scalars that gate it."""
    spare = [
        Columns(columns.block, start, start + 1)
        for columns in gates
        for start in range(columns.start, columns.stop)
    ]
    pairs = []
    for columns in gated:
        count = columns.stop - columns.start
        mine, spare = spare[:count], spare[count:]
        pairs.append((columns, Columns(mine[0].block, mine[0].start, mine[-1].stop)))
    return tuple(pairs)
