"""From structures to their energies, forces and virials, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from ase.data import atomic_numbers, chemical_symbols

from synthzoo.models.engine.evaluation import Workspace
from synthzoo.models.engine.links import (
    Frame,
    Links,
    Near,
    Neighbours,
    by_first,
    find_near,
    link,
    near_home,
)
from synthzoo.models.engine.memory import Buffers, Who

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    from synthzoo.models.engine.network import Network


class Result(NamedTuple):
    """What is computed for a structure.

    ``energies``: of atoms in eV, ``(n,)``; ``forces`` in eV/Å, ``(n, 3)``; ``virial``:
    derivative of the energy with respect to strain in eV, ``(3, 3)``;
    ``closest_A``: the smallest distance of a pair, or infinity; of all structures that
    were computed together; ``features``: of atoms after the last layer, which energies
    are read from, ``(n, channels)``; None where torch computes.
    """

    energies: NDArray[np.float64]
    forces: NDArray[np.float64]
    virial: NDArray[np.float64]
    closest_A: float
    features: NDArray[Any] | None = None


class _Order(NamedTuple):
    """How atoms are sorted by type.

    ``types``: of the sorted atoms, ``(n,)``.
    ``order``: numbers of the atoms in the structure; None if they are sorted there.
    """

    types: NDArray[np.int32]
    order: NDArray[np.int64] | None

    def sort(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return values of atoms, sorted."""
        return values if self.order is None else values[self.order]

    def unsort(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return values of sorted atoms as they are in the structure."""
        if self.order is None:
            return values
        found = np.empty_like(values)
        found[self.order] = values
        return found

    def sort_pairs(self, pairs: Near) -> Near:
        """Return pairs with the numbers of sorted atoms."""
        if self.order is None:
            return pairs
        places = self.unsort(np.arange(len(self.order)))
        return by_first(places[pairs.first], places[pairs.second], pairs.shifts)


UNSORTED = _Order(np.zeros(0, dtype=np.int32), None)
"""Leaves atoms as they are."""


class Evaluator:
    """Computes structures with a network, and remembers the last one for the next.

    Arrays, and the list of neighbours while it holds, are used again. An evaluator
    serves one thread at a time.

    Parameters
    ----------
    network
        What computes.
    threads
        How many may compute.
    """

    def __init__(self, network: Network, *, threads: int = 1) -> None:
        self._network, self._threads = network, threads
        self._width = network.program.precision.width
        self._cutoff_A = network.shape.cutoff_A
        self._types = _types_by_number(network.shape.elements)
        self._neighbours = Neighbours(self._cutoff_A, self._width)
        self._buffers = Buffers()
        self._workspace: Workspace | None = None
        self._numbers = np.zeros(0, dtype=np.int64)
        self._order = UNSORTED

    def again(self, atoms: Atoms) -> Result | None:
        """Return what is computed for another step of the last structure's run.

        None for any other structure, and for one that has moved too far. What has been
        checked of the last one needs no check then.
        """
        if self._workspace is None or not np.array_equal(atoms.numbers, self._numbers):
            return None
        frame = _frame(atoms, self._order)
        if not self._neighbours.hold(frame):
            return None
        return self._pass(self._workspace, frame)

    def compute(self, atoms: Atoms) -> Result:
        """Return what is computed for a structure, which must be a sound one."""
        if not np.array_equal(atoms.numbers, self._numbers):
            self._neighbours.forget()
            self._workspace = None
            self._numbers = atoms.numbers.copy()
            self._order = _order_of(self._types[atoms.numbers])
        frame = _frame(atoms, self._order)
        links = self._neighbours.find(frame)
        if self._workspace is None or not self._workspace.relink(links):
            owners = np.zeros(len(atoms), dtype=np.int64)
            who = Who(self._order.types, owners, 1)
            self._workspace = self._prepare(who, links)
        return self._pass(self._workspace, frame)

    def compute_all(self, structures: Sequence[Atoms]) -> list[Result]:
        """Return what is computed for several sound structures, in one pass."""
        self._workspace = None  # its arrays will be lost
        self._neighbours.forget()
        frames = [_frame(atoms, UNSORTED) for atoms in structures]
        sizes = [len(atoms) for atoms in structures]
        numbers = np.concatenate([atoms.numbers for atoms in structures])
        order = _order_of(self._types[numbers])
        owners = np.repeat(np.arange(len(frames)), sizes)
        who = Who(order.types, order.sort(owners), len(frames))
        near = [find_near(frame, self._cutoff_A) for frame in frames]
        positions = [
            near_home(frame, pairs.homes)
            for frame, pairs in zip(frames, near, strict=True)
        ]
        links = link(order.sort_pairs(_joined(near, sizes)), len(who), self._width)
        found = self._prepare(who, links).evaluate(
            order.sort(np.concatenate(positions)),
            np.stack([frame.cell for frame in frames]),
        )
        ends = np.cumsum(sizes)[:-1]
        return [
            Result(energies, forces, virial, found.closest_A, features)
            for energies, forces, virial, features in zip(
                np.split(order.unsort(found.energies), ends),
                np.split(order.unsort(found.forces), ends),
                found.virials,
                np.split(order.unsort(found.features), ends),
                strict=True,
            )
        ]

    def _prepare(self, who: Who, links: Links) -> Workspace:
        return Workspace(
            self._network, who, links, threads=self._threads, buffers=self._buffers
        )

    def _pass(self, workspace: Workspace, frame: Frame) -> Result:
        positions = self._neighbours.near_home(frame)
        found = workspace.evaluate(positions, frame.cell[None])
        return Result(
            self._order.unsort(found.energies),
            self._order.unsort(found.forces),
            found.virials[0],
            found.closest_A,
            self._order.unsort(found.features),
        )


def _types_by_number(elements: Sequence[str]) -> NDArray[np.int32]:
    """Return the type of each atomic number; that of unknown ones means nothing."""
    found = np.zeros(len(chemical_symbols), dtype=np.int32)
    for number, element in enumerate(elements):
        found[atomic_numbers[element]] = number
    return found


def _order_of(types: NDArray[np.int32]) -> _Order:
    if (types[1:] >= types[:-1]).all():
        return _Order(types, None)
    order = np.argsort(types, kind="stable")
    return _Order(types[order], order)


def _frame(atoms: Atoms, order: _Order) -> Frame:
    cell: NDArray[np.float64] = atoms.cell.complete().array
    return Frame(order.sort(atoms.positions), cell, atoms.pbc)


def _joined(near: Sequence[Near], sizes: Sequence[int]) -> Near:
    """Return the pairs of several structures, whose atoms follow each other."""
    starts = np.cumsum([0, *sizes[:-1]])
    return Near(
        np.concatenate([s + each.first for s, each in zip(starts, near, strict=True)]),
        np.concatenate([s + each.second for s, each in zip(starts, near, strict=True)]),
        np.concatenate([each.shifts for each in near]),
        None,
    )
