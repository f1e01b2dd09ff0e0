"""Observables of trajectories, against known structures and ASE's own functions."""

import time

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, graphene, molecule
from ase.geometry.rdf import get_rdf
from ase.md.analysis import DiffusionCoefficient

from synthzoo.data.sound import check_structure
from synthzoo.errors import InputError
from synthzoo.stability.distances import partial_distributions, radial_distribution
from synthzoo.stability.observables import bond_shares, observe_frames, ring_counts


@pytest.fixture
def hot_diamond() -> Atoms:
    atoms: Atoms = bulk("C", "diamond", a=3.57, cubic=True).repeat(4)
    atoms.rattle(0.1, seed=1)
    return atoms


def test_radial_distribution_is_that_of_ase(hot_diamond: Atoms):
    """Bin by bin, where ASE's function can reach."""
    found = radial_distribution(hot_diamond, reach_A=6.0, step_A=0.05)
    values, distances = get_rdf(hot_diamond, 6.0, 120)
    assert found.distances_A == pytest.approx(distances)
    assert found.values == pytest.approx(values)


def test_radial_distribution_of_a_cell_smaller_than_its_reach():
    """The primitive cell gives what a large crystal gives."""
    small = bulk("C", "diamond", a=3.57)
    large = bulk("C", "diamond", a=3.57, cubic=True).repeat(4)
    assert radial_distribution(small).values == pytest.approx(
        radial_distribution(large).values
    )


def test_partial_distributions_add_up_to_the_whole():
    """Each counts by the shares of its elements, unlike pairs twice."""
    crystal = bulk("InP", "zincblende", a=5.87, cubic=True).repeat(2)
    crystal.symbols[0] = "P"
    crystal.rattle(0.1, seed=1)
    share = {name: float(np.mean(crystal.symbols == name)) for name in ("In", "P")}
    whole = sum(
        (1 if one == other else 2) * share[one] * share[other] * found.values
        for name, found in partial_distributions(crystal).items()
        for one, other in [name.split("–")]
    )
    assert whole == pytest.approx(radial_distribution(crystal).values)
    assert partial_distributions(bulk("Si")) == {}


def test_bonds_are_counted_by_elements():
    """In the last frame; an antisite has like neighbours."""
    crystal = bulk("InP", "zincblende", a=5.87, cubic=True)
    crystal.symbols[0] = "P"  # of four In
    found = observe_frames([(0.0, crystal)])
    assert found.bonds_by_pair["In–P"] == 4.0
    assert found.bonds_by_pair["P–P"] == pytest.approx(8 / 5)
    assert found.partial["In–P"].first_peak_A == pytest.approx(2.54, abs=0.05)
    assert observe_frames([(0.0, bulk("Si"))]).bonds_by_pair == {}


def test_radial_distribution_needs_a_density():
    """A molecule has no volume to compare with."""
    with pytest.raises(InputError, match="periodic in 3D"):
        radial_distribution(molecule("C60"))


@pytest.mark.parametrize(
    ("atoms", "bonds"),
    [
        (bulk("C", "diamond", a=3.57), 4),
        (graphene(a=2.46, vacuum=5), 3),
        (Atoms("C", cell=[1.3, 9, 9], pbc=True), 2),
        (bulk("Si", "diamond", a=5.43), 4),
        (bulk("SiC", "zincblende", a=4.36), 4),
        (bulk("Cu", "fcc", a=3.61), 12),
        (Atoms("C2", [[0, 0, 0], [0, 0, 5]]), 0),
    ],
    ids=["sp3", "sp2", "sp", "silicon", "carbide", "copper", "apart"],
)
def test_bonds_of_known_structures(atoms: Atoms, bonds: int):
    """Every atom has the bonds that its crystal has, by the lengths of its elements."""
    expected = np.zeros(14)
    expected[bonds] = 1
    assert bond_shares(atoms) == pytest.approx(expected)


@pytest.mark.parametrize("distance_A", [1e6, 1e9, 1e12])
def test_an_atom_that_flew_off_costs_no_time(distance_A: float):
    """Whole cells away it is where it was; from a molecule it is lost; in a moment."""
    crystal = bulk("C", "diamond", a=3.57, cubic=True)
    away = crystal.copy()
    away.positions[3] += 3.57 * round(distance_A / 3.57)
    molecules = molecule("C60"), molecule("C60")
    molecules[1].positions[3] += distance_A
    started = time.perf_counter()
    if distance_A < 1e9:  # farther, the digits do not suffice
        assert bond_shares(away) == pytest.approx(bond_shares(crystal))
    bond_shares(away)
    assert bond_shares(molecules[0])[3] == 1
    assert bond_shares(molecules[1])[[0, 2, 3]] * 60 == pytest.approx([1, 3, 56])
    assert time.perf_counter() - started < 5


def test_a_structure_that_flew_apart_is_not_computed():
    """The neighbours of such atoms would take ages to find."""
    atoms = bulk("C", "diamond", a=3.57, cubic=True)
    atoms.positions[3, 1] = 3e12
    with pytest.raises(InputError, match=r"atom 3 lies 3e\+12 Å away"):
        check_structure(atoms)


@pytest.mark.parametrize(
    ("atoms", "rings"),
    [
        (bulk("C", "diamond", a=3.57, cubic=True).repeat(3), {6: 2.0}),
        (graphene(a=2.46, size=(2, 2, 1), vacuum=5), {6: 0.5}),
        (molecule("C60"), {5: 12 / 60, 6: 20 / 60}),
        (bulk("SiC", "zincblende", a=4.36, cubic=True).repeat(3), {6: 2.0}),
        (Atoms("C2", [[0, 0, 0], [0, 0, 5]]), {}),
    ],
    ids=["diamond", "graphene", "C60", "SiC", "no bonds"],
)
def test_rings_of_known_structures(atoms: Atoms, rings: dict[int, float]):
    """Shortest-path rings per atom."""
    assert ring_counts(atoms) == pytest.approx(rings)


def test_dense_packings_have_no_rings_worth_counting():
    """Their number explodes, and so would the time."""
    copper = bulk("Cu", cubic=True).repeat(5)
    assert observe_frames([(0.0, copper)]).rings is None


def _walk(steps: int, drift_A: float = 0.0) -> list[tuple[float, Atoms]]:
    """Return a random walk of 500 copper atoms, one frame each 0.1 ps."""
    rng = np.random.default_rng(3)
    atoms = bulk("Cu", cubic=True).repeat(5)
    frames = []
    for step in range(steps):
        frames.append((0.1 * step, atoms.copy()))
        atoms.positions += rng.normal(scale=0.1, size=(500, 3)) + drift_A
    return frames


def test_diffusion_is_that_of_the_walk():
    """Of steps of 0.1 Å each 0.1 ps: σ² / 2t; ASE's fit agrees."""
    frames = _walk(100)
    found = observe_frames(frames).diffusion_cm2_s
    assert found is not None
    assert found == pytest.approx(0.1**2 / 2 / 0.1 * 1e-4, rel=0.1)
    ase_fit = DiffusionCoefficient([atoms for _, atoms in frames], 100 * units.fs)
    ase_fit.calculate()
    (per_element,), _ = ase_fit.get_diffusion_coefficients()
    per_cm2_s = per_element * units.fs * 1e15 * 1e-16
    assert found == pytest.approx(per_cm2_s, rel=0.02)


def test_a_drift_of_the_whole_is_no_diffusion():
    """The centre of mass is taken off."""
    drifting, resting = (observe_frames(_walk(20, drift)) for drift in (1.0, 0.0))
    assert drifting.squared_displacements_A2 == pytest.approx(
        resting.squared_displacements_A2, abs=1e-9
    )


def test_settled_part_alone_gives_the_distribution(hot_diamond: Atoms):
    """Frames before the time that is given do not count."""
    cold = bulk("C", "diamond", a=3.57, cubic=True).repeat(4)
    frames = [(0.0, cold), (1.0, hot_diamond)]
    found = observe_frames(frames, settled_ps=0.5)
    assert found.radial is not None
    assert found.radial.values == pytest.approx(radial_distribution(hot_diamond).values)
    assert found.diffusion_cm2_s is None
    assert found.rings == ring_counts(hot_diamond)


def test_frames_that_blew_up_are_left_out():
    """The frames before them are still looked at, and taken one at a time."""
    atoms = bulk("C", "diamond", a=3.57, cubic=True)
    broken = atoms.copy()
    broken.positions[3] = np.nan
    found = observe_frames(iter([(0.0, atoms), (0.1, atoms), (0.2, broken)]))
    assert found.times_ps.tolist() == [0.0, 0.1]
    assert found.bond_shares[:, 4].tolist() == [1.0, 1.0]
    with pytest.raises(InputError, match="finite positions"):
        observe_frames([(0.0, broken)])
