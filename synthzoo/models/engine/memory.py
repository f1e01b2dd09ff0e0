"""The arrays that a pass through a network fills."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from synthzoo.models.engine.arrays import aligned
from synthzoo.models.engine.layout import padded

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from synthzoo.models.engine.links import Links
    from synthzoo.models.engine.program import Program

BLOCK = 96
"""Atoms that a layer is done with before it goes on; a multiple of `dense.ROWS`."""

SLACK = 16
"""There is room for a sixteenth more than needed, for longer lists that may follow."""

AXES = ("x", "y", "z")


@dataclass(frozen=True)
class Who:
    """The atoms of a pass: of one structure, or of several.

    ``types``: of the atoms, in ascending order, ``(n,)``.
    ``owners``: number of each atom's structure, ``(n,)``; ascending within a type.
    ``structures``: how many there are.
    """

    types: NDArray[np.int32]
    owners: NDArray[np.int64]
    structures: int

    def __len__(self) -> int:
        """Return the number of atoms."""
        return len(self.types)


class Buffers:
    """Arrays by name, kept for later: fresh memory costs more than many a loop."""

    def __init__(self) -> None:
        self._held: dict[str, NDArray[Any]] = {}

    def get(
        self, name: str, shape: int | tuple[int, ...], dtype: DTypeLike
    ) -> NDArray[Any]:
        """Return an array of unknown content; the last one of that name is lost."""
        size = math.prod(shape) if isinstance(shape, tuple) else shape
        held = self._held.get(name)
        if held is None or held.size < size or held.dtype != dtype:
            self._held.pop(name, None)  # before there are two
            held = self._held[name] = aligned(size + size // SLACK, dtype)
        return held[:size].reshape(shape)


class Memory:
    """Arrays for certain atoms, of sizes that some links need.

    ``edges``: what loops are told of edges, by the names of `geometry.LINKS`.
    ``slopes``: of the energy with respect to vectors of edges, for each axis.
    ``incoming``: features that come into each layer, and those that leave the last one.
    They take turns; behind them, their slopes do. The first stay.
    ``features``: what each layer sends. ``mixed``: what goes into its gate.
    ``sums``: slopes of a layer's sums.
    ``scratch``, ``offsets``, ``block_sums``, ``block_slopes``: for each part of a
    stage, what is kept for an atom's edges, and for a block of atoms.
    """

    def __init__(
        self, program: Program, who: Who, links: Links, parts: int, buffers: Buffers
    ) -> None:
        self._program, self._buffers = program, buffers
        self.atoms, self.parts = len(who), parts
        self.slots = links.slots + links.slots // SLACK
        most = links.most + links.most // SLACK
        self.capacity = padded(most + 1, program.precision.width)
        self._make_structures(who)
        self._make_edges()
        self._make_features()
        self._make_rooms()
        self.relink(links)

    def fits(self, links: Links) -> bool:
        """Return whether there is room for other links of the same atoms."""
        return links.slots <= self.slots and links.most < self.capacity

    def relink(self, links: Links) -> None:
        """Take links of the same atoms."""
        self.starts[:] = links.starts
        self.pair_counts[:] = links.counts
        self.pair_others[: links.slots] = links.others
        self.images[: links.slots] = links.images

    def results(self, segments: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return places for virial and smallest distance of ranges of atoms."""
        get = self._buffers.get
        return (
            get("virials", (segments, 9), np.float64),
            get("closest", segments, np.float64),
        )

    def _make_structures(self, who: Who) -> None:
        get, atoms = self._buffers.get, self.atoms
        self.positions = get("positions", (atoms, 3), np.float64)
        self.cells = get("cells", (who.structures, 3, 3), np.float64)
        self.types = get("types", atoms, np.int32)
        self.types[:] = who.types
        self.starts = get("starts", atoms + 1, np.int64)
        self.pair_counts = get("pair_counts", atoms, np.int32)
        self.pair_others = get("pair_others", self.slots, np.int32)
        self.images = get("images", (self.slots, 3), np.int16)
        self.forces = get("forces", (self.parts, atoms, 3), np.float64)

    def _make_edges(self) -> None:
        counts = self._buffers.get("counts", self.atoms, np.int32)
        self.edges = {"starts": self.starts, "counts": counts}
        for name in ("others", "cells"):
            self.edges[name] = self._buffers.get(f"edge_{name}", self.slots, np.int32)
        for name in (*AXES, "places", "rates"):
            self.edges[name] = self._reals(f"edge_{name}", self.slots)
        self.slopes = [self._reals(f"{axis}_slopes", self.slots) for axis in AXES]

    def _make_features(self) -> None:
        atoms, layouts = self.atoms, self._program.layouts
        rows = [layout.incoming.width for layout in layouts]
        rows.append(layouts[-1].outgoing.width)
        turns = [
            self._reals(f"incoming{turn}", atoms * max(rows[turn::2]))
            for turn in range(2)
        ]
        self.incoming = [
            turns[number % 2][: atoms * row].reshape(atoms, row)
            for number, row in enumerate(rows)
        ]
        self.incoming[0] = self._reals("embedded", atoms, rows[0])
        self.features = [
            self._reals(f"features{number}", atoms, row)
            for number, row in enumerate(rows[:-1])
        ]
        self.mixed = [
            self._reals(f"mixed{number}", atoms, layout.mixed.width)
            for number, layout in enumerate(layouts)
        ]
        widest = max(layout.summed.width for layout in layouts)
        self.sums = self._reals("sums", atoms, widest)

    def _make_rooms(self) -> None:
        layouts, parts = self._program.layouts, self.parts
        block = min(BLOCK, self.atoms)
        summed = max(layout.summed.width for layout in layouts)
        incoming = max(layout.incoming.width for layout in layouts)
        self.scratch = self._reals(
            "scratch", parts, self.capacity * self._program.scratch_size
        )
        self.offsets = self._buffers.get("offsets", (parts, self.capacity), np.int32)
        self.block_sums = self._reals("block_sums", parts, block * summed)
        self.block_slopes = self._reals("block_slopes", parts, block * incoming)

    def _reals(self, name: str, *shape: int) -> NDArray[Any]:
        return self._buffers.get(name, shape, self._program.precision.dtype)
