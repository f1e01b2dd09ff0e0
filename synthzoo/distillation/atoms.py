"""Isolated atoms of the user that do not fit the teacher's energies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from synthzoo.data.sound import listed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.data.labelled_set import LabelledSet
    from synthzoo.evaluation.errors import Prediction

MUCH_EV_PER_ATOM = 0.1
"""So much farther from the labels, the constants of isolated atoms are mentioned."""


def strange_atoms(
    data: LabelledSet, found: Prediction, isolated_eV: Mapping[str, float]
) -> list[str]:
    """Return, in words, how far the user's isolated atoms are from what is expected.

    Fine-tuning takes the constant of an element from its isolated atom if there is one.
    Universal networks hardly know such atoms, and the constant that brings their other
    energies closest to the labels may be another one, by eV.

    ``data``: the structures, without isolated atoms.
    ``found``: what the teacher says about them, relative to its own isolated atoms.
    ``isolated_eV``: labels of the user's isolated atoms, by element.
    """
    known = [name for name in data.elements if name in isolated_eV]
    if not known:
        return []
    shares = data.counts(data.elements) / data.counts(data.elements).sum(1)[:, None]
    residuals = -np.array([each.energy_eV_per_atom for each in found.residuals])
    is_known = np.array([name in isolated_eV for name in data.elements])
    fixed = shares[:, is_known] @ [isolated_eV[name] for name in known]
    without = _left_over(shares, residuals)
    with_them = _left_over(shares[:, ~is_known], residuals - fixed)
    if with_them - without < MUCH_EV_PER_ATOM:
        return []
    return [
        f"The isolated {listed(known)} of your data fixes a constant with which the "
        f"teacher's energies are {with_them:.2f} eV/atom from yours; without it, "
        f"{without:.2f}. Fine-tuning begins with the difference, and the network "
        "learns what is left of it."
    ]


def _left_over(shares: NDArray[np.float64], residuals: NDArray[np.float64]) -> float:
    """Return the root mean square that constants for each element do not take off."""
    constants = np.linalg.lstsq(shares, residuals, rcond=1e-8)[0]
    return float(np.sqrt(np.mean((residuals - shares @ constants) ** 2)))
