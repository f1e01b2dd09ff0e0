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

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from synthzoo.models.engine.loops import EDGES, RANGE, Loops, tasks, unrolled

if TYPE_CHECKING:
    from llvmlite import ir

    from synthzoo.models.engine.combinations import Combination
    from synthzoo.models.engine.emitter import Value
    from synthzoo.models.engine.layout import LayerLayout
    from synthzoo.models.engine.precision import Precision
    from synthzoo.models.engine.shape import Layer

FORWARD = (
    RANGE
    | EDGES
    | dict.fromkeys(("features", "table", "sums", "scratch", "offsets"), "pointer")
    | {"capacity": "index"}
)


def write_forward(
    module: ir.Module,
    layer: Layer,
    layout: LayerLayout,
    *,
    name: str,
    precision: Precision,
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
        precision=precision,
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
