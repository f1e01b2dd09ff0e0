"""Labels over the predictions of a model, where the two correlate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from synthzoo.inspection.composition import beyond_composition
from synthzoo.inspection.label_units import Ratio

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.inspection.findings import CheckedSet

MIN_CORRELATION = 0.8
"""Below it, the model does not know this material."""
MOST_SPREAD = 3.0
"""Of the quartiles of slopes; units differ by ten and more."""
MIN_STRUCTURES = 3
MIN_ENERGIES = 8
MIN_ENERGY_CORRELATION = 0.9
"""Labels of two sources correlate, too, but less."""
MIN_SPREAD_EV_PER_ATOM = 0.005


def model_force_ratio(data: CheckedSet) -> Ratio | None:
    """Return force labels over predictions; None without a model that fits.

    Parameters
    ----------
    data
        Set to look at.
    """
    if data.reference is None:
        return None
    predicted = data.reference.forces_eV_A
    pairs = [
        (forces, np.asarray(predicted[index]))
        for index, forces in data.forces_eV_A.items()
    ]
    return _slope(pairs, "forces")


def model_stress_ratio(data: CheckedSet) -> Ratio | None:
    """Return stress labels over predictions; None without a model that fits.

    Parameters
    ----------
    data
        Set to look at.
    """
    if data.reference is None or data.reference.stresses_eV_A3 is None:
        return None
    predicted = data.reference.stresses_eV_A3
    pairs = [
        (stress, np.asarray(predicted[index]))
        for index, stress in data.stresses_eV_A3.items()
    ]
    return _slope(pairs, "stress")


def model_energy_ratio(data: CheckedSet) -> Ratio | None:
    """Return the spread of energies over that of predictions, beyond composition.

    Parameters
    ----------
    data
        Set to look at.
    """
    usable = data.comparable
    if data.reference is None or np.count_nonzero(usable) < MIN_ENERGIES:
        return None
    sizes, shares = data.sizes[usable], data.shares[usable]
    label, model = (
        beyond_composition(energies[usable] / sizes, shares)
        for energies in (data.energies_eV, data.reference.energies_eV)
    )
    spreads = [float(np.median(np.abs(values))) for values in (label, model)]
    if spreads[1] < MIN_SPREAD_EV_PER_ATOM or spreads[0] == 0:
        return None
    correlation = float(np.corrcoef(label, model)[0, 1])
    if abs(correlation) < MIN_ENERGY_CORRELATION:
        return None
    size = spreads[0] / spreads[1]
    evidence = (
        f"their spread over that of the model's energies, correlation {correlation:.2f}"
    )
    return Ratio(value=size if correlation > 0 else -size, evidence=evidence)


def _slope(
    pairs: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]], what: str
) -> Ratio | None:
    """Return the median over structures of the slope of labels over predictions.

    Structures count by the size of both, whatever the units: where forces are small,
    or symmetry leaves little of them, the model's error is all that would be seen.
    """
    products = np.array(
        [
            ((label * predicted).sum(), (predicted**2).sum(), (label**2).sum())
            for label, predicted in pairs
            if label.any() and predicted.any()
        ]
    ).reshape(-1, 3)
    if len(products) < MIN_STRUCTURES:
        return None
    both, predicted, label = products.T
    sizes = np.sqrt(predicted * label)
    correlation = _weighted_quartiles(both / sizes, sizes)[1]
    low, middle, high = _weighted_quartiles(both / predicted, sizes)
    scattered = low * high <= 0 or max(low / high, high / low) > MOST_SPREAD
    if abs(correlation) < MIN_CORRELATION or scattered:
        return None
    evidence = f"slope over the model's {what}, correlation {correlation:.2f}"
    return Ratio(value=middle, evidence=evidence)


def _weighted_quartiles(
    values: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[float, float, float]:
    order = np.argsort(values)
    shares = np.cumsum(weights[order]) / weights.sum()
    places = np.searchsorted(shares, (0.25, 0.5, 0.75))
    low, middle, high = values[order][np.minimum(places, len(values) - 1)]
    return float(low), float(middle), float(high)
