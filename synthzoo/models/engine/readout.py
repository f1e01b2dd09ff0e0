"""From the features of the last layer to energies of atoms, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from synthzoo.models.engine import pack

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.models.engine.shape import NetworkShape


@dataclass(frozen=True)
class Readout:
    """What is left to do for energies; in double precision, and for all atoms at once.

    ``matrices``: (in, out), with ``activation`` between them if it is given.
    ``scales``, ``shifts``: factor and constant (eV) for each type, ``(types,)``.
    """

    matrices: tuple[NDArray[np.float64], ...]
    activation: str | None
    scales: NDArray[np.float64]
    shifts: NDArray[np.float64]

    def energies(
        self, features: NDArray[Any], types: NDArray[np.int32]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return energies in eV, ``(n,)``, and their slopes, ``(n, channels)``.

        ``features``: ``(n, channels)``.
        """
        values, slopes = features.astype(np.float64), []
        for number, matrix in enumerate(self.matrices):
            if number and self.activation is not None:
                values, slope = _silu(values)
                slopes.append(slope)
            values = values @ matrix
        scales = self.scales[types]
        back = scales[:, None]
        for number in reversed(range(len(self.matrices))):
            if number < len(slopes):
                back = back * slopes[number]
            back = back @ self.matrices[number].T
        return scales * values[:, 0] + self.shifts[types], back


def _silu(x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a nonlinearity and its derivative."""
    sigmoid = np.exp(-np.logaddexp(0.0, -x))
    return x * sigmoid, sigmoid * (1 + x * (1 - sigmoid))


def readout_of(weights: Mapping[str, NDArray[Any]], shape: NetworkShape) -> Readout:
    """Return the readout of a network; without nonlinearity it is one matrix."""
    matrices, activation = pack.readout(weights, shape)
    if activation is None:
        product = matrices[0]
        for matrix in matrices[1:]:
            product = product @ matrix
        matrices = [product]
    return Readout(tuple(matrices), activation, *pack.scales_shifts(weights, shape))
