"""Energies and forces as linear functions: a row of numbers for each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What coefficients are multiplied with, for one structure.

    ``energy``: for the energy per atom, ``(n_functions,)``, in 1/atom.
    ``forces``: for the components of the forces, ``(3 n_atoms, n_functions)``, in 1/Å.
    """

    energy: NDArray[np.float64]
    forces: NDArray[np.float32]


class Basis(Protocol):
    """Functions of an atom's neighbours whose sums are energies."""

    def __len__(self) -> int:
        """Return the number of functions."""

    def rows(self, atoms: Atoms) -> Rows:
        """Return what the functions are for a structure."""
