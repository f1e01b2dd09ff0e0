"""Structures on disk that become graphs when a batch asks for them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from synthzoo.models.graphs import Graph, graph_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.data.stored_set import StoredSet

ATOMS_AT_ONCE = 1_000_000


class StoredGraphs:
    """Some structures of a set, as graphs; none stays in memory.

    Neighbours are found anew for each batch: that takes less than a tenth of a step.

    ``indices``: which structures of the set.
    ``elements``: chemical symbols of the network, in its order.
    """

    def __init__(
        self,
        stored: StoredSet,
        indices: Sequence[int],
        *,
        elements: Sequence[str],
        cutoff_A: float,
    ) -> None:
        self._stored = stored
        self._elements = elements
        self._cutoff_A = cutoff_A
        self.indices: NDArray[np.int64] = np.asarray(indices)
        self.sizes: list[int] = stored.sizes[self.indices].tolist()

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[Graph]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Graph:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Graph]:
        """Return some structures as one graph; so torch's loader asks for a batch."""
        part = self._stored.part(self.indices[indices])
        return [graph_of(part, elements=self._elements, cutoff_A=self._cutoff_A)]

    @property
    def have_stress(self) -> bool:
        """Whether at least one structure has a stress label."""
        stresses = self._stored.stresses_eV_A3[self.indices]
        return bool(np.isfinite(stresses).all(axis=1).any())

    def mean_neighbours(self) -> float:
        """Return the number of neighbours of an atom, averaged over all atoms."""
        edges = self._stored.edges(self._cutoff_A)[self.indices]
        return int(edges.sum()) / sum(self.sizes)

    def force_rms_eV_A(self) -> float:
        """Return the root mean square of all force components, in eV/Å."""
        atoms = sum(self.sizes)
        parts = np.array_split(self.indices, math.ceil(atoms / ATOMS_AT_ONCE))
        squares = [
            float(torch.tensor(self._stored.part(part).forces_eV_A).square().sum())
            for part in parts
            if len(part)
        ]
        return math.sqrt(math.fsum(squares) / (3 * atoms))
