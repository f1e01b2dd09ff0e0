"""Pairs in any cell are those of ASE, and empty space costs nothing."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list

from synthzoo.data import pairs
from synthzoo.data.labels import Labels
from synthzoo.data.pairs import FAR_A, find_pairs
from synthzoo.data.sound import check_structure, min_distance_A
from synthzoo.models.graphs import NEIGHBOUR_SEARCH, to_graph
from synthzoo.models.torch_pass import TorchPass

if TYPE_CHECKING:
    from synthzoo.models.calculator import SynthzooCalculator

DIMER = np.array([[0.1, 0.0, 0.0], [1.3, 0.0, 0.3]])
SECONDS, MEGABYTES = 2.0, 200
"""A hundred times what these searches take, a tenth of what boxes would."""

EMPTY_CELLS: dict[str, dict[str, Any]] = {
    "cube": {"cell": [1e5] * 3, "pbc": True},
    "largest cube": {"cell": [1e7] * 3, "pbc": True},
    "open": {"cell": [1e6] * 3},
    "layer": {"cell": [1e5, 1e5, 1e6], "pbc": (True, True, False)},
    "far": {"cell": [30.0] * 3, "pbc": True, "shift_A": 9e6},
}


def dimer(cell: Any = None, pbc: Any = None, shift_A: float = 0.0) -> Atoms:
    """Return a dimer in a cell; its second atom is written one cell away."""
    atoms = Atoms("C2", positions=DIMER + shift_A, cell=cell, pbc=pbc)
    if not shift_A:
        atoms.positions[1] -= atoms.pbc.astype(int) @ atoms.cell.array
    return atoms


def measured(function: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return what a function returns, its seconds, and by how many MB memory grew."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    found = function()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return found, time.perf_counter() - start, grown / 1024


@pytest.mark.parametrize("name", EMPTY_CELLS)
def test_the_cost_of_an_empty_cell_is_bounded(
    tiny_calculator: SynthzooCalculator, name: str
):
    """Energy, forces, checks and graphs are those of the dimer alone."""
    alone, atoms = dimer(), dimer(**EMPTY_CELLS[name])

    def everything() -> tuple[float, Any]:
        check_structure(atoms)
        assert min_distance_A(atoms) == pytest.approx(min_distance_A(alone), abs=1e-8)
        labels = Labels(energy_eV=0.0, forces_eV_A=np.zeros((2, 3)))
        graph = to_graph(atoms, labels, elements=["C"], cutoff_A=4.0)
        assert graph["edge_index"].shape == (2, 2)
        tiny_calculator.calculate(atoms)
        return tiny_calculator.results["energy"], tiny_calculator.results["forces"]

    tiny_calculator.calculate(alone)  # compiles
    (energy, forces), seconds, megabytes = measured(everything)
    tiny_calculator.calculate(alone)
    assert energy == pytest.approx(tiny_calculator.results["energy"], abs=1e-5)
    expected = tiny_calculator.results["forces"]
    np.testing.assert_allclose(forces, expected, atol=1e-5)
    assert seconds < SECONDS
    assert megabytes < MEGABYTES


def random_structure(rng: np.random.Generator) -> Atoms:
    """Return a few atoms, not all of them in their skewed cell."""
    count = int(rng.integers(1, 12))
    while True:
        cell = rng.normal(size=(3, 3)) * rng.choice([1.0, 3.0, 8.0])
        if pairs.cell_heights_A(cell).min() > 0.2:
            break
    positions = 10 * rng.normal(size=(count, 3))
    return Atoms(
        numbers=[6] * count, positions=positions, cell=cell, pbc=rng.random(3) < 0.6
    )


def keys(first: Any, second: Any, shifts: Any) -> list[tuple[int, ...]]:
    return sorted(map(tuple, np.column_stack([first, second, shifts]).tolist()))


@pytest.mark.parametrize(
    "boxes", [0, pytest.param(pairs.MAX_BOXES, marks=pytest.mark.thorough)]
)
def test_pairs_in_any_cell_are_those_of_ase(
    monkeypatch: pytest.MonkeyPatch, boxes: int
):
    """By boxes and by images: the same atoms, the same images, the same vectors."""
    monkeypatch.setattr(pairs, "MAX_BOXES", boxes)
    rng = np.random.default_rng(0)
    for _ in range(60):
        atoms = random_structure(rng)
        atoms.positions *= 1 if boxes else FAR_A
        reach_A = float(rng.choice([1.0, 3.0, 5.0]))
        found = find_pairs(atoms, reach_A)
        expected = neighbor_list("ijS", atoms, reach_A)
        assert keys(found.first, found.second, found.shifts) == keys(*expected)
        ends = atoms.positions[found.second] + found.shifts @ atoms.cell.array
        vectors = ends - atoms.positions[found.first]
        np.testing.assert_allclose(found.vectors_A, vectors, atol=1e-8)
        lengths = np.linalg.norm(vectors, axis=1)
        np.testing.assert_allclose(found.distances_A, lengths, atol=1e-8)


def test_ordinary_cells_are_searched_by_nequip(tiny_calculator: SynthzooCalculator):
    """Edges keep their order, so that no digit of a result changes."""
    torch_pass = TorchPass(tiny_calculator.model, tiny_calculator.config, "cpu")
    search = torch_pass.transforms[1]
    assert search.backend == NEIGHBOUR_SEARCH
    atoms = dimer([6.0] * 3, pbc=True)
    graph = torch_pass.graph(atoms)
    search.backend = "matscipy"
    expected = torch_pass.graph(atoms)
    for name in ("edge_index", "edge_cell_shift"):
        np.testing.assert_array_equal(graph[name], expected[name])
