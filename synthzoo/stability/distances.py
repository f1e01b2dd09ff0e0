"""How far atoms are apart: radial distributions, of all and by pairs of elements."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.signal import find_peaks

from synthzoo.data.pairs import bonded, find_pairs, longest_bond_A
from synthzoo.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

RDF_REACH_A = 6.0
RDF_STEP_A = 0.05
PROMINENCE = 0.3
"""Of a peak of g(r), above its surroundings."""


@dataclass(frozen=True, kw_only=True)
class RadialDistribution:
    """How many neighbours an atom has at a distance, over those of an ideal gas.

    Attributes
    ----------
    distances_A
        Middles of the bins, of shape ``(bins,)``.
    values
        Mean over the frames, of shape ``(bins,)``.
    """

    distances_A: NDArray[np.float64]
    values: NDArray[np.float64]

    @property
    def first_peak_A(self) -> float | None:
        """Where its first peak is; None without one."""
        peaks, _ = find_peaks(self.values, height=1.0, prominence=PROMINENCE)
        return float(self.distances_A[peaks[0]]) if len(peaks) else None


def radial_distribution(
    atoms: Atoms, *, reach_A: float = RDF_REACH_A, step_A: float = RDF_STEP_A
) -> RadialDistribution:
    """Return the radial distribution function of a periodic structure.

    All elements count alike. `ase.geometry.rdf` gives the same, but no farther than
    half of the cell.

    ``atoms``: structure that is periodic in three directions, of any size.
    """
    everything = np.ones(len(atoms), dtype=bool)
    (found,) = _distributions(atoms, [(everything, everything)], reach_A, step_A)
    return found


def partial_distributions(
    atoms: Atoms, *, reach_A: float = RDF_REACH_A, step_A: float = RDF_STEP_A
) -> dict[str, RadialDistribution]:
    """Return the radial distribution of each pair of elements; empty with one element.

    Far away all of them go to one, whatever the composition.

    ``atoms``: structure that is periodic in three directions, of any size.

    Examples
    --------
    >>> from ase.build import bulk
    >>> list(partial_distributions(bulk("InP", "zincblende", a=5.87)))
    ['In–In', 'In–P', 'P–P']
    """
    elements = sorted(set(atoms.symbols))
    if len(elements) < 2:
        return {}
    pairs = list(itertools.combinations_with_replacement(elements, 2))
    are = {name: np.array(atoms.symbols) == name for name in elements}
    masks = [(are[first], are[second]) for first, second in pairs]
    found = _distributions(atoms, masks, reach_A, step_A)
    return dict(zip(map("–".join, pairs), found, strict=True))


def _distributions(
    atoms: Atoms,
    masks: Sequence[tuple[NDArray[np.bool_], NDArray[np.bool_]]],
    reach_A: float,
    step_A: float,
) -> list[RadialDistribution]:
    """Return how atoms of a second kind are distributed about those of a first one."""
    if not atoms.pbc.all():
        raise InputError("A radial distribution needs a cell that is periodic in 3D.")
    edges = np.linspace(0.0, reach_A, round(reach_A / step_A) + 1)
    shells_A3 = 4 / 3 * np.pi * np.diff(edges**3)
    pairs = find_pairs(atoms, reach_A)
    distributions = []
    for first, second in masks:
        taken = first[pairs.first] & second[pairs.second]
        found, _ = np.histogram(pairs.distances_A[taken], bins=edges)
        expected = first.sum() * second.sum() / atoms.get_volume() * shells_A3
        distributions.append(
            RadialDistribution(
                distances_A=(edges[:-1] + edges[1:]) / 2, values=found / expected
            )
        )
    return distributions


def mean_distribution(found: Sequence[RadialDistribution]) -> RadialDistribution | None:
    """Return the mean of distributions over the same distances; None of none."""
    if not found:
        return None
    mean: NDArray[np.float64] = np.mean([each.values for each in found], axis=0)
    return RadialDistribution(distances_A=found[0].distances_A, values=mean)


def mean_partials(
    found: Sequence[Mapping[str, RadialDistribution]],
) -> dict[str, RadialDistribution]:
    """Return the mean distribution of each pair of elements."""
    names = dict.fromkeys(name for each in found for name in each)
    means = {
        name: mean_distribution([each[name] for each in found if name in each])
        for name in names
    }
    return {name: mean for name, mean in means.items() if mean is not None}


def bonds_by_pair(atoms: Atoms) -> dict[str, float]:
    """Return how many bonds to each element an atom of each element has.

    Empty for structures of one element.

    Examples
    --------
    >>> from ase.build import bulk
    >>> bonds_by_pair(bulk("InP", "zincblende", a=5.87))
    {'In–In': 0.0, 'In–P': 4.0, 'P–In': 4.0, 'P–P': 0.0}
    """
    elements = sorted(set(atoms.symbols))
    if len(elements) < 2:
        return {}
    pairs = find_pairs(atoms, longest_bond_A(atoms))
    taken = bonded(atoms, pairs)
    symbols = np.array(atoms.symbols)
    first, second = symbols[pairs.first[taken]], symbols[pairs.second[taken]]
    return {
        f"{one}–{other}": float(
            ((first == one) & (second == other)).sum() / (symbols == one).sum()
        )
        for one, other in itertools.product(elements, elements)
    }
