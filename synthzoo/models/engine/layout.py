"""Where the channels of features lie in memory: in whole vectors.

A row holds the features of an atom, block by block. A block's components lie behind one
another, and its channels within a component. What is read or written on its own (the
channels of one path, of one gate) begins with a vector of its own, so that a block may
have channels in between, which are always zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.models.engine.shape import Block, Columns, Layer


@dataclass(frozen=True)
class Room:
    """Where the channels of a block lie.

    ``start``: of the block, within the row.
    ``components``: 2l + 1.
    ``stride``: from one component to the next.
    ``places``: of each channel, within a component, of shape ``(channels,)``.
    """

    start: int
    components: int
    stride: int
    places: NDArray[np.int64]

    def at(self, component: int, channel: int = 0) -> int:
        """Return the place of a number in the row."""
        return self.start + component * self.stride + int(self.places[channel])


@dataclass(frozen=True)
class Row:
    """Where the blocks of an atom's features lie.

    ``width``: of the row.
    """

    rooms: tuple[Room, ...]
    width: int


def padded(channels: int, width: int) -> int:
    """Return the channels of so many whole vectors."""
    return -(-channels // width) * width


def lay(
    blocks: Sequence[Block], pieces: Iterable[tuple[int, int, int]], width: int
) -> Row:
    """Return where the channels of blocks lie.

    ``pieces``: block, first channel and channel after the last of what is read or
    written on its own. Together they are all channels.
    ``width``: numbers in a vector.
    """
    by_block: dict[int, set[tuple[int, int]]] = {}
    for number, start, stop in pieces:
        by_block.setdefault(number, set()).add((start, stop))
    rooms, total = [], 0
    for number, block in enumerate(blocks):
        places = np.zeros(block.channels, dtype=np.int64)
        stride = 0
        for start, stop in sorted(by_block.get(number, {(0, block.channels)})):
            places[start:stop] = stride + np.arange(stop - start)
            stride += padded(stop - start, width)
        components = 2 * block.order + 1
        rooms.append(Room(total, components, stride, places))
        total += components * stride
    return Row(tuple(rooms), total)


@dataclass(frozen=True)
class LayerLayout:
    """Where all that a layer reads and writes lies.

    ``functions``: first column of each path's radial functions in the table's rows.
    ``columns``: of a row of the table.
    ``width``: numbers in a vector.
    """

    incoming: Row
    summed: Row
    mixed: Row
    outgoing: Row
    functions: tuple[int, ...]
    columns: int
    width: int

    def mixed_at(self, columns: Columns, component: int = 0) -> int:
        """Return where some channels of what goes into the gate begin."""
        return self.mixed.rooms[columns.block].at(component, columns.start)

    def outgoing_at(self, columns: Columns, component: int = 0) -> int:
        """Return where some channels of what comes out of the gate begin."""
        return self.outgoing.rooms[columns.block].at(component, columns.start)


def lay_out(layers: Sequence[Layer], width: int) -> list[LayerLayout]:
    """Return the layouts of all layers, for vectors of so many numbers."""
    found: list[LayerLayout] = []
    for layer in layers:
        incoming = found[-1].outgoing if found else lay(layer.incoming, (), width)
        parts: list[Any] = [*layer.scalars, *layer.gated]
        mixed = [_piece(part.columns) for part in parts]
        mixed += [_piece(part.gates) for part in layer.gated]
        outgoing = [_piece(part.target) for part in parts]
        functions, columns = [], 0
        for path in layer.paths:
            functions.append(columns)
            columns += incoming.rooms[path.source].stride
        found.append(
            LayerLayout(
                incoming=incoming,
                summed=_lay_summed(layer, incoming),
                mixed=lay(layer.mixed, mixed, width),
                outgoing=lay(layer.outgoing, outgoing, width),
                functions=tuple(functions),
                columns=columns,
                width=width,
            )
        )
    return found


def _lay_summed(layer: Layer, incoming: Row) -> Row:
    """Return the row of the messages: each path lies as its channels do."""
    rooms, total = [], 0
    for number, block in enumerate(layer.summed):
        places = np.zeros(block.channels, dtype=np.int64)
        stride = 0
        for path in sorted(layer.paths, key=lambda path: path.start):
            if path.target == number:
                source = incoming.rooms[path.source]
                places[path.start : path.start + path.channels] = stride + source.places
                stride += source.stride
        components = 2 * block.order + 1
        rooms.append(Room(total, components, stride, places))
        total += components * stride
    return Row(tuple(rooms), total)


def _piece(columns: Columns) -> tuple[int, int, int]:
    return columns.block, columns.start, columns.stop
