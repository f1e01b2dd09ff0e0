"""How well the total energy is kept, and whether a shorter time step helps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synthzoo.stability.detectors import Finding

if TYPE_CHECKING:
    from synthzoo.stability.protocols import Limits
    from synthzoo.stability.verdict import Drift

SMALLEST_FLUCTUATION_MEV = 1e-3
"""Energies per atom that fluctuate by less show rounding, and no order."""

NOISE_FACTOR = 2.0


@dataclass(kw_only=True)
class Line:
    """A straight line through points that come one by one; none is kept.

    Attributes
    ----------
    count
        Number of points.
    mean_x, mean_y
        Means.
    xx, xy, yy
        Sums of products of deviations from the means.
    """

    count: int = 0
    mean_x: float = 0.0
    mean_y: float = 0.0
    xx: float = 0.0
    xy: float = 0.0
    yy: float = 0.0

    def add(self, x: float, y: float) -> None:
        """Take a point into account (Welford's update).

        Parameters
        ----------
        x, y
            The point.
        """
        self.count += 1
        dx, dy = x - self.mean_x, y - self.mean_y
        self.mean_x += dx / self.count
        self.mean_y += dy / self.count
        self.xx += dx * (x - self.mean_x)
        self.xy += dx * (y - self.mean_y)
        self.yy += dy * (y - self.mean_y)

    @property
    def slope(self) -> float:
        """Of the line; 0 with fewer than two points."""
        return self.xy / self.xx if self.xx > 0 else 0.0

    @property
    def deviation(self) -> float:
        """Standard deviation of y."""
        return math.sqrt(self.yy / self.count) if self.count else 0.0

    @property
    def scatter(self) -> float:
        """Standard deviation of y from the line."""
        left = self.yy - self.slope * self.xy
        return math.sqrt(max(left, 0.0) / self.count) if self.count else 0.0


def energy_order(drifts: Sequence[Drift]) -> float | None:
    """Return the power of the time step with which the energy fluctuates.

    Parameters
    ----------
    drifts
        Of one stage, with several time steps. None is returned where the fluctuations
        are too small to tell.
    """
    found = [drift.fluctuation_meV_per_atom for drift in drifts]
    if len(found) < 2 or min(found) < SMALLEST_FLUCTUATION_MEV:
        return None
    steps = [drift.timestep_fs for drift in drifts]
    return float(np.polyfit(np.log(steps), np.log(found), 1)[0])


def judge_drift(line: Line, limits: Limits) -> Finding | None:
    """Return what is wrong with the energy of a stage, in meV/atom over ps.

    Parameters
    ----------
    line
        Through the energies.
    limits
        Where soundness ends.
    """
    duration_ps = math.sqrt(12 * line.xx / line.count) if line.count else 0.0
    noise = NOISE_FACTOR * line.scatter / duration_ps if duration_ps else 0.0
    if abs(line.slope) <= limits.drift_meV_per_atom_ps + noise:
        return None
    return Finding("drift", f"{line.slope:+.1f} meV/atom/ps at constant energy")


def judge_order(drifts: Sequence[Drift], limits: Limits) -> Finding | None:
    """Return what is wrong with energies at several time steps.

    Parameters
    ----------
    drifts
        Of one stage.
    limits
        Where soundness ends.
    """
    order = energy_order(drifts)
    if order is None or order >= limits.order:
        return None
    by_step = sorted(drifts, key=lambda drift: drift.timestep_fs)
    found = ", ".join(
        f"{drift.fluctuation_meV_per_atom:.2g} meV/atom at {drift.timestep_fs:g} fs"
        for drift in by_step
    )
    return Finding(
        "order",
        f"the energy fluctuates with the time step to the power {order:.1f}, not 2 "
        f"({found}): the forces are not the derivative of the energy",
    )
