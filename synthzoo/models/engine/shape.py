"""What a network of nequip computes, as follows from the arguments of its builder."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from synthzoo.models.engine.irreps import Block, Blocks, of_harmonics, parse
from synthzoo.models.engine.layer_shape import (
    GAIN,
    Activation,
    Columns,
    Gated,
    Layer,
    LayerPlan,
    Mixing,
    Path,
    layer_shape,
    scalar_factors,
)
from synthzoo.models.engine.not_covered import NotCovered
from synthzoo.models.nequip_arguments import BUILDERS
from synthzoo.recipes.schema import from_values

__all__ = [
    "Activation",
    "Block",
    "Columns",
    "Gated",
    "Layer",
    "Matrix",
    "Mixing",
    "NetworkShape",
    "Path",
    "layer_shapes",
    "network_shape",
]

MAX_ORDER = 3
"""Of harmonics and features."""

_ROOT = "model.func."
_EMBEDDING = f"{_ROOT}type_embed.embed_module.weight"
_SCALE_SHIFT = f"{_ROOT}per_type_energy_scale_shift"


class Matrix(NamedTuple):
    """A matrix (in, out) among the weights, stored flat or not, and its factor."""

    name: str
    shape: tuple[int, int]
    factor: float


@dataclass(frozen=True, kw_only=True)
class NetworkShape:
    """What a network computes.

    Types of atoms are numbered as in ``elements``. An edge has a receiver, to which it
    sends the message, and a sender; its vector points from the receiver to the sender.

    ``cutoff_A``: the largest distance of neighbours.
    ``max_order``: the largest order of harmonics on the edges.
    ``bessels``: name of the frequencies n of the radial functions ``n sinc(n x)``.
    ``cutoff_power``: power p of the polynomial cutoff.
    ``embedding_factor``: of the radial functions, before the radial networks.
    ``attributes``: name of the table of the types' attributes, (types, attributes).
    ``embedding``: matrix that makes the features of the first layer of the attributes;
    if there is none, the attributes are the features.
    ``norm``: what features of each type are multiplied with before they are sent.
    ``readout``, ``readout_activation``: matrices from the even scalars of the last
    layer to the energy, and the nonlinearity between them, if there is one.
    ``scales``, ``shifts``: names of the factor and the constant of the energy of an
    atom, for all types, for each, or empty.
    ``reciprocal_cutoffs``: name of what distances are multiplied with, in 1/Å: one
    number, or one for each pair of types at ``receiver * types + sender``.
    """

    elements: tuple[str, ...]
    cutoff_A: float
    layers: tuple[Layer, ...]
    max_order: int
    bessels: str
    cutoff_power: int
    embedding_factor: float
    attributes: str
    embedding: Matrix | None
    norm: tuple[float, ...]
    readout: tuple[Matrix, ...]
    readout_activation: str | None
    scales: str
    shifts: str
    reciprocal_cutoffs: str


def network_shape(
    builder: str,
    arguments: Mapping[str, Any],
    elements: Sequence[str],
    cutoff_A: float,
) -> NetworkShape:
    """Return what a network computes.

    ``builder``, ``arguments``: name of the builder and its arguments, as in the
    description of a checkpoint.
    ``elements``: chemical symbols of the model, in its order.

    Raises `NotCovered` if the engine cannot evaluate it, and
    `synthzoo.errors.InputError` if the builder has no such arguments.
    """
    given: Any = from_values(BUILDERS[builder], arguments, source=builder)
    plan = _PLANS[builder](given, len(elements))
    for complaint in _complaints(given, plan):
        raise NotCovered(complaint)
    layers = _layers(plan)
    matrices, activation = _readout(given, plan, layers[-1].outgoing)
    return NetworkShape(
        elements=tuple(elements),
        cutoff_A=cutoff_A,
        layers=layers,
        max_order=max(edge.order for edge in plan.edges),
        bessels=f"{_ROOT}bessel_encode.bessel_weights",
        cutoff_power=given.polynomial_cutoff_p,
        embedding_factor=2 * math.pi / cutoff_A**2,
        attributes=_EMBEDDING,
        embedding=plan.embedding,
        norm=_norm(given.avg_num_neighbors, elements),
        readout=matrices,
        readout_activation=activation,
        scales=f"{_SCALE_SHIFT}.scales",
        shifts=f"{_SCALE_SHIFT}.shifts",
        reciprocal_cutoffs=f"{_ROOT}edge_norm._rmax_recip",
    )


def layer_shapes(
    builder: str, arguments: Mapping[str, Any], elements: Sequence[str]
) -> tuple[Layer, ...]:
    """Return the layers of a network, be it one that the engine evaluates or not."""
    given = from_values(BUILDERS[builder], arguments, source=builder)
    return _layers(_PLANS[builder](given, len(elements)))


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What the builders have in common, with their arguments for layers in full.

    ``attributes``, ``features``: number of attributes of types, and of features of the
    first layer.
    ``self_connected``: which layers have a self-connection.
    ``radial_widths``: of the radial networks' inputs and hidden layers.
    """

    edges: Blocks
    hidden: tuple[Blocks, ...]
    attributes: int
    features: int
    embedding: Matrix | None
    self_connected: tuple[bool, ...]
    radial_widths: tuple[tuple[int, ...], ...]
    nonlinearity: str


def _short_plan(given: Any, _types: int) -> _Plan:
    """Return the plan of nequip's `NequIPGNNModel`: the same for all layers."""
    counts = given.num_features
    if isinstance(counts, int):
        counts = (counts,) * (given.l_max + 1)
    features = tuple(
        Block(count, order, parity)
        for order, count in enumerate(counts)
        for parity in ((1, -1) if given.parity else ((-1) ** order,))
    )
    last = (Block(counts[0], 0, 1),)
    count = given.num_layers
    return _current_plan(
        given,
        edges=of_harmonics(given.l_max),
        hidden=(*[features] * (count - 1), last),
        attributes=given.type_embed_num_features or counts[0],
        radial=[(given.radial_mlp_depth, given.radial_mlp_width)] * count,
    )


def _full_plan(given: Any, _types: int) -> _Plan:
    """Return the plan of nequip's `FullNequIPGNNModel`."""
    edges = given.irreps_edge_sh
    return _current_plan(
        given,
        edges=of_harmonics(edges) if isinstance(edges, int) else parse(edges),
        hidden=tuple(map(parse, given.feature_irreps_hidden)),
        attributes=given.type_embed_num_features,
        radial=_radial(given),
    )


def _current_plan(
    given: Any,
    *,
    edges: Blocks,
    hidden: tuple[Blocks, ...],
    attributes: int,
    radial: Sequence[tuple[int, int]],
) -> _Plan:
    """Return what is the same for both of nequip's builders."""
    others = len(hidden) - 1
    return _Plan(
        edges=edges,
        hidden=hidden,
        attributes=attributes,
        features=attributes,
        embedding=None,
        self_connected=(
            given.convnet_sc and given.learnable_shift,
            *[given.convnet_sc] * others,
        ),
        radial_widths=_radial_widths(given, radial),
        nonlinearity="silu",
    )


def _legacy_plan(given: Any, types: int) -> _Plan:
    """Return the plan of `synthzoo.models.legacy_network`."""
    features = given.type_embed_num_features
    hidden = tuple(map(parse, given.feature_irreps_hidden))
    name = f"{_ROOT}chemical_embedding.linear.weight"
    return _Plan(
        edges=parse(given.irreps_edge_sh),
        hidden=hidden,
        attributes=types,
        features=features,
        embedding=Matrix(name, (types, features), 1 / math.sqrt(types)),
        self_connected=(True,) * len(hidden),
        radial_widths=_radial_widths(given, _radial(given)),
        nonlinearity="ssp",
    )


_PLANS: dict[str, Callable[[Any, int], _Plan]] = {
    "NequIPGNNModel": _short_plan,
    "FullNequIPGNNModel": _full_plan,
    "LegacyNequIPModel": _legacy_plan,
}


def _radial(given: Any) -> list[tuple[int, int]]:
    depths, widths = given.radial_mlp_depth, given.radial_mlp_width
    return list(zip(depths, widths, strict=True))


def _radial_widths(
    given: Any, radial: Sequence[tuple[int, int]]
) -> tuple[tuple[int, ...], ...]:
    return tuple((given.num_bessels, *[width] * depth) for depth, width in radial)


def _complaints(given: Any, plan: _Plan) -> Iterator[str]:
    """Yield why the engine does not evaluate such a network."""
    if getattr(given, "pair_potential", None) is not None:
        yield "it has a pair potential"
    if getattr(given, "convnet_resnet", False):
        yield "its layers are added to what comes into them"
    orders = {block.order for blocks in (plan.edges, *plan.hidden) for block in blocks}
    if max(orders) > MAX_ORDER:
        yield f"it has features of order {max(orders)}, above {MAX_ORDER}"
    if any(edge.channels > 1 for edge in plan.edges):
        yield "its edges carry several harmonics of one order"
    depth = getattr(given, "readout_mlp_hidden_layers_depth", 0)
    if depth and given.readout_mlp_nonlinearity not in {"silu", None}:
        yield f"{given.readout_mlp_nonlinearity} reads the energy out"


def _layers(plan: _Plan) -> tuple[Layer, ...]:
    incoming: Blocks = (Block(plan.features, 0, 1),)
    found = []
    for index, hidden in enumerate(plan.hidden):
        layer_plan = LayerPlan(
            name=f"{_ROOT}layer{index}_convnet.",
            attributes=_EMBEDDING,
            edges=plan.edges,
            hidden=hidden,
            embedded=plan.attributes if plan.self_connected[index] else 0,
            radial_widths=plan.radial_widths[index],
            nonlinearity=plan.nonlinearity,
        )
        layer = layer_shape(layer_plan, incoming)
        if not layer.outgoing:
            raise NotCovered(f"no path leads to the features of layer {index}")
        found.append(layer)
        incoming = layer.outgoing
    return tuple(found)


def _readout(
    given: Any, plan: _Plan, last: Blocks
) -> tuple[tuple[Matrix, ...], str | None]:
    """Return the matrices from the last layer's features to the energy."""
    if any(block.order for block in last):
        raise NotCovered("its last layer gives more than scalars")
    scalars = sum(block.channels for block in last if block.parity == 1)
    if plan.embedding is not None:
        hidden = given.readout_mlp_hidden_layers_width
        return _matrices(_LEGACY_READOUT, (scalars, hidden, 1), 1.0), None
    if len(last) != 1 or scalars == 0:
        raise NotCovered("its last layer gives more than one kind of scalars")
    activation = given.readout_mlp_nonlinearity
    depth = given.readout_mlp_hidden_layers_depth
    width = given.readout_mlp_hidden_layers_width or _dimension(plan.hidden[-1])
    widths = (scalars, *[width] * depth, 1)
    mlp = f"{_ROOT}per_atom_energy_readout.mlp_module.mlp."
    if depth and activation is None:
        return _matrices(
            [f"{mlp}weights.{n}" for n in range(depth + 1)], widths, 1.0
        ), None
    names = [f"{mlp}{2 * n}.weight" for n in range(depth + 1)]
    return _matrices(names, widths, GAIN), activation if depth else None


_LEGACY_READOUT = (
    f"{_ROOT}conv_to_output_hidden.linear.weight",
    f"{_ROOT}output_hidden_to_scalar.linear.weight",
)


def _matrices(
    names: Sequence[str], widths: Sequence[int], gain: float
) -> tuple[Matrix, ...]:
    shapes = pairwise(widths)
    factors = scalar_factors(widths[:-1], gain)
    return tuple(map(Matrix, names, shapes, factors))


def _dimension(blocks: Blocks) -> int:
    return sum(block.channels * (2 * block.order + 1) for block in blocks)


def _norm(
    neighbours: float | Mapping[str, float], elements: Sequence[str]
) -> tuple[float, ...]:
    """Return the reciprocal square root of the number of neighbours of each type."""
    if not isinstance(neighbours, Mapping):
        neighbours = dict.fromkeys(elements, neighbours)
    return tuple(1 / math.sqrt(neighbours[element]) for element in elements)
