"""How noisy labels are: an error below that cannot be measured with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synthzoo.data.labelled_set import rms

if TYPE_CHECKING:
    from synthzoo.data.labelled_set import LabelledSet


REMOVED_EV_A = 1e-4
"""Net forces below were taken off by a code, or are rounding errors."""


@dataclass(frozen=True, kw_only=True)
class LabelNoise:
    """What the labels themselves say of their noise.

    ``net_force_eV_A``: the noise of a component of a force that would explain the sums
    of the forces of structures, which should vanish; root mean square.
    ``twins``: number of groups of structures that are nearly the same.
    ``twins_meV_per_atom``: standard deviation of energies within these groups; None if
    there are no such groups.
    """

    net_force_eV_A: float
    twins: int
    twins_meV_per_atom: float | None

    @property
    def sums_vanish(self) -> bool:
        """Whether the forces add up to zero, as codes see to it: no sign of noise."""
        return self.net_force_eV_A < REMOVED_EV_A


def label_noise(bulk: LabelledSet, alike: Sequence[tuple[int, ...]]) -> LabelNoise:
    """Return how noisy the labels of a set are.

    The sum of the forces on ``n`` atoms with independent noise ``s`` is ``s √n``.

    ``alike``: groups of structures that are nearly the same.
    """
    nets = [
        label.forces_eV_A.sum(axis=0) / np.sqrt(len(atoms))
        for atoms, label in zip(bulk.structures, bulk.labels, strict=True)
    ]
    energies = bulk.energies_eV / [len(atoms) for atoms in bulk.structures]
    rests = [energies[list(group)] - energies[list(group)].mean() for group in alike]
    freedom = sum(len(rest) - 1 for rest in rests)
    squares = sum(float(np.square(rest).sum()) for rest in rests)
    return LabelNoise(
        net_force_eV_A=rms(np.array(nets)),
        twins=len(alike),
        twins_meV_per_atom=1000 * float(np.sqrt(squares / freedom)) if alike else None,
    )
