"""Loops that sum NequIP's messages, and the gradient of the sum.

The message along an edge, from its far atom j to its near atom i, is made of paths. In
each, channels of the features of j are multiplied by a radial function of the distance
and are coupled with a spherical harmonic of the direction. With m1, m2 and m3 counting
the components of features, harmonic and message, and u the channels,

    message[m3, u] = w_u(r) Σ_m1 M[m1, m3] x_j[m1, u],
    M[m1, m3] = Σ_m2 C[m1, m2, m3] Y[m2](r / |r|)

where C are the path's coupling coefficients (those of Clebsch and Gordan times a
constant). The loops are written down from the table of non-zero C; the first of a path
is made 1, and the radial functions are multiplied by it instead.

A loop runs over the edges of one atom, for some vectors of channels, and keeps what it
sums in registers: nothing of the size of edges times channels is ever stored. The
gradient is summed by the far atom, not the near one, so that no two loops write to one
place: each pair of atoms has two edges, and the harmonics of one are those of the other
but for a sign.

Edges of an atom begin at a multiple of a vector's width; those that fill up the last
vector are copies of no meaning, of a distance that is not zero.
"""

# ruff: noqa: C901, PLR0912, PLR0913, PLR0915  a loop is written where it is read

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llvmlite import ir

from synthzoo.models.engine.couplings import harmonics
from synthzoo.models.engine.emitter import INDEX, SMALL, Emitter, Value
from synthzoo.models.engine.splines import basis

if TYPE_CHECKING:
    from synthzoo.models.engine.layout import LayerLayout
    from synthzoo.models.engine.shape import Layer, Path

REGISTERS = 16
"""Vectors that a loop may carry; processors have 16 or 32, and some are needed."""

EDGES = {
    "starts": "pointer",
    "counts": "pointer",
    "others": "pointer",
    "cells": "pointer",
    "x": "pointer",
    "y": "pointer",
    "z": "pointer",
    "places": "pointer",
    "rates": "pointer",
}
"""What loops are told of the edges: first edge and number of edges of each atom; other
atom and interval of the table of each edge; its vector; its place in the interval, and
how many intervals there are to an Å."""

RANGE = {"first": "index", "last": "index"}

FORWARD = (
    RANGE
    | EDGES
    | dict.fromkeys(("features", "table", "sums", "scratch", "offsets"), "pointer")
    | {"capacity": "index"}
)

BACKWARD = (
    RANGE
    | EDGES
    | dict.fromkeys(
        (
            "features",
            "table",
            "slopes",
            "feature_slopes",
            "x_slopes",
            "y_slopes",
            "z_slopes",
            "scratch",
            "offsets",
        ),
        "pointer",
    )
    | {"capacity": "index"}
)

Combination = tuple[int, tuple[tuple[int, float], ...]]
"""A sum of harmonics: their order, and component and factor of each."""


@dataclass(frozen=True)
class Coupling:
    """A path's couplings, the first of which is 1.

    ``scale``: what its radial functions are multiplied by for that.
    ``pairs``: for components of features and message, what their product is multiplied
    by: a sum of harmonics, and a sign.
    """

    scale: float
    pairs: dict[tuple[int, int], tuple[Combination, int]]


def coupling_of(path: Path) -> Coupling:
    """Return a path's couplings, those with the same result joined."""
    scale = path.entries[0][3]
    sums: dict[tuple[int, int], list[tuple[int, float]]] = {}
    for before, edge, after, value in path.entries:
        sums.setdefault((before, after), []).append((edge, round(value / scale, 14)))
    pairs = {}
    for key, terms in sums.items():
        sign = 1 if terms[0][1] > 0 else -1
        combination = tuple((edge, sign * factor) for edge, factor in sorted(terms))
        pairs[key] = ((path.order, combination), sign)
    return Coupling(scale, pairs)


def combinations_of(layer: Layer) -> dict[Combination, int]:
    """Return the sums of harmonics that a layer needs, numbered."""
    found = {
        combination
        for path in layer.paths
        for combination, _ in coupling_of(path).pairs.values()
        if combination[0] > 0
    }
    return {each: number for number, each in enumerate(sorted(found))}


def components_of(layer: Layer) -> dict[tuple[int, int], int]:
    """Return order and component of the harmonics on a layer's edges, numbered."""
    orders = sorted({path.order for path in layer.paths if path.order})
    found = [(order, m) for order in orders for m in range(2 * order + 1)]
    return {each: number for number, each in enumerate(found)}


def scratch_size(layer: Layer, *, degree: int, width: int) -> int:
    """Return how many numbers of scratch the loops of a layer need for an edge."""
    rows = 2 * (degree + 1) + len(combinations_of(layer))
    slopes = 1 + len(components_of(layer))
    return rows + slopes + slopes * width


class Loops:
    """What the loops of a layer have in common."""

    def __init__(
        self,
        module: ir.Module,
        layer: Layer,
        layout: LayerLayout,
        *,
        name: str,
        arguments: dict[str, str],
        degree: int,
        real: str,
        width: int,
        flipped: bool,
    ) -> None:
        self.code = Emitter(module, name, arguments, real=real, width=width)
        self.given = self.code.arguments
        self.layer, self.layout, self.degree = layer, layout, degree
        self.flipped = flipped
        self.couplings = [coupling_of(path) for path in layer.paths]
        self.combinations = combinations_of(layer)
        self.sources = sorted({path.source for path in layer.paths})

    def edge_values(self, start: Value, count: Value, *, slopes: bool) -> None:
        """Write what depends on an edge's vector alone, for all edges of an atom.

        In scratch, a row each: the polynomials B_k, their derivatives if wanted, and
        the sums of harmonics; in offsets the row of the table.
        """
        code, given = self.code, self.given

        def body(edge: Value) -> None:
            here = code.plus(start, edge)
            self.put_offsets(here, edge)
            t = code.load_vector(given["places"], here)
            row = 0
            for order in range(2 if slopes else 1):
                for piece in basis(self.degree):
                    terms = piece
                    if order:
                        terms = tuple(n * c for n, c in enumerate(piece))[1:]
                    self.put(row, edge, code.polynomial(t, terms))
                    row += 1
            direction, _ = self.direction_of(here)
            for combination in self.combinations:
                self.put(row, edge, self.combined(combination, direction))
                row += 1

        code.loop(code.index(0), count, body, step=code.width)

    def edges_of(self, atom: Value) -> tuple[Value, Value]:
        """Return an atom's first edge, and how many it has."""
        start = self.code.load(self.given["starts"], atom, INDEX)
        return start, self.code.load_index(self.given["counts"], atom)

    def put_offsets(self, here: Value, edge: Value) -> None:
        """Write where the rows of the table begin, for a vector of edges."""
        code = self.code
        integers = ir.VectorType(SMALL, code.width)
        columns = ir.Constant(SMALL, self.layout.columns)
        place = code.at(self.given["cells"], here, SMALL)
        cells = code.builder.load(place, typ=integers, align=4)
        offsets = code.builder.mul(cells, ir.Constant(integers, [columns] * code.width))
        place = code.at(self.given["offsets"], edge, SMALL)
        code.builder.store(offsets, place, align=4)

    def direction_of(self, edge: Value) -> tuple[Monomials, Value]:
        """Return directions of a vector of edges, and one over their lengths.

        They point from the near to the far atom.
        """
        code = self.code
        parts = [code.load_vector(self.given[name], edge) for name in "xyz"]
        square = None
        for part in parts:
            square = code.multiply_add(part, part, square)
        inverse = code.divide(code.constant(1.0), code.square_root(square))
        signed = code.negative(inverse) if self.flipped else inverse
        unit = [code.multiply(part, signed) for part in parts]
        return Monomials(code, unit), inverse

    def combined(self, combination: Combination, direction: Monomials) -> Value:
        """Return a sum of harmonics of a direction."""
        order, terms = combination
        polynomial: dict[tuple[int, int, int], float] = {}
        for component, factor in terms:
            for *powers, value in harmonics(order)[component]:
                key = (powers[0], powers[1], powers[2])
                polynomial[key] = polynomial.get(key, 0.0) + factor * value
        return direction.sum(polynomial)

    def put(self, row: int, edge: Value, vector: Value) -> None:
        """Write numbers of a vector of edges."""
        self.code.store_vector(vector, self.given["scratch"], self._place(row, edge))

    def _place(self, row: int, edge: Value) -> Value:
        first = self.code.times(self.given["capacity"], row)
        return self.code.plus(first, edge)

    def get(self, row: int, edge: Value) -> Value:
        """Return a number of an edge, spread to a vector."""
        code = self.code
        return code.spread(code.load(self.given["scratch"], self._place(row, edge)))

    def harmonic_rows(self, *, slopes: bool) -> int:
        """Return the first row of the sums of harmonics."""
        return (self.degree + 1) * (2 if slopes else 1)

    def offset(self, edge: Value) -> Value:
        """Return where an edge's row of the table begins."""
        return self.code.load_index(self.given["offsets"], edge)

    def other(self, edge: Value, width: int) -> Value:
        """Return where the row of the edge's other atom begins."""
        number = self.code.load_index(self.given["others"], edge)
        return self.code.times(number, width)

    def spline(self, weights: Sequence[Value], place: Value) -> Value:
        """Return some radial functions of an edge, or their derivatives."""
        code, total = self.code, None
        for number, weight in enumerate(weights):
            row = code.at(place, number * self.layout.columns)
            total = code.multiply_add(weight, code.load_vector(row), total)
        return total

    def coupled(
        self, total: Value | None, factor: Value | None, sign: int, value: Value
    ) -> Value:
        """Return a total to which a value is added, times a factor and a sign."""
        code = self.code
        if factor is None:
            if total is None:
                return value if sign > 0 else code.negative(value)
            return (code.add if sign > 0 else code.subtract)(total, value)
        if sign > 0:
            return code.multiply_add(factor, value, total)
        return code.multiply_subtract(factor, value, total)


class Monomials:
    """Products of powers of a direction's components, each computed once."""

    def __init__(self, code: Emitter, direction: Sequence[Value]) -> None:
        self.code = code
        self.known: dict[tuple[int, int, int], Value] = {
            (1, 0, 0): direction[0],
            (0, 1, 0): direction[1],
            (0, 0, 1): direction[2],
        }

    def __getitem__(self, powers: tuple[int, int, int]) -> Value:
        if powers not in self.known:
            axis = next(a for a in range(3) if powers[a])
            fewer = tuple(p - (a == axis) for a, p in enumerate(powers))
            unit = tuple(int(a == axis) for a in range(3))
            self.known[powers] = self.code.multiply(self[fewer], self[unit])  # type: ignore[index]
        return self.known[powers]

    def sum(self, polynomial: dict[tuple[int, int, int], float]) -> Value:
        """Return a polynomial."""
        total = None
        for powers, factor in polynomial.items():
            if not factor:
                continue
            number = self.code.constant(factor)
            if not any(powers):
                total = number if total is None else self.code.add(total, number)
            else:
                total = self.code.multiply_add(self[powers], number, total)
        return self.code.zero() if total is None else total


def write_forward(
    module: ir.Module,
    layer: Layer,
    layout: LayerLayout,
    *,
    name: str,
    degree: int,
    real: str,
    width: int,
) -> None:
    """Write the function that sums the messages to a range of atoms.

    Its arguments are `FORWARD`: features of all atoms, the table, the sums that it
    writes, and room for what depends on an edge, for ``capacity`` edges.
    """
    loops = Loops(
        module,
        layer,
        layout,
        name=name,
        arguments=FORWARD,
        degree=degree,
        real=real,
        width=width,
        flipped=False,
    )
    code, given = loops.code, loops.given

    def atom(near: Value) -> None:
        start, count = loops.edges_of(near)
        loops.edge_values(start, count, slopes=False)
        sums = code.at(given["sums"], code.times(near, layout.summed.width))
        for source in loops.sources:
            for task in tasks(layer, source):
                _sum_task(loops, source, task, start, count, sums)

    code.loop(given["first"], given["last"], atom)
    code.done()


def tasks(layer: Layer, source: int, copies: int = 1) -> list[list[int]]:
    """Return the paths from a block, in groups whose results fit into registers."""
    found: list[list[int]] = []
    used = REGISTERS + 1
    for number, path in enumerate(layer.paths):
        if path.source == source:
            size = copies * (2 * layer.summed[path.target].order + 1)
            if used + size > REGISTERS:
                found.append([])
                used = 0
            found[-1].append(number)
            used += size
    return found


def unrolled(vectors: int, results: int) -> int:
    """Return for how many vectors of channels at once a loop over edges is written."""
    return max(
        each
        for each in range(1, vectors + 1)
        if vectors % each == 0 and (each == 1 or each * results <= REGISTERS)
    )


def _sum_task(
    loops: Loops,
    source: int,
    task: Sequence[int],
    start: Value,
    count: Value,
    sums: Value,
) -> None:
    code, given, layer, layout = loops.code, loops.given, loops.layer, loops.layout
    room = layout.incoming.rooms[source]
    sizes = [2 * layer.summed[layer.paths[n].target].order + 1 for n in task]
    vectors = room.stride // code.width
    together = unrolled(vectors, sum(sizes))

    def channels(first: Value) -> None:
        def edge(number: Value, *totals: Value) -> list[Value]:
            here = code.plus(start, number)
            features = code.at(
                given["features"], loops.other(here, layout.incoming.width)
            )
            table = code.at(given["table"], loops.offset(number))
            weights = [loops.get(k, number) for k in range(loops.degree + 1)]
            factors = {
                each: loops.get(loops.harmonic_rows(slopes=False) + row, number)
                for each, row in loops.combinations.items()
            }
            found = list(totals)
            for part in range(together):
                channel = code.plus(first, part * code.width)
                x = [
                    code.load_vector(code.at(features, room.at(m)), channel)
                    for m in range(room.components)
                ]
                place = part * sum(sizes)
                for n, size in zip(task, sizes, strict=True):
                    column = code.at(table, layout.functions[n])
                    w = loops.spline(weights, code.at(column, channel))
                    totals_here = found[place : place + size]
                    found[place : place + size] = _add_message(
                        loops, n, w, x, totals_here, factors
                    )
                    place += size
            return found

        zeros = [code.zero()] * (together * sum(sizes))
        totals = code.loop(code.index(0), count, edge, zeros)
        for part in range(together):
            place = part * sum(sizes)
            for n, size in zip(task, sizes, strict=True):
                path = layer.paths[n]
                target = layout.summed.rooms[path.target]
                for m in range(size):
                    code.store_vector(
                        totals[place + m],
                        code.at(sums, target.at(m, path.start) + part * code.width),
                        first,
                    )
                place += size

    code.loop(
        code.index(0),
        code.index(room.stride),
        channels,
        step=together * code.width,
    )


def _add_message(
    loops: Loops,
    number: int,
    w: Value,
    x: Sequence[Value],
    totals: Sequence[Value],
    factors: dict[Combination, Value],
) -> list[Value]:
    """Return sums to which the message of one path was added."""
    code, coupling = loops.code, loops.couplings[number]
    first = len(x) <= len(totals)
    values = [code.multiply(w, each) for each in x] if first else list(x)
    found: list[Value | None] = list(totals) if first else [None] * len(totals)
    for (before, after), (combination, sign) in coupling.pairs.items():
        factor = factors.get(combination)
        if factor is None and first:  # a product with a scalar
            found[after] = loops.coupled(totals[after], w, sign, x[before])
        else:
            found[after] = loops.coupled(found[after], factor, sign, values[before])
    if first:
        return found
    return [
        total if value is None else code.multiply_add(w, value, total)
        for value, total in zip(found, totals, strict=True)
    ]


def write_backward(
    module: ir.Module,
    layer: Layer,
    layout: LayerLayout,
    *,
    name: str,
    degree: int,
    real: str,
    width: int,
    first_layer: bool,
    last_layer: bool,
) -> None:
    """Write the gradient of the sums of messages, for a range of far atoms.

    Its arguments are `BACKWARD`: features, table, the slopes (what the sums' gradient
    is multiplied by); what it writes: slopes of the features, and adds to: slopes of
    the edges' vectors, each at the edge that leads back; and room for what depends on
    an edge.

    ``first_layer``: whether features depend on no position, so that their slopes are
    not wanted.
    ``last_layer``: whether the slopes of the edges are written, not added to.
    """
    loops = Loops(
        module,
        layer,
        layout,
        name=name,
        arguments=BACKWARD,
        degree=degree,
        real=real,
        width=width,
        flipped=True,
    )
    code, given = loops.code, loops.given
    harmonic_slopes = _HarmonicSlopes(loops)

    def atom(far: Value) -> None:
        start, count = loops.edges_of(far)
        loops.edge_values(start, count, slopes=True)
        harmonic_slopes.clear(count)
        for source in loops.sources:
            _slope_task(
                loops,
                harmonic_slopes,
                source,
                far,
                start,
                count,
                wanted=not first_layer,
            )
        harmonic_slopes.finish(start, count, added=not last_layer)

    code.loop(given["first"], given["last"], atom)
    code.done()


class _HarmonicSlopes:
    """Gradients with respect to an edge's distance and harmonics.

    Each is a vector at first, whose numbers are added up when all channels are done.
    """

    def __init__(self, loops: Loops) -> None:
        self.loops = loops
        rows = loops.harmonic_rows(slopes=True) + len(loops.combinations)
        orders = sorted({path.order for path in loops.layer.paths if path.order})
        self.places: dict[tuple[int, int], int] = {}
        for order in orders:
            for component in range(2 * order + 1):
                self.places[order, component] = 1 + len(self.places)
        self.size = 1 + len(self.places)
        self.rows = rows

    def _vectors(self, edge: Value) -> Value:
        """Return where the vectors of an edge begin, behind the rows of numbers."""
        code, given = self.loops.code, self.loops.given
        first = code.times(given["capacity"], self.rows + self.size)
        each = code.times(edge, self.size * code.width)
        return code.at(given["scratch"], code.plus(first, each))

    def clear(self, count: Value) -> None:
        """Begin with zeros."""
        code = self.loops.code

        def body(edge: Value) -> None:
            vectors = self._vectors(edge)
            for number in range(self.size):
                code.store_vector(code.zero(), vectors, number * code.width)

        code.loop(code.index(0), count, body)

    def add(self, edge: Value, parts: dict[int, Value]) -> None:
        """Add to an edge's vectors."""
        code = self.loops.code
        vectors = self._vectors(edge)
        for number, value in parts.items():
            old = code.load_vector(vectors, number * code.width)
            code.store_vector(code.add(old, value), vectors, number * code.width)

    def finish(self, start: Value, count: Value, *, added: bool) -> None:
        """Write the gradients with respect to the edges' vectors.

        ``added``: whether they are added to those on record.
        """
        loops = self.loops
        code, given = loops.code, loops.given

        def reduce(edge: Value) -> None:
            vectors = self._vectors(edge)
            for number in range(self.size):
                total = code.total(code.load_vector(vectors, number * code.width))
                row = code.times(given["capacity"], self.rows + number)
                code.store(total, given["scratch"], code.plus(row, edge))

        code.loop(code.index(0), count, reduce)

        def body(edge: Value) -> None:
            here = code.plus(start, edge)

            def row(number: int) -> Value:
                place = code.times(given["capacity"], self.rows + number)
                return code.load_vector(given["scratch"], code.plus(place, edge))

            direction, inverse = loops.direction_of(here)
            unit = [direction[axis] for axis in ((1, 0, 0), (0, 1, 0), (0, 0, 1))]
            gradient: list[Value] = []
            for axis in range(3):
                total = code.zero()
                for (order, component), number in self.places.items():
                    slope = derivative(harmonics(order)[component], axis)
                    if slope:
                        value = direction.sum(slope)
                        total = code.multiply_add(row(number), value, total)
                gradient.append(total)
            along = None
            for n, g in zip(unit, gradient, strict=True):
                along = code.multiply_add(n, g, along)
            radial = code.multiply(row(0), code.load_vector(given["rates"], here))
            for name, n, g in zip("xyz", unit, gradient, strict=True):
                across = code.multiply_subtract(n, along, g)
                slopes = given[f"{name}_slopes"]
                old = code.load_vector(slopes, here) if added else None
                new = code.multiply_add(across, inverse, old)
                new = code.multiply_add(radial, n, new)
                code.store_vector(new, slopes, here)

        code.loop(code.index(0), count, body, step=code.width)


def derivative(
    polynomial: Sequence[tuple[int, int, int, float]], axis: int
) -> dict[tuple[int, int, int], float]:
    """Return the derivative of a polynomial with respect to one component."""
    found: dict[tuple[int, int, int], float] = {}
    for i, j, k, value in polynomial:
        power = (i, j, k)[axis]
        if power:
            key = (i - (axis == 0), j - (axis == 1), k - (axis == 2))
            found[key] = found.get(key, 0.0) + power * value
    return found


def _slope_task(
    loops: Loops,
    harmonic_slopes: _HarmonicSlopes,
    source: int,
    far: Value,
    start: Value,
    count: Value,
    *,
    wanted: bool,
) -> None:
    code, given, layer, layout = loops.code, loops.given, loops.layer, loops.layout
    room = layout.incoming.rooms[source]
    task = [n for n, path in enumerate(layer.paths) if path.source == source]
    together = unrolled(room.stride // code.width, 2 * room.components)
    own = code.times(far, layout.incoming.width)
    features = code.at(given["features"], own)
    results = code.at(given["feature_slopes"], own)

    def channels(first: Value) -> None:
        places = [code.plus(first, part * code.width) for part in range(together)]
        x = [
            [
                code.load_vector(code.at(features, room.at(m)), place)
                for m in range(room.components)
            ]
            for place in places
        ]

        def edge(number: Value, *totals: Value) -> list[Value]:
            here = code.plus(start, number)
            slopes = code.at(given["slopes"], loops.other(here, layout.summed.width))
            table = code.at(given["table"], loops.offset(number))
            degree = loops.degree
            weights = [loops.get(k, number) for k in range(degree + 1)]
            derivatives = [loops.get(degree + 1 + k, number) for k in range(degree + 1)]
            factors = {
                each: loops.get(loops.harmonic_rows(slopes=True) + row, number)
                for each, row in loops.combinations.items()
            }
            found: list[Value] = []
            sums: dict[int, Value] = {}
            for part, place in enumerate(places):
                mine: list[Value | None] = list(
                    totals[part * room.components : (part + 1) * room.components]
                )
                for n in task:
                    path = layer.paths[n]
                    target = layout.summed.rooms[path.target]
                    g = [
                        code.load_vector(
                            code.at(slopes, target.at(m, path.start)), place
                        )
                        for m in range(target.components)
                    ]
                    column = code.at(code.at(table, layout.functions[n]), place)
                    w = loops.spline(weights, column)
                    dw = loops.spline(derivatives, column)
                    _add_slopes(
                        loops,
                        harmonic_slopes,
                        n,
                        (w, dw),
                        x[part],
                        g,
                        mine,
                        sums,
                        factors,
                    )
                found += mine if wanted else []
            harmonic_slopes.add(number, sums)
            return found

        zeros = [code.zero()] * (together * room.components if wanted else 0)
        totals = code.loop(code.index(0), count, edge, zeros)
        for number, total in enumerate(totals):
            part, m = divmod(number, room.components)
            code.store_vector(total, code.at(results, room.at(m)), places[part])

    code.loop(
        code.index(0), code.index(room.stride), channels, step=together * code.width
    )


def _add_slopes(
    loops: Loops,
    harmonic_slopes: _HarmonicSlopes,
    number: int,
    radial: tuple[Value, Value],
    x: Sequence[Value],
    g: Sequence[Value],
    feature_slopes: list[Value | None],
    sums: dict[int, Value],
    factors: dict[Combination, Value],
) -> None:
    """Add one path's part of the gradient along one edge.

    ``radial``: radial functions and their derivatives.
    ``feature_slopes``: what is added to for each component of the features; empty if
    that is not wanted.
    ``sums``: what is added to for distance and harmonics.
    """
    code, coupling = loops.code, loops.couplings[number]
    order = loops.layer.paths[number].order
    w, dw = radial
    gathered: list[Value | None] = [None] * len(x)
    for (before, after), (combination, sign) in coupling.pairs.items():
        gathered[before] = loops.coupled(
            gathered[before], factors.get(combination), sign, g[after]
        )
    inner = None
    for each, value in zip(x, gathered, strict=True):
        if value is not None:
            inner = code.multiply_add(each, value, inner)
    sums[0] = code.multiply_add(dw, inner, sums.get(0))
    if feature_slopes:
        for m, value in enumerate(gathered):
            if value is not None:
                feature_slopes[m] = code.multiply_add(w, value, feature_slopes[m])
    if order == 0:
        return
    scaled = [code.multiply(w, each) for each in x]
    products: dict[tuple[int, int], Value] = {}
    for (before, after), ((_, terms), sign) in coupling.pairs.items():
        for component, factor in terms:
            place = harmonic_slopes.places[order, component]
            total = sums.get(place)
            if abs(abs(factor) - 1) < 1e-12:
                add = code.multiply_add if sign * factor > 0 else code.multiply_subtract
                sums[place] = add(scaled[before], g[after], total)
                continue
            if (before, after) not in products:
                products[before, after] = code.multiply(scaled[before], g[after])
            sums[place] = code.multiply_add(
                products[before, after], code.constant(sign * factor), total
            )
