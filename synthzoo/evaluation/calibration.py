"""Whether errors are as large as a model's standard deviations say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import norm, spearmanr

from synthzoo.reports.style import BLUE, DARK_GREY, ORANGE, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from synthzoo.evaluation.errors import Residual

BANDS = (0.68, 0.95)
"""Shares of errors that should lie within a band; see `band_width`."""

BINS = 10
"""At most so many groups of atoms are drawn, from the surest to the least sure."""

LEAST_IN_BIN = 20
"""The errors of fewer atoms have no root mean square worth drawing."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Errors of one quantity beside the standard deviations that were predicted.

    ``errors``: of shape ``(n,)``, or ``(n, 3)`` for forces.
    ``deviations``: predicted, of shape ``(n,)``, in the same unit.
    """

    errors: NDArray[np.float64]
    deviations: NDArray[np.float64]

    def factor(self) -> float:
        """Return what the deviations have to be multiplied with to fit the errors.

        The most likely one, if errors are normally distributed.
        """
        ratios = self._ratios()
        return float(np.sqrt(np.mean(ratios**2))) if ratios.size else float("nan")

    def scaled(self, factor: float) -> Spread:
        """Return it with other deviations."""
        return Spread(errors=self.errors, deviations=factor * self.deviations)

    def within(self, share: float) -> float:
        """Return the share of the errors in the band where this share should be."""
        inside = np.abs(self._ratios()) <= band_width(share)
        return float(np.mean(inside)) if inside.size else float("nan")

    def rank_correlation(self) -> float:
        """Return Spearman's coefficient of the deviations and the sizes of errors."""
        sizes = np.abs(self.errors)
        if sizes.ndim == 2:
            sizes = np.linalg.norm(sizes, axis=1)
        if len(sizes) < 2:
            return float("nan")
        return float(spearmanr(self.deviations, sizes).statistic)

    def _ratios(self) -> NDArray[np.float64]:
        """Return errors over deviations; there is none for atoms without neighbours."""
        some = self.deviations > 0
        found: NDArray[np.float64] = self.errors[some].T / self.deviations[some]
        return found


def band_width(share: float) -> float:
    """Return how many standard deviations hold a share of normal errors.

    >>> round(band_width(0.95), 2)
    1.96
    """
    return float(norm.ppf((1 + share) / 2))


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How well predicted standard deviations describe the errors of a set.

    Attributes
    ----------
    structures, atoms
        How many were compared.
    forces_within, energies_within
        Share of the force components, and of the energies of structures, whose error
        is in the band where 68 %, and where 95 % should be.
    forces_rank_correlation, energies_rank_correlation
        Spearman's coefficient of standard deviations and sizes of errors: of atoms, and
        of structures. 1 if the most uncertain is always the most wrong.
    """

    structures: int
    atoms: int
    forces_within: tuple[float, ...]
    energies_within: tuple[float, ...]
    forces_rank_correlation: float
    energies_rank_correlation: float

    def text(self) -> str:
        """Return the numbers in words."""
        return (
            f"Of the errors of force components, {_percents(self.forces_within)} are "
            "within the predicted bands of 68 and 95 %; of the energies "
            f"{_percents(self.energies_within)} ({self.atoms} atoms in "
            f"{self.structures} structures). Rank correlation of predicted deviation "
            f"and error: {self.forces_rank_correlation:.2f} for atoms, "
            f"{self.energies_rank_correlation:.2f} for structures."
        )


def _percents(shares: Sequence[float]) -> str:
    return " and ".join(f"{100 * share:.0f} %" for share in shares)


def spreads(
    residuals: Sequence[Residual],
    forces_eV_A: Sequence[NDArray[np.float64]],
    energies_eV_per_atom: NDArray[np.float64],
) -> tuple[Spread, Spread]:
    """Return the errors of forces, and of energies per atom, with their deviations.

    ``forces_eV_A``: deviations for the atoms of each structure.
    """
    return (
        Spread(
            errors=np.concatenate([each.forces_eV_A for each in residuals]),
            deviations=np.concatenate(forces_eV_A),
        ),
        Spread(
            errors=np.array([each.energy_eV_per_atom for each in residuals]),
            deviations=energies_eV_per_atom,
        ),
    )


def calibration(forces: Spread, energies: Spread) -> Calibration:
    """Return how well deviations describe errors."""
    return Calibration(
        structures=len(energies.errors),
        atoms=len(forces.errors),
        forces_within=tuple(map(forces.within, BANDS)),
        energies_within=tuple(map(energies.within, BANDS)),
        forces_rank_correlation=forces.rank_correlation(),
        energies_rank_correlation=energies.rank_correlation(),
    )


def draw_reliability(figure: Figure, forces: Spread) -> None:
    """Draw errors over the standard deviations that were predicted for them.

    ``figure``: empty. Left: the error in groups of equally many atoms, by deviation.
    Right: the share of the errors in each band, over the share that should be there.
    """
    left, right = figure.subplots(1, 2)
    order = np.argsort(forces.deviations)
    bins = np.array_split(order, max(1, min(BINS, len(order) // LEAST_IN_BIN)))
    predicted = [np.sqrt(np.mean(forces.deviations[part] ** 2)) for part in bins]
    found = [np.sqrt(np.mean(forces.errors[part] ** 2)) for part in bins]
    ends = [min(*predicted, *found), max(*predicted, *found)]
    left.loglog(ends, ends, color=DARK_GREY, linewidth=0.8)
    left.loglog(predicted, found, "o-", color=BLUE)
    left.set(
        xlabel="predicted standard deviation (eV/Å)",
        ylabel="error of forces, RMS (eV/Å)",
    )
    left.set_title(f"{len(bins)} equal groups of atoms", fontsize=10)
    shares = np.linspace(0.01, 0.99, 50)
    right.plot([0, 1], [0, 1], color=DARK_GREY, linewidth=0.8)
    right.plot(shares, [forces.within(share) for share in shares], color=ORANGE)
    right.set(xlabel="share that should be in the band", ylabel="share that is there")
    for axes in (left, right):
        tidy(axes)
