"""Rows of features as the engine lays them out, and linear maps of their channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from synthzoo.models.engine.layout import Room, Row
    from synthzoo.models.engine.shape import Mixing


def blocks_of(rows: Tensor, row: Row) -> list[Tensor]:
    """Return the blocks of rows: (rows, components, channels)."""
    sizes = [room.components * room.stride for room in row.rooms]
    return [
        part.reshape(len(rows), room.components, room.stride)
        for part, room in zip(torch.split(rows, sizes, 1), row.rooms, strict=True)
    ]


def rows_of(blocks: Sequence[Tensor | None], row: Row, like: Tensor) -> Tensor:
    """Return rows of blocks; those that are missing are zero."""
    parts = [
        like.new_zeros(len(like), room.components * room.stride)
        if block is None
        else block.reshape(len(like), -1)
        for block, room in zip(blocks, row.rooms, strict=True)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


def mapped(
    rows: Tensor, mixings: Sequence[Mixing], flat: Tensor, source: Row, target: Row
) -> Tensor:
    """Return what linear maps of channels make of rows."""
    matrices = [
        (each.factor * part).view(each.shape)
        for each, part in zip(mixings, parts_of(flat, mixings), strict=True)
    ]
    return multiplied(rows, mixings, matrices, source, target)


def parts_of(flat: Tensor, mixings: Sequence[Mixing]) -> Sequence[Tensor]:
    """Return the weights of each map; they lie one behind the other."""
    parts: Sequence[Tensor] = torch.split(
        flat, [each.stop - each.start for each in mixings]
    )
    return parts


def multiplied(
    rows: Tensor,
    mixings: Sequence[Mixing],
    matrices: Sequence[Tensor],
    source: Row,
    target: Row,
) -> Tensor:
    """Return what matrices of channels make of rows."""
    before = blocks_of(rows, source)
    after: list[Tensor | None] = [None] * len(target.rooms)
    for each, matrix in zip(mixings, matrices, strict=True):
        room, result = source.rooms[each.source], target.rooms[each.target]
        made = before[each.source] @ _placed(matrix, room, result)
        old = after[each.target]
        after[each.target] = made if old is None else old + made
    return rows_of(after, target, rows)


def _placed(matrix: Tensor, source: Room, target: Room) -> Tensor:
    """Return a matrix of channels as they lie in memory."""
    if (source.stride, target.stride) == tuple(matrix.shape):
        return matrix
    whole = matrix.new_zeros(source.stride, target.stride)
    rows, columns = torch.from_numpy(source.places), torch.from_numpy(target.places)
    whole[rows[:, None], columns] = matrix
    return whole
