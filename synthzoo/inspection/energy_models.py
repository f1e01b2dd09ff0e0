"""What the composition of structures explains of their energies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from ase.data import covalent_radii
from ase.formula import Formula
from scipy.linalg import null_space

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.inspection.findings import CheckedSet

    Mask = NDArray[np.bool_]


ROUNDS = 30
SMALLEST_RESIDUAL_EV = 1e-3


RANK_TOLERANCE = 1e-4
"""Compositions that vary by less, relative to what they are, count as one."""


def open_directions(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the combinations of elements' energies that compositions leave open.

    ``shares``: share of each element in each structure, of shape ``(n, n_elements)``.
    Returns ``directions``: orthonormal, of shape ``(n_open, n_elements)``.

    Examples
    --------
    >>> open_directions(np.array([[1 / 3, 2 / 3], [1 / 3, 2 / 3]])).shape
    (1, 2)
    """
    triangle = np.linalg.qr(shares, mode="r")  # as small as the number of elements
    _, sizes, axes = np.linalg.svd(triangle, full_matrices=True)
    rank = int((sizes > RANK_TOLERANCE * sizes.max(initial=0.0)).sum())
    directions: NDArray[np.float64] = axes[rank:]
    return directions


class Tied(NamedTuple):
    """Elements whose energies compositions do not tell apart.

    ``elements``: their chemical symbols; none if all are told apart.
    ``together``: what is known of their energies: formulas such as ``SiO2``, otherwise
    sums such as ``Ti - Zr``.
    """

    elements: tuple[str, ...]
    together: tuple[str, ...]


def tied_elements(elements: Sequence[str], shares: NDArray[np.float64]) -> Tied:
    """Return the elements that compositions leave open, and what they do determine.

    ``elements``: chemical symbols, in the order of the columns of ``shares``.
    ``shares``: share of each element in each structure, of shape ``(n, n_elements)``.

    Examples
    --------
    >>> tied_elements(["O", "Si"], np.array([[2 / 3, 1 / 3], [2 / 3, 1 / 3]])).together
    ('SiO2',)
    >>> tied_elements(["O", "Si"], np.array([[0.5, 0.5], [0.6, 0.4]]))
    Tied(elements=(), together=())
    """
    directions = open_directions(shares)
    tied = np.abs(directions).max(axis=0, initial=0.0) > RANK_TOLERANCE
    names = tuple(name for name, open_ in zip(elements, tied, strict=True) if open_)
    known = null_space(directions[:, tied], rcond=RANK_TOLERANCE).T
    return Tied(names, tuple(_in_words(names, row) for row in _echelon(known)))


def _echelon(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the reduced row echelon form of independent rows."""
    reduced, done = rows.copy(), 0
    for column in range(rows.shape[1]):
        if done == len(reduced):
            break
        pivot = done + int(np.abs(reduced[done:, column]).argmax())
        if abs(reduced[pivot, column]) < RANK_TOLERANCE:
            continue
        reduced[[done, pivot]] = reduced[[pivot, done]]
        reduced[done] /= reduced[done, column]
        others = np.arange(len(reduced)) != done
        reduced[others] -= np.outer(reduced[others, column], reduced[done])
        done += 1
    return reduced


MOST_ATOMS = 24
"""Of the smallest coefficient, to make a sum of energies one of whole numbers."""


def _in_words(names: Sequence[str], row: NDArray[np.float64]) -> str:
    row = np.where(np.abs(row) < RANK_TOLERANCE, 0.0, row)
    row = row / np.abs(row[row != 0]).min()
    for times in range(1, MOST_ATOMS + 1):
        if np.allclose(times * row, np.round(times * row), atol=0.01):
            row = np.round(times * row)
            if (row >= 0).all():
                return _formula(names, row)
            break
    terms = [(size, name) for size, name in zip(row, names, strict=True) if size]
    terms.sort(key=lambda term: (term[0] < 0, abs(term[0])))
    texts = [
        f"{'+' if size > 0 else '-'} {abs(size):.4g} {name}".replace(" 1 ", " ")
        for size, name in terms
    ]
    return " ".join(texts).removeprefix("+ ")


def _formula(names: Sequence[str], counts: NDArray[np.float64]) -> str:
    parts = {name: round(n) for name, n in zip(names, counts, strict=True) if n}
    return str(Formula.from_dict(parts).format("periodic"))


def element_energies(
    energies_eV_per_atom: NDArray[np.float64], shares: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return one energy for each element that explains most of the energies.

    The sum of the absolute residuals is made small (least squares, reweighted), so that
    a minority of other energies does not matter. Where the compositions leave freedom,
    the shortest vector is returned.

    ``energies_eV_per_atom``: of shape ``(n,)``.
    ``shares``: share of each element in each structure, of shape ``(n, n_elements)``.
    """
    weights = np.ones(len(shares))
    fitted = np.zeros(shares.shape[1])
    for _ in range(ROUNDS):
        roots = np.sqrt(weights)
        fitted[:] = np.linalg.lstsq(
            shares * roots[:, None], energies_eV_per_atom * roots, rcond=1e-8
        )[0]
        residuals = np.abs(energies_eV_per_atom - shares @ fitted)
        weights = 1 / np.maximum(residuals, SMALLEST_RESIDUAL_EV)
    return fitted


def beyond_composition(
    energies_eV_per_atom: NDArray[np.float64], shares: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return what one energy for each element does not explain, in eV/atom.

    ``energies_eV_per_atom``: of shape ``(n,)``.
    ``shares``: share of each element in each structure, of shape ``(n, n_elements)``.
    """
    explained = shares @ element_energies(energies_eV_per_atom, shares)
    rest: NDArray[np.float64] = energies_eV_per_atom - explained
    return rest


KNOTS = np.array(
    [0.35, 0.65, 0.75, 0.82, 0.89, 0.95, 1.02, 1.12, 1.25, 1.4, 1.6, 1.8, 2.0, 2.3, 2.7]
)
"""Distances over the sum of the covalent radii, closest where bonds are."""
PAIR_FIT_ROUNDS = 20
RIDGE = 1e-3
SMALLEST_PAIR_RESIDUAL_EV = 0.02


def beyond_pairs(data: CheckedSet, usable: Mask) -> NDArray[np.float64]:
    """Return what composition and a pair potential leave of energies, in eV/atom.

    One piecewise linear potential for all pairs of elements, their distances over the
    sum of their covalent radii, is fitted so that most energies are met (least
    squares, reweighted): a minority of other labels stands out.

    ``usable``: which structures to take, of shape ``(n,)``.
    """
    frames = np.flatnonzero(usable)
    energies = data.energies_eV[frames] / data.sizes[frames]
    distances = np.array([_distance_features(data, int(index)) for index in frames])
    spread = np.where(distances.std(axis=0) > 0, distances.std(axis=0), 1.0)
    features = np.hstack([data.shares[frames], distances / spread])
    penalty = RIDGE * len(frames) * np.eye(features.shape[1])
    penalty[: len(data.elements)] *= 1e-6  # the elements' energies are free
    weights = np.ones(len(frames))
    for _ in range(PAIR_FIT_ROUNDS):
        weighted = features * weights[:, None]
        fitted = np.linalg.lstsq(
            features.T @ weighted + penalty * weights.mean(),
            weighted.T @ energies,
            rcond=None,
        )[0]
        rest: NDArray[np.float64] = energies - features @ fitted
        weights = 1 / np.maximum(np.abs(rest), SMALLEST_PAIR_RESIDUAL_EV)
    return rest


def _distance_features(data: CheckedSet, index: int) -> NDArray[np.float64]:
    """Return the pairs of a structure per atom, shared out to the two next knots."""
    atoms, pairs = data.structures[index], data.pairs[index]
    radii = covalent_radii[atoms.numbers]
    scaled = pairs.distances_A / (radii[pairs.first] + radii[pairs.second])
    scaled = np.clip(scaled[scaled < KNOTS[-1]], KNOTS[0], None)
    right = np.clip(np.searchsorted(KNOTS, scaled, side="right"), 1, len(KNOTS) - 1)
    part = (scaled - KNOTS[right - 1]) / (KNOTS[right] - KNOTS[right - 1])
    count = len(KNOTS)
    sums = np.bincount(right, part, count) + np.bincount(right - 1, 1 - part, count)
    features: NDArray[np.float64] = sums[:-1] / len(atoms)  # zero at the last knot
    return features
