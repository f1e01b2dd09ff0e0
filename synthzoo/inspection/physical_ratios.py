"""Labels over what physics expects of them, whatever the material is.

- Two close frames of one system obey ``dE = -F·dx``, plus volume times
  stress times strain.
- A bond that is longer than another of its kind pulls more; the stiffness of bonds
  times their length squared is 10 to 200 eV from soft metals to diamond.
- A compressed cell has the higher pressure, with a bulk modulus of 1 to 500 GPa.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synthzoo.inspection.label_units import Ratio, steady
from synthzoo.pairs import bonded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.inspection.findings import CheckedSet
    from synthzoo.inspection.related_frames import Work

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
    """The same slope, measured in several structures.

    Attributes
    ----------
    values
        Where it is clear.
    correlation
        Over all structures together.
    """

    values: NDArray[np.float64]
    correlation: float


def energy_over_forces(works: list[Work]) -> Ratio | None:
    """Return changes of energy over the work of the forces, from the closest frames.

    Parameters
    ----------
    works
        Steps between frames; those with a change of the cell are left out.
    """
    closest = sorted(works, key=lambda work: work.move_A)
    same_cell = [work for work in closest if work.by_stress_eV == 0][:MOST_WORKS]
    value = steady([work.energy_eV / work.by_forces_eV for work in same_cell])
    if value is None:
        return None
    return Ratio(value=value, evidence=f"median of {len(same_cell)} pairs of frames")


def stress_over_energy(works: list[Work]) -> Ratio | None:
    """Return the work of the stress over what the energy leaves for it.

    Parameters
    ----------
    works
        Steps between frames.
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

    Parameters
    ----------
    data
        Set with forces; a structure counts if it has a dozen bonds whose lengths
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

    Parameters
    ----------
    data
        Set with stresses; a composition counts if it has several cells of different
        volumes. Negative values: compressed cells pull.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for index in data.stresses_eV_A3:
        if data.structures[index].pbc.all():
            name = data.structures[index].get_chemical_formula("hill", empirical=True)
            groups[name].append(index)
    found, correlations = [], []
    for frames in groups.values():
        volumes = [data.structures[i].get_volume() / data.sizes[i] for i in frames]
        x = np.log(volumes)
        y = np.array([data.stresses_eV_A3[i][:3].mean() for i in frames])
        if len(frames) < MIN_CELLS or x.std() < MIN_VOLUME_SPREAD or y.std() == 0:
            continue
        correlations.append(float(np.corrcoef(x, y)[0, 1]))
        if abs(correlations[-1]) > CELL_CORRELATION:
            found.append(correlations[-1] * y.std() / x.std())
    return Slopes(
        values=np.array(found),
        correlation=float(np.mean(correlations)) if correlations else 0.0,
    )
