"""Compiled functions called one after the other, without Python in between.

A table of calls has a row of whole numbers for each: the address of a function, and its
arguments. The function behind the address reads them from there and calls another one
of the same module, so that one loop serves them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir

from synthzoo.models.engine.emitter import INDEX, POINTER

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLUMNS = 24
"""Numbers of a row: an address and at most 23 arguments."""

RUN = {"run": ("pointer", "index")}
"""The function that calls all functions of a table: first row and number of rows."""

_FUNCTION = ir.FunctionType(ir.VoidType(), [POINTER])


def entry_name(name: str) -> str:
    """Return what the function is called that reads the arguments of another one."""
    return f"enter_{name}"


def write_entry(module: ir.Module, name: str) -> None:
    """Write the function that reads the arguments of another one from a row."""
    function = module.globals[name]
    entry = ir.Function(module, _FUNCTION, name=entry_name(name))
    builder = ir.IRBuilder(entry.append_basic_block("entry"))
    arguments = [
        builder.load(_place(builder, entry.args[0], number), typ=argument.type)
        for number, argument in enumerate(function.args, start=1)
    ]
    builder.call(function, arguments)
    builder.ret_void()


def write_run(module: ir.Module) -> None:
    """Write the loop over the rows of a table: `RUN`."""
    signature = ir.FunctionType(ir.VoidType(), [POINTER, INDEX])
    function = ir.Function(module, signature, name="run")
    rows, count = function.args
    start, head, inside, after = (
        function.append_basic_block(name) for name in ("start", "head", "pass", "after")
    )
    builder = ir.IRBuilder(start)
    builder.branch(head)
    builder.position_at_end(head)
    number = builder.phi(INDEX)
    builder.cbranch(builder.icmp_signed("<", number, count), inside, after)
    builder.position_at_end(inside)
    row = _place(builder, rows, builder.mul(number, ir.Constant(INDEX, COLUMNS)))
    entry = builder.load(row, typ=_FUNCTION.as_pointer())
    builder.call(entry, [row])
    number.add_incoming(ir.Constant(INDEX, 0), start)
    number.add_incoming(builder.add(number, ir.Constant(INDEX, 1)), inside)
    builder.branch(head)
    builder.position_at_end(after)
    builder.ret_void()


def _place(builder: ir.IRBuilder, row: Any, number: Any) -> Any:
    if isinstance(number, int):
        number = ir.Constant(INDEX, number)
    return builder.gep(row, [number], source_etype=INDEX)


def calls(address: int, count: int, arguments: Sequence[Any]) -> NDArray[np.int64]:
    """Return the rows of several calls of one function.

    ``arguments``: each a whole number, or an array with one for each call.
    """
    row = np.zeros(COLUMNS, dtype=np.int64)
    same = [0 if isinstance(each, np.ndarray) else each for each in arguments]
    row[: len(same) + 1] = [address, *same]
    table = np.empty((count, COLUMNS), dtype=np.int64)
    table[:] = row
    for column, argument in enumerate(arguments, start=1):
        if isinstance(argument, np.ndarray):
            table[:, column] = argument
    return table


def in_turns(tables: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return the rows of tables of one length: the first of each, the second …."""
    return np.stack(tables, axis=1).reshape(-1, COLUMNS)
