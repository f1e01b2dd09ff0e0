"""What the composition of structures explains of their energies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROUNDS = 30
SMALLEST_RESIDUAL_EV = 1e-3


def composition_rank(shares: NDArray[np.float64]) -> int:
    """Return how many elements' energies the compositions tell apart.

    Parameters
    ----------
    shares
        Share of each element in each structure, of shape ``(n, n_elements)``.

    Examples
    --------
    >>> composition_rank(np.array([[1 / 3, 2 / 3], [1 / 3, 2 / 3]]))
    1
    """
    return int(np.linalg.matrix_rank(shares, tol=1e-6)) if len(shares) else 0


def element_energies(
    energies_eV_per_atom: NDArray[np.float64], shares: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return one energy for each element that explains most of the energies.

    The sum of the absolute residuals is made small (least squares, reweighted), so that
    a minority of other energies does not matter. Where the compositions leave freedom,
    the shortest vector is returned.

    Parameters
    ----------
    energies_eV_per_atom
        Of shape ``(n,)``.
    shares
        Share of each element in each structure, of shape ``(n, n_elements)``.
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

    Parameters
    ----------
    energies_eV_per_atom
        Of shape ``(n,)``.
    shares
        Share of each element in each structure, of shape ``(n, n_elements)``.
    """
    explained = shares @ element_energies(energies_eV_per_atom, shares)
    rest: NDArray[np.float64] = energies_eV_per_atom - explained
    return rest
