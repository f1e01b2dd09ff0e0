"""What is called in which order in a pass through a network.

Forward, a layer sums the messages to a block of atoms, mixes these sums, and makes of
them what the next layer sends, before it goes on to the next block: nothing as wide as
the sums is kept for all atoms. Backward, the slopes of the sums are needed for all
atoms before the first message is differentiated.

What lies between two moments at which all atoms must be done is a stage. Its parts may
run at the same time.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from synthzoo.models.engine.geometry import LINKS
from synthzoo.models.engine.memory import AXES, BLOCK
from synthzoo.models.engine.sequence import calls, in_turns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.models.engine.memory import Memory, Who
    from synthzoo.models.engine.network import Network

Table = Any
"""Rows of calls: an array of shape ``(calls, COLUMNS)``."""

Stage = list[Table]
"""The tables of parts that may run at the same time."""


class Range(NamedTuple):
    """Ranges of atoms: ``first`` to ``last``, of shape ``(ranges,)``."""

    first: NDArray[np.int64]
    last: NDArray[np.int64]


class _Each(NamedTuple):
    """An address for each of several ranges."""

    addresses: NDArray[np.int64]


class Schedule:
    """The calls of a pass over certain atoms, in stages of parts.

    ``embed``: to be run once, for what depends on the types of atoms alone.
    ``forward``: from positions to features; ``backward``: from slopes of features to
    forces and virials.
    ``owners``: structure of each row of ``virials`` and ``closest``, which the calls
    fill.
    """

    def __init__(self, network: Network, who: Who, memory: Memory) -> None:
        self._network, self._who, self._memory = network, who, memory
        self._loop = [memory.edges[name].ctypes.data for name in LINKS]
        cuts = np.linspace(0, memory.atoms, memory.parts + 1).astype(int).tolist()
        self._parts = list(pairwise(cuts))
        self._segments = [_pieces(who.owners, *part) for part in self._parts]
        counts = [len(segment.first) for segment in self._segments]
        self._segment_places = np.split(np.arange(sum(counts)), np.cumsum(counts)[:-1])
        self.owners = np.concatenate(
            [who.owners[segment.first] for segment in self._segments]
        )
        self.virials, self.closest = memory.results(len(self.owners))
        self._blocks = [self._blocks_of(*part) for part in self._parts]
        self.embed = [self._features_of(0, blocks) for blocks in self._blocks]
        self.forward = self._stages(self._forward_tables)
        self.backward = self._stages(self._backward_tables)

    def _stages(self, tables_of: Any) -> list[Stage]:
        """Return stages; one part alone has nothing to wait for."""
        parts = [list(tables_of(part)) for part in range(len(self._parts))]
        if len(parts) == 1:
            return [[np.concatenate(parts[0])]]
        return [list(stage) for stage in zip(*parts, strict=True)]

    def _blocks_of(self, first: int, last: int) -> Range:
        """Return blocks of atoms of one type."""
        types = _pieces(self._who.types, first, last)
        cuts = [
            np.arange(start, stop, BLOCK)
            for start, stop in zip(types.first, types.last, strict=True)
        ]
        firsts = np.concatenate([*cuts, np.zeros(0, dtype=np.int64)])
        return Range(firsts, np.append(firsts[1:], last)[: len(firsts)])

    def _forward_tables(self, part: int) -> Iterator[Table]:
        blocks, layers = self._blocks[part], len(self._network.layers)
        for number in range(layers):
            tables = [
                self._messages(number, part, blocks),
                self._mix(number, part, blocks),
            ]
            if number + 1 < layers:
                tables.append(self._features_of(number + 1, blocks))
            table = in_turns(tables)
            yield table if number else np.concatenate([self._edges(part), table])

    def _backward_tables(self, part: int) -> Iterator[Table]:
        blocks = self._blocks[part]
        for number in reversed(range(len(self._network.layers))):
            yield self._mix_back(number, blocks)
            messages = self._messages_back(number, part, blocks)
            if number:
                yield in_turns([messages, self._features_back(number, part, blocks)])
            else:
                yield np.concatenate([messages, self._forces(part)])

    # calls

    def _edges(self, part: int) -> Table:
        memory, program = self._memory, self._network.program
        ranges = self._segments[part]
        return self._calls(
            "edges",
            ranges,
            memory.pair_counts,
            memory.pair_others,
            memory.images,
            memory.positions,
            _rows(memory.cells, self._who.owners[ranges.first]),
            memory.types,
            self._network.reciprocals,
            _rows(self.closest, self._segment_places[part]),
            *self._loop,
            len(program.shape.elements),
            program.precision.intervals,
        )

    def _forces(self, part: int) -> Table:
        memory = self._memory
        return self._calls(
            "forces",
            self._segments[part],
            *(memory.edges[name] for name in ("starts", "counts", "others", *AXES)),
            *memory.slopes,
            memory.forces[part],
            _rows(self.virials, self._segment_places[part]),
        )

    def _messages(self, number: int, part: int, blocks: Range) -> Table:
        memory = self._memory
        return self._calls(
            f"messages{number}",
            blocks,
            *self._loop,
            memory.features[number],
            self._network.layers[number].table,
            self._sums(number, part, blocks),
            memory.scratch[part],
            memory.offsets[part],
            memory.capacity,
        )

    def _mix(self, number: int, part: int, blocks: Range) -> Table:
        memory = self._memory
        return self._calls(
            f"mix{number}",
            blocks,
            self._sums(number, part, blocks),
            memory.incoming[number],
            memory.mixed[number],
            memory.incoming[number + 1],
            self._of_types(self._network.layers[number].mixed, blocks),
        )

    def _features_of(self, number: int, blocks: Range) -> Table:
        memory = self._memory
        return self._calls(
            f"features{number}",
            blocks,
            memory.incoming[number],
            memory.features[number],
            self._of_types(self._network.layers[number].features, blocks),
        )

    def _mix_back(self, number: int, blocks: Range) -> Table:
        memory = self._memory
        return self._calls(
            f"mix_back{number}",
            blocks,
            memory.incoming[number + 1],
            memory.mixed[number],
            memory.sums,
            memory.incoming[number],  # what is embedded has no slopes
            self._of_types(self._network.layers[number].mixed_back, blocks),
        )

    def _messages_back(self, number: int, part: int, blocks: Range) -> Table:
        memory = self._memory
        return self._calls(
            f"messages_back{number}",
            blocks,
            *self._loop,
            memory.features[number],
            self._network.layers[number].table,
            memory.sums,
            self._slopes(number, part, blocks),
            *memory.slopes,
            memory.scratch[part],
            memory.offsets[part],
            memory.capacity,
        )

    def _features_back(self, number: int, part: int, blocks: Range) -> Table:
        memory = self._memory
        return self._calls(
            f"features_back{number}",
            blocks,
            self._slopes(number, part, blocks),
            memory.incoming[number],
            self._of_types(self._network.layers[number].features_back, blocks),
        )

    def _of_types(self, weights: NDArray[Any], blocks: Range) -> _Each:
        return _rows(weights, self._who.types[blocks.first])

    def _sums(self, number: int, part: int, blocks: Range) -> _Each:
        width = self._network.program.layouts[number].summed.width
        return _shared(self._memory.block_sums[part], blocks, width)

    def _slopes(self, number: int, part: int, blocks: Range) -> _Each:
        width = self._network.program.layouts[number].incoming.width
        return _shared(self._memory.block_slopes[part], blocks, width)

    def _calls(self, name: str, ranges: Range, *arguments: Any) -> Table:
        """Return the calls of a function for ranges of atoms.

        ``arguments``: arrays, whole numbers, or an address for each range.
        """
        given: list[Any] = [*ranges]
        for each in arguments:
            if isinstance(each, np.ndarray):
                given.append(each.ctypes.data)
            else:
                given.append(each.addresses if isinstance(each, _Each) else each)
        address = self._network.program.addresses[name]
        return calls(address, len(ranges.first), given)


def _rows(array: NDArray[Any], numbers: NDArray[Any]) -> _Each:
    """Return where rows of an array begin."""
    return _Each(array.ctypes.data + array.strides[0] * numbers.astype(np.int64))


def _shared(room: NDArray[Any], blocks: Range, width: int) -> _Each:
    """Return, for each block, where row 0 would lie if its own first one began a room.

    The functions count atoms from 0; all blocks use the same room.
    """
    return _Each(room.ctypes.data - room.itemsize * width * blocks.first)


def _pieces(values: NDArray[Any], first: int, last: int) -> Range:
    """Return the ranges in which a value stays the same."""
    changes = first + 1 + np.flatnonzero(np.diff(values[first:last]))
    ends = np.array([first, *changes, last], dtype=np.int64)
    return Range(ends[:-1], ends[1:]) if last > first else Range(ends[:0], ends[:0])
