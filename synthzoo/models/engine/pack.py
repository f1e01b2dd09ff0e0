"""The numbers that a network computes with, from its weights by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from synthzoo.models.engine.layer_shape import FIRST, SECOND, SELF_CONNECTION

if TYPE_CHECKING:
    from synthzoo.models.engine.shape import Layer, Matrix, Mixing, NetworkShape

Array = NDArray[np.float64]
Weights = Mapping[str, NDArray[Any]]


def _silu(x: Array) -> Array:
    return x * np.exp(-np.logaddexp(0.0, -x))  # does not overflow


def _ssp(x: Array) -> Array:
    return np.logaddexp(0.0, x) - math.log(2.0)


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "silu": _silu,
    "ssp": _ssp,
    "tanh": np.tanh,
}
"""Nonlinearities by the names that shapes give them."""


def mixing_matrices(
    weights: Weights, layer: Layer
) -> tuple[list[Array], list[Array], list[Array]]:
    """Return the matrices of a layer's maps, with their factors, in float64.

    They are in the order of ``layer.first``, ``second`` and ``self_connection``, of
    shapes (in, out), (in, out) and (types, in, out).
    """
    first, second = (
        _slices(weights[layer.name + name], mixings)
        for name, mixings in ((FIRST, layer.first), (SECOND, layer.second))
    )
    if not layer.self_connection:
        return first, second, []
    attributes = _table(weights, layer.attributes)
    past = _slices(weights[layer.name + SELF_CONNECTION], layer.self_connection)
    return first, second, [np.einsum("uav,ta->tuv", part, attributes) for part in past]


def type_features(weights: Weights, shape: NetworkShape) -> Array:
    """Return the features of each type before the first layer: (types, channels)."""
    attributes = _table(weights, shape.attributes)
    if shape.embedding is None:
        return attributes
    return attributes @ _matrix(weights, shape.embedding)


def norms(shape: NetworkShape) -> Array:
    """Return what features of the sender's type are multiplied with: (types,)."""
    return np.array(shape.norm)


def reciprocal_cutoffs(weights: Weights, shape: NetworkShape) -> Array:
    """Return what distances are multiplied with: (receiver, sender), types, in 1/Å."""
    types = len(shape.elements)
    found = _double(weights[shape.reciprocal_cutoffs])
    return _filled(found, types * types).reshape(types, types)


def radial_functions(
    weights: Weights, layer: Layer, shape: NetworkShape, x: Array
) -> Array:
    """Return the radial functions of a layer: (points, functions).

    ``x``: distances over the cutoff, of shape (points,). The formulas are continued to
    0, to small negative values and beyond 1, where nequip's cutoff function is zero.
    """
    frequencies = _double(weights[shape.bessels]).reshape(1, -1)
    found = np.sinc(x[:, None] * frequencies) * frequencies
    found *= shape.embedding_factor * _cutoff(x, shape.cutoff_power)[:, None]
    matrices = [
        factor * _double(weights[name])
        for name, factor in zip(layer.radial, layer.radial_factors, strict=True)
    ]
    activation = ACTIVATIONS[layer.radial_activation]
    found = found @ matrices[0]
    for matrix in matrices[1:]:
        found = activation(found) @ matrix
    return found


def readout(weights: Weights, shape: NetworkShape) -> tuple[list[Array], str | None]:
    """Return the matrices of the readout, (in, out), and the nonlinearity between them.

    The first has a row for each channel of the last layer's outgoing blocks; those that
    it does not read are zero.
    """
    first, *others = (_matrix(weights, matrix) for matrix in shape.readout)
    blocks = shape.layers[-1].outgoing
    read = np.repeat(
        [block.parity == 1 for block in blocks], [block.channels for block in blocks]
    )
    rows = np.zeros((len(read), first.shape[1]))
    rows[read] = first
    return [rows, *others], shape.readout_activation


def scales_shifts(weights: Weights, shape: NetworkShape) -> tuple[Array, Array]:
    """Return factor and constant (eV) of the energy of an atom of each type."""
    types = len(shape.elements)
    scales, shifts = (
        _filled(_double(weights[name]), types)
        if weights[name].size
        else np.full(types, default)
        for name, default in ((shape.scales, 1.0), (shape.shifts, 0.0))
    )
    return scales, shifts


def _filled(values: Array, size: int) -> Array:
    """Return one number for each of some, of which there may be one for all."""
    if values.size not in (1, size):
        raise ValueError(f"{values.size} numbers where there should be 1 or {size}")
    return np.resize(values, size)


def _cutoff(x: Array, p: int) -> Array:
    return (
        1.0
        - (p + 1) * (p + 2) / 2 * x**p
        + p * (p + 2) * x ** (p + 1)
        - p * (p + 1) / 2 * x ** (p + 2)
    )


def _slices(flat: NDArray[Any], mixings: Sequence[Mixing]) -> list[Array]:
    values = _double(flat).reshape(-1)
    if len(values) != (expected := max(mixing.stop for mixing in mixings)):
        raise ValueError(f"{len(values)} weights where there should be {expected}")
    return [
        mixing.factor * values[mixing.start : mixing.stop].reshape(mixing.shape)
        for mixing in mixings
    ]


def _matrix(weights: Weights, matrix: Matrix) -> Array:
    return matrix.factor * _double(weights[matrix.name]).reshape(matrix.shape)


def _table(weights: Weights, name: str) -> Array:
    return _double(weights[name])


def _double(values: NDArray[Any]) -> Array:
    return np.asarray(values, dtype=np.float64)
