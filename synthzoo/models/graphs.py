"""Labelled structures as nequip's data, with neighbour lists that are made once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ase import Atoms
from nequip.data import (
    AtomicDataDict,
    compute_neighborlist_,
    from_ase,
    register_neighborlist_backend,
)
from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper
from torch.utils.data import DataLoader, Sampler

from synthzoo.data.pairs import find_pairs, too_sparse

if TYPE_CHECKING:
    from synthzoo.data.labels import Labels

Graph = dict[str, torch.Tensor]
"""nequip's ``AtomicDataDict``: one structure with its edges and labels."""

NEIGHBOUR_SEARCH = "synthzoo"
"""Name under which nequip finds `_add_neighbours`."""


def _add_neighbours(graph: Graph, reach_A: float) -> Graph:
    """Add the neighbour list of a structure, however large and empty its cell is."""
    positions = graph[AtomicDataDict.POSITIONS_KEY]
    atoms = Atoms(
        positions=positions.numpy(),
        cell=graph[AtomicDataDict.CELL_KEY].reshape(3, 3).numpy(),
        pbc=graph[AtomicDataDict.PBC_KEY].reshape(3).numpy(),
    )
    if not too_sparse(atoms.positions, atoms.cell.complete().array, reach_A):
        listed: Graph = compute_neighborlist_(graph, reach_A)
        return listed
    found = find_pairs(atoms, reach_A)
    edges = np.stack([found.first, found.second])
    graph[AtomicDataDict.EDGE_INDEX_KEY] = torch.tensor(edges, dtype=torch.long)
    graph[AtomicDataDict.EDGE_CELL_SHIFT_KEY] = torch.tensor(
        found.shifts, dtype=positions.dtype
    )
    return graph


register_neighborlist_backend(NEIGHBOUR_SEARCH, _add_neighbours, overwrite=True)


def to_graph(
    atoms: Atoms, labels: Labels, *, elements: Sequence[str], cutoff_A: float
) -> Graph:
    """Return a structure as a graph with its neighbour list and labels.

    Parameters
    ----------
    atoms
        Structure with ``n`` atoms.
    labels
        Energy and forces; they are stored as ``(1, 1)`` and ``(n, 3)``.
    elements
        Chemical symbols of the model, in its order.
    cutoff_A
        Radius within which atoms are neighbours.
    """
    bare = Atoms(
        atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc
    )
    species = ChemicalSpeciesToAtomTypeMapper(
        model_type_names=list(elements),
        chemical_species_to_atom_type_map={symbol: symbol for symbol in elements},
    )
    graph: Graph = species(from_ase(bare))
    graph = compute_neighborlist_(graph, cutoff_A, backend=NEIGHBOUR_SEARCH)
    graph[AtomicDataDict.TOTAL_ENERGY_KEY] = torch.tensor([[labels.energy_eV]])
    graph[AtomicDataDict.FORCE_KEY] = torch.as_tensor(labels.forces_eV_A)
    batched: Graph = AtomicDataDict.with_batch_(graph)
    return batched


def mean_neighbours(graphs: Sequence[Graph]) -> float:
    """Return the number of neighbours of an atom, averaged over all atoms.

    Parameters
    ----------
    graphs
        Structures with their edges.
    """
    edges = sum(int(AtomicDataDict.num_edges(graph)) for graph in graphs)
    return edges / sum(int(AtomicDataDict.num_nodes(graph)) for graph in graphs)


def force_rms_eV_A(graphs: Sequence[Graph]) -> float:
    """Return the root mean square of all force components, in eV/Å.

    Parameters
    ----------
    graphs
        Structures with force labels.
    """
    forces = torch.cat([graph[AtomicDataDict.FORCE_KEY] for graph in graphs])
    return float(forces.square().mean().sqrt())


class AtomBatches(Sampler[list[int]]):
    """Batches of about the same number of atoms, in a new random order every epoch.

    The number of batches is the same in every epoch, and the order depends on the seed
    and the epoch only, so that an interrupted run goes on with the same batches.

    Parameters
    ----------
    sizes
        Number of atoms of each structure.
    batch_atoms
        Atoms per batch, on average; at least the size of the largest structure.
    seed
        Of the order.
    shares
        Number of processes that share each batch: none goes without a structure, unless
        there are fewer structures in all.
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

    @property
    def sampler(self) -> AtomBatches:
        """Where Lightning looks for `set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of this epoch.

        Parameters
        ----------
        epoch
            Number of the epoch; each has its own order.
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
        batch = np.floor(middles * self.count / ends[-1]).astype(int)
        for index in range(self.count):
            yield order[batch == index].tolist()


class ReplayBatches(AtomBatches):
    """Batches of one set, into which structures of a second set are mixed.

    An epoch is one pass over the first set; the second one is gone through in a random
    order of its own, which goes on from epoch to epoch. Where its share is less than a
    structure per batch, some batches get none.

    Parameters
    ----------
    sizes, batch_atoms, seed
        As for `AtomBatches`, of the first set.
    replay_sizes
        Number of atoms of each structure of the second set; their indices follow those
        of the first.
    share
        Of the second set's atoms in a batch, on average, below 1.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        batch_atoms: int,
        seed: int,
        *,
        replay_sizes: Sequence[int],
        share: float,
    ) -> None:
        super().__init__(sizes, batch_atoms, seed)
        wanted = share / (1 - share) * self.sizes.sum() / self.count
        self.replayed = len(replay_sizes)
        self.per_batch = wanted / float(np.mean(replay_sizes))

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the indices of the structures of each batch."""
        for number, batch in enumerate(super().__iter__()):
            passed = self.epoch * self.count + number
            places = range(
                math.floor(passed * self.per_batch),
                math.floor((passed + 1) * self.per_batch),
            )
            yield batch + [len(self.sizes) + self._replay(place) for place in places]

    def _replay(self, place: int) -> int:
        """Return the structure at a place of the endless sequence of passes."""
        passes, rest = divmod(place, self.replayed)
        order = np.random.default_rng((self.seed, passes, 1)).permutation(self.replayed)
        return int(order[rest])


def loader(graphs: Sequence[Graph], batches: Sampler[list[int]]) -> DataLoader[Any]:
    """Return a loader that joins the graphs of each batch into one.

    Parameters
    ----------
    graphs
        Structures of the set.
    batches
        Gives the indices of each batch.
    """
    return DataLoader(
        graphs,  # type: ignore[arg-type]  # a list is a dataset
        batch_sampler=batches,
        collate_fn=AtomicDataDict.batched_from_list,
    )
