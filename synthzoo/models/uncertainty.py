"""How sure a network is of its forces and energies: a posterior over its last layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from synthzoo.errors import CheckpointError, IntegrityError
from synthzoo.models.config import UNCERTAINTY_FILE
from synthzoo.models.golden import header_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

ENERGY, FORCES = "energy_uncertainty", "forces_uncertainty"
"""What the standard deviations are called among the results of a calculator."""

RIDGE = 1e-6
"""Added to each variance of the features, over their mean: no direction is certain."""

WHO_KNOWS = (
    "Models that `synthzoo finetune` makes do, on the CPU, where enough structures "
    "were left out of a fit to find out."
)
"""Which models give an uncertainty, to say where one does not."""

_WEIGHTS = "weights_sha256"
_NAMES = (
    "root",
    "energy_root",
    "atoms",
    "structures",
    "energy_eV_per_atom",
    "forces_eV_A",
)


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """Standard deviations of what a network predicts, from the features of its atoms.

    As the energies of atoms are linear in the last features, the posterior of a linear
    model says how far the data pin an energy down: the last-layer approximation of
    Bigi, Chong, Ceriotti and Grasselli, arXiv:2403.02251. The numbers are large where
    the features are unlike all that were fitted. One factor each for energies and
    forces brings them to the size of errors on structures that were not fitted.

    ``root``: so that ``|features @ root|`` is the distance of an atom from the data,
    without unit; of shape ``(n_features, n_features)``.
    ``energy_root``: the same for the mean features of a structure, from those of the
    structures that were fitted; too few for deviations, but they tell kinds apart.
    ``atoms``, ``structures``: how many were fitted.
    ``energy_eV_per_atom``, ``forces_eV_A``: the factors.
    """

    root: NDArray[np.float64]
    energy_root: NDArray[np.float64]
    atoms: int
    structures: int
    energy_eV_per_atom: float
    forces_eV_A: float

    @classmethod
    def of(
        cls,
        features: Sequence[NDArray[Any]],
        *,
        energy_eV_per_atom: float = 1.0,
        forces_eV_A: float = 1.0,
    ) -> Uncertainty:
        """Return that of a network that was fitted to some structures.

        ``features``: of the atoms of each structure.
        """
        return cls(
            root=posterior_root(features),
            energy_root=posterior_root(list(map(mean_features, features))),
            atoms=sum(map(len, features)),
            structures=len(features),
            energy_eV_per_atom=energy_eV_per_atom,
            forces_eV_A=forces_eV_A,
        )

    def results(self, features: NDArray[Any]) -> dict[str, Any]:
        """Return standard deviations of the energy and of force components.

        ``features``: of the atoms of one structure, ``(n_atoms, n_features)``. The
        energy's is a number in eV, the forces' has one in eV/Å for each atom.
        """
        if len(self.root) != features.shape[1]:
            raise CheckpointError(
                f"{UNCERTAINTY_FILE} is for {len(self.root)} features; the network has "
                f"{features.shape[1]}."
            )
        far = float(distances(mean_features(features), self.root)[0])
        return {
            ENERGY: self.energy_eV_per_atom * len(features) * far,
            FORCES: self.forces_eV_A * distances(features, self.root),
        }


def mean_features(features: NDArray[Any]) -> NDArray[np.float64]:
    """Return the mean over the atoms of a structure, ``(1, n_features)``."""
    found: NDArray[np.float64] = features.mean(axis=0, keepdims=True, dtype=np.float64)
    return found


def posterior_root(features: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
    """Return the root of the covariance of the last layer's weights.

    The mean over all rows is taken, not the sum: twice as many structures of the same
    kinds leave distances as they are, and the factors say how large errors are.

    ``features``: rows for what was fitted, in several parts.
    """
    rows = np.concatenate(features).astype(np.float64)
    moments = rows.T @ rows / len(rows)
    return root_of(
        moments + RIDGE * np.trace(moments) / len(moments) * np.eye(len(moments))
    )


def root_of(moments: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return a matrix whose product with its transpose is the inverse of moments."""
    values, vectors = np.linalg.eigh(moments)
    root: NDArray[np.float64] = vectors / np.sqrt(values)
    return root


def distances(features: NDArray[Any], root: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far each row is from the data, ``(n,)``."""
    found: NDArray[np.float64] = np.linalg.norm(features @ root, axis=1)
    return found


def pack_uncertainty(found: Uncertainty, *, weights_sha256: str) -> bytes:
    """Return an uncertainty as the content of a file that belongs to some weights."""
    values = (getattr(found, name) for name in _NAMES)
    arrays = {
        name: np.array(value, dtype=np.float64, order="C")
        for name, value in zip(_NAMES, values, strict=True)
    }
    return save(arrays, metadata={_WEIGHTS: weights_sha256})


def unpack_uncertainty(
    content: bytes, *, weights_sha256: str, where: str
) -> Uncertainty:
    """Return the uncertainty that a file holds.

    ``where``: what to call it in a message.

    Raises
    ------
    IntegrityError
        If it belongs to other weights.
    CheckpointError
        If the file is damaged.
    """
    try:
        arrays = load(content)
    except (SafetensorError, KeyError) as error:
        raise CheckpointError(
            f"{where} is no valid safetensors file: {error}."
        ) from error
    if header_of(content).get(_WEIGHTS) != weights_sha256:
        raise IntegrityError(
            f"{where} belongs to other weights than those beside it. Fetch or copy the "
            f"checkpoint again, or remove {UNCERTAINTY_FILE}."
        )
    if set(arrays) != set(_NAMES) or not _is_sound(arrays):
        raise CheckpointError(
            f"{where} does not hold what it should: it is damaged, or comes from "
            "another version of synthzoo. Without this file the model can be used, and "
            "gives no uncertainty; fine-tune again to have one."
        )
    return Uncertainty(
        root=arrays["root"],
        energy_root=arrays["energy_root"],
        atoms=int(arrays["atoms"]),
        structures=int(arrays["structures"]),
        energy_eV_per_atom=float(arrays["energy_eV_per_atom"]),
        forces_eV_A=float(arrays["forces_eV_A"]),
    )


def _is_sound(arrays: dict[str, NDArray[Any]]) -> bool:
    root, other, *single = (arrays[name] for name in _NAMES)
    square = root.ndim == 2 and root.shape[0] == root.shape[1]
    fits = square and other.shape == root.shape
    alone = all(value.shape == () for value in single)
    return fits and alone and all(np.isfinite(each).all() for each in arrays.values())
