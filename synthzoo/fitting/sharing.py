"""Each batch is shared among the processes of a fit, by numbers of atoms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch.distributed as group
from torch.utils.data import Sampler

from synthzoo.errors import InputError

if TYPE_CHECKING:
    from synthzoo.graphs import AtomBatches


class SharedBatches(Sampler[list[int]]):
    """The share of this process of each batch.

    Together the shares are the batch, none is empty, and the numbers of atoms are about
    the same.

    Parameters
    ----------
    batches
        Whole batches.
    sizes
        Number of atoms of each structure.
    """

    def __init__(self, batches: AtomBatches, sizes: Sequence[int]) -> None:
        self.batches = batches
        self.sizes = sizes

    @property
    def sampler(self) -> SharedBatches:
        """Where Lightning looks for `set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of this epoch.

        Parameters
        ----------
        epoch
            Number of the epoch.
        """
        self.batches.set_epoch(epoch)

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        """Yield this process's structures of each batch."""
        together = group.is_available() and group.is_initialized()
        rank = group.get_rank() if together else 0
        processes = group.get_world_size() if together else 1
        for batch in self.batches:
            yield share_out(batch, self.sizes, processes)[rank]


def share_out(
    batch: Sequence[int], sizes: Sequence[int], processes: int
) -> list[list[int]]:
    """Return the structures of a batch in as many parts of about the same size.

    Parameters
    ----------
    batch
        Indices of structures.
    sizes
        Number of atoms of each structure, of which the batch holds some.
    processes
        Number of parts.

    Raises
    ------
    InputError
        If there are fewer structures than parts.

    Examples
    --------
    >>> share_out([0, 1, 2, 3], [8, 2, 5, 4], 2)
    [[0, 1], [2, 3]]
    """
    if len(batch) < processes:
        raise InputError(
            f"A batch of {len(batch)} structure(s) cannot be shared by {processes} "
            "processes. Use fewer devices, or give more structures."
        )
    parts: list[list[int]] = [[] for _ in range(processes)]
    atoms = [0] * processes
    for index in sorted(batch, key=lambda index: (-sizes[index], index)):
        lightest = atoms.index(min(atoms))
        parts[lightest].append(index)
        atoms[lightest] += sizes[index]
    return [sorted(part) for part in parts]
