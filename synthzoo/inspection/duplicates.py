"""Structures that are in a set more than once, moved, turned or repeated ones too."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from synthzoo.inspection.findings import CheckedSet, Finding
from synthzoo.pairs import find_pairs
from synthzoo.structures import content_hash

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    from synthzoo.pairs import Pairs

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

    Parameters
    ----------
    atoms
        Any structure.
    """
    wanted = NEIGHBOURS if atoms.pbc.any() else min(NEIGHBOURS, len(atoms) - 1)
    reach_A = FARTHEST_A / REACH_FACTOR**9
    while True:
        reach_A = min(REACH_FACTOR * reach_A, FARTHEST_A)
        pairs = find_pairs(atoms, reach_A)
        found = int(np.bincount(pairs.first, minlength=len(atoms)).min())
        if found >= wanted or reach_A == FARTHEST_A:
            return mean_distances_A(len(atoms), pairs, FARTHEST_A, NEIGHBOURS)


def mean_distances_A(
    size: int, pairs: Pairs, reach_A: float, neighbours: int
) -> NDArray[np.float64]:
    """Return the mean distances to the nearest neighbours among some pairs.

    Parameters
    ----------
    size
        Number of atoms.
    pairs
        Pairs of the structure.
    reach_A
        What counts as the distance of neighbours that were not found.
    neighbours
        How many of an atom count.
    """
    order = np.lexsort((pairs.distances_A, pairs.first))
    first, distances = pairs.first[order], pairs.distances_A[order]
    starts = np.searchsorted(first, np.arange(size))
    ranks = np.arange(len(first)) - starts[first]
    table = np.full((size, neighbours), reach_A)
    near = ranks < neighbours
    table[first[near], ranks[near]] = np.minimum(distances[near], reach_A)
    means: NDArray[np.float64] = table.mean(axis=0)
    return means


def exact_duplicates(data: CheckedSet) -> list[tuple[int, ...]]:
    """Return groups of structures with the same atoms in the same places.

    Parameters
    ----------
    data
        Set to look at.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for index, atoms in enumerate(data.structures):
        if index not in data.faults:
            groups[content_hash(atoms)].append(index)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def near_duplicates(data: CheckedSet) -> list[tuple[int, ...]]:
    """Return groups of structures with the same composition and `fingerprint_A`.

    Parameters
    ----------
    data
        Set to look at; exact duplicates are among what is found.
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
    """Return distances that are equal where fingerprints are; they cost little."""
    reach_A = min(data.reaches_A[index] for index in members)
    return np.array(
        [
            mean_distances_A(
                int(data.sizes[index]), data.pairs[index], reach_A, FIRST_NEIGHBOURS
            )
            for index in members
        ]
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
    """Find structures that are in the set several times, and contradicting labels.

    Parameters
    ----------
    data
        Set to look at.
    """
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
        group: float(np.ptp(found))
        for group in groups
        if len(found := energies[list(group)][np.isfinite(energies[list(group)])]) > 1
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
