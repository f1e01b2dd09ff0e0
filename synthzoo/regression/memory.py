"""Whether the memory is enough for a regression, said before anything is computed."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable

from synthzoo.errors import InputError
from synthzoo.regression.gpr import needed_bytes

USABLE_SHARE = 0.9
"""Of the memory that is free."""
GB = 1e9


def free_bytes() -> int:
    """Return how much memory is free."""
    import psutil

    return int(USABLE_SHARE * psutil.virtual_memory().available)


def check_memory(
    described: int, features: int, size: int, representatives: int, free: int
) -> None:
    """Refuse a GPR that needs more memory than there is; say what would fit.

    ``described``: environments in memory, those of the training set once more.
    ``size``, ``representatives``: N and M of the largest fit.
    """
    left = free - described * features * 4

    def needed(environments: int, points: int) -> int:
        return needed_bytes(environments, features, points)

    if needed(size, representatives) <= left:
        return
    points = _largest(lambda count: needed(size, count), left, representatives)
    environments = _largest(lambda count: needed(count, representatives), left, size)
    wanted = free - left + needed(size, representatives)
    raise InputError(
        f"GPR with N = {size:,} environments and M = {representatives:,} "
        f"representatives needs {wanted / GB:.1f} GB with the {described:,} that are "
        f"described, but {free / GB:.1f} GB are free. With this N, M can be "
        f"{points:,} at most; with this M, N {environments:,}."
    )


def _largest(needed: Callable[[int], int], left: int, limit: int) -> int:
    """Return the largest number up to a limit whose need is met; 0 if none is."""
    return bisect_right(range(1, limit + 1), left, key=needed)
