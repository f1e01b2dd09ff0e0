"""What to do where the memory does not suffice for a batch: take smaller ones."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from synthzoo.errors import SynthzooError

_LOG = logging.getLogger(__name__)

SIGNS = ("not enough memory", "can't allocate memory", "out of memory")
"""In torch's messages, on the CPU and on a GPU."""


def with_smaller_batches(
    attempt: Callable[[int], Result], batch_atoms: int, *, largest: int
) -> Result:
    """Return what an attempt gives; where memory is short, halve the batch and say so.

    Parameters
    ----------
    attempt
        Takes the number of atoms in a batch.
    batch_atoms
        To begin with.
    largest
        Number of atoms of the largest structure: no batch can be smaller.

    Raises
    ------
    SynthzooError
        If the memory does not even suffice for the largest structure.
    """
    try:
        return attempt(batch_atoms)
    except (MemoryError, RuntimeError) as error:
        if not _is_memory(error):
            raise
        if batch_atoms <= largest:
            raise SynthzooError(
                "The memory does not suffice for a batch of one structure with "
                f"{largest} atoms. Leave out the largest structures, or use a machine "
                "with more memory."
            ) from error
    smaller = max(largest, batch_atoms // 2)
    _LOG.warning(
        "The memory does not suffice for batches of %d atoms: starting again with %d.",
        batch_atoms,
        smaller,
    )
    return with_smaller_batches(attempt, smaller, largest=largest)


def _is_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in SIGNS)
