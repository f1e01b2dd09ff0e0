"""The compiled functions of a network, and the arrays of weights that they read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthzoo.models.engine import (
    dense,
    geometry,
    message_slopes,
    messages,
    sequence,
)
from synthzoo.models.engine.arrays import aligned, aligned_copy
from synthzoo.models.engine.combinations import coupling_of, scratch_size
from synthzoo.models.engine.jit import Library, vector_bytes
from synthzoo.models.engine.layout import LayerLayout, Row, lay_out
from synthzoo.models.engine.pack import mixing_matrices, norms, radial_functions
from synthzoo.models.engine.splines import coefficients, grid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.models.engine.dense import Maps
    from synthzoo.models.engine.precision import Precision
    from synthzoo.models.engine.shape import Layer, Mixing, NetworkShape

TILES = {64: 4, 32: 2, 16: 4}
"""Vectors in a row of a matrix product's results, by the bytes of a vector: together
with `dense.ROWS` they fill the registers."""


@dataclass(frozen=True)
class LayerMaps:
    """The linear maps of a layer.

    ``features``: of what comes in, before the messages; ``mixed``: from the sums and
    from what comes in to the gate. The others lead back.
    """

    features: Maps
    mixed: tuple[Maps, Maps]
    features_back: Maps
    mixed_back: tuple[Maps, ...]


def is_sent(layer: Layer, block: int) -> bool:
    """Return whether messages are made of a block of features; not all need to be."""
    return any(path.source == block for path in layer.paths)


def sent_maps(layer: Layer) -> list[Mixing]:
    """Return the maps of what comes into a layer to what it sends."""
    return [mixing for mixing in layer.first if is_sent(layer, mixing.target)]


def layer_maps(layer: Layer, layout: LayerLayout, *, first_layer: bool) -> LayerMaps:
    """Return the linear maps of a layer, in the order in which they are made."""
    pairs, sent = dense.pairs_of, sent_maps(layer)
    (features,) = dense.order_maps([(layout.incoming, pairs(sent))], layout.incoming)
    mixed = dense.order_maps(
        [
            (layout.summed, pairs(layer.second)),
            (layout.incoming, pairs(layer.self_connection)),
        ],
        layout.mixed,
    )
    (sums_back,) = dense.order_maps(
        [(layout.mixed, pairs(layer.second, back=True))], layout.summed
    )
    (past_back,) = dense.order_maps(
        [(layout.mixed, pairs(layer.self_connection, back=True))], layout.incoming
    )
    shifted = tuple(
        each._replace(start=each.start + sums_back.size) for each in past_back.each
    )
    past_back = past_back._replace(each=shifted)
    (features_back,) = dense.order_maps(
        [(layout.incoming, pairs(sent, back=True))], layout.incoming
    )
    added = tuple(each._replace(added=True) for each in features_back.each)
    return LayerMaps(
        features=features._replace(missing=()),
        mixed=(mixed[0], mixed[1]),
        features_back=features_back._replace(each=added, missing=()),
        mixed_back=(sums_back,) if first_layer else (sums_back, past_back),
    )


@dataclass(frozen=True)
class Program:
    """The compiled functions of a network's shape, and where they expect what."""

    shape: NetworkShape
    precision: Precision
    layouts: tuple[LayerLayout, ...]
    maps: tuple[LayerMaps, ...]
    library: Any

    @cached_property
    def addresses(self) -> dict[str, int]:
        """Where each function reads its arguments from a table of calls."""
        return {
            name: self.library.address(sequence.entry_name(name))
            for name in _names(len(self.layouts))
        }

    @cached_property
    def scratch_size(self) -> int:
        """How many numbers of scratch the loops over edges need for an edge."""
        return max(scratch_size(layer, self.precision) for layer in self.shape.layers)


@cache
def program_of(shape: NetworkShape, precision: Precision) -> Program:
    """Return the compiled functions; they are written and kept when first wanted."""
    layouts = tuple(lay_out(shape.layers, precision.width))
    maps = tuple(
        layer_maps(layer, layout, first_layer=number == 0)
        for number, (layer, layout) in enumerate(
            zip(shape.layers, layouts, strict=True)
        )
    )
    program = Program(shape, precision, layouts, maps, None)
    key = f"{sources()} {precision} {vector_bytes()} {shape.layers}"
    library = Library(key, lambda: _write(program), sequence.RUN)
    return replace(program, library=library)


@cache
def sources() -> str:
    """Return a hash of the files that write the functions."""
    digest = hashlib.sha256()
    for name in (
        "combinations",
        "couplings",
        "dense",
        "duals",
        "emitter",
        "geometry",
        "layout",
        "loops",
        "message_slopes",
        "messages",
        "precision",
        "program",
        "sequence",
        "splines",
    ):
        digest.update((Path(__file__).parent / f"{name}.py").read_bytes())
    return digest.hexdigest()


LAYER_FUNCTIONS = (
    "features",
    "messages",
    "mix",
    "mix_back",
    "messages_back",
    "features_back",
)
"""Of each layer; its number stands behind the name."""


def _names(layers: int) -> Iterator[str]:
    """Yield the names of all functions that a table of calls may hold."""
    yield "edges"
    yield "forces"
    for number in range(layers):
        for name in LAYER_FUNCTIONS:
            yield f"{name}{number}"


def _write(program: Program) -> str:
    from llvmlite import ir

    precision = program.precision
    module = ir.Module("engine")
    real, width = precision.real, precision.width
    geometry.write_edges(module, "edges", real=real, width=width)
    geometry.write_forces(module, "forces", real=real)
    maker = dense.Dense(module, real=real, width=width, tile=TILES[vector_bytes()])
    for number, (layer, layout, maps) in enumerate(
        zip(program.shape.layers, program.layouts, program.maps, strict=True)
    ):
        row = layout.incoming
        maker.write_features(f"features{number}", maps.features, row, row)
        messages.write_forward(
            module, layer, layout, name=f"messages{number}", precision=precision
        )
        maker.write_forward(f"mix{number}", layer, layout, maps.mixed)
        maker.write_backward(f"mix_back{number}", layer, layout, maps.mixed_back)
        message_slopes.write_backward(
            module,
            layer,
            layout,
            name=f"messages_back{number}",
            precision=precision,
            first_layer=number == 0,
            last_layer=number == len(program.layouts) - 1,
        )
        maker.write_features(f"features_back{number}", maps.features_back, row, row)
    for name in _names(len(program.layouts)):
        sequence.write_entry(module, name)
    sequence.write_run(module)
    return str(module)


@dataclass(frozen=True)
class LayerWeights:
    """The weights of a layer as the functions read them.

    ``table``: coefficients of the splines, ``(rows, columns)``. The others have a row
    for each type.
    """

    table: NDArray[Any]
    features: NDArray[Any]
    mixed: NDArray[Any]
    features_back: NDArray[Any]
    mixed_back: NDArray[Any]


def pack_layer(
    program: Program,
    number: int,
    weights: Mapping[str, NDArray[Any]],
    table: NDArray[Any] | None = None,
) -> LayerWeights:
    """Return a layer's weights from those of the network by name.

    ``table``: of its splines, where that is known.
    """
    shape, precision = program.shape, program.precision
    layer, layout = shape.layers[number], program.layouts[number]
    first, second, past = mixing_matrices(weights, layer)
    norm = norms(shape)
    types = len(shape.elements)
    first_of = [
        matrix * norm[:, None, None]
        for mixing, matrix in zip(layer.first, first, strict=True)
        if is_sent(layer, mixing.target)
    ]
    second_of = [np.broadcast_to(matrix, (types, *matrix.shape)) for matrix in second]
    in_row, sum_row, mixed_row = layout.incoming, layout.summed, layout.mixed

    def matrices(
        parts: Sequence[tuple[Sequence[Any], Sequence[NDArray[Any]], Row, Row]],
    ) -> NDArray[Any]:
        flat = [
            _place(matrix, source.rooms[mixing.source], target.rooms[mixing.target])
            for mixings, values, source, target in parts
            for mixing, matrix in zip(mixings, values, strict=True)
        ]
        return _joined(flat, types, precision.dtype)

    def transposed(
        parts: Sequence[tuple[Sequence[Any], Sequence[NDArray[Any]], Row, Row]],
    ) -> NDArray[Any]:
        flat = [
            _place(
                matrix.swapaxes(1, 2),
                target.rooms[mixing.target],
                source.rooms[mixing.source],
            )
            for mixings, values, source, target in parts
            for mixing, matrix in zip(mixings, values, strict=True)
        ]
        return _joined(flat, types, precision.dtype)

    features = [(sent_maps(layer), first_of, in_row, in_row)]
    mixed = [
        (layer.second, second_of, sum_row, mixed_row),
        (layer.self_connection, past, in_row, mixed_row),
    ]
    return LayerWeights(
        table=_table(program, number, weights) if table is None else table,
        features=matrices(features),
        mixed=matrices(mixed),
        features_back=transposed(features),
        mixed_back=transposed(mixed),
    )


def _place(matrix: NDArray[Any], source: Any, target: Any) -> NDArray[Any]:
    """Return matrices, (types, in, out), with channels where they lie in memory."""
    found = np.zeros((len(matrix), source.stride, target.stride))
    found[:, source.places[:, None], target.places] = matrix
    return found.reshape(len(matrix), -1)


def _joined(
    parts: list[NDArray[Any]], types: int, dtype: np.dtype[Any]
) -> NDArray[Any]:
    whole = np.concatenate(parts, axis=1) if parts else np.zeros((types, 0))
    return aligned_copy(whole, dtype)


def _table(
    program: Program, number: int, weights: Mapping[str, NDArray[Any]]
) -> NDArray[Any]:
    shape, precision = program.shape, program.precision
    layer, layout = shape.layers[number], program.layouts[number]
    points = grid(precision.intervals, precision.degree)
    values = coefficients(
        radial_functions(weights, layer, shape, points), precision.degree
    )
    table = aligned((len(values), layout.columns), precision.dtype)
    for path, column in zip(layer.paths, layout.functions, strict=True):
        places = column + layout.incoming.rooms[path.source].places
        mine = values[:, path.weight : path.weight + path.channels]
        table[:, places] = coupling_of(path).scale * mine
    return table
