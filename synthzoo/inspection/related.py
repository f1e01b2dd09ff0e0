"""Frames of one system in nearly one place: what their forces and stress promise."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from ase.stress import voigt_6_to_full_3x3_stress

from synthzoo.data.pairs import find_pairs
from synthzoo.data.structures import content_hash
from synthzoo.inspection.findings import CheckedSet, Finding

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    from synthzoo.data.pairs import Pairs
    from synthzoo.inspection.findings import CheckedSet


MOST_MOVE_A = 0.6
"""Farther apart, two frames are not compared."""
LEAST_MOVE_A = 1e-3
MOST_STRAIN = 0.08
SAME_STRAIN = 1e-5
NEXT_FRAMES = 20
"""Each frame is compared with so many that follow it."""
MOST_FRAMES = 500
"""Of one system; the others would add nothing."""
CANCELLATION = 0.1
"""Share of the work that has to be left when its parts are added up."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """One step from a frame to another of the same system.

    ``move_A``: how far the atom that moves most goes, apart from the change of the
    cell.
    ``by_forces_eV``: minus the mean forces times the displacements.
    ``by_stress_eV``: mean stress times strain times volume; zero if the cell is the
    same, not a number if it is not and there is no stress.
    """

    frames: tuple[int, int]
    move_A: float
    energy_eV: float
    by_forces_eV: float
    by_stress_eV: float


def related_works(data: CheckedSet) -> list[Work]:
    """Return the steps between close frames whose parts do not cancel.

    Along a straight line the mean of the forces at both ends is exact for harmonic
    motion, so that atoms may move by tenths of an Å.
    """
    systems: dict[bytes, list[int]] = defaultdict(list)
    for index in data.forces_eV_A:
        atoms = data.structures[index]
        if np.isfinite(data.energies_eV[index]) and len(atoms) > 1:
            systems[atoms.numbers.tobytes() + atoms.pbc.tobytes()].append(index)
    return [
        work
        for frames in systems.values()
        for work in _works(data, frames[:MOST_FRAMES])
    ]


def of_whole_cells(data: CheckedSet, works: list[Work]) -> list[Work]:
    """Return steps as they are if the energies of the set are per atom."""
    return [
        replace(work, energy_eV=int(data.sizes[work.frames[0]]) * work.energy_eV)
        for work in works
    ]


def _works(data: CheckedSet, frames: list[int]) -> Iterator[Work]:
    cells = np.array([data.structures[i].cell.complete().array for i in frames])
    places = np.array([data.structures[i].positions for i in frames])
    scaled = places @ np.linalg.inv(cells)
    periodic = data.structures[frames[0]].pbc
    for first in range(len(frames) - 1):
        others = slice(first + 1, first + 1 + NEXT_FRAMES)
        steps = scaled[others] - scaled[first]
        steps -= np.round(steps) * periodic
        middle = (cells[others] + cells[first]) / 2
        strains = np.linalg.solve(middle, cells[others] - cells[first])
        moves = steps @ middle
        far = np.linalg.norm(moves, axis=2).max(axis=1)
        strained = np.abs(strains).max(axis=(1, 2))
        for k in np.flatnonzero((far < MOST_MOVE_A) & (strained < MOST_STRAIN)):
            pair = (frames[first], frames[first + 1 + k])
            strain = strains[k] if strained[k] > SAME_STRAIN else None
            work = _work(data, pair, moves[k], strain)
            if work is not None:
                yield work


def _work(
    data: CheckedSet,
    pair: tuple[int, int],
    moves_A: NDArray[np.float64],
    strain: NDArray[np.float64] | None,
) -> Work | None:
    first, second = pair
    farthest = float(np.linalg.norm(moves_A, axis=1).max())
    forces = (data.forces_eV_A[first] + data.forces_eV_A[second]) / 2
    parts = -(forces * moves_A).sum(axis=1)
    by_stress = _by_stress(data, pair, strain)
    if farthest < LEAST_MOVE_A and strain is None:
        return None
    total = abs(parts.sum()) + (abs(by_stress) if np.isfinite(by_stress) else 0.0)
    if total <= CANCELLATION * np.abs(parts).sum() or total == 0:
        return None
    return Work(
        frames=pair,
        move_A=farthest,
        energy_eV=float(data.energies_eV[second] - data.energies_eV[first]),
        by_forces_eV=float(parts.sum()),
        by_stress_eV=by_stress,
    )


def _by_stress(
    data: CheckedSet, pair: tuple[int, int], strain: NDArray[np.float64] | None
) -> float:
    if strain is None:
        return 0.0
    if not all(index in data.stresses_eV_A3 for index in pair):
        return float("nan")
    stress = sum(
        voigt_6_to_full_3x3_stress(data.stresses_eV_A3[index]) for index in pair
    )
    volume = sum(data.structures[index].get_volume() for index in pair)
    return float((stress * strain).sum() / 2 * volume / 2)


FIRST_NEIGHBOURS = 24
"""Of an atom: structures whose distances to these differ are not looked at further."""
NEIGHBOURS = 100
"""Of an atom, however far away: what makes the fingerprint of a structure."""
FARTHEST_A = 100.0
"""Neighbours beyond are as good as none."""
REACH_FACTOR = 1.4
NEAR_A = 0.002
"""Two structures are one if their fingerprints differ by less."""
SAME_ENERGY_EV_PER_ATOM = 0.001
NEAR_ENERGY_EV_PER_ATOM = 0.02


def fingerprint_A(atoms: Atoms) -> NDArray[np.float64]:
    """Return the mean distance to the first, second ... nearest neighbour of an atom.

    It does not change when a structure is moved, turned, mirrored, repeated, or its
    atoms are put in another order, and by at most twice the largest displacement when
    atoms move ("average minimum distances", doi 10.46793/match.87-3.529W). Neighbours
    are looked for as far away as needed: of two structures that differ only beyond the
    reach of a search, nothing could be said.
    """
    wanted = NEIGHBOURS if atoms.pbc.any() else min(NEIGHBOURS, len(atoms) - 1)
    reach_A = FARTHEST_A / REACH_FACTOR**9
    while True:
        reach_A = min(REACH_FACTOR * reach_A, FARTHEST_A)
        pairs = find_pairs(atoms, reach_A)
        neighbours = int(np.bincount(pairs.first, minlength=len(atoms)).min())
        if neighbours >= wanted or reach_A == FARTHEST_A:
            return mean_distances_A(
                len(atoms), pairs.first, pairs.distances_A, FARTHEST_A, NEIGHBOURS
            )


def mean_distances_A(
    size: int,
    first: NDArray[np.integer],
    distances_A: NDArray[np.float64],
    reach_A: float,
    neighbours: int,
) -> NDArray[np.float64]:
    """Return the mean distances to the nearest neighbours among some pairs.

    ``first``, ``distances_A``: the atom that has the neighbour, from 0 to ``size``, and
    how far away it is.
    ``reach_A``: what counts as the distance of neighbours that were not found.
    """
    order = np.lexsort((distances_A, first))
    first, distances = first[order], distances_A[order]
    starts = np.searchsorted(first, np.arange(size))
    ranks = np.arange(len(first)) - starts[first]
    table = np.full((size, neighbours), reach_A)
    near = ranks < neighbours
    table[first[near], ranks[near]] = np.minimum(distances[near], reach_A)
    means: NDArray[np.float64] = table.mean(axis=0)
    return means


def exact_duplicates(data: CheckedSet) -> list[tuple[int, ...]]:
    """Return groups of structures with the same atoms in the same places."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index, atoms in enumerate(data.structures):
        if index not in data.faults:
            groups[content_hash(atoms)].append(index)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def near_duplicates(data: CheckedSet) -> list[tuple[int, ...]]:
    """Return groups of structures with the same composition and `fingerprint_A`.

    Exact duplicates are among what is found.
    """
    compositions: dict[str, list[int]] = defaultdict(list)
    for index, atoms in enumerate(data.structures):
        if index not in data.faults:
            name = atoms.get_chemical_formula("hill", empirical=True)
            compositions[name].append(index)
    alike = (
        group
        for members in compositions.values()
        for group in _close_groups(members, _first_distances_A(data, members))
    )
    return [
        tuple(group)
        for members in alike
        for group in _close_groups(
            members, np.array([fingerprint_A(data.structures[i]) for i in members])
        )
    ]


def _first_distances_A(data: CheckedSet, members: list[int]) -> NDArray[np.float64]:
    """Return distances that are equal where fingerprints are; they cost little.

    They stand for each pair of elements by itself: an alloy whose atoms have changed
    places is another structure.
    """
    reach_A = min(data.reaches_A[index] for index in members)
    return np.array(
        [
            np.concatenate(
                list(
                    _by_elements(data.structures[index], data.pairs[index], reach_A),
                )
            )
            for index in members
        ]
    )


def _by_elements(
    atoms: Atoms, pairs: Pairs, reach_A: float
) -> Iterator[NDArray[np.float64]]:
    """Yield the mean distances from atoms of each element to those of each."""
    numbers = atoms.numbers
    places = np.zeros(len(atoms), dtype=np.int64)
    for element in np.unique(numbers):
        own = numbers == element
        places[own] = np.arange(own.sum())
        for other in np.unique(numbers):
            kept = own[pairs.first] & (numbers[pairs.second] == other)
            yield mean_distances_A(
                int(own.sum()),
                places[pairs.first[kept]],
                pairs.distances_A[kept],
                reach_A,
                FIRST_NEIGHBOURS,
            )


def _close_groups(
    members: list[int], fingerprints: NDArray[np.float64]
) -> list[list[int]]:
    """Return groups of members that are linked by fingerprints within `NEAR_A`."""
    order = np.argsort(fingerprints.mean(axis=1), kind="stable")
    ordered = fingerprints[order]
    means = ordered.mean(axis=1)
    root = list(range(len(members)))
    for step in range(1, len(members)):
        close = np.flatnonzero(means[step:] - means[:-step] < NEAR_A)
        if not len(close):
            break
        apart = np.abs(ordered[close + step] - ordered[close]).max(axis=1)
        for place in close[apart < NEAR_A]:
            _link(root, int(place), int(place) + step)
    groups: dict[int, list[int]] = defaultdict(list)
    for place, index in enumerate(order):
        groups[_root(root, place)].append(members[index])
    return sorted(sorted(group) for group in groups.values() if len(group) > 1)


def _root(root: list[int], place: int) -> int:
    while root[place] != place:
        place = root[place]
    return place


def _link(root: list[int], one: int, other: int) -> None:
    ends = sorted((_root(root, one), _root(root, other)))
    root[ends[1]] = ends[0]


def duplicates(data: CheckedSet) -> list[Finding]:
    """Find structures that are in the set several times, and contradicting labels."""
    exact = exact_duplicates(data)
    copies = {frozenset(group) for group in exact}
    near = [group for group in near_duplicates(data) if frozenset(group) not in copies]
    return [
        *_copies(exact),
        *_near_copies(near),
        *_contradictions(data, exact, SAME_ENERGY_EV_PER_ATOM),
        *_contradictions(data, near, NEAR_ENERGY_EV_PER_ATOM),
    ]


def _copies(groups: list[tuple[int, ...]]) -> list[Finding]:
    if not groups:
        return []
    extra = sum(len(group) - 1 for group in groups)
    message = (
        f"{extra} structure(s) are exact copies of another one; leave them out, or "
        "they count twice and may end up in training and validation set."
    )
    frames = tuple(sorted(index for group in groups for index in group))
    return [
        Finding(kind="duplicates", severity="warning", message=message, frames=frames)
    ]


def _near_copies(groups: list[tuple[int, ...]]) -> list[Finding]:
    if not groups:
        return []
    frames = tuple(sorted(index for group in groups for index in group))
    message = (
        f"{len(frames)} structures in {len(groups)} group(s) are nearly the same, "
        f"maybe moved, turned or repeated: the mean distances to {NEIGHBOURS} "
        f"neighbours agree to {NEAR_A} Å. Keep each group on one side of a split."
    )
    return [
        Finding(kind="near_duplicates", severity="note", message=message, frames=frames)
    ]


def _contradictions(
    data: CheckedSet, groups: list[tuple[int, ...]], limit: float
) -> list[Finding]:
    """Find groups of equal structures whose energies differ."""
    energies = data.energies_eV / np.maximum(data.sizes, 1)
    differences = {
        group: float(np.ptp(values))
        for group in groups
        if len(values := energies[list(group)][np.isfinite(energies[list(group)])]) > 1
    }
    differing = {group: gap for group, gap in differences.items() if gap > limit}
    if not differing:
        return []
    frames = tuple(sorted(index for group in differing for index in group))
    message = (
        f"{len(frames)} structures in {len(differing)} group(s) are the same within "
        f"{NEAR_A} Å, but their energies differ by up to "
        f"{max(differing.values()):.3g} eV/atom: labels of two sources?"
    )
    return [
        Finding(
            kind="contradicting_labels",
            severity="error" if limit == SAME_ENERGY_EV_PER_ATOM else "warning",
            message=message,
            frames=frames,
        )
    ]
