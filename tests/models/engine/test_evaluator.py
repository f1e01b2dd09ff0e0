"""The engine computes what nequip does, and obeys the laws of physics itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, graphene
from nequip.data import AtomicDataDict

from synthzoo.data.labels import Labels
from synthzoo.models.engine import network, precision, program
from synthzoo.models.engine.evaluator import Evaluator, Result
from synthzoo.models.engine.memory import BLOCK
from synthzoo.models.engine.network import Network, network_of
from synthzoo.models.engine.not_covered import NotCovered
from synthzoo.models.engine.precision import PRECISIONS
from synthzoo.models.engine.shape import network_shape
from synthzoo.models.graphs import to_graph
from synthzoo.models.isolation import nequip_session
from tests.models.engine.networks import (
    CUTOFF_A,
    NEQUIP,
    QUICK,
    SHORT,
    THOROUGH,
    build,
    for_elements,
)

ELEMENTS = ("C", "H")
ROUNDING = {"float64": 1e-10, "float32": 1e-5}
"""Of the largest value."""

pytestmark = pytest.mark.filterwarnings("ignore:Found `per_type_energy")


def mixed(atoms: Atoms, elements: tuple[str, ...] = ELEMENTS) -> Atoms:
    """Return a structure with its elements in no order, and no symmetry left."""
    numbers = np.random.default_rng(4).integers(len(elements), size=len(atoms))
    atoms.symbols = [elements[number] for number in numbers]
    atoms.rattle(0.1, seed=3)
    return atoms


def structures(elements: tuple[str, ...] = ELEMENTS) -> dict[str, Atoms]:
    """Return structures of every kind of periodicity and size."""
    crystal = bulk("C", a=3.4, cubic=True).repeat((1, 2, 1))
    strain = np.array([[0.02, 0.03, 0], [0, -0.01, 0.02], [0.01, 0, 0.03]])
    crystal.set_cell(crystal.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    slab = bulk("C", a=3.4, cubic=True).repeat((1, 1, 2))
    slab.center(vacuum=5, axis=2)
    slab.pbc = (True, True, False)
    beyond = bulk("C", a=3.4, cubic=True)
    beyond.positions[::3] += np.array([7, -40, 2]) @ beyond.cell.array
    found = {
        "crystal": crystal,
        "slab": slab,
        "molecule": Atoms("C5", np.random.default_rng(1).uniform(0, 2.5, (5, 3))),
        "chain": Atoms("C2", [[0, 0, 0], [0.1, 0.2, 1.3]], cell=[0, 0, 2.7]),
        "sheet": graphene("C2", a=2.46),
        "tiny": bulk("C", a=2.5),
        "own-images": Atoms("C", cell=[1.6, 1.7, 1.8], pbc=True),
        "beyond-the-box": beyond,
        "atoms-alone": Atoms("C3", [[0, 0, 0], [0, 0, 9], [9, 0, 0]]),
        "some-alone": Atoms("C3", [[0, 0, 0], [0, 0, 9], [1.3, 0, 0]]),
    }
    found["chain"].pbc = (False, False, True)
    return {name: mixed(atoms, elements) for name, atoms in found.items()}


@cache
def networks(
    name: str = "parity", elements: tuple[str, ...] = ELEMENTS
) -> tuple[Any, dict[str, Network]]:
    """Return a network as nequip evaluates it, and for the engine, by precision."""
    builder, arguments = NETWORKS[name]
    arguments = for_elements(arguments, elements)
    with nequip_session():
        theirs = build(builder, arguments, elements).eval()
    shape = network_shape(builder, arguments, elements, CUTOFF_A)
    weights = {name: value.numpy() for name, value in theirs.state_dict().items()}
    return theirs, {
        real: network_of(shape, weights, precision)
        for real, precision in PRECISIONS.items()
    }


OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "cutoffs-of-pairs": (
        NEQUIP,
        SHORT | {"per_edge_type_cutoff": {"H": {"C": 2.2}, "C": {"H": 2.2}}},
    ),
    "wide": (NEQUIP, SHORT | {"num_features": 32, "l_max": 2}),
    "narrow": (NEQUIP, SHORT | {"num_features": 3, "l_max": 2}),
}
NETWORKS = QUICK | THOROUGH | OTHERS


def evaluator(
    real: str = "float64", threads: int = 1, name: str = "parity"
) -> Evaluator:
    """Return a new evaluator of a network of two elements."""
    _, ours = networks(name)
    return Evaluator(ours[real], threads=threads)


def by_nequip(network: Any, atoms: Atoms, elements: tuple[str, ...]) -> Result:
    """Return what nequip computes, in double precision."""
    labels = Labels(energy_eV=0.0, forces_eV_A=np.zeros((len(atoms), 3)))
    with nequip_session():
        graph = to_graph(atoms, labels, elements=elements, cutoff_A=CUTOFF_A)
        found = network(dict(graph))
    virial = found[AtomicDataDict.VIRIAL_KEY]
    return Result(
        found[AtomicDataDict.PER_ATOM_ENERGY_KEY].detach().numpy()[:, 0],
        found[AtomicDataDict.FORCE_KEY].detach().numpy(),
        -virial.detach().numpy()[0],
        0.0,
    )


def check_same(found: Result, wanted: Result, tolerance: float = 1e-10) -> None:
    """Compare all results, relative to the largest."""
    for name in ("energies", "forces", "virial"):
        expected = getattr(wanted, name)
        scale = max(1e-3, float(np.abs(expected).max()))
        np.testing.assert_allclose(
            getattr(found, name), expected, rtol=0, atol=tolerance * scale, err_msg=name
        )


# The same numbers as nequip


@pytest.mark.parametrize("real", PRECISIONS)
@pytest.mark.parametrize("kind", structures())
def test_every_kind_of_structure_is_computed_as_by_nequip(kind, real):
    theirs, ours = networks()
    atoms = structures()[kind]
    found = Evaluator(ours[real]).compute(atoms)
    check_same(found, by_nequip(theirs, atoms, ELEMENTS), ROUNDING[real])


def check_shape(name: str, elements: tuple[str, ...]) -> None:
    theirs, ours = networks(name, elements)
    atoms = structures(elements)["crystal"]
    wanted = by_nequip(theirs, atoms, elements)
    assert np.abs(wanted.forces).max() > 1e-4
    for real in PRECISIONS:
        found = Evaluator(ours[real]).compute(atoms)
        check_same(found, wanted, ROUNDING[real])


@pytest.mark.parametrize("name", QUICK)
def test_networks_of_two_elements_are_computed_as_by_nequip(name):
    check_shape(name, ELEMENTS)


@pytest.mark.thorough
@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "cutoffs"])
def test_every_network_is_computed_as_by_nequip(name):
    check_shape(name, ELEMENTS)


@pytest.mark.thorough
@pytest.mark.parametrize("elements", [("C",), ("H", "C", "Si")], ids=len)
@pytest.mark.parametrize("name", QUICK)
def test_any_number_of_elements_is_computed_as_by_nequip(name, elements):
    check_shape(name, elements)


def test_cutoffs_that_differ_with_the_order_are_refused():
    """The gradient takes each edge to be that of its reverse."""
    builder, arguments = THOROUGH["cutoffs"]
    with nequip_session():
        network = build(builder, arguments, ELEMENTS)
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    shape = network_shape(builder, arguments, ELEMENTS, CUTOFF_A)
    with pytest.raises(NotCovered, match="cutoffs that differ with the order"):
        network_of(shape, weights, PRECISIONS["float32"])


@pytest.mark.thorough
@pytest.mark.parametrize("real", PRECISIONS)
@pytest.mark.parametrize("size", [16, 32])
def test_processors_with_shorter_vectors_compute_the_same(monkeypatch, size, real):
    """As far as this one can tell, which has longer ones or the same."""
    theirs, _ = networks("order-2")
    for module in (precision, program):
        monkeypatch.setattr(module, "vector_bytes", lambda: size)
    builder, arguments = NETWORKS["order-2"]
    shape = network_shape(builder, arguments, ELEMENTS, CUTOFF_A)
    weights = {name: value.numpy() for name, value in theirs.state_dict().items()}
    monkeypatch.setattr(network, "program_of", program.program_of.__wrapped__)
    ours = network_of(shape, weights, PRECISIONS[real])
    assert ours.program.precision.width == size // np.dtype(real).itemsize
    atoms = structures()["crystal"]
    wanted = by_nequip(theirs, atoms, ELEMENTS)
    check_same(Evaluator(ours).compute(atoms), wanted, ROUNDING[real])


# Laws


def energy_eV(engine: Evaluator, atoms: Atoms) -> float:
    return float(engine.compute(atoms).energies.sum())


def slope(energy: Callable[[float], float], step: float) -> float:
    """Return a derivative at 0 to the fourth order."""
    near, far = ((energy(n * step) - energy(-n * step)) / n for n in (1, 2))
    return (4 * near - far) / (6 * step)


def test_forces_are_derivatives_of_the_energy():
    atoms, engine = structures()["crystal"], evaluator()
    forces = engine.compute(atoms).forces
    for atom, axis in ((0, 0), (5, 1), (15, 2)):

        def energy(step: float, atom: int = atom, axis: int = axis) -> float:
            moved = atoms.copy()
            moved.positions[atom, axis] += step
            return energy_eV(engine, moved)

        assert -slope(energy, 1e-3) == pytest.approx(forces[atom, axis], abs=1e-8)


def test_virial_is_the_derivative_with_respect_to_strain():
    atoms, engine = structures()["crystal"], evaluator()
    virial = engine.compute(atoms).virial
    for row, column in ((0, 0), (0, 1), (2, 1)):

        def energy(step: float, row: int = row, column: int = column) -> float:
            strain = np.eye(3)
            strain[row, column] += step
            strain[column, row] += step * (row != column)
            strained = atoms.copy()
            strained.set_cell(atoms.cell.array @ strain, scale_atoms=True)
            return energy_eV(engine, strained)

        both = virial[row, column] + virial[column, row] * (row != column)
        assert slope(energy, 1e-4) == pytest.approx(both, abs=1e-7)


@pytest.mark.parametrize("mirrored", [False, True], ids=["turned", "mirrored"])
def test_results_turn_with_the_structure(mirrored):
    atoms, engine = structures()["crystal"], evaluator()
    turn, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))
    turn *= np.linalg.det(turn) * (-1 if mirrored else 1)
    turned = atoms.copy()
    turned.set_cell(atoms.cell.array @ turn)
    turned.positions = atoms.positions @ turn
    before, after = engine.compute(atoms), engine.compute(turned)
    wanted = Result(
        before.energies, before.forces @ turn, turn.T @ before.virial @ turn, 0.0
    )
    check_same(after, wanted)


def test_order_and_place_of_the_atoms_do_not_matter():
    atoms, engine = structures()["crystal"], evaluator()
    order = np.random.default_rng(0).permutation(len(atoms))
    moved = atoms[order]
    moved.positions += [0.3, -1.7, 12.0]
    moved.wrap()
    before, after = engine.compute(atoms), engine.compute(moved)
    wanted = Result(before.energies[order], before.forces[order], before.virial, 0.0)
    check_same(after, wanted)


def test_supercell_has_the_same_energies_and_forces():
    """In several blocks of atoms of each type, the last of them not full."""
    atoms, engine = structures()["crystal"], evaluator()
    large = atoms.repeat((3, 2, 3))
    assert len(large) > 2 * BLOCK
    before, after = engine.compute(atoms), engine.compute(large)
    wanted = Result(
        np.tile(before.energies, 18),
        np.tile(before.forces, (18, 1)),
        18 * before.virial,
        0.0,
    )
    check_same(after, wanted)


def test_atoms_far_beyond_the_box_are_at_home_in_it():
    """Even where the number of cells between them needs more than 16 bits."""
    atoms, engine = structures()["crystal"], evaluator()
    far = atoms.copy()
    far.positions[3] += np.array([40_000, -1, 70_000]) @ atoms.cell.array
    check_same(engine.compute(far), engine.compute(atoms), 1e-7)  # of 1e5 Å
    (found, _) = engine.compute_all([far, atoms])
    check_same(found, engine.compute(atoms), 1e-7)


def test_the_closest_pair_is_told():
    atoms = structures()["crystal"]
    engine = evaluator()
    distances = atoms.get_all_distances(mic=True)
    np.fill_diagonal(distances, np.inf)
    assert engine.compute(atoms).closest_A == pytest.approx(distances.min())
    assert engine.compute(structures()["atoms-alone"]).closest_A == np.inf
    atoms.positions[0] = atoms.positions[1]
    assert engine.compute(atoms).closest_A == 0


# Several structures at once, and one after the other


@pytest.mark.parametrize("real", PRECISIONS)
def test_structures_computed_together_are_as_each_alone(real):
    engine, alone = evaluator(real), evaluator(real)
    together = list(structures().values())
    for atoms, found in zip(together, engine.compute_all(together), strict=True):
        check_same(found, alone.compute(atoms), {"float64": 1e-12}.get(real, 1e-5))


def test_results_do_not_depend_on_what_came_before():
    """Whatever arrays are used again, and however many atoms there are."""
    engine = evaluator()
    sizes = [*structures().values(), *reversed(structures().values())]
    for number, atoms in enumerate(sizes):
        if number % 4 == 2:
            engine.compute_all(sizes[number : number + 3])
        check_same(engine.compute(atoms), evaluator().compute(atoms), 1e-12)


def test_results_of_earlier_calls_stay():
    engine, atoms = evaluator(), structures()["crystal"]
    first = engine.compute(atoms)
    kept = first.forces.copy(), first.energies.copy(), first.virial.copy()
    atoms.rattle(0.01, seed=9)
    engine.compute(atoms)
    engine.again(atoms)
    for now, before in zip(
        (first.forces, first.energies, first.virial), kept, strict=True
    ):
        np.testing.assert_array_equal(now, before)


@pytest.mark.thorough
def test_weights_of_channels_that_fill_up_vectors_do_nothing():
    """Networks of few channels leave most of each vector empty, and what was there."""
    engine, atoms = evaluator(name="narrow"), structures()["crystal"]
    wanted = engine.compute(atoms)
    for array in engine._buffers._held.values():
        if array.dtype == np.float64:
            array.fill(np.nan)
    engine._workspace = None
    check_same(engine.compute(atoms), wanted, 1e-13)


def test_memory_does_not_grow():
    """Arrays are kept from pass to pass."""
    engine, large = evaluator("float32"), structures()["crystal"].repeat((3, 3, 4))

    def used(seeds: range) -> int:
        for seed in seeds:
            large.rattle(0.02, seed=seed)
            engine.again(large)
            engine.compute(large)
            engine.compute_all([structures()["slab"], large])
        return sum(array.nbytes for array in engine._buffers._held.values())

    assert used(range(3)) == used(range(3, 6))


@pytest.mark.thorough
def test_no_array_is_as_large_as_edges_times_channels():
    """An edge has a radial function, and so a message, for each of them."""
    _, ours = networks("wide", ("C",))
    engine, atoms = Evaluator(ours["float32"]), bulk("C", a=3.4, cubic=True).repeat(3)
    engine.compute(atoms)
    held = engine._buffers._held
    channels = max(layout.columns for layout in ours["float32"].program.layouts)
    largest = max(array.size for array in held.values())
    assert largest < held["counts"].sum() * channels / 4


# Threads


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_results_do_not_depend_on_the_number_of_threads(threads):
    large = structures()["crystal"].repeat((4, 2, 5))
    one, more = (evaluator("float32", count) for count in (1, threads))
    check_same(more.compute(large), one.compute(large), 1e-6)
    (first, second) = more.compute_all([large, structures()["slab"]])
    check_same(first, one.compute(large), 1e-6)
    check_same(second, one.compute(structures()["slab"]), 1e-6)


def test_results_are_the_same_each_time():
    """To the last bit, however threads take turns."""
    large, engine = structures()["crystal"].repeat((4, 2, 5)), evaluator("float32", 3)
    wanted = engine.compute(large)
    for _ in range(5):
        found = engine.again(large)
        assert found is not None
        np.testing.assert_array_equal(found.forces, wanted.forces)
        np.testing.assert_array_equal(found.virial, wanted.virial)
