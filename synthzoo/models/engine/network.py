"""A network with its weights, ready to be evaluated by compiled functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from synthzoo.models.engine import pack
from synthzoo.models.engine.arrays import aligned
from synthzoo.models.engine.not_covered import NotCovered
from synthzoo.models.engine.program import pack_layer, program_of
from synthzoo.models.engine.readout import readout_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.models.engine.layout import Row
    from synthzoo.models.engine.precision import Precision
    from synthzoo.models.engine.program import LayerWeights, Program
    from synthzoo.models.engine.readout import Readout
    from synthzoo.models.engine.shape import NetworkShape


@dataclass(frozen=True, eq=False)
class Network:
    """Weights as compiled functions read them; nothing changes them.

    ``reciprocals``: what distances are multiplied with, in 1/Å, ``(types, types)``.
    ``embedding``: features of each type before the first layer, ``(types, width)``.
    ``read``: places in a row of the last layer's features that the readout reads.
    """

    program: Program
    layers: tuple[LayerWeights, ...]
    reciprocals: NDArray[np.float64]
    embedding: NDArray[Any]
    readout: Readout
    read: NDArray[np.int64]

    @property
    def shape(self) -> NetworkShape:
        """What it computes."""
        return self.program.shape


def network_of(
    shape: NetworkShape,
    weights: Mapping[str, NDArray[Any]],
    precision: Precision,
    *,
    tables: Sequence[NDArray[Any]] | None = None,
) -> Network:
    """Return a network.

    ``weights``: by name, as in the file of a checkpoint.
    ``tables``: of the splines of each layer, where they are known.

    Raises `NotCovered` if its weights are such that the engine cannot evaluate it.
    """
    reciprocals = pack.reciprocal_cutoffs(weights, shape)
    check_cutoffs(reciprocals)
    program = program_of(shape, precision)
    known: list[NDArray[Any] | None] = [None] * len(shape.layers)
    if tables is not None:
        known[:] = tables
    features = pack.type_features(weights, shape)
    row = program.layouts[0].incoming
    embedding = aligned((len(features), row.width), precision.dtype)
    embedding[:, _places(row)] = features
    return Network(
        program=program,
        layers=tuple(
            pack_layer(program, number, weights, table)
            for number, table in enumerate(known)
        ),
        reciprocals=np.ascontiguousarray(reciprocals),
        embedding=embedding,
        readout=readout_of(weights, shape),
        read=_places(program.layouts[-1].outgoing),
    )


def check_cutoffs(reciprocals: NDArray[np.float64]) -> None:
    """Refuse cutoffs that are not the same for both directions of a pair.

    ``reciprocals``: one over the cutoff of each pair of types, ``(types, types)``.
    """
    if not np.array_equal(reciprocals, reciprocals.T):
        raise NotCovered("it has cutoffs that differ with the order of two elements")


def _places(row: Row) -> NDArray[np.int64]:
    """Return where the channels of a row lie, component by component."""
    return np.concatenate(
        [
            room.start + component * room.stride + room.places
            for room in row.rooms
            for component in range(room.components)
        ]
    )
