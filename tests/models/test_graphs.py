"""Structures as graphs: the same as nequip makes, one by one or many at once."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from synthzoo.data.flat import flatten
from synthzoo.data.labels import Labels
from synthzoo.errors import InputError
from synthzoo.models.graphs import Graph, graph_of, join, to_graph
from synthzoo.models.isolation import nequip_session

ELEMENTS, CUTOFF_A = ("H", "C"), 4.0


def labelled_structures() -> list[tuple[Atoms, Labels]]:
    """Return crystals, molecules and atoms alone, some outside of their cell."""
    rng = np.random.default_rng(0)
    diamond = bulk("C", "diamond", a=3.6, cubic=True)
    structures = [
        diamond,
        diamond.repeat((2, 1, 1)),
        molecule("CH4"),
        Atoms("C2", [[0, 0, 0], [0, 0, 60.0]]),
        Atoms("CH", [[0, 0, 0], [1, 0, 0]], cell=[3, 0, 0], pbc=[1, 0, 0]),
    ]
    found = []
    for atoms in structures:
        atoms.rattle(0.1, rng=rng)
        atoms.positions += 5 * rng.normal(size=3)
        labels = Labels(
            energy_eV=rng.normal(),
            forces_eV_A=rng.normal(size=(len(atoms), 3)),
            stress_eV_A3=np.arange(6.0) if atoms.pbc.all() else None,
            atomic_energies_eV=rng.normal(size=len(atoms)) if len(atoms) > 2 else None,
        )
        found.append((atoms, labels))
    return found


def of_nequip(atoms: Atoms, labels: Labels) -> Graph:
    """Return the graph that nequip makes of a structure."""
    from nequip.data import AtomicDataDict, compute_neighborlist_, from_ase
    from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper

    graph = ChemicalSpeciesToAtomTypeMapper(list(ELEMENTS))(from_ase(atoms))
    graph = compute_neighborlist_(graph, CUTOFF_A)
    graph["total_energy"] = torch.tensor([[labels.energy_eV]])
    graph["forces"] = torch.as_tensor(labels.forces_eV_A)
    graph["stress"] = torch.full((1, 3, 3), torch.nan, dtype=torch.float64)
    if labels.stress_eV_A3 is not None:
        graph["stress"][0] = torch.tensor([[0, 5, 4], [5, 1, 3], [4, 3, 2]])
    graph["atomic_energy"] = torch.full((len(atoms), 1), torch.nan, dtype=torch.float64)
    if labels.atomic_energies_eV is not None:
        graph["atomic_energy"][:, 0] = torch.as_tensor(labels.atomic_energies_eV)
    found: Graph = AtomicDataDict.with_batch_(graph)
    return found


def assert_equal(one: Graph, other: Graph) -> None:
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert (value.dtype, value.shape) == (other[key].dtype, other[key].shape), key
        torch.testing.assert_close(
            value, other[key], rtol=0, atol=0, equal_nan=True, msg=key
        )


def test_graphs_are_those_of_nequip():
    """To the last bit, the order of the edges included; several are joined as one."""
    pairs = labelled_structures()
    with nequip_session():
        graphs = [of_nequip(*pair) for pair in pairs]
        for graph, pair in zip(graphs, pairs, strict=True):
            assert_equal(to_graph(*pair, elements=ELEMENTS, cutoff_A=CUTOFF_A), graph)
        together = graph_of(flatten(pairs), elements=ELEMENTS, cutoff_A=CUTOFF_A)
        assert_equal(together, join(graphs))


def test_an_element_that_the_network_does_not_know_is_refused():
    """Its index would be that of another one."""
    pair = labelled_structures()[2]
    with pytest.raises(InputError, match="other elements than C, which"):
        to_graph(*pair, elements=("C",), cutoff_A=CUTOFF_A)
