"""Which atoms may be neighbours, and for how long that stays true."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array

from synthzoo.data.pairs import find_edges

if TYPE_CHECKING:
    from numpy.typing import NDArray

SKIN_A = 0.75
"""How much farther than the cutoff a list reaches that is to serve for many steps."""

NEAR_A = 0.3
"""A structure whose atoms have moved less than this is another step of the same run."""


class Frame(NamedTuple):
    """A structure as far as distances depend on it.

    ``positions``: in Å, ``(n, 3)``; ``cell``: three independent vectors, in Å, ``(3,
    3)``; ``periodic``: along which of them the structure repeats, ``(3,)``.
    """

    positions: NDArray[np.float64]
    cell: NDArray[np.float64]
    periodic: NDArray[np.bool_]


class Links(NamedTuple):
    """Pairs of atoms that may be neighbours, each in both directions, by atom.

    ``starts``: of each atom's pairs, a multiple of the vector's width; behind the last
    one stands the end, of shape ``(n + 1,)``.
    ``counts``: pairs of each atom, ``(n,)``.
    ``others``: the second atom of each pair.
    ``images``: cell vectors between it and its image, ``(…, 3)``.
    """

    starts: NDArray[np.int64]
    counts: NDArray[np.int32]
    others: NDArray[np.int32]
    images: NDArray[np.int16]

    @property
    def slots(self) -> int:
        """Places for pairs in all, with those that fill up vectors."""
        return int(self.starts[-1])

    @property
    def most(self) -> int:
        """The largest number of an atom's pairs."""
        return int(self.counts.max(initial=0))


class Near(NamedTuple):
    """Pairs of atoms, sorted by the first one.

    ``first``, ``second``: numbers of the atoms; ``shifts``: cell vectors between the
    second one and its image, ``(pairs, 3)``.
    ``homes``: cell vectors to take off the atoms' positions for that, ``(n, 3)``; None
    if there are none to take off.
    """

    first: NDArray[Any]
    second: NDArray[Any]
    shifts: NDArray[Any]
    homes: NDArray[np.float64] | None


def find_near(frame: Frame, reach_A: float) -> Near:
    """Return the pairs of atoms that are closer than this."""
    first, second, shifts = find_edges(*frame, reach_A)
    if max(shifts.max(initial=0), -shifts.min(initial=0)) <= np.iinfo(np.int16).max:
        return Near(first, second, shifts.astype(np.int16), None)
    steps = np.floor(frame.positions @ np.linalg.inv(frame.cell))
    homes = np.where(frame.periodic, steps, 0.0)
    shifts = shifts + (homes[second] - homes[first])
    return Near(first, second, shifts.astype(np.int16), homes)


def near_home(frame: Frame, homes: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Return positions, less the cell vectors of atoms that are far away."""
    return frame.positions if homes is None else frame.positions - homes @ frame.cell


def by_first(first: NDArray[Any], second: NDArray[Any], shifts: NDArray[Any]) -> Near:
    """Return pairs in any order, sorted by the first atom."""
    order = np.argsort(first, kind="stable")
    return Near(first[order], second[order], shifts[order], None)


def in_order(pairs: Near, atoms: int) -> Near:
    """Return pairs sorted by both atoms and image.

    Sums over an atom's neighbours have the same order then, and the same last digit,
    whether a list has a skin or not: a run that is taken up again gives the same bytes.
    """
    keys = pairs.second.astype(np.int64)
    for column in pairs.shifts.T:
        low, high = int(column.min(initial=0)), int(column.max(initial=0))
        keys *= high - low + 1
        keys += column
        keys -= low
    places = np.arange(len(keys), dtype=np.int32)
    ends = np.searchsorted(pairs.first, np.arange(atoms + 1))
    rows = csr_array((places, keys, ends), shape=(atoms, keys.max(initial=0) + 1))
    rows.sort_indices()
    order = rows.data
    return Near(pairs.first, pairs.second[order], pairs.shifts[order], pairs.homes)


def link(pairs: Near, atoms: int, width: int) -> Links:
    """Return pairs in whole vectors for each of some atoms."""
    counts = np.bincount(pairs.first, minlength=atoms).astype(np.int32)
    starts = np.zeros(atoms + 1, dtype=np.int64)
    np.cumsum(-(-counts // width) * width, out=starts[1:])
    skipped = starts[:-1] - (np.cumsum(counts) - counts)
    places = np.arange(len(pairs.first)) + np.repeat(skipped, counts)
    others = np.zeros(starts[-1], dtype=np.int32)
    images = np.zeros((starts[-1], 3), dtype=np.int16)
    others[places] = pairs.second
    images[places] = pairs.shifts
    return Links(starts, counts, others, images)


class Neighbours:
    """The links of structures that come one after the other.

    What is found stays right while the atoms move little. A structure that comes alone
    gets a list that reaches as far as the cutoff. If the next one is another step of
    the same run, its list reaches farther, by a skin, and serves until atoms have
    moved through half of that.

    Parameters
    ----------
    cutoff_A
        Of the network.
    width
        Of a vector.
    skin_A
        How much farther than the cutoff a list reaches that is to serve for many steps.
    """

    def __init__(self, cutoff_A: float, width: int, *, skin_A: float = SKIN_A) -> None:
        self._cutoff_A, self._width, self._skin_A = cutoff_A, width, skin_A
        self.forget()

    def forget(self) -> None:
        """Begin anew: the next structure is another one."""
        self._found: Frame | None = None
        self._homes: NDArray[np.float64] | None = None
        self._reach_A = self._cutoff_A
        self._served = 0

    def hold(self, frame: Frame) -> bool:
        """Return whether the last links are those of a structure, too.

        Pairs that are closer than the cutoff now were closer than the list's reach.
        """
        if self._found is None or not _alike(frame, self._found):
            return False
        moved_A, stretch = _motion(self._found, frame)
        held = stretch * (self._cutoff_A + 2 * moved_A) <= self._reach_A
        self._served += held
        return bool(held)

    def find(self, frame: Frame) -> Links:
        """Return the links of a structure."""
        skin_A = self._skin_A if self._goes_on(frame) else 0.0
        self.forget()
        self._reach_A = self._cutoff_A + skin_A
        self._found = Frame(
            frame.positions.copy(), frame.cell.copy(), frame.periodic.copy()
        )
        pairs = find_near(frame, self._reach_A)
        self._homes = pairs.homes
        atoms = len(frame.positions)
        return link(in_order(pairs, atoms), atoms, self._width)

    def near_home(self, frame: Frame) -> NDArray[np.float64]:
        """Return the positions of a structure to which its links belong."""
        return near_home(frame, self._homes)

    def _goes_on(self, frame: Frame) -> bool:
        """Return whether a structure is the next step of a run.

        It is not if the last list had a skin, and served for no other structure.
        """
        if self._found is None or not _alike(frame, self._found):
            return False
        skin_A = self._reach_A - self._cutoff_A
        moved_A, _ = _motion(self._found, frame)
        return moved_A < NEAR_A + skin_A and (skin_A == 0 or self._served > 0)


def _alike(frame: Frame, other: Frame) -> bool:
    """Return whether two structures have as many atoms, and the same periodicity."""
    return frame.positions.shape == other.positions.shape and bool(
        (frame.periodic == other.periodic).all()
    )


def _motion(before: Frame, after: Frame) -> tuple[float, float]:
    """Return how atoms have moved, and how much a vector may have been longer before.

    The first is the largest distance in Å from where atoms would be if they moved with
    the cell only. The second is infinite, or not a number, for what is no small strain.
    """
    stretch, moved = 1.0, after.positions - before.positions
    if not np.array_equal(before.cell, after.cell):
        strain = np.linalg.solve(before.cell, after.cell) - np.eye(3)
        moved -= before.positions @ strain
        size = float(np.sqrt(np.square(strain).sum()))  # at least the largest stretch
        stretch = 1 / (1 - size) if size < 1 else math.inf
    squares = np.einsum("ij,ij->i", moved, moved)
    return float(np.sqrt(squares.max(initial=0.0))), stretch
