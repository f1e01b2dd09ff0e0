"""Lists of neighbours are used again exactly as long as they are right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase.build import bulk

from synthzoo.data import pairs
from synthzoo.models.engine import links
from synthzoo.models.engine.links import NEAR_A, SKIN_A, Frame, Neighbours

if TYPE_CHECKING:
    from ase import Atoms

CUTOFF_A = 3.0
WIDTH = 8


def frame(atoms: Atoms) -> Frame:
    return Frame(atoms.positions, atoms.cell.complete().array, atoms.pbc)


def crystal() -> Atoms:
    atoms: Atoms = bulk("C", cubic=True).repeat((2, 1, 1))
    atoms.rattle(0.1, seed=1)
    return atoms


def listed(found: links.Links) -> set[tuple[int, ...]]:
    """Return all pairs of a list, with their shifts."""
    return {
        (atom, *np.atleast_1d(found.others[place]), *found.images[place])
        for atom, (start, count) in enumerate(
            zip(found.starts[:-1], found.counts, strict=True)
        )
        for place in range(start, start + count)
    }


def within(atoms: Atoms) -> set[tuple[int, ...]]:
    """Return the pairs that are closer than the cutoff."""
    near = pairs.find_pairs(atoms, CUTOFF_A)
    return {
        (int(i), int(j), *map(int, s))
        for i, j, s in zip(near.first, near.second, near.shifts, strict=True)
    }


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the reach of each search that is made."""
    made: list[float] = []
    search = pairs.find_edges

    def counted(*arguments):
        made.append(arguments[-1])
        return search(*arguments)

    monkeypatch.setattr(links, "find_edges", counted)
    return made


def test_a_list_holds_each_pair_once_in_whole_vectors():
    atoms = crystal()
    found = Neighbours(CUTOFF_A, WIDTH).find(frame(atoms))
    assert listed(found) == within(atoms)
    assert found.counts.sum() == len(within(atoms))
    assert not (found.starts % WIDTH).any()
    assert (np.diff(found.starts) - found.counts < WIDTH).all()


@pytest.mark.parametrize("seed", range(20))
def test_a_list_that_holds_has_all_pairs(seed):
    """Whatever cell and atoms do; such a list also holds now and then."""
    rng, atoms = np.random.default_rng(seed), crystal()
    neighbours = Neighbours(CUTOFF_A, WIDTH)
    neighbours.find(frame(atoms))
    atoms.rattle(0.001, seed=0)
    kept = neighbours.find(frame(atoms))
    size = 0.1 * seed / 20
    held = 0
    for _ in range(5):
        moved = atoms.copy()
        strain = np.eye(3) + rng.normal(scale=size / 2, size=(3, 3))
        moved.set_cell(atoms.cell.array @ strain, scale_atoms=True)
        moved.positions += rng.normal(scale=size, size=atoms.positions.shape)
        if neighbours.hold(frame(moved)):
            held += 1
            assert within(moved) <= listed(kept)
    assert held or size > 0.03


def test_a_list_holds_until_atoms_have_moved_half_the_skin():
    atoms = crystal()
    neighbours = Neighbours(CUTOFF_A, WIDTH)
    neighbours.find(frame(atoms))
    neighbours.find(frame(atoms))  # with a skin
    for distance, holds in ((0.49, True), (0.51, False)):
        moved = atoms.copy()
        moved.positions[3, 1] += distance * SKIN_A
        assert neighbours.hold(frame(moved)) == holds


def test_a_cell_that_grows_evenly_keeps_its_list():
    """The distance at which pairs were found is what counts, not how far atoms go."""
    atoms = crystal().repeat((5, 1, 1))
    neighbours = Neighbours(CUTOFF_A, WIDTH)
    neighbours.find(frame(atoms))
    neighbours.find(frame(atoms))
    for factor, holds in ((1.1, True), (0.9, True), (0.7, False)):
        scaled = atoms.copy()
        scaled.set_cell(factor * atoms.cell.array, scale_atoms=True)
        assert neighbours.hold(frame(scaled)) == holds


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_what_is_no_number_holds_nothing(broken):
    neighbours = Neighbours(CUTOFF_A, WIDTH)
    neighbours.find(frame(crystal()))
    for part in ("positions", "cell"):
        changed = frame(crystal())
        getattr(changed, part)[0, 0] = broken
        with np.errstate(invalid="ignore"):
            assert not neighbours.hold(changed)


def test_structures_of_their_own_get_no_skin(searches):
    neighbours = Neighbours(CUTOFF_A, WIDTH)
    for seed in range(4):
        atoms = crystal()
        atoms.rattle(2 * NEAR_A, seed=seed)
        assert not neighbours.hold(frame(atoms))
        neighbours.find(frame(atoms))
    assert searches == [CUTOFF_A] * 4


def test_a_run_searches_rarely(searches):
    """Once without a skin, once with one, and then after many steps."""
    atoms, rng = crystal(), np.random.default_rng(0)
    neighbours = Neighbours(CUTOFF_A, WIDTH)
    velocities = rng.normal(scale=0.002, size=atoms.positions.shape)
    for _ in range(400):
        atoms.positions += velocities
        if not neighbours.hold(frame(atoms)):
            neighbours.find(frame(atoms))
    assert searches[:2] == [CUTOFF_A, CUTOFF_A + SKIN_A]
    assert searches[2:] == [CUTOFF_A + SKIN_A] * len(searches[2:])
    assert 4 <= len(searches) <= 12


def test_a_skin_that_serves_nobody_is_given_up(searches):
    """Samples of one crystal may be near each other, and yet no run."""
    neighbours = Neighbours(CUTOFF_A, WIDTH, skin_A=0.1)
    for seed in range(4):
        atoms = crystal()
        atoms.positions[0, 0] += 0.25 * (seed % 2)
        neighbours.hold(frame(atoms))
        neighbours.find(frame(atoms))
    assert searches == [CUTOFF_A, CUTOFF_A + 0.1, CUTOFF_A, CUTOFF_A + 0.1]
