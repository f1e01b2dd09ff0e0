"""What all loops over the edges of atoms have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from llvmlite import ir

from synthzoo.models.engine.combinations import (
    Combination,
    combinations_of,
    coupling_of,
)
from synthzoo.models.engine.couplings import harmonics
from synthzoo.models.engine.emitter import INDEX, SMALL, Emitter, Value
from synthzoo.models.engine.splines import basis

if TYPE_CHECKING:
    from synthzoo.models.engine.layout import LayerLayout
    from synthzoo.models.engine.precision import Precision
    from synthzoo.models.engine.shape import Layer

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


class Loops:
    """What the loops of a layer have in common."""

    def __init__(  # noqa: PLR0913  what is to be written, and where
        self,
        module: ir.Module,
        layer: Layer,
        layout: LayerLayout,
        *,
        name: str,
        arguments: dict[str, str],
        precision: Precision,
        flipped: bool,
    ) -> None:
        real, width = precision.real, precision.width
        self.code = Emitter(module, name, arguments, real=real, width=width)
        self.given = self.code.arguments
        self.layer, self.layout, self.degree = layer, layout, precision.degree
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
