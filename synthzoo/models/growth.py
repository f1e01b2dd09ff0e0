"""Networks of nequip made wider without a change of what they predict.

A network that has learnt what it can may get more features, and learn on from where it
is instead of from nothing (T. Chen, I. Goodfellow and J. Shlens, Net2Net, ICLR 2016,
https://arxiv.org/abs/1511.05641). Old features keep their values: they take no part of
the new ones at first. The new ones are made of old and new by weights drawn at random,
so that the first steps of a fit find both of use.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from synthzoo.errors import InputError
from synthzoo.models.engine.irreps import Kind, written
from synthzoo.models.engine.layer_shape import FIRST, SECOND, SELF_CONNECTION

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from synthzoo.models.engine.layer_shape import Columns, Layer, Path
    from synthzoo.models.interface import Weights

Places = Mapping[Kind, "NDArray[np.int64]"]
"""By kind of features: where each old channel is among the new ones."""


def widened_arguments(
    builder: str, arguments: Mapping[str, Any], features: Sequence[str]
) -> tuple[str, dict[str, Any]]:
    """Return builder and arguments of a wider network, layer by layer.

    ``builder``, ``arguments``: of the network to start from: one of nequip's present
    builders.
    """
    arguments = dict(arguments)
    if builder == "NequIPGNNModel":
        count = arguments.pop("num_layers")
        l_max = arguments.pop("l_max")
        arguments.pop("parity", None)
        scalars = arguments.pop("num_features")
        scalars = scalars if isinstance(scalars, int) else scalars[0]
        embedding = arguments.get("type_embed_num_features") or scalars
        last = f"{scalars}x0e"
        arguments |= {
            "irreps_edge_sh": l_max,
            "type_embed_num_features": embedding,
            "radial_mlp_depth": [arguments.get("radial_mlp_depth", 1)] * count,
            "radial_mlp_width": [arguments.get("radial_mlp_width", 128)] * count,
        }
    else:
        count = len(arguments["feature_irreps_hidden"])
        last = arguments["feature_irreps_hidden"][-1]
    if len(features) != count - 1:
        raise InputError(
            f"Features are given for {len(features)} layers; the start has {count} "
            f"layers, and those of all but the last can grow."
        )
    arguments["feature_irreps_hidden"] = [*features, last]
    return "FullNequIPGNNModel", arguments


def widened_weights(
    old: Weights, new: Weights, before: Sequence[Layer], after: Sequence[Layer]
) -> dict[str, Tensor]:
    """Return weights with which a wider network predicts what a given one does.

    ``old``, ``new``: weights of both networks, by name; they are not changed.
    ``before``, ``after``: layers of both.
    """
    weights = {
        name: old[name] if name in old and old[name].shape == value.shape else value
        for name, value in new.items()
    }
    for narrow, wide in zip(before, after, strict=True):
        _check_features(narrow, wide)
        weights |= _grown_weights(old, new, narrow, wide)
    return weights


def _check_features(old: Layer, new: Layer) -> None:
    counts = {block.kind: block.channels for block in new.outgoing}
    if any(counts.get(block.kind, 0) < block.channels for block in old.outgoing):
        raise InputError(
            f"{old.name.rstrip('.')} has {written(old.outgoing)}; with "
            f"{written(new.outgoing)} it would lose some."
        )


def _grown_weights(
    old: Weights, new: Weights, narrow: Layer, wide: Layer
) -> dict[str, Tensor]:
    """Return the weights of a wider layer: old channels are made of old ones alone."""
    incoming = {block.kind: np.arange(block.channels) for block in narrow.incoming}
    summed, mixed = _summed_places(narrow, wide), _mixed_places(narrow, wide)
    maps: dict[str, tuple[Places, Places]] = {
        FIRST: (incoming, incoming),
        SECOND: (summed, mixed),
    }
    if narrow.self_connection:
        maps[SELF_CONNECTION] = (incoming, mixed)
    names = [wide.radial[-1], *(wide.name + ending for ending in maps)]
    grown = {name: new[name].clone() for name in names}
    for ending, (rows, columns) in maps.items():
        matrices = _matrices(grown, wide, ending)
        for kind, places in columns.items():
            if kind in matrices:
                matrices[kind][0][..., places] = 0.0
        for kind, (known, factor) in _matrices(old, narrow, ending).items():
            matrix, wider = matrices[kind]
            for row, values in zip(rows[kind], known, strict=True):
                matrix[row][..., columns[kind]] = values * (factor / wider)
    radial = _radial_places(narrow, wide)
    grown[wide.radial[-1]][..., radial] = old[narrow.radial[-1]]
    return grown


def _matrices(
    weights: Weights, layer: Layer, ending: str
) -> dict[Kind, tuple[Tensor, float]]:
    """Return the matrices of a linear map, views of its weights, with their factors.

    ``ending``: of the name of the map's weights.
    """
    mixings = {
        FIRST: layer.first,
        SECOND: layer.second,
        SELF_CONNECTION: layer.self_connection,
    }[ending]
    blocks = layer.incoming if ending == FIRST else layer.mixed
    flat = weights[layer.name + ending]
    return {
        blocks[part.target].kind: (
            flat[part.start : part.stop].view(part.shape),
            part.factor,
        )
        for part in mixings
    }


def _paths(layer: Layer) -> dict[tuple[Kind, int, Kind], Path]:
    """Return the paths by the kind of features, order of harmonics, kind of results."""
    return {
        (
            layer.incoming[path.source].kind,
            path.order,
            layer.summed[path.target].kind,
        ): path
        for path in layer.paths
    }


def _summed_places(old: Layer, new: Layer) -> Places:
    wider = _paths(new)
    found = {block.kind: np.full(block.channels, -1) for block in old.summed}
    for kinds, path in _paths(old).items():
        channels = np.arange(path.channels)
        found[kinds[-1]][path.start + channels] = wider[kinds].start + channels
    return found


def _radial_places(old: Layer, new: Layer) -> NDArray[np.int64]:
    wider = _paths(new)
    return np.concatenate(
        [
            wider[kinds].weight + np.arange(path.channels)
            for kinds, path in _paths(old).items()
        ]
    )


def _mixed_places(old: Layer, new: Layer) -> Places:
    """Return where what goes into the gate is: scalars, gates, gated features."""
    wider = dict(_gate_parts(new))
    found = {block.kind: np.full(block.channels, -1) for block in old.mixed}
    for part, columns in _gate_parts(old):
        first = wider[part].start
        places = np.arange(first, first + columns.stop - columns.start)
        found[old.mixed[columns.block].kind][columns.start : columns.stop] = places
    return found


def _gate_parts(layer: Layer) -> Iterator[tuple[tuple[str, Kind], Columns]]:
    """Yield roles with kinds of results, and the channels that go into the gate."""
    for part in layer.scalars:
        yield ("scalars", layer.outgoing[part.target.block].kind), part.columns
    for gated in layer.gated:
        kind = layer.outgoing[gated.target.block].kind
        yield ("gated", kind), gated.columns
        yield ("gates", kind), gated.gates
