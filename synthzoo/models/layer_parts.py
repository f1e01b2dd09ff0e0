"""What a layer of nequip is made of: matrices, paths of messages, and its gate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from e3nn.o3 import Irreps, Linear

if TYPE_CHECKING:
    from collections.abc import Sequence

    from e3nn.o3 import FullyConnectedTensorProduct
    from nequip.nn import ConvNetLayer


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
