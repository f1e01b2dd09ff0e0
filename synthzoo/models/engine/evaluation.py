"""Energies, forces and virial of a structure in one compiled pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from synthzoo.models.engine import pack
from synthzoo.models.engine.layout import padded
from synthzoo.models.engine.program import Precision, pack_layer, program_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from synthzoo.models.engine.shape import NetworkShape

SINGLE = Precision(real="float32", degree=5, intervals=192)
DOUBLE = Precision(real="float64", degree=7, intervals=1024)


class Links(NamedTuple):
    """Pairs of atoms that may be neighbours, each in both directions, by atom.

    ``starts``: of each atom's pairs, a multiple of the vector's width; behind the last
    one stands the end, of shape ``(n + 1,)``.
    ``counts``: pairs of each atom, ``(n,)``.
    ``others``: the second atom of each pair.
    ``images``: cell vectors between it and its image, ``(…, 3)``.
    """

    starts: NDArray[np.int64]
    counts: NDArray[np.int32]
    others: NDArray[np.int32]
    images: NDArray[np.int8]


def link(
    first: NDArray[Any], second: NDArray[Any], shifts: NDArray[Any], n: int, width: int
) -> Links:
    """Return pairs in whole vectors for each atom.

    ``first``, ``second``, ``shifts``: pairs, sorted by their first atom.
    """
    counts = np.bincount(first, minlength=n).astype(np.int32)
    starts = np.zeros(n + 1, dtype=np.int64)
    np.cumsum(padded_counts(counts, width), out=starts[1:])
    ends = np.cumsum(counts) - counts
    places = np.arange(len(first)) + np.repeat(starts[:-1] - ends, counts)
    others = np.zeros(starts[-1], dtype=np.int32)
    images = np.zeros((starts[-1], 3), dtype=np.int8)
    others[places] = second
    images[places] = shifts
    return Links(starts, counts, others, images)


def padded_counts(counts: NDArray[Any], width: int) -> NDArray[Any]:
    """Return numbers of edges, rounded up to whole vectors."""
    return -(-counts // width) * width


class Found(NamedTuple):
    """What a pass gives.

    ``energies``: of atoms in eV, ``(n,)``; ``forces`` in eV/Å, ``(n, 3)``; ``virial``:
    derivative of the energy with respect to strain in eV, ``(3, 3)``;
    ``closest_A``: the smallest distance of a pair, or infinity.
    """

    energies: NDArray[np.float64]
    forces: NDArray[np.float64]
    virial: NDArray[np.float64]
    closest_A: float


class Engine:
    """A network with its weights, evaluated by compiled functions."""

    def __init__(
        self,
        shape: NetworkShape,
        weights: Mapping[str, NDArray[Any]],
        precision: Precision = SINGLE,
    ) -> None:
        self.shape, self.precision = shape, precision
        self.program = program_of(shape, precision)
        self.layers = [
            pack_layer(self.program, number, weights)
            for number in range(len(shape.layers))
        ]
        dtype = precision.dtype
        self.reciprocals = pack.reciprocal_cutoffs(weights, shape)
        self.scales, self.shifts = pack.scales_shifts(weights, shape)
        self.readout, self.readout_activation = pack.readout(weights, shape)
        features = pack.type_features(weights, shape)
        row = self.program.layouts[0].incoming
        self.embedding = np.zeros((len(features), row.width), dtype=dtype)
        self.embedding[:, _channels(row)] = features
        self._buffers: dict[str, NDArray[Any]] = {}

    def evaluate(
        self,
        positions: NDArray[np.float64],
        cell: NDArray[np.float64],
        types: NDArray[np.int32],
        links: Links,
    ) -> Found:
        """Return energies, forces and virial.

        ``types``: of the atoms, in ascending order.
        """
        library, layouts = self.program.library, self.program.layouts
        n, size = len(types), int(links.starts[-1])
        capacity = padded(int(links.counts.max(initial=1)), self.precision.width)
        edges = self._edges(size, n)
        closest = np.empty(1)
        library.edges(
            0,
            n,
            links.counts.ctypes.data,
            links.others.ctypes.data,
            links.images.ctypes.data,
            positions.ctypes.data,
            cell.ctypes.data,
            types.ctypes.data,
            self.reciprocals.ctypes.data,
            closest.ctypes.data,
            links.starts.ctypes.data,
            *(
                edges[k].ctypes.data
                for k in ("counts", "others", "cells", "x", "y", "z", "places", "rates")
            ),
            len(self.shape.elements),
            self.precision.intervals,
        )
        loop = (
            links.starts.ctypes.data,
            *(
                edges[k].ctypes.data
                for k in ("counts", "others", "cells", "x", "y", "z", "places", "rates")
            ),
        )
        ends = np.cumsum(np.bincount(types, minlength=len(self.shape.elements)))
        ranges = [
            (int(a), int(b), t)
            for t, (a, b) in enumerate(zip([0, *ends[:-1]], ends, strict=False))
            if b > a
        ]
        scratch = self._buffer(
            "scratch", (capacity * 64 + capacity * 17 * self.precision.width,)
        )
        offsets = self._buffer("offsets", (capacity,), np.int32)
        incoming = self._buffer("h0", (n, layouts[0].incoming.width))
        incoming[:] = self.embedding[types]
        features, mixed = [], []
        widest = max(l.summed.width for l in layouts)
        for number, (layout, weights) in enumerate(
            zip(layouts, self.layers, strict=False)
        ):
            x = self._buffer(f"x{number}", (n, layout.incoming.width))
            z = self._buffer(f"z{number}", (n, layout.mixed.width))
            outgoing = self._buffer(f"h{number + 1}", (n, layout.outgoing.width))
            sums = self._buffer("sums", (n * widest,))
            for a, b, t in ranges:
                getattr(library, f"features{number}")(
                    a,
                    b,
                    incoming.ctypes.data,
                    x.ctypes.data,
                    weights.features[t].ctypes.data,
                )
            getattr(library, f"messages{number}")(
                0,
                n,
                *loop,
                x.ctypes.data,
                weights.table.ctypes.data,
                sums.ctypes.data,
                scratch.ctypes.data,
                offsets.ctypes.data,
                capacity,
            )
            for a, b, t in ranges:
                getattr(library, f"mix{number}")(
                    a,
                    b,
                    sums.ctypes.data,
                    incoming.ctypes.data,
                    z.ctypes.data,
                    outgoing.ctypes.data,
                    weights.mixed[t].ctypes.data,
                )
            features.append(x)
            mixed.append(z)
            incoming = outgoing
        channels = _channels(layouts[-1].outgoing)
        energies, slopes_of = self._read(incoming[:, channels])
        energies = self.scales[types] * energies + self.shifts[types]
        slopes = self._buffer("g", (n, layouts[-1].outgoing.width))
        slopes[:] = 0
        slopes[:, channels] = self.scales[types, None] * slopes_of
        edge_slopes = [self._buffer(f"e{a}", (size,)) for a in "xyz"]
        for each in edge_slopes:
            each[:] = 0
        for number in reversed(range(len(layouts))):
            layout, weights = layouts[number], self.layers[number]
            before = self._buffer(
                f"g{number % 2}", (n * max(l.incoming.width for l in layouts),)
            )
            for a, b, t in ranges:
                getattr(library, f"mix_back{number}")(
                    a,
                    b,
                    slopes.ctypes.data,
                    mixed[number].ctypes.data,
                    sums.ctypes.data,
                    before.ctypes.data,
                    weights.mixed_back[t].ctypes.data,
                )
            dx = self._buffer("dx", (n * max(l.incoming.width for l in layouts),))
            getattr(library, f"messages_back{number}")(
                0,
                n,
                *loop,
                features[number].ctypes.data,
                weights.table.ctypes.data,
                sums.ctypes.data,
                dx.ctypes.data,
                *(e.ctypes.data for e in edge_slopes),
                scratch.ctypes.data,
                offsets.ctypes.data,
                capacity,
            )
            if number:
                for a, b, t in ranges:
                    getattr(library, f"features_back{number}")(
                        a,
                        b,
                        dx.ctypes.data,
                        before.ctypes.data,
                        weights.features_back[t].ctypes.data,
                    )
            slopes = before
        forces = np.zeros((n, 3))
        virial = np.empty((3, 3))
        library.forces(
            0,
            n,
            links.starts.ctypes.data,
            edges["counts"].ctypes.data,
            edges["others"].ctypes.data,
            *(edges[a].ctypes.data for a in "xyz"),
            *(e.ctypes.data for e in edge_slopes),
            forces.ctypes.data,
            virial.ctypes.data,
        )
        return Found(energies, forces, virial, float(np.sqrt(closest[0])))

    def _read(self, features: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        (matrix,) = self.readout
        return features.astype(float) @ matrix[:, 0], matrix[:, 0][None]

    def _edges(self, size: int, n: int) -> dict[str, NDArray[Any]]:
        found = {"counts": self._buffer("counts", (n,), np.int32)}
        for name in ("others", "cells"):
            found[name] = self._buffer(name, (size,), np.int32)
        for name in ("x", "y", "z", "places", "rates"):
            found[name] = self._buffer(name, (size,))
        return found

    def _buffer(
        self, name: str, shape: tuple[int, ...], dtype: Any = None
    ) -> NDArray[Any]:
        size = int(np.prod(shape))
        held = self._buffers.get(name)
        if held is None or held.size < size:
            held = self._buffers[name] = np.zeros(
                size + size // 8, dtype=dtype or self.precision.dtype
            )
        return held[:size].reshape(shape)


def _channels(row: Any) -> NDArray[np.int64]:
    return np.concatenate(
        [
            room.start + m * room.stride + room.places
            for room in row.rooms
            for m in range(room.components)
        ]
    )
