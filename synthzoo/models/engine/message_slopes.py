"""Loops for the gradient of the sums that `synthzoo.models.engine.messages` makes."""

# ruff: noqa: C901, PLR0912, PLR0913, PLR0915  a loop is written where it is read

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from synthzoo.models.engine.combinations import components_of
from synthzoo.models.engine.couplings import harmonics
from synthzoo.models.engine.loops import EDGES, RANGE, Loops, derivative, unrolled

if TYPE_CHECKING:
    from llvmlite import ir

    from synthzoo.models.engine.combinations import Combination
    from synthzoo.models.engine.emitter import Value
    from synthzoo.models.engine.layout import LayerLayout
    from synthzoo.models.engine.precision import Precision
    from synthzoo.models.engine.shape import Layer

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


def write_backward(
    module: ir.Module,
    layer: Layer,
    layout: LayerLayout,
    *,
    name: str,
    precision: Precision,
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
        precision=precision,
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
        self.rows = loops.harmonic_rows(slopes=True) + len(loops.combinations)
        components = components_of(loops.layer)
        self.places = {each: 1 + number for each, number in components.items()}
        self.size = 1 + len(self.places)

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
