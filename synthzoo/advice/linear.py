"""Linear models of energies and forces, of a strength that left-out parts choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from synthzoo.finetuning.plan import fold_set

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.advice.rows import Rows
    from synthzoo.data.labelled_set import LabelledSet

ENERGY_WEIGHT = 10.0
"""Of the mean squared error of energies per atom (eV); that of forces (eV/Å) has 1."""

STRENGTHS = tuple(10.0 ** np.arange(-9, 1))
"""Of the ridge, times the mean of the squared rows of each function."""

INNER_FOLDS = 4


class Moments(NamedTuple):
    """Sums over rows: all that least squares need to know of a set.

    ``square``: of x xᵀ; ``mixed``: of x y; ``power``: of y².
    """

    square: NDArray[np.float64]
    mixed: NDArray[np.float64]
    power: float

    def without(self, other: Moments) -> Moments:
        """Return the sums over the rows that are not among others."""
        return Moments(
            self.square - other.square,
            self.mixed - other.mixed,
            self.power - other.power,
        )

    def loss(self, coefficients: NDArray[np.float64]) -> float:
        """Return the sum of the squared errors of a model."""
        fitted = self.square @ coefficients - 2 * self.mixed
        return float(coefficients @ fitted + self.power)


@dataclass(frozen=True, kw_only=True)
class LinearModel:
    """Energies and forces as sums of functions times coefficients.

    ``constants_eV``: energy of an atom of each element.
    ``coefficients``: of the functions, in eV.
    """

    constants_eV: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    strength: float

    def predict(
        self, rows: Rows, counts: NDArray[np.int64]
    ) -> tuple[float, NDArray[np.float64]]:
        """Return the energy and the forces of a structure.

        ``counts``: its atoms of each element.
        """
        energy = counts @ self.constants_eV
        energy += counts.sum() * (rows.energy @ self.coefficients)
        return float(energy), (rows.forces @ self.coefficients).reshape(-1, 3)


def fit_linear(
    labelled: LabelledSet, rows: Sequence[Rows], elements: Sequence[str], seed: int
) -> LinearModel:
    """Return the linear model of a set, its strength chosen by parts left out.

    ``rows``: of each structure.
    ``elements``: in the order of the constants.
    """
    counts = labelled.counts(elements)
    shares = counts / counts.sum(axis=1, keepdims=True)
    energies = labelled.energies_eV / counts.sum(axis=1)
    start = np.linalg.lstsq(shares, energies, rcond=1e-8)[0]
    scale = _scale(rows)
    weights = _weights(labelled)
    moments = [
        _moments(each, share, rest, label.forces_eV_A.ravel(), scale, weights)
        for each, share, rest, label in zip(
            rows, shares, energies - shares @ start, labelled.labels, strict=True
        )
    ]
    whole = _sum(moments)
    free = len(elements)
    strength = _strength(labelled, moments, whole, free, seed)
    found = _solved(whole, free, strength)
    return LinearModel(
        constants_eV=start + found[:free],
        coefficients=found[free:] / scale,
        strength=strength,
    )


def _scale(rows: Sequence[Rows]) -> NDArray[np.float64]:
    """Return the size of each function's forces, so that one ridge suits all."""
    squares = sum(np.einsum("ij,ij->j", r.forces, r.forces, dtype=float) for r in rows)
    sizes = np.sqrt(squares / sum(len(r.forces) for r in rows))
    return np.where(sizes > 0, sizes, 1.0)


def _weights(labelled: LabelledSet) -> tuple[float, float]:
    """Return what the rows of energies and of forces are multiplied with."""
    return (
        float(np.sqrt(ENERGY_WEIGHT / len(labelled))),
        float(np.sqrt(1 / (3 * labelled.atoms))),
    )


def _moments(
    rows: Rows,
    shares: NDArray[np.float64],
    energy_eV: float,
    forces_eV_A: NDArray[np.float64],
    scale: NDArray[np.float64],
    weights: tuple[float, float],
) -> Moments:
    by_energy, by_force = weights
    top = by_energy * np.concatenate([shares, rows.energy / scale])
    below = by_force * (rows.forces / scale)
    free = len(shares)
    square = np.outer(top, top)
    square[free:, free:] += below.T @ below
    mixed = by_energy * energy_eV * top
    mixed[free:] += by_force * (forces_eV_A @ below)
    power = (by_energy * energy_eV) ** 2 + float(
        np.square(by_force * forces_eV_A).sum()
    )
    return Moments(square, mixed, power)


def _sum(moments: Sequence[Moments]) -> Moments:
    return Moments(
        np.sum([each.square for each in moments], axis=0),
        np.sum([each.mixed for each in moments], axis=0),
        sum(each.power for each in moments),
    )


def _strength(
    labelled: LabelledSet,
    moments: Sequence[Moments],
    whole: Moments,
    free: int,
    seed: int,
) -> float:
    """Return the strength with the smallest error on parts that were left out."""
    folds = fold_set(labelled.structures, INNER_FOLDS, seed)
    losses = np.zeros(len(STRENGTHS))
    for _, tested in folds:
        out = _sum([moments[index] for index in tested])
        rest = whole.without(out)
        losses += [out.loss(_solved(rest, free, each)) for each in STRENGTHS]
    return float(STRENGTHS[int(np.argmin(losses))]) if folds else STRENGTHS[-1]


def _solved(moments: Moments, free: int, strength: float) -> NDArray[np.float64]:
    """Return the coefficients; the constants of the elements are hardly held."""
    penalty = np.full(len(moments.mixed), strength)
    penalty[:free] = 1e-9
    square = moments.square + np.diag(penalty)
    return np.asarray(np.linalg.solve(square, moments.mixed), dtype=np.float64)
