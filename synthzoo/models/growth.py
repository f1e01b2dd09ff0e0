"""Networks of nequip made wider without a change of what they predict.

A network that has learnt what it can may get more features, and learn on from where it
is instead of from nothing (T. Chen, I. Goodfellow and J. Shlens, Net2Net, ICLR 2016,
https://arxiv.org/abs/1511.05641). Old features keep their values: they take no part of
the new ones at first. The new ones are made of old and new by weights drawn at random,
so that the first steps of a fit find both of use.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from e3nn.o3 import Irreps

from synthzoo.errors import InputError
from synthzoo.models.layer_parts import gate_columns, message_paths, mixings

if TYPE_CHECKING:
    from e3nn.o3 import FullyConnectedTensorProduct, Linear
    from nequip.nn import ConvNetLayer
    from numpy.typing import NDArray
    from torch import Tensor
    from torch.nn import Module

Places = Mapping[Any, "NDArray[np.int64]"]
"""By irreducible representation: where each old channel is among the new ones."""


class _Layer(NamedTuple):
    """Where the channels of an old layer are in the new one."""

    incoming: Places
    summed: Places
    mixed: Places
    radial: NDArray[np.int64]


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


def widened_weights(network: Module, grown: Module) -> dict[str, Tensor]:
    """Return weights with which a wider network predicts what a given one does.

    ``network``: model of nequip; it is not changed.
    """
    found = dict(grown.named_modules())
    weights: dict[str, Tensor] = grown.state_dict()
    weights |= {
        name: value
        for name, value in network.state_dict().items()
        if value.shape == weights[name].shape
    }
    for name, layer in _layers(network):
        _check_features(name, layer, found[name])
        weights |= {
            f"{name}.{key}": value
            for key, value in _grown_weights(layer, found[name]).items()
        }
    return weights


def _layers(network: Module) -> Iterator[tuple[str, ConvNetLayer]]:
    from nequip.nn import ConvNetLayer

    for name, part in network.named_modules():
        if isinstance(part, ConvNetLayer):
            yield name, part


def _check_features(name: str, old: ConvNetLayer, new: ConvNetLayer) -> None:
    before, after = (
        Irreps(layer.equivariant_nonlin.irreps_out) for layer in (old, new)
    )
    short = [str(part) for part in before if after.count(part.ir) < part.mul]
    if short:
        raise InputError(f"{name} has {before}; with {after} it would lose some.")


def _grown_weights(old: ConvNetLayer, new: ConvNetLayer) -> dict[str, Tensor]:
    """Return the weights of a wider layer, by their names in it."""
    places = _Layer(
        incoming=_first(old.conv.linear_1.irreps_in),
        summed=_summed_places(old, new),
        mixed=_mixed_places(old, new),
        radial=_radial_places(old, new),
    )
    conv, wider = old.conv, new.conv
    found = {
        "conv.linear_1.weight": _mixed(
            conv.linear_1, wider.linear_1, places.incoming, places.incoming
        ),
        "conv.linear_2.weight": _mixed(
            conv.linear_2, wider.linear_2, places.summed, places.mixed
        ),
    }
    if conv.sc is not None:
        found["conv.sc.weight"] = _mixed(
            conv.sc, wider.sc, places.incoming, places.mixed
        )
    name, narrow = list(conv.edge_mlp.named_parameters())[-1]
    radial = wider.edge_mlp.get_parameter(name).detach().clone()
    radial[..., places.radial] = narrow.detach()
    return found | {f"conv.edge_mlp.{name}": radial}


def _mixed(
    old: Linear | FullyConnectedTensorProduct,
    new: Linear | FullyConnectedTensorProduct,
    rows: Places,
    columns: Places,
) -> Tensor:
    """Return the weights of a wider map: old channels are made of old ones alone."""
    weights: Tensor = new.weight.detach().clone()
    matrices = {
        _ends(new, entry): (weights[entry.start : entry.stop].view(entry.shape), entry)
        for entry in mixings(new)
    }
    for (_, after), (matrix, _) in matrices.items():
        if after in columns:
            matrix[..., columns[after]] = 0.0
    for entry in mixings(old):
        before, after = _ends(old, entry)
        matrix, wider = matrices[before, after]
        known = old.weight.detach()[entry.start : entry.stop].view(entry.shape)
        for row, values in zip(rows[before], known, strict=True):
            matrix[row][..., columns[after]] = values * (entry.factor / wider.factor)
    return weights


def _ends(module: Any, entry: Any) -> tuple[Any, Any]:
    """Return the irreducible representations that a matrix leads from and to."""
    incoming = getattr(module, "irreps_in1", None) or module.irreps_in
    return incoming[entry.source].ir, module.irreps_out[entry.target].ir


def _first(irreps: Irreps) -> dict[Any, NDArray[np.int64]]:
    return {irrep: np.arange(channels) for channels, irrep in irreps}


def _summed_starts(layer: ConvNetLayer) -> dict[Any, int]:
    """Return for each kind of path its first channel among the results of its irrep."""
    used: dict[Any, int] = {}
    found = {}
    for path in sorted(message_paths(layer), key=lambda path: path.place):
        result = path.kind[-1]
        found[path.kind] = used.get(result, 0)
        used[result] = found[path.kind] + path.channels
    return found


def _summed_places(old: ConvNetLayer, new: ConvNetLayer) -> Places:
    starts = _summed_starts(new)
    found: dict[Any, list[NDArray[np.int64]]] = {}
    for path in sorted(message_paths(old), key=lambda path: path.place):
        channels = starts[path.kind] + np.arange(path.channels)
        found.setdefault(path.kind[-1], []).append(channels)
    return {irrep: np.concatenate(parts) for irrep, parts in found.items()}


def _radial_places(old: ConvNetLayer, new: ConvNetLayer) -> NDArray[np.int64]:
    starts = {path.kind: path.weight for path in message_paths(new)}
    return np.concatenate(
        [starts[path.kind] + np.arange(path.channels) for path in message_paths(old)]
    )


def _mixed_places(old: ConvNetLayer, new: ConvNetLayer) -> Places:
    """Return where what goes into the gate is: scalars, gates, gated features."""
    wider = _gate_parts(new)
    found: dict[Any, NDArray[np.int64]] = {}
    for part, (irrep, start, stop) in _gate_parts(old).items():
        places = found.setdefault(irrep, np.full(_count(old, irrep), -1))
        first = wider[part][1]
        places[start:stop] = np.arange(first, first + stop - start)
    return found


def _count(layer: ConvNetLayer, irrep: Any) -> int:
    return int(layer.conv.linear_2.irreps_out.count(irrep))


def _gate_parts(layer: ConvNetLayer) -> dict[tuple[str, Any], tuple[Any, int, int]]:
    """Return, by role and irrep of the result, the irrep and channels in the gate."""
    gate, mixed = layer.equivariant_nonlin, layer.conv.linear_2.irreps_out
    scalars, gated = gate_columns(gate, mixed)
    found = {}
    for columns in scalars:
        irrep = mixed[columns.block].ir
        found["scalars", irrep] = irrep, columns.start, columns.stop
    for vectors, gates in gated:
        irrep = mixed[vectors.block].ir
        found["gated", irrep] = irrep, vectors.start, vectors.stop
        found["gates", irrep] = mixed[gates.block].ir, gates.start, gates.stop
    return found
