"""Which structures are in which batch: by atoms, with replay, shared by processes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice, pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
import torch.distributed as group
from torch.utils.data import DataLoader, Sampler

from synthzoo.errors import InputError
from synthzoo.models.graphs import STRESS, Graph, join, sizes_of
from synthzoo.training.stored_graphs import JoinedGraphs, StoredGraphs

if TYPE_CHECKING:
    from numpy.typing import NDArray

Graphs = Sequence[Graph] | StoredGraphs | JoinedGraphs
"""Structures to learn from, in memory or on disk."""


class AtomBatches(Sampler[list[int]]):
    """Batches of about the same number of atoms, in a new random order every epoch.

    The number of batches is the same in every epoch, and the order depends on the seed
    and the epoch only, so that an interrupted run goes on with the same batches.

    ``batch_atoms``: atoms per batch, on average; at least the size of the largest
    structure.
    ``shares``: number of processes that share each batch: none goes without a
    structure, unless there are fewer structures in all.
    """

    def __init__(
        self, sizes: Sequence[int], batch_atoms: int, seed: int, *, shares: int = 1
    ) -> None:
        self.sizes = np.asarray(sizes)
        # No share narrower than the largest structure: none can be empty.
        width = max(batch_atoms, shares * int(self.sizes.max()))
        self.count = max(1, int(self.sizes.sum() // width))
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of this epoch.

        ``epoch``: number of the epoch; each has its own order.
        """
        self.epoch = epoch

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        return self.count

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the indices of the structures of each batch."""
        rng = np.random.default_rng((self.seed, self.epoch))
        order = rng.permutation(len(self.sizes))
        ends = np.cumsum(self.sizes[order])
        middles = ends - self.sizes[order] / 2
        batch = np.floor(middles * self.count / ends[-1]).astype(int)  # ascending
        starts = np.searchsorted(batch, np.arange(self.count + 1))
        for start, stop in pairwise(starts):
            yield order[start:stop].tolist()


class Mixed(NamedTuple):
    """A set that is mixed into the batches of another one.

    ``share``: of its atoms in a batch, on average; those of all mixed sets add up to
    less than 1. If no set has one, an epoch is a pass over all structures of all sets.
    """

    graphs: Graphs
    share: float | None = None


class MixedBatches(AtomBatches):
    """Batches of one set, into which structures of further sets are mixed.

    An epoch is one pass over the first set; each further one is gone through in a
    random order of its own, which goes on from epoch to epoch. Where its share is less
    than a structure per batch, some batches get none.

    ``mixed``: number of atoms of each structure of each further set, and the share of
    the set; the indices of its structures follow those of the sets before.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        batch_atoms: int,
        seed: int,
        *,
        mixed: Sequence[tuple[Sequence[int], float]],
    ) -> None:
        super().__init__(sizes, batch_atoms, seed)
        own = 1 - sum(share for _, share in mixed)
        self.parts = []
        first = len(sizes)
        for number, (others, share) in enumerate(mixed, start=1):
            wanted = share / own * self.sizes.sum() / self.count
            rate = wanted / float(np.mean(others))
            self.parts.append(_Part((seed, number), first, len(others), rate))
            first += len(others)

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the indices of the structures of each batch."""
        for number, batch in enumerate(super().__iter__()):
            passed = self.epoch * self.count + number
            yield batch + [index for part in self.parts for index in part.of(passed)]


class _Part(NamedTuple):
    """The structures of a set that is mixed in, in an endless sequence of passes.

    ``key``: seed, and number of the set. ``first``: index of its first structure.
    ``per_batch``: structures that a batch gets, on average.
    """

    key: tuple[int, int]
    first: int
    size: int
    per_batch: float

    def of(self, passed: int) -> list[int]:
        """Return the structures of a batch, by the number of batches before it."""
        places = range(
            math.floor(passed * self.per_batch),
            math.floor((passed + 1) * self.per_batch),
        )
        return [self.first + self._at(place) for place in places]

    def _at(self, place: int) -> int:
        passes, rest = divmod(place, self.size)
        return int(_order(self.key, passes, self.size)[rest])


@lru_cache(maxsize=8)
def _order(key: tuple[int, int], passes: int, count: int) -> NDArray[np.int64]:
    """Return the order of the structures in one pass, which is asked for once each."""
    seed, number = key
    return np.random.default_rng((seed, passes, number)).permutation(count)


class SharedBatches(Sampler[list[int]]):
    """The share of this process of each batch.

    Together the shares are the batch, none is empty, and the numbers of atoms are about
    the same.
    """

    def __init__(self, batches: AtomBatches, sizes: Sequence[int]) -> None:
        self.batches = batches
        self.sizes = sizes

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of this epoch."""
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

    ``sizes``: number of atoms of each structure, of which the batch holds some.

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


class Loader:
    """The batches of an epoch, each joined into one graph.

    Lightning keeps its state with that of the fit. A fit that was killed within an
    epoch goes on after the batches that it had seen.

    ``batches``: which structures are in which batch.
    """

    def __init__(self, graphs: Graphs, batches: Sampler[list[int]]) -> None:
        self.graphs = graphs
        self.sampler = self.batch_sampler = batches  # Lightning sets its epoch
        self._passed = 0

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        return len(self.sampler)  # type: ignore[arg-type]  # ours have a length

    def __iter__(self) -> Iterator[Graph]:
        """Yield the batches that are left; after the last one, those of an epoch."""
        left = islice(self.sampler, self._passed % len(self), None)
        for batch in DataLoader(
            self.graphs,  # type: ignore[arg-type]  # so is a list
            batch_sampler=left,
            collate_fn=join,
        ):
            self._passed += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Return what is kept with the state of the fit."""
        return {"passed": self._passed}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Take up what was kept."""
        self._passed = state_dict["passed"]


def have_stress(graphs: Graphs) -> bool:
    """Return whether at least one graph has a stress label."""
    if isinstance(graphs, StoredGraphs | JoinedGraphs):
        return graphs.have_stress
    return any(bool(torch.isfinite(graph[STRESS]).any()) for graph in graphs)


def atoms_of(graphs: Graphs) -> Sequence[int]:
    """Return the number of atoms of each graph."""
    if isinstance(graphs, StoredGraphs | JoinedGraphs):
        return graphs.sizes
    return sizes_of(graphs)


def joined(sets: Sequence[Graphs]) -> Graphs:
    """Return several sets as one; those on disk stay there."""
    if len(sets) == 1:
        return sets[0]
    stored = [part for part in sets if isinstance(part, StoredGraphs)]
    if len(stored) == len(sets):
        return JoinedGraphs(stored)
    return [part[index] for part in sets for index in range(len(part))]
