"""Functions of whole vectors, written down in LLVM's intermediate language.

A loop compiler decides by itself what becomes a vector and what stays in a register.
Here the loops say so: a value is a number, or a vector that fills a register of the
processor, and what a loop carries from pass to pass stays in registers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

Value = Any
"""A value of `llvmlite.ir`: a number, a vector or a pointer."""

INDEX = ir.IntType(64)
SMALL = ir.IntType(32)
POINTER = ir.PointerType()
CACHE_LINE = 64


class Emitter:
    """One function, instruction by instruction.

    Parameters
    ----------
    module
        What the function becomes part of.
    name
        Of the function.
    arguments
        Name of each argument and what it is: ``pointer``, ``index`` (64 bits) or
        ``real``.
    real
        ``float32`` or ``float64``.
    width
        Numbers in a vector.
    inner
        Whether only other functions of the module call it.
    """

    def __init__(
        self,
        module: ir.Module,
        name: str,
        arguments: dict[str, str],
        *,
        real: str,
        width: int,
        inner: bool = False,
    ) -> None:
        self.module = module
        self.real: Any = ir.FloatType() if real == "float32" else ir.DoubleType()
        self.single = real == "float32"
        self.size = 4 if self.single else 8
        self.width = width
        self.vector = ir.VectorType(self.real, width)
        kinds = {"pointer": POINTER, "index": INDEX, "real": self.real}
        types = [kinds[kind] for kind in arguments.values()]
        self.function = ir.Function(
            module, ir.FunctionType(ir.VoidType(), types), name=name
        )
        if inner:
            self.function.linkage = "internal"
        for argument, kind in zip(self.function.args, arguments.values(), strict=True):
            if kind == "pointer" and not inner:
                argument.add_attribute("noalias")
        self.arguments: dict[str, Value] = dict(
            zip(arguments, self.function.args, strict=True)
        )
        self.builder = ir.IRBuilder(self.function.append_basic_block("entry"))

    def done(self) -> None:
        """End the function."""
        self.builder.ret_void()

    # numbers

    def index(self, value: int) -> Value:
        """Return a whole number as a constant."""
        return ir.Constant(INDEX, value)

    def number(self, value: float) -> Value:
        """Return a constant of the function's precision."""
        return ir.Constant(self.real, value)

    def constant(self, value: float) -> Value:
        """Return a vector of one constant."""
        return ir.Constant(self.vector, [self.number(value)] * self.width)

    def zero(self) -> Value:
        """Return a vector of zeros."""
        return self.constant(0.0)

    def spread(self, number: Value) -> Value:
        """Return a vector of one number."""
        undefined = ir.Constant(self.vector, ir.Undefined)
        first = self.builder.insert_element(undefined, number, ir.Constant(SMALL, 0))
        mask = ir.Constant(ir.VectorType(SMALL, self.width), [0] * self.width)
        return self.builder.shuffle_vector(first, undefined, mask)

    # memory

    def at(self, pointer: Value, offset: Value | int, kind: Any = None) -> Value:
        """Return a pointer to an element, counted in elements of ``kind``."""
        if isinstance(offset, int):
            if offset == 0:
                return pointer
            offset = self.index(offset)
        element = self.real if kind is None else kind
        return self.builder.gep(pointer, [offset], source_etype=element)

    def load(self, pointer: Value, offset: Value | int = 0, kind: Any = None) -> Value:
        """Return an element."""
        element = self.real if kind is None else kind
        return self.builder.load(self.at(pointer, offset, element), typ=element)

    def load_index(self, pointer: Value, offset: Value | int = 0) -> Value:
        """Return a whole number of 32 bits, as one of 64."""
        return self.builder.sext(self.load(pointer, offset, SMALL), INDEX)

    def store(
        self, value: Value, pointer: Value, offset: Value | int = 0, kind: Any = None
    ) -> None:
        """Write an element."""
        self.builder.store(value, self.at(pointer, offset, kind))

    def load_vector(self, pointer: Value, offset: Value | int = 0) -> Value:
        """Return the vector that begins at an element."""
        place = self.at(pointer, offset)
        return self.builder.load(place, align=self.size, typ=self.vector)

    def store_vector(
        self, value: Value, pointer: Value, offset: Value | int = 0
    ) -> None:
        """Write the vector that begins at an element."""
        self.builder.store(value, self.at(pointer, offset), align=self.size)

    # arithmetic

    def add(self, a: Value, b: Value) -> Value:
        """Return a + b."""
        return self.builder.fadd(a, b)

    def subtract(self, a: Value, b: Value) -> Value:
        """Return a - b."""
        return self.builder.fsub(a, b)

    def multiply(self, a: Value, b: Value) -> Value:
        """Return a b."""
        return self.builder.fmul(a, b)

    def divide(self, a: Value, b: Value) -> Value:
        """Return a / b."""
        return self.builder.fdiv(a, b)

    def negative(self, a: Value) -> Value:
        """Return -a."""
        return self.builder.fneg(a)

    def multiply_add(self, a: Value, b: Value, c: Value | None) -> Value:
        """Return a b + c, or a b."""
        if c is None:
            return self.multiply(a, b)
        return self._intrinsic("fmuladd", a, b, c)

    def multiply_subtract(self, a: Value, b: Value, c: Value | None) -> Value:
        """Return c - a b, or -a b."""
        return self.multiply_add(self.negative(a), b, c)

    def square_root(self, a: Value) -> Value:
        """Return the square root."""
        return self._intrinsic("sqrt", a)

    def floor(self, a: Value) -> Value:
        """Return the largest whole number that is not above."""
        return self._intrinsic("floor", a)

    def smaller(self, a: Value, b: Value) -> Value:
        """Return the smaller of two."""
        return self._intrinsic("minnum", a, b)

    def larger(self, a: Value, b: Value) -> Value:
        """Return the larger of two."""
        return self._intrinsic("maxnum", a, b)

    def magnitude(self, a: Value) -> Value:
        """Return the absolute value."""
        return self._intrinsic("fabs", a)

    def whole(self, a: Value) -> Value:
        """Return a vector as whole numbers of 32 bits."""
        return self.builder.fptosi(a, ir.VectorType(SMALL, self.width))

    def total(self, vector: Value) -> Value:
        """Return the sum of a vector's numbers, by halves."""
        width = self.width
        while width > 1:
            width //= 2
            low, high = (
                ir.Constant(
                    ir.VectorType(SMALL, width), list(range(start, start + width))
                )
                for start in (0, width)
            )
            vector = self.add(
                self.builder.shuffle_vector(vector, vector, low),
                self.builder.shuffle_vector(vector, vector, high),
            )
        return self.builder.extract_element(vector, ir.Constant(SMALL, 0))

    def polynomial(self, x: Value, coefficients: Sequence[float]) -> Value:
        """Return Σ c_n xⁿ of a vector, the constant's coefficient first."""
        result = self.constant(coefficients[-1])
        for coefficient in reversed(coefficients[:-1]):
            result = self.multiply_add(result, x, self.constant(coefficient))
        return result

    def exponential(self, x: Value) -> Value:
        """Return eˣ of a vector to rounding, where that is a normal number."""
        limit, terms, bits, bias = (
            (87.0, 8, 23, 127) if self.single else (708.0, 14, 52, 1023)
        )
        x = self.larger(self.smaller(x, self.constant(limit)), self.constant(-limit))
        halves = self.multiply_add(
            x, self.constant(1 / math.log(2)), self.constant(0.5)
        )
        power = self.floor(halves)
        high = math.ldexp(round(math.ldexp(math.log(2), 9)), -9)
        rest = self.multiply_subtract(power, self.constant(high), x)
        rest = self.multiply_subtract(power, self.constant(math.log(2) - high), rest)
        value = self.polynomial(rest, [1 / math.factorial(n) for n in range(terms)])
        integer = SMALL if self.single else INDEX
        kind = ir.VectorType(integer, self.width)
        exponent = self.builder.fptosi(power, kind)
        shift, offset = (
            ir.Constant(kind, [ir.Constant(integer, number)] * self.width)
            for number in (bits, bias)
        )
        scaled = self.builder.shl(self.builder.add(exponent, offset), shift)
        return self.multiply(value, self.builder.bitcast(scaled, self.vector))

    def logarithm_of_1_plus(self, x: Value) -> Value:
        """Return log(1 + x) of a vector for 0 ≤ x ≤ 1, by the series of artanh."""
        terms = 9 if self.single else 18
        ratio = self.divide(x, self.add(x, self.constant(2.0)))
        series = self.polynomial(
            self.multiply(ratio, ratio), [2 / (2 * n + 1) for n in range(terms)]
        )
        return self.multiply(ratio, series)

    def _intrinsic(self, name: str, *values: Value) -> Value:
        kind = values[0].type
        letter = "f32" if self.single else "f64"
        if isinstance(kind, ir.VectorType):
            letter = f"v{kind.count}{letter}"
        full = f"llvm.{name}.{letter}"
        function = self.module.globals.get(full)
        if function is None:
            signature = ir.FunctionType(kind, [kind] * len(values))
            function = ir.Function(self.module, signature, name=full)
        return self.builder.call(function, values)

    # flow

    def loop(
        self,
        start: Value,
        stop: Value,
        body: Callable[..., Sequence[Value] | None],
        carried: Sequence[Value] = (),
        *,
        step: int = 1,
    ) -> list[Value]:
        """Write a loop over whole numbers, and return what it carried at its end.

        ``body``: called with the number, and with what the last pass handed on; it
        writes one pass and returns what that hands on.
        ``carried``: what the first pass is given.
        """
        builder = self.builder
        before = builder.block
        head, inside, after = (
            self.function.append_basic_block(name) for name in ("head", "pass", "after")
        )
        builder.branch(head)
        builder.position_at_end(head)
        number = builder.phi(INDEX)
        number.add_incoming(start, before)
        values = [builder.phi(value.type) for value in carried]
        for value, first in zip(values, carried, strict=True):
            value.add_incoming(first, before)
        builder.cbranch(builder.icmp_signed("<", number, stop), inside, after)
        builder.position_at_end(inside)
        found = body(number, *values) or ()
        number.add_incoming(builder.add(number, self.index(step)), builder.block)
        for value, new in zip(values, found, strict=True):
            value.add_incoming(new, builder.block)
        builder.branch(head)
        builder.position_at_end(after)
        return values

    def times(self, a: Value, b: Value | int) -> Value:
        """Return the product of whole numbers."""
        return self.builder.mul(a, self.index(b) if isinstance(b, int) else b)

    def plus(self, a: Value, b: Value | int) -> Value:
        """Return the sum of whole numbers."""
        return self.builder.add(a, self.index(b) if isinstance(b, int) else b)
