"""From positions to edges, and from slopes of edges to forces and virial."""

# ruff: noqa: C901, PLR0915  a loop is written where it is read

from __future__ import annotations

from llvmlite import ir

from synthzoo.models.engine.emitter import INDEX, SMALL, Emitter, Value

SHORT = ir.IntType(16)
LINKS = ("starts", "counts", "others", "cells", "x", "y", "z", "places", "rates")

EDGES = (
    {"first": "index", "last": "index"}
    | dict.fromkeys(
        (
            "pair_counts",
            "pair_others",
            "images",
            "positions",
            "cell",
            "types",
            "reciprocals",
            "closest",
            *LINKS,
        ),
        "pointer",
    )
    | {"kinds": "index", "intervals": "index"}
)

FORCES = {"first": "index", "last": "index"} | dict.fromkeys(
    (
        "starts",
        "counts",
        "others",
        "x",
        "y",
        "z",
        "x_slopes",
        "y_slopes",
        "z_slopes",
        "forces",
        "virial",
    ),
    "pointer",
)


def write_edges(module: ir.Module, function: str, *, real: str, width: int) -> None:
    """Write the function that finds the edges among pairs of atoms.

    Its arguments are `EDGES`: of each atom the number of pairs; of each pair the other
    atom and the cell vectors between it and its image; positions, cell vectors and
    types in double precision and 32 bits; for each pair of types one over the cutoff;
    the number of types, and of intervals from 0 to the cutoff. It writes what the loops
    over edges read, and the smallest square of a distance. Atoms keep the place of
    their first edge.
    """
    code = Emitter(module, function, EDGES, real="float64", width=1)
    given, builder = code.arguments, code.builder
    kind = ir.FloatType() if real == "float32" else ir.DoubleType()

    def put(value: Value, array: str, place: Value) -> None:
        if kind is not code.real:
            value = builder.fptrunc(value, kind)
        code.store(value, given[array], place, kind)

    def number(value: Value) -> Value:
        return builder.sitofp(value, code.real)

    vectors = [code.load(given["cell"], n) for n in range(9)]
    intervals = number(given["intervals"])

    def atom(near: Value, closest: Value) -> list[Value]:
        start = code.load(given["starts"], near, INDEX)
        pairs = code.load_index(given["pair_counts"], near)
        home = [
            code.load(given["positions"], code.plus(code.times(near, 3), a))
            for a in range(3)
        ]
        kinds = code.times(code.load_index(given["types"], near), given["kinds"])

        def pair(each: Value, count: Value, closest: Value) -> list[Value]:
            place = code.plus(start, each)
            other = code.load(given["pair_others"], place, SMALL)
            far = builder.sext(other, INDEX)
            steps = [
                number(
                    builder.sext(
                        code.load(
                            given["images"], code.plus(code.times(place, 3), a), SHORT
                        ),
                        INDEX,
                    )
                )
                for a in range(3)
            ]
            square = None
            parts = []
            for axis in range(3):
                value = code.load(
                    given["positions"], code.plus(code.times(far, 3), axis)
                )
                value = code.subtract(value, home[axis])
                for a in range(3):
                    value = code.multiply_add(steps[a], vectors[3 * a + axis], value)
                parts.append(value)
                square = code.multiply_add(value, value, square)
            kind_of_pair = code.plus(kinds, code.load_index(given["types"], far))
            reciprocal = code.load(given["reciprocals"], kind_of_pair)
            share = code.multiply(code.square_root(square), reciprocal)
            scaled = code.multiply(share, intervals)
            cell = builder.fptosi(scaled, INDEX)
            here = code.plus(start, count)
            inside = builder.fcmp_ordered("<", share, code.number(1.0))
            with builder.if_then(inside):
                for name, value in zip("xyz", parts, strict=True):
                    put(value, name, here)
                put(code.subtract(scaled, number(cell)), "places", here)
                put(code.multiply(reciprocal, intervals), "rates", here)
                code.store(builder.trunc(cell, SMALL), given["cells"], here, SMALL)
                code.store(other, given["others"], here, SMALL)
            return [
                builder.add(count, builder.zext(inside, INDEX)),
                code.smaller(closest, square),
            ]

        count, closest = code.loop(code.index(0), pairs, pair, [code.index(0), closest])
        code.store(builder.trunc(count, SMALL), given["counts"], near, SMALL)
        filled = code.times(
            builder.sdiv(code.plus(count, width - 1), code.index(width)), width
        )

        def fill(each: Value) -> None:
            here = code.plus(start, each)
            for array in ("x", "y", "z", "places", "rates"):
                put(code.number(1.0 if array == "x" else 0.0), array, here)
            for array in ("cells", "others"):
                code.store(ir.Constant(SMALL, 0), given[array], here, SMALL)

        code.loop(count, filled, fill)
        return [closest]

    (closest,) = code.loop(
        given["first"], given["last"], atom, [code.number(float("inf"))]
    )
    code.store(closest, given["closest"])
    code.done()


def write_forces(module: ir.Module, name: str, *, real: str) -> None:
    """Write the function that adds up forces and virial.

    Its arguments are `FORCES`: edges and their slopes, each at the edge that leads
    back. What it adds to is in double precision: forces ``(atoms, 3)`` and ``Σ slope ⊗
    vector``, ``(3, 3)``.
    """
    code = Emitter(module, name, FORCES, real="float64", width=1)
    given, builder = code.arguments, code.builder
    kind = ir.FloatType() if real == "float32" else ir.DoubleType()

    def get(array: str, place: Value) -> Value:
        value = code.load(given[array], place, kind)
        return value if kind is code.real else builder.fpext(value, code.real)

    def atom(far: Value, *virial: Value) -> list[Value]:
        start = code.load(given["starts"], far, INDEX)
        count = code.load_index(given["counts"], far)

        def edge(each: Value, *sums: Value) -> list[Value]:
            here = code.plus(start, each)
            other = code.times(code.load_index(given["others"], here), 3)
            slopes = [get(f"{axis}_slopes", here) for axis in "xyz"]
            vector = [get(axis, here) for axis in "xyz"]
            for axis, slope in enumerate(slopes):
                place = code.plus(other, axis)
                force = code.add(code.load(given["forces"], place), slope)
                code.store(force, given["forces"], place)
            mine = [
                code.subtract(total, s) for total, s in zip(sums, slopes, strict=False)
            ]
            tensor = [
                code.multiply_subtract(slopes[n // 3], vector[n % 3], sums[3 + n])
                for n in range(9)
            ]
            return mine + tensor

        zero = code.number(0.0)
        sums = code.loop(code.index(0), count, edge, [zero] * 3 + list(virial))
        for axis in range(3):
            place = code.plus(code.times(far, 3), axis)
            force = code.add(code.load(given["forces"], place), sums[axis])
            code.store(force, given["forces"], place)
        return list(sums[3:])

    zeros = [code.number(0.0)] * 9
    virial = code.loop(given["first"], given["last"], atom, zeros)
    for number, value in enumerate(virial):
        code.store(value, given["virial"], number)
    code.done()
