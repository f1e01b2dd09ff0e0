"""What a layer does with each atom alone: linear maps of channels, and the gate.

A linear map of channels is a matrix product for each component of a block. The gate
gives scalars to their nonlinearities, and multiplies the rest by such scalars. The
backward functions overwrite what goes into the gate by its slopes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from synthzoo.models.engine.emitter import Emitter, Value

if TYPE_CHECKING:
    from llvmlite import ir

    from synthzoo.models.engine.layout import LayerLayout, Row
    from synthzoo.models.engine.shape import Columns, Layer, Mixing

RANGE = {"first": "index", "last": "index"}
FEATURES = RANGE | dict.fromkeys(("incoming", "features", "weights"), "pointer")
FORWARD = RANGE | dict.fromkeys(
    ("sums", "incoming", "mixed", "outgoing", "weights"), "pointer"
)
BACKWARD = RANGE | dict.fromkeys(
    ("slopes", "mixed", "sums", "incoming_slopes", "weights"), "pointer"
)

ROWS = 6
"""Atoms of which a matrix product keeps its results in registers at a time."""

_PRODUCT = {
    "rows": "index",
    "inner": "index",
    "columns": "index",
    "left": "pointer",
    "left_stride": "index",
    "right": "pointer",
    "result": "pointer",
    "result_stride": "index",
    "added": "index",
}


class Map(NamedTuple):
    """A linear map between two blocks in memory.

    ``added``: whether its results are added to what is there.
    ``start``: of its matrix in the array of weights.
    """

    source: int
    target: int
    added: bool
    start: int


class Maps(NamedTuple):
    """Linear maps from one kind of row to another.

    ``missing``: blocks of the result that none of them writes.
    ``size``: numbers of all matrices.
    """

    each: tuple[Map, ...]
    missing: tuple[int, ...]
    size: int


def order_maps(
    groups: Sequence[tuple[Row, Sequence[tuple[int, int]]]], result: Row
) -> list[Maps]:
    """Return linear maps that together make one kind of row, a group after the other.

    ``groups``: row from which a group maps, and source and target of its maps.
    """
    written: set[int] = set()
    found, start = [], 0
    for row, pairs in groups:
        each, first = [], start
        for source, target in pairs:
            each.append(Map(source, target, target in written, start))
            written.add(target)
            start += row.rooms[source].stride * result.rooms[target].stride
        found.append(Maps(tuple(each), (), start - first))
    missing = tuple(n for n in range(len(result.rooms)) if n not in written)
    found[0] = found[0]._replace(missing=missing)
    return found


def pairs_of(mixings: Sequence[Mixing], *, back: bool = False) -> list[tuple[int, int]]:
    """Return source and target of linear maps, or of those that lead back."""
    pairs = [(mixing.source, mixing.target) for mixing in mixings]
    return [(target, source) for source, target in pairs] if back else pairs


class Dense:
    """Writes the functions of all layers into a module.

    Parameters
    ----------
    module
        What they become part of.
    real
        ``float32`` or ``float64``.
    width
        Numbers in a vector.
    tile
        Vectors in a row of the results that a matrix product keeps in registers.
    """

    def __init__(self, module: ir.Module, *, real: str, width: int, tile: int) -> None:
        self.module, self.real, self.width, self.tile = module, real, width, tile
        self._product = self._write_product()

    def emitter(self, name: str, arguments: dict[str, str], **options: bool) -> Emitter:
        """Return a new function."""
        return Emitter(
            self.module, name, arguments, real=self.real, width=self.width, **options
        )

    def write_features(self, name: str, maps: Maps, source: Row, target: Row) -> None:
        """Write a linear map of rows: `FEATURES`."""
        code = self.emitter(name, FEATURES)
        given = code.arguments
        self._map(code, maps, (given["incoming"], source), (given["features"], target))
        code.done()

    def write_forward(
        self, name: str, layer: Layer, layout: LayerLayout, maps: Sequence[Maps]
    ) -> None:
        """Write what comes after the messages: `FORWARD`.

        ``maps``: from the sums and from what came into the layer to the gate.
        """
        code = self.emitter(name, FORWARD)
        given = code.arguments
        mixed = given["mixed"], layout.mixed
        self._map(code, maps[0], (given["sums"], layout.summed), mixed)
        self._map(code, maps[1], (given["incoming"], layout.incoming), mixed)

        def atom(number: Value) -> None:
            before = code.at(given["mixed"], code.times(number, layout.mixed.width))
            after = code.at(
                given["outgoing"], code.times(number, layout.outgoing.width)
            )
            for part in layer.scalars:
                for column in self._columns(part.columns):
                    z = code.load_vector(before, layout.mixed_at(part.columns) + column)
                    value, _ = _activation(code, part.name, z)
                    value = code.multiply(value, code.constant(part.factor))
                    code.store_vector(
                        value, after, layout.outgoing_at(part.target) + column
                    )
            for gate in layer.gated:
                room = layout.mixed.rooms[gate.columns.block]
                for column in self._columns(gate.columns):
                    z = code.load_vector(before, layout.mixed_at(gate.gates) + column)
                    value, _ = _activation(code, gate.name, z)
                    value = code.multiply(value, code.constant(gate.factor))
                    for m in range(room.components):
                        vector = code.load_vector(
                            before, layout.mixed_at(gate.columns, m) + column
                        )
                        code.store_vector(
                            code.multiply(value, vector),
                            after,
                            layout.outgoing_at(gate.target, m) + column,
                        )

        code.loop(given["first"], given["last"], atom)
        code.done()

    def write_backward(
        self, name: str, layer: Layer, layout: LayerLayout, maps: Sequence[Maps]
    ) -> None:
        """Write the gradient of `write_forward`: `BACKWARD`.

        ``maps``: from the gate to the sums, and to what came into the layer; without
        the second one, its slopes are not written.
        """
        code = self.emitter(name, BACKWARD)
        given = code.arguments

        def atom(number: Value) -> None:
            before = code.at(given["mixed"], code.times(number, layout.mixed.width))
            after = code.at(given["slopes"], code.times(number, layout.outgoing.width))
            for part in layer.scalars:
                for column in self._columns(part.columns):
                    place = layout.mixed_at(part.columns) + column
                    _, slope = _activation(
                        code, part.name, code.load_vector(before, place)
                    )
                    g = code.load_vector(
                        after, layout.outgoing_at(part.target) + column
                    )
                    slope = code.multiply(slope, code.constant(part.factor))
                    code.store_vector(code.multiply(slope, g), before, place)
            for gate in layer.gated:
                room = layout.mixed.rooms[gate.columns.block]
                for column in self._columns(gate.columns):
                    gate_place = layout.mixed_at(gate.gates) + column
                    value, slope = _activation(
                        code, gate.name, code.load_vector(before, gate_place)
                    )
                    factor = code.constant(gate.factor)
                    value = code.multiply(value, factor)
                    total = None
                    for m in range(room.components):
                        place = layout.mixed_at(gate.columns, m) + column
                        g = code.load_vector(
                            after, layout.outgoing_at(gate.target, m) + column
                        )
                        total = code.multiply_add(
                            g, code.load_vector(before, place), total
                        )
                        code.store_vector(code.multiply(value, g), before, place)
                    slope = code.multiply(code.multiply(slope, factor), total)
                    code.store_vector(slope, before, gate_place)

        code.loop(given["first"], given["last"], atom)
        mixed = given["mixed"], layout.mixed
        self._map(code, maps[0], mixed, (given["sums"], layout.summed))
        if len(maps) > 1:
            self._map(code, maps[1], mixed, (given["incoming_slopes"], layout.incoming))
        code.done()

    def _columns(self, columns: Columns) -> range:
        """Return where the vectors of some channels begin, counted from the first."""
        size = columns.stop - columns.start
        return range(0, -(-size // self.width) * self.width, self.width)

    def _map(
        self,
        code: Emitter,
        maps: Maps,
        source: tuple[Value, Row],
        target: tuple[Value, Row],
    ) -> None:
        first, last = code.arguments["first"], code.arguments["last"]
        (left, left_row), (result, result_row) = source, target
        rows = code.builder.sub(last, first)
        left = code.at(left, code.times(first, left_row.width))
        result = code.at(result, code.times(first, result_row.width))
        for number in maps.missing:
            self._clear(code, rows, result, result_row, number)
        for each in maps.each:
            room_in, room_out = (
                left_row.rooms[each.source],
                result_row.rooms[each.target],
            )
            for m in range(room_in.components):
                code.builder.call(
                    self._product,
                    [
                        rows,
                        code.index(room_in.stride),
                        code.index(room_out.stride),
                        code.at(left, room_in.start + m * room_in.stride),
                        code.index(left_row.width),
                        code.at(code.arguments["weights"], each.start),
                        code.at(result, room_out.start + m * room_out.stride),
                        code.index(result_row.width),
                        code.index(int(each.added)),
                    ],
                )

    def _clear(
        self, code: Emitter, rows: Value, result: Value, row: Row, number: int
    ) -> None:
        room = row.rooms[number]

        def body(atom: Value) -> None:
            place = code.at(result, code.times(atom, row.width))
            for column in range(0, room.components * room.stride, self.width):
                code.store_vector(code.zero(), place, room.start + column)

        code.loop(code.index(0), rows, body)

    def _write_product(self) -> ir.Function:
        """Write ``result = left right``, or ``+=``, of matrices that lie row by row."""
        code = self.emitter("product", _PRODUCT, inner=True)
        given = code.arguments
        tiles = [t for t in (8, 4, 2, 1) if t <= self.tile]

        def columns(tile: int) -> Callable[[Value], None]:
            def body(column: Value) -> None:
                row: Value = code.index(0)
                for count in (ROWS, 2, 1):
                    row = self._rows(code, row, count, column, tile)

            return body

        column: Value = code.index(0)
        for tile in tiles:
            step = tile * self.width
            whole = code.builder.sdiv(
                code.builder.sub(given["columns"], column), code.index(step)
            )
            stop = code.plus(column, code.times(whole, step))
            code.loop(column, stop, columns(tile), step=step)
            column = stop
        code.done()
        return code.function

    def _rows(
        self, code: Emitter, start: Value, count: int, column: Value, tile: int
    ) -> Value:
        """Write the product for as many groups of rows as there are from a start on."""
        given = code.arguments
        left = code.builder.sub(given["rows"], start)
        whole = code.builder.sdiv(left, code.index(count))
        stop = code.plus(start, code.times(whole, count))

        def body(row: Value) -> None:
            lefts = [
                code.at(
                    given["left"],
                    code.times(code.plus(row, each), given["left_stride"]),
                )
                for each in range(count)
            ]
            results = [
                code.at(
                    given["result"],
                    code.plus(
                        code.times(code.plus(row, each), given["result_stride"]), column
                    ),
                )
                for each in range(count)
            ]
            added = code.builder.icmp_signed("!=", given["added"], code.index(0))

            def inner(k: Value, *totals: Value) -> list[Value]:
                right = code.at(
                    given["right"],
                    code.plus(code.times(k, given["columns"]), column),
                )
                vectors = [
                    code.load_vector(right, each * self.width) for each in range(tile)
                ]
                found = []
                for each in range(count):
                    number = code.spread(code.load(lefts[each], k))
                    found += [
                        code.multiply_add(number, vector, totals[each * tile + place])
                        for place, vector in enumerate(vectors)
                    ]
                return found

            zeros = [code.zero()] * (count * tile)
            totals = code.loop(code.index(0), given["inner"], inner, zeros)
            for each in range(count):
                for place in range(tile):
                    old = code.load_vector(results[each], place * self.width)
                    old = code.builder.select(added, old, code.zero())
                    code.store_vector(
                        code.add(totals[each * tile + place], old),
                        results[each],
                        place * self.width,
                    )

        code.loop(start, stop, body, step=count)
        return stop


def _activation(code: Emitter, name: str, z: Value) -> tuple[Value, Value]:
    """Return a nonlinearity of a vector, and its derivative."""
    one = code.constant(1.0)
    if name == "tanh":
        twice = code.exponential(code.add(z, z))
        value = code.subtract(
            one, code.divide(code.constant(2.0), code.add(twice, one))
        )
        return value, code.multiply_subtract(value, value, one)
    sigmoid = code.divide(one, code.add(one, code.exponential(code.negative(z))))
    if name == "silu":
        rest = code.multiply(z, code.subtract(one, sigmoid))
        return code.multiply(z, sigmoid), code.multiply_add(sigmoid, rest, sigmoid)
    if name != "ssp":
        raise NotImplementedError(name)
    small = code.exponential(code.negative(code.magnitude(z)))
    above = code.add(code.larger(z, code.zero()), code.logarithm_of_1_plus(small))
    return code.subtract(above, code.constant(0.6931471805599453)), sigmoid
