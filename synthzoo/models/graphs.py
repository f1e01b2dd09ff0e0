"""Structures as graphs: what goes into a network, and what comes out of it.

A graph is a dictionary of tensors. Its names and forms are those of nequip's
``AtomicDataDict``; the constants here name the entries that all networks share.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from nequip.integrations.utils import basic_transforms
from nequip.nn import with_edge_vectors_

from synthzoo.data.pairs import find_pairs, too_sparse

if TYPE_CHECKING:
    from synthzoo.data.labels import Labels

Graph = dict[str, torch.Tensor]
"""One structure, or several, with edges and labels. All numbers are float64."""

POSITIONS = AtomicDataDict.POSITIONS_KEY
"""Of ``n`` atoms in Å, ``(n, 3)``."""

CELL = AtomicDataDict.CELL_KEY
"""Of ``b`` structures, vectors in rows, in Å: ``(b, 3, 3)``."""

PERIODIC = AtomicDataDict.PBC_KEY
"""Along which cell vectors a structure is periodic, ``(b, 3)``."""

NUMBERS = AtomicDataDict.ATOMIC_NUMBERS_KEY
"""Atomic numbers, ``(n,)``."""

TYPES = AtomicDataDict.ATOM_TYPE_KEY
"""Index of each atom's element among those of the network, ``(n,)``."""

STRUCTURE = AtomicDataDict.BATCH_KEY
"""Index of each atom's structure, ``(n,)``; a graph of one structure may lack it."""

SIZES = AtomicDataDict.NUM_NODES_KEY
"""Atoms of each structure, ``(b,)``; a graph of one structure may lack it."""

EDGES = AtomicDataDict.EDGE_INDEX_KEY
"""The two atoms of each of ``e`` edges, ``(2, e)``; each pair has two edges."""

SHIFTS = AtomicDataDict.EDGE_CELL_SHIFT_KEY
"""Cell vectors between the second atom and its image at the edge, ``(e, 3)``."""

VECTORS, LENGTHS = AtomicDataDict.EDGE_VECTORS_KEY, AtomicDataDict.EDGE_LENGTH_KEY
"""From first to second atom in Å, ``(e, 3)`` and ``(e, 1)``; see `add_vectors`."""

ENERGY = AtomicDataDict.TOTAL_ENERGY_KEY
"""Of each structure in eV, ``(b, 1)``."""

ENERGIES = AtomicDataDict.PER_ATOM_ENERGY_KEY
"""Of each atom in eV, ``(n, 1)``."""

FORCES = AtomicDataDict.FORCE_KEY
"""In eV/Å, ``(n, 3)``."""

STRESS = AtomicDataDict.STRESS_KEY
"""In eV/Å³, ``(b, 3, 3)``; of any value where the cell has no volume."""

NEIGHBOUR_SEARCH = "synthzoo"
"""Name under which nequip finds `_add_neighbours`."""


def _add_neighbours(graph: Graph, reach_A: float) -> Graph:
    """Add the neighbour list of a structure, however large and empty its cell is."""
    positions = graph[POSITIONS]
    atoms = Atoms(
        positions=positions.numpy(),
        cell=graph[CELL].reshape(3, 3).numpy(),
        pbc=graph[PERIODIC].reshape(3).numpy(),
    )
    if not too_sparse(atoms.positions, atoms.cell.complete().array, reach_A):
        listed: Graph = compute_neighborlist_(graph, reach_A)
        return listed
    found = find_pairs(atoms, reach_A)
    edges = np.stack([found.first, found.second])
    graph[EDGES] = torch.tensor(edges, dtype=torch.long)
    graph[SHIFTS] = torch.tensor(found.shifts, dtype=positions.dtype)
    return graph


register_neighborlist_backend(NEIGHBOUR_SEARCH, _add_neighbours, overwrite=True)


def to_graph(
    atoms: Atoms, labels: Labels, *, elements: Sequence[str], cutoff_A: float
) -> Graph:
    """Return a structure as a graph with its neighbour list and labels.

    ``labels``: energy and forces; they are stored as ``(1, 1)`` and ``(n, 3)``.
    ``elements``: chemical symbols of the model, in its order.
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
    graph[ENERGY] = torch.tensor([[labels.energy_eV]])
    graph[FORCES] = torch.as_tensor(labels.forces_eV_A)
    batched: Graph = AtomicDataDict.with_batch_(graph)
    return batched


def transforms_for(
    network: torch.nn.Module, elements: Sequence[str], cutoff_A: float
) -> list[Any]:
    """Return what adds types and edges to a graph: the mapper, then the search.

    ``network``: if it has cutoffs for pairs of elements, its ``metadata`` say so, as in
    nequip.
    ``elements``: chemical symbols of the network, in its order.
    """
    found: list[Any] = basic_transforms(
        getattr(network, "metadata", {}),
        cutoff_A,
        list(elements),
        {element: element for element in elements},
        neighborlist_backend=NEIGHBOUR_SEARCH,
    )
    return found


def add_vectors(graph: Graph) -> Graph:
    """Add vectors and lengths of its edges to a graph, as functions of the positions.

    ``graph``: with edges; it is changed.
    """
    found: Graph = with_edge_vectors_(graph)
    return found


def join(graphs: Sequence[Graph]) -> Graph:
    """Return one graph of several structures."""
    joined: Graph = AtomicDataDict.batched_from_list(list(graphs))
    return joined


def split(graph: Graph) -> list[Graph]:
    """Return the structures of a graph, each as a graph."""
    count = AtomicDataDict.num_frames(graph)
    return [AtomicDataDict.frame_from_batched(graph, n) for n in range(count)]


def sizes_of(graphs: Sequence[Graph]) -> list[int]:
    """Return the number of atoms of each graph."""
    return [len(graph[POSITIONS]) for graph in graphs]


def mean_neighbours(graphs: Sequence[Graph]) -> float:
    """Return the number of neighbours of an atom, averaged over all atoms."""
    edges = sum(graph[EDGES].shape[1] for graph in graphs)
    return edges / sum(sizes_of(graphs))


def force_rms_eV_A(graphs: Sequence[Graph]) -> float:
    """Return the root mean square of all force components, in eV/Å."""
    forces = torch.cat([graph[FORCES] for graph in graphs])
    return float(forces.square().mean().sqrt())
