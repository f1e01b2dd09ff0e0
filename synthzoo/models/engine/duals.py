"""Loops for training: messages that move, and what changes them.

A loss of forces needs the gradient of a gradient. With E the energies, weighted, and v
a direction in which all positions move, that is the gradient, with respect to the
weights, of the derivative of E along v. So the loops here sum messages together with
their derivatives along v, and give the gradient of any function of both:

    message  = w M x
    moving   = M (w' x + w x') + M' w x

in the terms of `synthzoo.models.engine.messages`, a dash marking derivatives along v.
With p and q the slopes of both, and a = M p, b = M q and c = M' q,

    slope of x:  w (a + c) + w' b        slope of x':  w b
    slope of w:  x (a + c) + x' b        slope of w':  x b

Positions are not weights, so that these are all. Arrays of features hold all atoms
first, and the derivatives of all atoms behind them.
"""

# ruff: noqa: C901, PLR0913, PLR0915  a loop is written where it is read

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from synthzoo.models.engine.combinations import combinations_of
from synthzoo.models.engine.couplings import harmonics
from synthzoo.models.engine.loops import EDGES, RANGE, Loops, derivative, unrolled
from synthzoo.models.engine.loops import tasks as tasks_of
from synthzoo.models.engine.splines import basis

if TYPE_CHECKING:
    from llvmlite import ir

    from synthzoo.models.engine.combinations import Combination
    from synthzoo.models.engine.emitter import Value
    from synthzoo.models.engine.layout import LayerLayout
    from synthzoo.models.engine.precision import Precision
    from synthzoo.models.engine.shape import Layer

MOVES = {"x_moves": "pointer", "y_moves": "pointer", "z_moves": "pointer"}
"""How the vector of each edge moves."""

_ROOM = {"scratch": "pointer", "offsets": "pointer", "capacity": "index"}

FORWARD = (
    RANGE
    | EDGES
    | MOVES
    | dict.fromkeys(("features", "table", "sums"), "pointer")
    | {"atoms": "index"}
    | _ROOM
)
BACKWARD = (
    RANGE
    | EDGES
    | MOVES
    | dict.fromkeys(
        ("features", "table", "slopes", "feature_slopes", "table_slopes"), "pointer"
    )
    | {"atoms": "index"}
    | _ROOM
)


class _Factors(NamedTuple):
    """Numbers of an edge: B_k and sums of harmonics, and how they move."""

    weights: list[Value]
    moving_weights: list[Value]
    harmonics: dict[Combination, Value]
    moving_harmonics: dict[Combination, Value]


def scratch_size(layer: Layer, precision: Precision) -> int:
    """Return how many numbers of scratch the loops of a layer need for an edge."""
    return 2 * (precision.degree + 1 + len(combinations_of(layer)))


class _DualLoops(Loops):
    """Loops that know how edges move."""

    def dual_values(self, start: Value, count: Value) -> None:
        """Write the numbers of all edges of an atom to scratch."""
        code, given = self.code, self.given

        def body(edge: Value) -> None:
            here = code.plus(start, edge)
            self.put_offsets(here, edge)
            direction, inverse = self.direction_of(here)
            unit = [direction[axis] for axis in ((1, 0, 0), (0, 1, 0), (0, 0, 1))]
            moves = [code.load_vector(given[f"{axis}_moves"], here) for axis in "xyz"]
            if self.flipped:
                moves = [code.negative(move) for move in moves]
            along = None
            for n, move in zip(unit, moves, strict=True):
                along = code.multiply_add(n, move, along)
            turns = [
                code.multiply(code.multiply_subtract(n, along, move), inverse)
                for n, move in zip(unit, moves, strict=True)
            ]
            step = code.multiply(along, code.load_vector(given["rates"], here))
            t = code.load_vector(given["places"], here)
            pieces = basis(self.degree)
            values = [code.polynomial(t, piece) for piece in pieces]
            for piece in pieces:
                slope = tuple(n * c for n, c in enumerate(piece))[1:]
                values.append(code.multiply(step, code.polynomial(t, slope)))
            values += [self.combined(each, direction) for each in self.combinations]
            for order, terms in self.combinations:
                total = code.zero()
                for axis in range(3):
                    slope_of: dict[tuple[int, int, int], float] = {}
                    for component, factor in terms:
                        slopes = derivative(harmonics(order)[component], axis)
                        for powers, value in slopes.items():
                            old = slope_of.get(powers, 0.0)
                            slope_of[powers] = old + factor * value
                    value = direction.sum(slope_of)
                    total = code.multiply_add(turns[axis], value, total)
                values.append(total)
            for row, value in enumerate(values):
                self.put(row, edge, value)

        code.loop(code.index(0), count, body, step=code.width)

    def factors(self, edge: Value) -> _Factors:
        """Return an edge's numbers."""
        size = self.degree + 1
        first = 2 * size
        second = first + len(self.combinations)
        return _Factors(
            [self.get(row, edge) for row in range(size)],
            [self.get(size + row, edge) for row in range(size)],
            {
                each: self.get(first + row, edge)
                for each, row in self.combinations.items()
            },
            {
                each: self.get(second + row, edge)
                for each, row in self.combinations.items()
            },
        )


def write_forward(
    module: ir.Module,
    layer: Layer,
    layout: LayerLayout,
    *,
    name: str,
    precision: Precision,
    first_layer: bool,
) -> None:
    """Write the function that sums messages and their derivatives: `FORWARD`.

    ``first_layer``: whether features depend on no position, so that they do not move.
    """
    loops = _DualLoops(
        module,
        layer,
        layout,
        name=name,
        arguments=FORWARD,
        precision=precision,
        flipped=False,
    )
    code, given = loops.code, loops.given

    def atom(near: Value) -> None:
        start, count = loops.edges_of(near)
        loops.dual_values(start, count)
        sums = [
            code.at(given["sums"], code.times(row, layout.summed.width))
            for row in (near, code.plus(given["atoms"], near))
        ]
        for source in loops.sources:
            for task in tasks_of(layer, source, 2):
                _sum_task(loops, source, task, start, count, sums, still=first_layer)

    code.loop(given["first"], given["last"], atom)
    code.done()


def _sum_task(
    loops: _DualLoops,
    source: int,
    task: Sequence[int],
    start: Value,
    count: Value,
    sums: Sequence[Value],
    *,
    still: bool,
) -> None:
    code, given, layer, layout = loops.code, loops.given, loops.layer, loops.layout
    room = layout.incoming.rooms[source]
    sizes = [2 * layer.summed[layer.paths[n].target].order + 1 for n in task]
    half = sum(sizes)
    together = unrolled(room.stride // code.width, 2 * half)

    def channels(first: Value) -> None:
        def edge(number: Value, *totals: Value) -> list[Value]:
            here = code.plus(start, number)
            row = loops.other(here, layout.incoming.width)
            moved = code.times(given["atoms"], layout.incoming.width)
            features = code.at(given["features"], row)
            moving = code.at(features, moved)
            table = code.at(given["table"], loops.offset(number))
            factors = loops.factors(number)
            found = list(totals)
            for part in range(together):
                channel = code.plus(first, part * code.width)
                places = [room.at(m) for m in range(room.components)]
                x = [code.load_vector(code.at(features, p), channel) for p in places]
                dx = None
                if not still:
                    dx = [code.load_vector(code.at(moving, p), channel) for p in places]
                place = part * 2 * half
                for n, size in zip(task, sizes, strict=True):
                    column = code.at(code.at(table, layout.functions[n]), channel)
                    w = loops.spline(factors.weights, column)
                    dw = loops.spline(factors.moving_weights, column)
                    fixed = [code.multiply(w, each) for each in x]
                    moved_x = [code.multiply(dw, each) for each in x]
                    if dx is not None:
                        moved_x = [
                            code.multiply_add(w, each, old)
                            for each, old in zip(dx, moved_x, strict=True)
                        ]
                    for (before, after), (each, sign) in loops.couplings[
                        n
                    ].pairs.items():
                        factor = factors.harmonics.get(each)
                        at, moving_at = place + after, place + half + after
                        found[at] = loops.coupled(
                            found[at], factor, sign, fixed[before]
                        )
                        found[moving_at] = loops.coupled(
                            found[moving_at], factor, sign, moved_x[before]
                        )
                        if factor is not None:
                            found[moving_at] = loops.coupled(
                                found[moving_at],
                                factors.moving_harmonics[each],
                                sign,
                                fixed[before],
                            )
                    place += size
            return found

        zeros = [code.zero()] * (together * 2 * half)
        totals = code.loop(code.index(0), count, edge, zeros)
        for part in range(together):
            for kind, result in enumerate(sums):
                place = (2 * part + kind) * half
                for n, size in zip(task, sizes, strict=True):
                    path = layer.paths[n]
                    target = layout.summed.rooms[path.target]
                    for m in range(size):
                        at = target.at(m, path.start) + part * code.width
                        code.store_vector(totals[place + m], code.at(result, at), first)
                    place += size

    code.loop(
        code.index(0), code.index(room.stride), channels, step=together * code.width
    )


def write_backward(
    module: ir.Module,
    layer: Layer,
    layout: LayerLayout,
    *,
    name: str,
    precision: Precision,
    first_layer: bool,
) -> None:
    """Write the gradient of `write_forward`, for a range of far atoms: `BACKWARD`.

    It writes the slopes of features and adds to those of the table.
    """
    loops = _DualLoops(
        module,
        layer,
        layout,
        name=name,
        arguments=BACKWARD,
        precision=precision,
        flipped=True,
    )
    code, given = loops.code, loops.given

    def atom(far: Value) -> None:
        start, count = loops.edges_of(far)
        loops.dual_values(start, count)
        for source in loops.sources:
            _slope_task(loops, source, far, start, count, still=first_layer)

    code.loop(given["first"], given["last"], atom)
    code.done()


def _slope_task(
    loops: _DualLoops,
    source: int,
    far: Value,
    start: Value,
    count: Value,
    *,
    still: bool,
) -> None:
    code, given, layer, layout = loops.code, loops.given, loops.layer, loops.layout
    room = layout.incoming.rooms[source]
    size = room.components
    task = [n for n, path in enumerate(layer.paths) if path.source == source]
    together = unrolled(room.stride // code.width, 4 * size)
    rows = [
        code.times(row, layout.incoming.width)
        for row in (far, code.plus(given["atoms"], far))
    ]
    behind = code.times(given["atoms"], layout.summed.width)

    def channels(first: Value) -> None:
        places = [code.plus(first, part * code.width) for part in range(together)]

        def mine(row: Value) -> list[list[Value]]:
            features = code.at(given["features"], row)
            return [
                [
                    code.load_vector(code.at(features, room.at(m)), p)
                    for m in range(size)
                ]
                for p in places
            ]

        x = mine(rows[0])
        dx = None if still else mine(rows[1])

        def edge(number: Value, *totals: Value) -> list[Value]:
            here = code.plus(start, number)
            slopes = code.at(given["slopes"], loops.other(here, layout.summed.width))
            moving = code.at(slopes, behind)
            offset = loops.offset(number)
            table = code.at(given["table"], offset)
            results = code.at(given["table_slopes"], offset)
            factors = loops.factors(number)
            found = list(totals)
            for part, place in enumerate(places):
                at = part * 2 * size
                for n in task:
                    path = layer.paths[n]
                    target = layout.summed.rooms[path.target]
                    lanes = [target.at(m, path.start) for m in range(target.components)]
                    p = [
                        code.load_vector(code.at(slopes, lane), place) for lane in lanes
                    ]
                    q = [
                        code.load_vector(code.at(moving, lane), place) for lane in lanes
                    ]
                    column = code.plus(place, layout.functions[n])
                    w = loops.spline(factors.weights, code.at(table, column))
                    dw = loops.spline(factors.moving_weights, code.at(table, column))
                    first_sums, second_sums = _gathered(loops, n, p, q, factors, size)
                    slope = moving_slope = None
                    for m in range(size):
                        a, b = first_sums[m], second_sums[m]
                        if a is None or b is None:
                            continue
                        slope = code.multiply_add(x[part][m], a, slope)
                        moving_slope = code.multiply_add(x[part][m], b, moving_slope)
                        if dx is not None:
                            slope = code.multiply_add(dx[part][m], b, slope)
                            total = code.multiply_add(w, a, found[at + m])
                            found[at + m] = code.multiply_add(dw, b, total)
                            found[at + size + m] = code.multiply_add(
                                w, b, found[at + size + m]
                            )
                        else:
                            found[at + m] = code.multiply_add(
                                dw, b, code.multiply_add(w, a, found[at + m])
                            )
                    for k in range(loops.degree + 1):
                        cell = code.at(results, code.plus(column, k * layout.columns))
                        old = code.load_vector(cell)
                        old = code.multiply_add(factors.weights[k], slope, old)
                        old = code.multiply_add(
                            factors.moving_weights[k], moving_slope, old
                        )
                        code.store_vector(old, cell)
            return found

        zeros = [code.zero()] * (together * 2 * size)
        totals = code.loop(code.index(0), count, edge, zeros)
        for part, place in enumerate(places):
            for kind, row in enumerate(rows):
                result = code.at(given["feature_slopes"], row)
                for m in range(size):
                    value = totals[(2 * part + kind) * size + m]
                    code.store_vector(value, code.at(result, room.at(m)), place)

    code.loop(
        code.index(0), code.index(room.stride), channels, step=together * code.width
    )


def _gathered(
    loops: _DualLoops,
    number: int,
    p: Sequence[Value],
    q: Sequence[Value],
    factors: _Factors,
    size: int,
) -> tuple[list[Value | None], list[Value | None]]:
    """Return a + c and b for one path along one edge."""
    first: list[Value | None] = [None] * size
    second: list[Value | None] = [None] * size
    for (before, after), (each, sign) in loops.couplings[number].pairs.items():
        factor = factors.harmonics.get(each)
        first[before] = loops.coupled(first[before], factor, sign, p[after])
        second[before] = loops.coupled(second[before], factor, sign, q[after])
        if factor is not None:
            first[before] = loops.coupled(
                first[before], factors.moving_harmonics[each], sign, q[after]
            )
    return first, second
