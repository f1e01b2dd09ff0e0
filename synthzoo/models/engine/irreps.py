"""Irreducible representations of features, sorted and joined as e3nn does."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

Kind = tuple[int, int]
"""Order and parity. e3nn sorts by them: odd before even."""


class Block(NamedTuple):
    """Channels of one irreducible representation, adjacent.

    ``order``: l; a channel has ``2 * order + 1`` components.
    ``parity``: 1 or -1.
    """

    channels: int
    order: int
    parity: int

    @property
    def kind(self) -> Kind:
        """Order and parity."""
        return self.order, self.parity


Blocks = tuple[Block, ...]


def parse(text: str) -> Blocks:
    """Return the blocks of a text such as ``32x0e+16x1o``, as they stand there."""
    found = re.finditer(r"(?:(\d+)x)?(\d+)([eo])", text)
    return tuple(
        Block(int(match[1] or 1), int(match[2]), 1 if match[3] == "e" else -1)
        for match in found
    )


def written(blocks: Blocks) -> str:
    """Return the text of blocks, as `parse` reads it."""
    return "+".join(
        f"{block.channels}x{block.order}{'e' if block.parity == 1 else 'o'}"
        for block in blocks
    )


def of_harmonics(max_order: int) -> Blocks:
    """Return the blocks of spherical harmonics of all orders up to a largest."""
    return tuple(Block(1, order, (-1) ** order) for order in range(max_order + 1))


def joined(blocks: Sequence[Block]) -> Blocks:
    """Return blocks in which neighbours of one kind are one (e3nn's `simplify`)."""
    found: list[Block] = []
    for block in blocks:
        if found and found[-1].kind == block.kind:
            channels = found.pop().channels + block.channels
            found.append(Block(channels, *block.kind))
        else:
            found.append(block)
    return tuple(found)


def sorting(blocks: Sequence[Block]) -> list[int]:
    """Return the indices that sort blocks by kind and keep the order within one."""
    return sorted(range(len(blocks)), key=lambda index: blocks[index].kind)


def products(left: Block, right: Block) -> Iterator[Kind]:
    """Yield the kinds that the product of two representations is made of."""
    for order in range(abs(left.order - right.order), left.order + right.order + 1):
        yield order, left.parity * right.parity


def reachable(left: Sequence[Block], right: Sequence[Block]) -> set[Kind]:
    """Return all kinds that products of two sets of blocks are made of."""
    return {kind for a in left for b in right for kind in products(a, b)}
