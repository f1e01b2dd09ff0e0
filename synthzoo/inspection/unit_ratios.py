"""Labels over what physics expects of them, whatever the material is.

- Two close frames of one system obey ``dE = -F·dx``, plus volume times
  stress times strain.
- A bond that is longer than another of its kind pulls more; the stiffness of bonds
  times their length squared is 10 to 200 eV from soft metals to diamond.
- A compressed cell has the higher pressure, with a bulk modulus of 1 to 500 GPa.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase.units import Bohr, GPa, Hartree, Rydberg, kcal, kJ, mol, nm

from synthzoo.data.labelled_set import rms
from synthzoo.data.pairs import bonded
from synthzoo.inspection.energy_models import beyond_composition
from synthzoo.inspection.findings import Finding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.inspection.findings import CheckedSet
    from synthzoo.inspection.related import Work


ENERGY_UNITS = {
    "kcal/mol": mol / kcal,
    "kJ/mol": mol / kJ,
    "Hartree": 1 / Hartree,
    "Rydberg": 1 / Rydberg,
    "meV": 1000.0,
}
"""How many of the unit are one eV."""
FORCE_UNITS = {
    "kcal/mol/Å": mol / kcal,
    "kJ/mol/Å": mol / kJ,
    "kJ/mol/nm": nm * mol / kJ,
    "Hartree/bohr": Bohr / Hartree,
    "Hartree/Å": 1 / Hartree,
    "Rydberg/bohr": Bohr / Rydberg,
    "meV/Å": 1000.0,
    "eV/nm": nm,
}
"""How many of the unit are one eV/Å."""
STRESS_UNITS = {
    "GPa": 1 / GPa,
    "kbar": 10 / GPa,
    "bar": 1e4 / GPa,
    "Hartree/bohr³": Bohr**3 / Hartree,
    "Rydberg/bohr³": Bohr**3 / Rydberg,
}
"""How many of the unit are one eV/Å³."""

NEAR = 1.4
"""A ratio is that of a unit if it is within this factor of it."""
NORMAL = (0.6, 1.6)
"""Ratios of right units between labels: motion is anharmonic."""
NORMAL_BESIDE_MODEL = (0.25, 4.0)
"""The same over what a model says, which knows the material more or less; of the units
in question, none is less than nine times another."""
NEAR_BESIDE_MODEL = 2.2
"""The same: some models are half or twice as stiff as the material."""
MIN_RATIOS = 3
MOST_SPREAD = 1.6
"""Of the quartiles of ratios that are to be believed, upper over lower."""


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """Labels over what is expected: 1 if unit and sign are right.

    ``value``: the ratio; negative if the sign is reversed.
    ``evidence``: where the expectation comes from, in words.
    ``usual``: how large ratios of right units are.
    ``near``: how far a ratio may be from that of a unit, as a factor.
    """

    value: float
    evidence: str
    usual: tuple[float, float] = NORMAL
    near: float = NEAR

    @property
    def normal(self) -> bool:
        """Whether unit and sign are right."""
        return self.usual[0] < self.value < self.usual[1]


def steady(ratios: Sequence[float]) -> float | None:
    """Return the median of ratios, or None if they are few or scatter.

    ``ratios``: of the same two things, in several places.

    Examples
    --------
    >>> steady([23.0, 23.1, 22.9])
    23.0
    >>> steady([23.0, -1.0, 5.0])
    """
    if len(ratios) < MIN_RATIOS:
        return None
    low, middle, high = np.percentile(ratios, [25, 50, 75])
    if low * high <= 0:
        return None
    spread = max(abs(low), abs(high)) / min(abs(low), abs(high))
    return float(middle) if spread < MOST_SPREAD else None


def nearest_units(
    size: float, units: Mapping[str, float], *, near: float = NEAR
) -> dict[str, float]:
    """Return the units that would explain a ratio, with the logarithm of the misfit.

    Examples
    --------
    >>> list(nearest_units(23.5, FORCE_UNITS))
    ['kcal/mol/Å']
    >>> list(nearest_units(1.0, FORCE_UNITS))
    []
    """
    misfits = {name: abs(float(np.log(size / one))) for name, one in units.items()}
    found = {name: misfit for name, misfit in misfits.items() if misfit < np.log(near)}
    return dict(sorted(found.items(), key=lambda item: item[1]))


def unit_findings(what: str, ratio: Ratio, units: Mapping[str, float]) -> list[Finding]:
    """Return what a ratio says of the sign and the unit of labels.

    ``what``: the labels, such as ``"force"``.
    """
    findings = []
    size = abs(ratio.value)
    if ratio.value < 0:
        message = f"The sign of the {what} labels is reversed: {ratio.evidence}."
        findings.append(Finding(kind=f"{what}_sign", severity="error", message=message))
    if not ratio.usual[0] < size < ratio.usual[1]:
        units_near = list(nearest_units(size, units, near=ratio.near))
        cause = f"in {units_near[0]}" if units_near else "in another unit"
        findings.append(
            Finding(
                kind=f"{what}_units",
                severity="error" if units_near else "warning",
                message=f"The {what} labels are {size:.3g} times as large as expected "
                f"({ratio.evidence}): they seem to be {cause}.",
            )
        )
    return findings


MOST_WORKS = 200
STRESS_SHARE = 0.3
"""Of the energy of a step: less is not evidence for the stress."""

MIN_BONDS = 12
MIN_LENGTH_SPREAD_A = 1e-3
CLEAR_CORRELATION = 0.3

MIN_CELLS = 5
MIN_VOLUME_SPREAD = 0.01
CELL_CORRELATION = 0.7


@dataclass(frozen=True, kw_only=True)
class Slopes:
    """The same slope, measured in several structures."""

    values: NDArray[np.float64]
    correlation: float


def energy_over_forces(works: list[Work]) -> Ratio | None:
    """Return changes of energy over the work of the forces, from the closest frames.

    ``works``: steps between frames; those with a change of the cell are left out.
    """
    closest = sorted(works, key=lambda work: work.move_A)
    same_cell = [work for work in closest if work.by_stress_eV == 0][:MOST_WORKS]
    value = steady([work.energy_eV / work.by_forces_eV for work in same_cell])
    if value is None:
        return None
    return Ratio(value=value, evidence=f"median of {len(same_cell)} pairs of frames")


def stress_over_energy(works: list[Work]) -> Ratio | None:
    """Return the work of the stress over what the energy leaves for it.

    ``works``: steps between frames.
    """
    ratios = []
    for work in works:
        rest = work.energy_eV - work.by_forces_eV
        if work.by_stress_eV and abs(rest) > STRESS_SHARE * abs(work.by_forces_eV):
            ratios.append(work.by_stress_eV / rest)
    value = steady(np.array(ratios)[np.isfinite(ratios)].tolist())
    if value is None:
        return None
    return Ratio(value=value, evidence=f"energies of {len(ratios)} pairs of cells")


def bond_stiffness_eV(data: CheckedSet) -> Slopes:
    """Return the stiffness of bonds times their length squared, for each structure.

    ``data``: set with forces; a structure counts if it has a dozen bonds whose lengths
    differ. Negative values: longer bonds push.
    """
    bonds = [_bonds(data, index, forces) for index, forces in data.forces_eV_A.items()]
    sums = np.array([found for bond in bonds for found in [_sums(*bond)] if found[0]])
    if not len(sums):
        return Slopes(values=np.zeros(0), correlation=0.0)
    xx, xy, yy, lengths = sums.T
    clear = np.abs(xy) > CLEAR_CORRELATION * np.sqrt(xx * yy)
    total = sums.sum(axis=0)
    return Slopes(
        values=(-xy / xx * lengths**2)[clear],
        correlation=float(-total[1] / np.sqrt(total[0] * total[2])),
    )


def _bonds(
    data: CheckedSet, index: int, forces: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return lengths of bonds, the forces that stretch them, and which are alike."""
    atoms, pairs = data.structures[index], data.pairs[index]
    taken = bonded(atoms, pairs) & (pairs.first < pairs.second)
    first, second = pairs.first[taken], pairs.second[taken]
    lengths, along = pairs.distances_A[taken], pairs.vectors_A[taken]
    pushes = ((forces[second] - forces[first]) * along).sum(axis=1) / lengths
    elements = np.sort(atoms.numbers[np.stack([first, second])], axis=0)
    return lengths, pushes, elements[0] * 1000 + elements[1]


def _sums(
    lengths: NDArray[np.float64],
    pushes: NDArray[np.float64],
    elements: NDArray[np.int64],
) -> tuple[float, float, float, float]:
    """Return sums of squares and products around the means, and the mean length."""
    if len(lengths) < MIN_BONDS:
        return 0.0, 0.0, 0.0, 0.0
    kinds = np.unique(elements, return_inverse=True)[1]
    x, y = (_without_means(values, kinds) for values in (lengths, pushes))
    if x.std() < MIN_LENGTH_SPREAD_A or not y.any():
        return 0.0, 0.0, 0.0, 0.0
    return (
        float((x * x).sum()),
        float((x * y).sum()),
        float((y * y).sum()),
        float(lengths.mean()),
    )


def _without_means(
    values: NDArray[np.float64], kinds: NDArray[np.int64]
) -> NDArray[np.float64]:
    means = np.bincount(kinds, weights=values) / np.bincount(kinds)
    rest: NDArray[np.float64] = values - means[kinds]
    return rest


def bulk_moduli_eV_A3(data: CheckedSet) -> Slopes:
    """Return change of stress over relative change of volume, for each composition.

    ``data``: set with stresses; a composition counts if it has several cells of
    different volumes. Negative values: compressed cells pull.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for index in data.stresses_eV_A3:
        if data.structures[index].pbc.all():
            name = data.structures[index].get_chemical_formula("hill", empirical=True)
            groups[name].append(index)
    moduli, correlations = [], []
    for frames in groups.values():
        volumes = [data.structures[i].get_volume() / data.sizes[i] for i in frames]
        x = np.log(volumes)
        y = np.array([data.stresses_eV_A3[i][:3].mean() for i in frames])
        if len(frames) < MIN_CELLS or x.std() < MIN_VOLUME_SPREAD or y.std() == 0:
            continue
        correlations.append(float(np.corrcoef(x, y)[0, 1]))
        if abs(correlations[-1]) > CELL_CORRELATION:
            moduli.append(correlations[-1] * y.std() / x.std())
    return Slopes(
        values=np.array(moduli),
        correlation=float(np.mean(correlations)) if correlations else 0.0,
    )


MIN_CORRELATION = 0.8
"""Below it, the model does not know this material."""
MOST_SPREAD = 3.0
"""Of the quartiles of slopes; units differ by ten and more."""
MIN_STRUCTURES = 3
MIN_ENERGIES = 8
MIN_ENERGY_CORRELATION = 0.9
"""Labels of two sources correlate, too, but less."""
MIN_SPREAD_EV_PER_ATOM = 0.005
MODEL_ERROR_EV_A = 0.3
"""Root mean square; what a pre-trained model says of forces is often as far off."""


def model_force_ratio(data: CheckedSet) -> Ratio | None:
    """Return force labels over predictions; None without a model that fits.

    None, too, for a ratio that is not normal where labels and predictions differ by no
    more than models err: they do not know the forces on atoms that are nearly at rest.
    """
    if data.reference is None:
        return None
    predicted = data.reference.forces_eV_A
    pairs = [
        (forces, np.asarray(predicted[index]))
        for index, forces in data.forces_eV_A.items()
    ]
    ratio = _slope(pairs, "forces")
    if ratio is None or ratio.normal:
        return ratio
    errors = np.concatenate([np.ravel(forces - found) for forces, found in pairs])
    return None if rms(errors) < MODEL_ERROR_EV_A else ratio


def model_stress_ratio(data: CheckedSet) -> Ratio | None:
    """Return stress labels over predictions; None without a model that fits."""
    if data.reference is None or data.reference.stresses_eV_A3 is None:
        return None
    predicted = data.reference.stresses_eV_A3
    pairs = [
        (stress, np.asarray(predicted[index]))
        for index, stress in data.stresses_eV_A3.items()
    ]
    return _slope(pairs, "stress")


def model_energy_ratio(data: CheckedSet) -> Ratio | None:
    """Return the spread of energies over that of predictions, beyond composition."""
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
    return Ratio(
        value=size if correlation > 0 else -size,
        evidence=evidence,
        usual=NORMAL_BESIDE_MODEL,
        near=NEAR_BESIDE_MODEL,
    )


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
    return Ratio(
        value=middle,
        evidence=evidence,
        usual=NORMAL_BESIDE_MODEL,
        near=NEAR_BESIDE_MODEL,
    )


def _weighted_quartiles(
    values: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[float, float, float]:
    order = np.argsort(values)
    shares = np.cumsum(weights[order]) / weights.sum()
    places = np.searchsorted(shares, (0.25, 0.5, 0.75))
    low, middle, high = values[order][np.minimum(places, len(values) - 1)]
    return float(low), float(middle), float(high)
