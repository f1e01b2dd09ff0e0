"""What a layer of NequIP computes, as follows from the features it has to give.

This repeats what the layers of nequip (`ConvNetLayer`, `InteractionBlock`) and those
of e3nn they are made of (`Linear`, `FullyConnectedTensorProduct`, `Gate`) decide when
they are built, without any of these packages.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from synthzoo.models.engine.couplings import coupling
from synthzoo.models.engine.irreps import (
    Block,
    Blocks,
    Kind,
    joined,
    products,
    reachable,
    sorting,
)

SECOND_MOMENTS = {
    "silu": 1.6791767923989418,
    "tanh": 1.5937334472592695,
    "ssp": 1.878204668541552,
}
"""What e3nn multiplies each nonlinearity with.

The mean square of its results is 1 then, for the million random numbers that e3nn's
`normalize2mom` draws.
"""

GAIN = math.sqrt(2)
"""What nequip multiplies the weights after a nonlinearity with."""


class Mixing(NamedTuple):
    """A linear map of channels between two blocks, inside a flat tensor of weights.

    ``source``, ``target``: indices of the blocks.
    ``start``, ``stop``: place in the tensor.
    ``shape``: channels (in, out), or (in, attributes of the atom's type, out) of a
    self-connection.
    ``factor``: of the weights. All components of a channel share the map.
    """

    source: int
    target: int
    start: int
    stop: int
    shape: tuple[int, ...]
    factor: float


class Path(NamedTuple):
    """A path of the messages: features times harmonics of an edge.

    Channel c of the block ``source`` of the incoming features adds ``w * value *
    x[before] * Y[edge]`` to component ``after`` of channel ``start + c`` of the block
    ``target`` of the summed messages, for each of ``entries`` (before, edge, after,
    value), where w is radial function ``weight + c`` and Y the harmonics of order
    ``order``.
    """

    source: int
    order: int
    target: int
    start: int
    weight: int
    channels: int
    entries: tuple[tuple[int, int, int, float], ...]


class Columns(NamedTuple):
    """Channels ``start`` to ``stop`` of a block."""

    block: int
    start: int
    stop: int


class Activation(NamedTuple):
    """A nonlinearity: outgoing scalars are ``factor * name(mixed scalars)``."""

    columns: Columns
    target: Columns
    name: str
    factor: float


class Gated(NamedTuple):
    """Outgoing channels: mixed ones times ``factor * name(mixed scalars)``.

    ``gates``: one scalar for each channel of ``columns``.
    """

    columns: Columns
    gates: Columns
    target: Columns
    name: str
    factor: float


@dataclass(frozen=True, kw_only=True)
class Layer:
    """What a layer computes.

    The incoming features x of each atom are mixed (``first``) and multiplied with the
    normalisation of the atom's type. Messages from the neighbours (``paths``) are
    summed, and mixed again (``second``). The ``self_connection`` of x is added. The
    nonlinearities (``scalars``, ``gated``) make the outgoing features of that.

    ``name``: how the names of the layer's weights begin, with the dot.
    ``attributes``: name of the table of the types' attributes, (types, attributes).
    ``incoming``, ``summed``, ``mixed``, ``outgoing``: blocks of features.
    ``first``, ``second``, ``self_connection``: maps in the tensors ``name`` +
    `FIRST`, `SECOND`, `SELF_CONNECTION`. A block of ``mixed`` to which no map leads is
    zero.
    ``radial``, ``radial_factors``, ``radial_activation``: names of the matrices (in,
    out) of the radial network, what each is multiplied with, and the nonlinearity
    between them.
    ``functions``: number of radial functions.
    """

    name: str
    attributes: str
    incoming: Blocks
    summed: Blocks
    mixed: Blocks
    outgoing: Blocks
    first: tuple[Mixing, ...]
    second: tuple[Mixing, ...]
    self_connection: tuple[Mixing, ...]
    paths: tuple[Path, ...]
    radial: tuple[str, ...]
    radial_factors: tuple[float, ...]
    radial_activation: str
    functions: int
    scalars: tuple[Activation, ...]
    gated: tuple[Gated, ...]


FIRST = "conv.linear_1.weight"
SECOND = "conv.linear_2.weight"
SELF_CONNECTION = "conv.sc.weight"


@dataclass(frozen=True, kw_only=True)
class LayerPlan:
    """What a layer is made from.

    ``edges``: blocks of the harmonics, of one channel each.
    ``hidden``: features the layer should give; those that no path leads to are left
    out.
    ``embedded``: number of the types' attributes, or 0 without self-connection.
    ``radial_widths``: of the radial network's input and hidden layers.
    ``nonlinearity``: of even scalars and of the radial network; that of odd scalars is
    tanh.
    """

    name: str
    attributes: str
    edges: Blocks
    hidden: Blocks
    embedded: int
    radial_widths: tuple[int, ...]
    nonlinearity: str


def layer_shape(plan: LayerPlan, incoming: Blocks) -> Layer:
    """Return what a layer computes from features of certain blocks."""
    found = reachable(incoming, plan.edges)
    hidden = [block for block in plan.hidden if block.kind in found]
    gate = _gate(hidden, 1 if (0, 1) in found else -1, plan.nonlinearity)
    summed, paths = _paths(incoming, plan.edges, gate.mixed)
    past = _mixings(incoming, gate.mixed, plan.embedded) if plan.embedded else ()
    matrices = range(len(plan.radial_widths))
    return Layer(
        name=plan.name,
        attributes=plan.attributes,
        incoming=incoming,
        summed=summed,
        mixed=gate.mixed,
        outgoing=gate.outgoing,
        first=_mixings(incoming, incoming),
        second=_mixings(summed, gate.mixed),
        self_connection=past,
        paths=paths,
        radial=tuple(f"{plan.name}conv.edge_mlp.mlp.{2 * n}.weight" for n in matrices),
        radial_factors=scalar_factors(plan.radial_widths, GAIN),
        radial_activation=plan.nonlinearity,
        functions=sum(path.channels for path in paths),
        scalars=gate.scalars,
        gated=gate.gated,
    )


def scalar_factors(widths: Sequence[int], gain: float) -> tuple[float, ...]:
    """Return what nequip multiplies the matrices of a network of scalars with.

    ``widths``: of what goes into each of them.
    ``gain``: of all but the first.
    """
    return tuple(
        (gain if index else 1.0) / math.sqrt(width)
        for index, width in enumerate(widths)
    )


def _mixings(
    incoming: Blocks, outgoing: Blocks, embedded: int = 0
) -> tuple[Mixing, ...]:
    """Return maps between all blocks of the same kind.

    ``embedded``: number of attributes that take part, if any.
    """
    pairs = [
        (source, target)
        for source, before in enumerate(incoming)
        for target, after in enumerate(outgoing)
        if before.kind == after.kind
    ]
    terms: Counter[int] = Counter()
    for source, target in pairs:
        terms[target] += incoming[source].channels * (embedded or 1)
    found, start = [], 0
    for source, target in pairs:
        between = (embedded,) if embedded else ()
        shape = (incoming[source].channels, *between, outgoing[target].channels)
        stop = start + math.prod(shape)
        factor = 1 / math.sqrt(terms[target])
        found.append(Mixing(source, target, start, stop, shape, factor))
        start = stop
    return tuple(found)


def _paths(
    incoming: Blocks, edges: Blocks, wanted: Blocks
) -> tuple[Blocks, tuple[Path, ...]]:
    """Return the blocks of the summed messages, and the paths that lead there."""
    kinds = {block.kind for block in wanted}
    steps = [
        (source, edge.order, Block(block.channels, *kind))
        for source, block in enumerate(incoming)
        for edge in edges
        for kind in products(block, edge)
        if kind in kinds
    ]
    results = [result for _, _, result in steps]
    order = sorting(results)
    summed = joined([results[index] for index in order])
    places = _places(results)
    found, weight = [], 0
    for (source, edge_order, result), place in zip(steps, places, strict=True):
        entries = _entries(incoming[source].order, edge_order, result.order)
        target, start, _ = place
        found.append(
            Path(source, edge_order, target, start, weight, result.channels, entries)
        )
        weight += result.channels
    return summed, tuple(found)


def _entries(
    before: int, edge: int, after: int
) -> tuple[tuple[int, int, int, float], ...]:
    symbols = math.sqrt(2 * after + 1) * coupling(before, edge, after)
    return tuple(
        (int(i), int(j), int(k), float(symbols[i, j, k]))
        for i, j, k in np.argwhere(symbols)
    )


def _places(blocks: Sequence[Block]) -> list[Columns]:
    """Return where each block comes to lie when all are sorted and joined."""
    kinds = sorted({block.kind for block in blocks})
    used: Counter[Kind] = Counter()
    found = []
    for block in blocks:  # sorting keeps the order within a kind
        start = used[block.kind]
        used[block.kind] += block.channels
        found.append(Columns(kinds.index(block.kind), start, used[block.kind]))
    return found


class _Gate(NamedTuple):
    mixed: Blocks
    outgoing: Blocks
    scalars: tuple[Activation, ...]
    gated: tuple[Gated, ...]


def _gate(hidden: Sequence[Block], gate_parity: int, nonlinearity: str) -> _Gate:
    """Return the nonlinearities of a layer, and what goes into them.

    ``gate_parity``: of the scalars that multiply the other features.
    """
    scalars = [block for block in hidden if block.order == 0]
    others = joined([block for block in hidden if block.order > 0])
    gates = [Block(block.channels, 0, gate_parity) for block in others]
    outgoing = (*scalars, *(_flipped(block, gate_parity) for block in others))
    targets = [Columns(n, 0, block.channels) for n, block in enumerate(outgoing)]
    parts = [*scalars, *gates, *others]
    places = _places(parts)
    scalar_places, rest = places[: len(scalars)], places[len(scalars) :]
    gate_places, other_places = rest[: len(gates)], rest[len(gates) :]
    names = {1: nonlinearity, -1: "tanh"}
    activations = []
    for block, place, target in zip(scalars, scalar_places, targets, strict=False):
        name = names[block.parity]
        activations.append(Activation(place, target, name, SECOND_MOMENTS[name]))
    name = names[gate_parity]
    factor = SECOND_MOMENTS[name]
    columns = zip(other_places, gate_places, targets[len(scalars) :], strict=True)
    return _Gate(
        mixed=joined([parts[index] for index in sorting(parts)]),
        outgoing=outgoing,
        scalars=tuple(activations),
        gated=tuple(Gated(*three, name, factor) for three in columns),
    )


def _flipped(block: Block, parity: int) -> Block:
    return Block(block.channels, block.order, parity * block.parity)
