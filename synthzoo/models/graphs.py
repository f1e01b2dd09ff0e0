"""Structures as graphs: what goes into a network, and what comes out of it.

A graph is a dictionary of tensors. Its names and forms are those of nequip's
``AtomicDataDict``; the constants here name the entries that all networks share.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ase.data import atomic_numbers
from ase.stress import voigt_6_to_full_3x3_stress
from nequip.data import (
    AtomicDataDict,
    register_fields,
    register_neighborlist_backend,
)
from nequip.integrations.utils import basic_transforms
from nequip.nn import with_edge_vectors_

from synthzoo.data.flat import FlatStructures, flatten
from synthzoo.data.pairs import find_edges
from synthzoo.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

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
"""Of each atom in eV, ``(n, 1)``; NaN for labels that are not known."""

FORCES = AtomicDataDict.FORCE_KEY
"""In eV/Å, ``(n, 3)``."""

STRESS = AtomicDataDict.STRESS_KEY
"""In eV/Å³, ``(b, 3, 3)``; NaN for labels that are not known, and of any value where
the cell has no volume for what a network computes."""

LEVEL = "level_of_theory"
"""Number of each structure's level of theory, ``(b, 1)``, 0 for the default one; only
where a fit knows several."""

register_fields(graph_fields=[LEVEL], long_fields=[LEVEL])

NEIGHBOUR_SEARCH = "synthzoo"
"""Name under which nequip finds `_add_neighbours`."""


def _add_neighbours(graph: Graph, reach_A: float) -> Graph:
    """Add the neighbour list of a structure, however large and empty its cell is."""
    positions = graph[POSITIONS]
    first, second, shifts = find_edges(
        positions.numpy(),
        graph[CELL].reshape(3, 3).numpy(),
        graph[PERIODIC].reshape(3).numpy(),
        reach_A,
    )
    graph[EDGES] = torch.tensor(np.stack([first, second]), dtype=torch.long)
    graph[SHIFTS] = torch.tensor(shifts, dtype=positions.dtype)
    return graph


register_neighborlist_backend(NEIGHBOUR_SEARCH, _add_neighbours, overwrite=True)


def to_graph(
    atoms: Atoms, labels: Labels, *, elements: Sequence[str], cutoff_A: float
) -> Graph:
    """Return a structure as a graph with its neighbour list and labels.

    ``labels``: energy, forces and stress; they are stored as ``(1, 1)``, ``(n, 3)`` and
    ``(1, 3, 3)``.
    ``elements``: chemical symbols of the model, in its order.
    """
    structures = flatten([(atoms, labels)])
    return graph_of(structures, elements=elements, cutoff_A=cutoff_A)


def graph_of(
    structures: FlatStructures, *, elements: Sequence[str], cutoff_A: float
) -> Graph:
    """Return structures as one graph with neighbour lists and labels.

    ``elements``: chemical symbols of the model, in its order.
    """
    sizes = structures.sizes
    ends = np.cumsum(sizes)
    first, second, shifts = [], [], []
    for start, end, cell, periodic in zip(
        ends - sizes, ends, structures.cells_A, structures.periodic, strict=True
    ):
        positions = structures.positions_A[start:end]
        found = find_edges(positions, cell, periodic, cutoff_A)
        first.append(found[0] + start)
        second.append(found[1] + start)
        shifts.append(found[2])
    edges = np.stack([np.concatenate(first), np.concatenate(second)])
    return {
        POSITIONS: _floats(structures.positions_A),
        CELL: _floats(structures.cells_A),
        PERIODIC: torch.tensor(structures.periodic),
        NUMBERS: _integers(structures.numbers),
        TYPES: _integers(_types(structures.numbers, elements)),
        EDGES: _integers(edges),
        SHIFTS: _floats(np.concatenate(shifts)),
        ENERGY: _floats(structures.energies_eV).reshape(-1, 1),
        FORCES: _floats(structures.forces_eV_A),
        STRESS: _floats(voigt_6_to_full_3x3_stress(structures.stresses_eV_A3)),
        ENERGIES: _floats(structures.atomic_energies_eV).reshape(-1, 1),
        STRUCTURE: _integers(np.repeat(np.arange(len(sizes)), sizes)),
        SIZES: _integers(sizes),
    }


def _types(
    numbers: NDArray[np.integer], elements: Sequence[str]
) -> NDArray[np.integer]:
    """Return the index of each atom's element; all must be known."""
    known = np.array([atomic_numbers[element] for element in elements])
    same = numbers[:, None] == known
    if not same.any(axis=1).all():
        raise InputError(
            f"A structure has other elements than {', '.join(elements)}, which are "
            "those of the network."
        )
    types: NDArray[np.integer] = same.argmax(axis=1)
    return types


def _floats(values: NDArray[Any]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _integers(values: NDArray[Any]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.long)


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


OF_STRUCTURES = (CELL, PERIODIC, ENERGY, STRESS, SIZES, LEVEL)
"""What a graph has for each structure; for each edge it has `SHIFTS`, the rest is of
atoms."""


def part_of(graph: Graph, chosen: torch.Tensor) -> Graph:
    """Return some structures of a graph, in their order, as a graph.

    ``graph``: from `join`, without vectors or lengths of edges.
    ``chosen``: whether to take a structure, ``(b,)``.
    """
    atoms = chosen[graph[STRUCTURE]]
    edges = atoms[graph[EDGES][0]]
    found = {}
    for name, value in graph.items():
        if name == EDGES:
            places = torch.cumsum(atoms, 0) - 1
            found[name] = places[value[:, edges]]
        elif name == STRUCTURE:
            found[name] = (torch.cumsum(chosen, 0) - 1)[value[atoms]]
        elif name == SHIFTS:
            found[name] = value[edges]
        else:
            found[name] = value[chosen if name in OF_STRUCTURES else atoms]
    return found


def sizes_of(graphs: Sequence[Graph]) -> list[int]:
    """Return the number of atoms of each graph."""
    return [len(graph[POSITIONS]) for graph in graphs]
