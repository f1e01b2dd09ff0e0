"""SOAP power spectra of the environments of atoms, by dscribe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from synthzoo.errors import MissingExtraError

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

WIDTH_A = 0.5
"""Of the Gaussians that stand for atoms."""

VACUUM_A = 1.0


def soap_of(
    elements: Sequence[str],
    *,
    cutoff_A: float,
    radial: int,
    angular: int,
    smooth: bool = False,
) -> Any:
    """Return dscribe's SOAP (doi 10.1103/PhysRevB.87.184115).

    ``radial``: number of radial functions.
    ``angular``: largest degree of the spherical harmonics.
    ``smooth``: whether neighbours count less with their distance, and not at all at the
    cutoff. Otherwise those just within the cutoff, who are many, count in full.
    """
    try:
        from dscribe.descriptors import SOAP
    except ImportError as error:
        raise MissingExtraError(
            "SOAP needs dscribe: pip install 'synthzoo[select]'."
        ) from error
    fading = {"function": "poly", "r0": cutoff_A, "c": 1, "m": 1}
    return SOAP(
        species=list(elements),
        periodic=True,
        r_cut=cutoff_A,
        n_max=radial,
        l_max=angular,
        sigma=WIDTH_A,
        weighting=fading if smooth else None,
    )


def spectra_of(atoms: Atoms, soap: Any) -> NDArray[np.float32]:
    """Return the power spectra of a structure's atoms, as unit vectors."""
    copy: Atoms = atoms.copy()
    for axis in np.flatnonzero(~copy.pbc):  # room enough that no image is seen
        copy.center(vacuum=soap._r_cut / 2 + VACUUM_A, axis=int(axis))
    copy.wrap()  # of atoms outside of the cell, dscribe misses neighbours
    copy.pbc = True
    spectra = soap.create(copy)
    return np.asarray(
        spectra / np.linalg.norm(spectra, axis=1, keepdims=True), dtype=np.float32
    )
