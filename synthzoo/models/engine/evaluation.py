"""Energies, forces and virials of atoms in one compiled pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from synthzoo.models.engine.memory import Buffers, Memory
from synthzoo.models.engine.schedule import Schedule, Stage
from synthzoo.models.engine.threads import share, useful_threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.models.engine.links import Links
    from synthzoo.models.engine.memory import Who
    from synthzoo.models.engine.network import Network

PARTS_PER_THREAD = 2
"""Where one thread is held up, another one takes over what is left of its share."""


class Found(NamedTuple):
    """What a pass gives.

    ``energies``: of atoms in eV, ``(n,)``; ``forces`` in eV/Å, ``(n, 3)``; ``virials``:
    derivative of each structure's energy with respect to strain in eV, ``(structures,
    3, 3)``; ``closest_A``: the smallest distance of a pair, or infinity; ``features``:
    of atoms after the last layer, which energies are read from, ``(n, channels)``.
    """

    energies: NDArray[np.float64]
    forces: NDArray[np.float64]
    virials: NDArray[np.float64]
    closest_A: float
    features: NDArray[Any]


class Workspace:
    """All that is prepared for passes over certain atoms.

    It serves one pass at a time.

    Parameters
    ----------
    network
        What computes.
    who
        The atoms.
    links
        Of these atoms; others may follow.
    threads
        How many may compute.
    buffers
        Where arrays come from. Other workspaces that share them end with this one.
    """

    def __init__(
        self,
        network: Network,
        who: Who,
        links: Links,
        *,
        threads: int = 1,
        buffers: Buffers | None = None,
    ) -> None:
        self._network, self._who = network, who
        self._threads = useful_threads(len(who), threads)
        parts = 1 if self._threads == 1 else self._threads * PARTS_PER_THREAD
        self._memory = Memory(network.program, who, links, parts, buffers or Buffers())
        self._schedule = Schedule(network, who, self._memory)
        self._forward = _prepared(self._schedule.forward)
        self._backward = _prepared(self._schedule.backward)
        self._run = network.program.library.run
        self._memory.incoming[0][...] = network.embedding[who.types]
        share(self._call, _prepared([self._schedule.embed]), self._threads)

    @property
    def edges(self) -> dict[str, NDArray[Any]]:
        """What loops are told of the edges, since the last pass."""
        return self._memory.edges

    def relink(self, links: Links) -> bool:
        """Take other links of the same atoms; return whether there is room for them."""
        fits = self._memory.fits(links)
        if fits:
            self._memory.relink(links)
        return fits

    def evaluate(
        self, positions: NDArray[np.float64], cells: NDArray[np.float64]
    ) -> Found:
        """Return energies, forces and virials.

        ``positions``: of the atoms in Å, ``(n, 3)``.
        ``cells``: of the structures, vectors in rows, in Å, ``(structures, 3, 3)``.
        """
        memory, network, last = self._memory, self._network, self._memory.incoming[-1]
        memory.positions[...] = positions
        memory.cells[...] = cells
        share(self._call, self._forward, self._threads)
        features = last[:, network.read]
        energies, slopes = network.readout.energies(features, self._who.types)
        last[...] = 0
        last[:, network.read] = slopes
        memory.forces[...] = 0
        share(self._call, self._backward, self._threads)
        return Found(
            energies,
            memory.forces.sum(axis=0),
            self._virials(),
            float(np.sqrt(self._schedule.closest.min())),
            features,
        )

    def _virials(self) -> NDArray[np.float64]:
        """Return the sums over the ranges of atoms that belong to a structure."""
        schedule = self._schedule
        if self._who.structures == 1:
            found = schedule.virials.sum(axis=0)
        else:
            found = np.zeros((self._who.structures, 9))
            np.add.at(found, schedule.owners, schedule.virials)
        virials: NDArray[np.float64] = found.reshape(-1, 3, 3)
        return virials

    def _call(self, table: tuple[int, int]) -> None:
        self._run(*table)


def _prepared(stages: list[Stage]) -> list[list[tuple[int, int]]]:
    """Return address and length of each table."""
    return [[(table.ctypes.data, len(table)) for table in stage] for stage in stages]
