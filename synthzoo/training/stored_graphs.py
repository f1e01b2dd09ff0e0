"""Structures on disk that become graphs when a batch asks for them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from synthzoo.models.graphs import LEVEL, Graph, graph_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.data.stored_set import StoredSet

ATOMS_AT_ONCE = 1_000_000


class StoredGraphs:
    """Some structures of a set, as graphs; none stays in memory.

    Neighbours are found anew for each batch: that takes less than a tenth of a step.

    ``indices``: which structures of the set.
    ``elements``: chemical symbols of the network, in its order.
    ``level``: number of their level of theory, where a fit knows several.
    """

    def __init__(
        self,
        stored: StoredSet,
        indices: Sequence[int],
        *,
        elements: Sequence[str],
        cutoff_A: float,
        level: int | None = None,
    ) -> None:
        self._stored = stored
        self._level = level
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
        graph = graph_of(part, elements=self._elements, cutoff_A=self._cutoff_A)
        if self._level is not None:
            graph[LEVEL] = torch.full((len(indices), 1), self._level)
        return [graph]

    def at_level(self, level: int) -> StoredGraphs:
        """Return the same structures, as those of a level of theory."""
        return StoredGraphs(
            self._stored,
            self.indices.tolist(),
            elements=self._elements,
            cutoff_A=self._cutoff_A,
            level=level,
        )

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


class JoinedGraphs:
    """Several sets as one, the structures of one behind those of the other.

    ``parts``: the sets.
    """

    def __init__(self, parts: Sequence[StoredGraphs]) -> None:
        self.parts = parts
        self.sizes = [size for part in parts for size in part.sizes]
        self._ends = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> Graph:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Graph]:
        """Return some structures as one graph for each set, in the sets' order."""
        chosen = np.asarray(indices)
        owners = np.searchsorted(self._ends, chosen, side="right")
        found = []
        for number, part in enumerate(self.parts):
            first = self._ends[number] - len(part)
            mine = (chosen[owners == number] - first).tolist()
            found += part.__getitems__(mine) if mine else []
        return found

    @property
    def have_stress(self) -> bool:
        """Whether at least one structure has a stress label."""
        return any(part.have_stress for part in self.parts)
