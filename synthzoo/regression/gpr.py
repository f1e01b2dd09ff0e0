"""Sparse Gaussian process regression with the kernel (x · x')^ζ of SOAP.

Equations 2 and 3 of doi 10.1039/d2dd00137c: with M representative environments among N,

    c = [K_MM + K_MN Σ⁻¹ K_NM]⁻¹ K_MN Σ⁻¹ y,    E(x) = Σ_m c_m k(x, x_m),

and Σ = σ² 1. Environments of different elements have nothing in common.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy.linalg import cho_factor, cho_solve, cholesky, solve_triangular

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.regression.environments import Environments

BLOCK = 4096
"""Environments whose kernels are in memory at a time."""
JITTER = 1e-8
"""Added to the diagonal of K_MM, which has eigenvalues of that size and below."""
MATRICES = 4
"""Of M × M numbers that a fit needs at a time, the one being factorised included."""


@dataclass(frozen=True, kw_only=True)
class SparseGpr:
    """A fitted regression.

    ``points``: spectra of the representative environments, ``(M, n_features)``.
    ``centres``: atomic numbers of their atoms, ``(M,)``.
    ``coefficients``: c above, ``(M,)``.
    """

    kind: ClassVar = "gpr"

    points: NDArray[np.float32]
    centres: NDArray[np.int64]
    coefficients: NDArray[np.float64]
    zeta: int

    def predict(self, environments: Environments) -> NDArray[np.float64]:
        """Return energies in eV, ``(n,)``."""
        blocks = _kernels(self.points, self.centres, environments, self.zeta)
        return np.concatenate([self.coefficients @ block for _, block in blocks])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what is to be kept as arrays."""
        return {
            "points": self.points,
            "centres": self.centres,
            "coefficients": self.coefficients,
        }

    def facts(self) -> dict[str, Any]:
        """Return what else is to be kept."""
        return {"zeta": self.zeta}


def fit_gpr(
    environments: Environments,
    energies_eV: NDArray[np.float64],
    *,
    representatives: int,
    sigmas_eV: Sequence[float],
    zeta: int,
) -> list[SparseGpr]:
    """Return a regression for each sigma.

    ``energies_eV``: what is fitted, ``(n,)``.
    ``representatives``: M; the first ones of the environments.
    """
    count = min(representatives, len(environments))
    points, centres = environments.spectra[:count], environments.numbers[:count]
    own = environments.take(np.arange(count))
    ((_, square),) = _kernels(points, centres, own, zeta, block=count)
    square[np.diag_indices(count)] += JITTER
    lower = cholesky(square, lower=True, overwrite_a=True)
    normal, right = np.zeros((count, count)), np.zeros(count)
    for part, block in _kernels(points, centres, environments, zeta):
        rows = solve_triangular(lower, block, lower=True, overwrite_b=True)
        normal += rows @ rows.T
        right += rows @ energies_eV[part]
    return [
        SparseGpr(
            points=points,
            centres=centres,
            coefficients=_solved(lower, normal, right, sigma),
            zeta=zeta,
        )
        for sigma in sigmas_eV
    ]


def _solved(
    lower: NDArray[np.float64],
    normal: NDArray[np.float64],
    right: NDArray[np.float64],
    sigma_eV: float,
) -> NDArray[np.float64]:
    """Return c = L⁻ᵀ [σ² 1 + A Aᵀ]⁻¹ A y, where K_MM = L Lᵀ and A = L⁻¹ K_MN."""
    matrix = normal.copy()
    matrix[np.diag_indices(len(matrix))] += sigma_eV**2
    inner = cho_solve(cho_factor(matrix, lower=True, overwrite_a=True), right)
    return np.asarray(solve_triangular(lower, inner, lower=True, trans="T"))


def _kernels(
    points: NDArray[np.float32],
    centres: NDArray[np.int64],
    environments: Environments,
    zeta: int,
    block: int = BLOCK,
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Yield which environments, and their kernels with the points, ``(M, n_block)``."""
    precise = points.astype(float)
    for start in range(0, len(environments), block):
        part = slice(start, start + block)
        found = (precise @ environments.spectra[part].T.astype(float)) ** zeta
        found *= centres[:, None] == environments.numbers[part][None]
        yield part, found


def needed_bytes(environments: int, features: int, representatives: int) -> int:
    """Return the memory that a fit to so many environments takes, theirs included."""
    count = min(representatives, environments)
    spectra = environments * features * 4
    kernels = count * (MATRICES * count + 3 * min(BLOCK, environments) + features)
    return spectra + 8 * kernels
