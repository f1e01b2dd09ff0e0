"""Learning curves: a power law with its band, and what it says of more structures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.9
"""Share of the forecasts that should lie within their bands."""

FLATTER, FLATTER_SPREAD = 0.5, 1 / 3
"""Learning curves flatten. Beyond the largest fit, so much of the exponent is left,
with this standard deviation (over the exponent); chosen on structures of C-GAP-17."""

FARTHEST = 20
"""Times the largest number of structures: beyond, nothing is forecast."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """An error that is expected, and the band in which it probably lies."""

    structures: float
    error: float
    lowest: float
    highest: float


@dataclass(frozen=True, kw_only=True)
class PowerLaw:
    """Errors that fall as a power of the number of structures, e = A n^(-exponent).

    Beyond the largest number that was fitted, they fall more slowly; see `FLATTER`.

    ``centre``: mean of the logarithms of the numbers of structures.
    ``level``: mean of the logarithms of the errors, root mean square over the folds.
    ``level_variance``, ``level_freedom``: of it, by the differences between folds, and
    the degrees of freedom that this has.
    ``slope_variance``, ``slope_freedom``: the same of the exponent, by what the power
    law leaves of the errors within folds.
    ``most``: the largest number of structures.
    """

    exponent: float
    centre: float
    level: float
    level_variance: float
    level_freedom: int
    slope_variance: float
    slope_freedom: int
    most: int

    def at(self, structures: float) -> Forecast:
        """Return the error that is expected with so many structures, and its band.

        The variances are added, with the degrees of freedom of Welch and Satterthwaite.
        """
        inside = np.log(min(structures, self.most)) - self.centre
        beyond = max(0.0, np.log(structures / self.most))
        far = inside + FLATTER * beyond
        parts = np.array(
            [
                self.level_variance,
                self.slope_variance * far**2,
                (FLATTER_SPREAD * self.exponent * beyond) ** 2,
            ]
        )
        freedoms = np.array([self.level_freedom, self.slope_freedom, np.inf])
        total = float(parts.sum())
        freedom = total**2 / max(float((parts**2 / freedoms).sum()), 1e-300)
        width = _width(freedom) * float(np.sqrt(total))
        middle = self.level - self.exponent * far
        return Forecast(
            structures=structures,
            error=float(np.exp(middle)),
            lowest=float(np.exp(middle - width)),
            highest=float(np.exp(middle + width)),
        )

    def doubling(self) -> tuple[float, float]:
        """Return what twice the structures leave of the error: expected, and at best.

        At best means that the curve does not flatten, and has the steepest exponent
        that the errors allow.
        """
        spread = float(np.sqrt(self.slope_variance))
        steepest = _width(self.slope_freedom) * spread + self.exponent
        return 2 ** -(FLATTER * self.exponent), 2**-steepest

    def structures_for(self, error: float) -> int | None:
        """Return how many structures would bring the error down to this.

        None where more than `FARTHEST` times as many as there are would be needed.
        """
        counts = range(1, FARTHEST * self.most + 1)
        return next((n for n in counts if self.at(n).error <= error), None)


def rms_of_folds(
    errors: np.ndarray[tuple[int, int], np.dtype[np.float64]],
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the root mean square over the folds, for each size.

    ``errors``: of shape ``(n_folds, n_sizes)``.
    """
    return np.asarray(np.sqrt(np.square(errors).mean(axis=0)))


def _width(freedom: float) -> float:
    """Return half the width of a band, in standard deviations (Student)."""
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, max(freedom, 1.0)))


def fit_power_law(
    sizes: np.ndarray[tuple[int], np.dtype[np.int64]],
    errors: np.ndarray[tuple[int, int], np.dtype[np.float64]],
) -> PowerLaw:
    """Return the power law of errors, one exponent for all folds.

    Folds differ by how hard their structures are, so each has a factor of its own. An
    exponent below zero, of chance, is taken as zero.

    ``sizes``: numbers of structures, at least two.
    ``errors``: of shape ``(n_folds, n_sizes)``, with at least two folds.
    """
    x, y = np.log(sizes), np.log(errors)
    folds, count = y.shape
    away = x - x.mean()
    spread = folds * float(np.square(away).sum())
    own = y - y.mean(axis=1, keepdims=True)
    slope = float((own * away).sum()) / spread
    freedom = folds * (count - 1) - 1
    left = float(np.square(own - slope * away).sum()) / freedom
    levels = y.mean(axis=1)
    return PowerLaw(
        exponent=max(0.0, -slope),
        centre=float(x.mean()),
        level=float(np.log(rms_of_folds(errors)).mean()),
        level_variance=float(levels.var(ddof=1)) / folds,
        level_freedom=folds - 1,
        slope_variance=left / spread,
        slope_freedom=freedom,
        most=int(np.max(sizes)),
    )
