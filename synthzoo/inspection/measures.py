"""What can be counted in a set of structures, one structure at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.units import GPa

from synthzoo.data.labels import LabelKeys, partial_labels
from synthzoo.data.pairs import Pairs, coordination, find_pairs, longest_bond_A
from synthzoo.data.structures import density_g_cm3, kind_of

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    from synthzoo.data.labels import PartialLabels

REACH = 1.6
"""Distances are counted up to this many times the longest bond of a structure."""
DISTANCE_STEP_A = 0.02
DISTANCE_BINS = 400
NARROW = 1e-9
"""Of values themselves: a range that is rounding, not a distribution."""
MOST_BONDS = 12
"""More bonds of an atom are counted as this many."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Where the values of a quantity lie.

    Attributes
    ----------
    count
        How many there are.
    smallest, low, median, high, largest
        Percentiles 0, 5, 50, 95 and 100.
    """

    count: int
    smallest: float
    low: float
    median: float
    high: float
    largest: float


@dataclass(frozen=True, kw_only=True)
class Measures:
    """Numbers of ``n`` structures; those of several sets can be joined.

    What a structure does not have (a label, a density without a cell, a distance
    beyond reach) is not a number (NaN).

    Attributes
    ----------
    atoms
        Number of atoms, of shape ``(n,)``.
    energies_eV_per_atom, max_forces_eV_A, rms_forces_eV_A, pressures_GPa
        Labels, of shape ``(n,)``; the largest norm and the root mean square of the
        components of the forces; minus a third of the trace of the stress.
    densities_g_cm3
        Of structures that are periodic in three directions, of shape ``(n,)``.
    shortest_distances_A
        Of shape ``(n,)``.
    bonds
        Atoms with 0, 1, 2 ... `MOST_BONDS` bonds, of shape ``(n, MOST_BONDS + 1)``.
    distances
        Pairs by distance, in steps of `DISTANCE_STEP_A`.
    reach_A
        Up to where distances were counted in every structure.
    kinds, formulas, elements
        Structures of each kind (as their ``info`` says) and with each composition, and
        atoms of each element.
    periodic
        Structures with 0, 1, 2, 3 periodic directions.
    """

    atoms: NDArray[np.int64]
    energies_eV_per_atom: NDArray[np.float64]
    max_forces_eV_A: NDArray[np.float64]
    rms_forces_eV_A: NDArray[np.float64]
    pressures_GPa: NDArray[np.float64]
    densities_g_cm3: NDArray[np.float64]
    shortest_distances_A: NDArray[np.float64]
    bonds: NDArray[np.int64]
    distances: NDArray[np.int64]
    reach_A: float
    kinds: Counter[str]
    formulas: Counter[str]
    elements: Counter[str]
    periodic: Counter[int]

    def __len__(self) -> int:
        return len(self.atoms)

    @property
    def bond_shares(self) -> NDArray[np.float64]:
        """What share of the atoms has 0, 1, 2 ... bonds, of shape ``bonds.shape``."""
        shares: NDArray[np.float64] = self.bonds / self.atoms[:, None]
        return shares

    @property
    def total_bond_shares(self) -> NDArray[np.float64]:
        """What share of all atoms has 0, 1, 2 ... bonds."""
        total = self.bonds.sum(axis=0)
        shares: NDArray[np.float64] = total / max(int(total.sum()), 1)
        return shares


def measure(structures: Iterable[Atoms], keys: LabelKeys) -> Measures:
    """Measure structures one by one; only numbers are kept.

    ``structures``: any number of them, taken one at a time.
    """
    rows = []
    distances = np.zeros(DISTANCE_BINS, dtype=np.int64)
    counters: dict[str, Any] = {
        name: Counter() for name in ("kinds", "formulas", "elements", "periodic")
    }
    for atoms in structures:
        pairs = find_pairs(atoms, REACH * longest_bond_A(atoms))
        rows.append(_row(atoms, pairs, partial_labels(atoms, keys)))
        bins = np.minimum(pairs.distances_A / DISTANCE_STEP_A, DISTANCE_BINS - 1)
        distances += np.bincount(bins.astype(int), minlength=DISTANCE_BINS)
        counters["kinds"][kind_of(atoms)] += 1
        counters["formulas"][atoms.get_chemical_formula("hill")] += 1
        counters["elements"].update(Counter(atoms.get_chemical_symbols()))
        counters["periodic"][int(atoms.pbc.sum())] += 1
    reach_A = min((row["reach_A"] for row in rows), default=0.0)
    columns: dict[str, Any] = {
        name: np.array([row[name] for row in rows]) for name in _ROW
    }
    columns["bonds"] = columns["bonds"].reshape(len(rows), MOST_BONDS + 1)
    return Measures(distances=distances, reach_A=reach_A, **columns, **counters)


_ROW = (
    "atoms",
    "energies_eV_per_atom",
    "max_forces_eV_A",
    "rms_forces_eV_A",
    "pressures_GPa",
    "densities_g_cm3",
    "shortest_distances_A",
    "bonds",
)


def _row(atoms: Atoms, pairs: Pairs, labels: PartialLabels) -> dict[str, Any]:
    nan = float("nan")
    energy, forces, stress = (
        labels.energy_eV,
        labels.forces_eV_A,
        labels.stress_eV_A3,
    )
    if forces is not None and forces.shape != (len(atoms), 3):
        forces = None
    bonds = np.minimum(coordination(atoms, pairs), MOST_BONDS)
    return {
        "atoms": len(atoms),
        "energies_eV_per_atom": nan if energy is None else energy / len(atoms),
        "max_forces_eV_A": nan
        if forces is None
        else np.linalg.norm(forces, axis=1).max(),
        "rms_forces_eV_A": nan if forces is None else np.sqrt(np.mean(forces**2)),
        "pressures_GPa": nan if stress is None else -stress[:3].mean() / GPa,
        "densities_g_cm3": density_g_cm3(atoms) if atoms.pbc.all() else nan,
        "shortest_distances_A": pairs.distances_A.min() if len(pairs) else nan,
        "bonds": np.bincount(bonds, minlength=MOST_BONDS + 1),
        "reach_A": REACH * longest_bond_A(atoms),
    }


def spread_of(values: NDArray[Any]) -> Spread | None:
    """Return where values lie; None if none is a finite number."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None
    smallest, low, median, high, largest = np.percentile(finite, [0, 5, 50, 95, 100])
    return Spread(
        count=len(finite),
        smallest=float(smallest),
        low=float(low),
        median=float(median),
        high=float(high),
        largest=float(largest),
    )


def bin_edges(values: NDArray[Any], bins: int) -> NDArray[np.float64]:
    """Return the edges of the bins of a histogram, also of values that are all alike.

    ``values``: at least one, finite.

    Examples
    --------
    >>> bin_edges(np.array([2.0, 2.0 + 1e-15]), 2).tolist()
    [1.5, 2.0, 2.5]
    """
    low, high = float(values.min()), float(values.max())
    if high - low < NARROW * max(abs(low), abs(high), 1.0):
        low, high = low - 0.5, low + 0.5
    edges: NDArray[np.float64] = np.linspace(low, high, bins + 1)
    return edges


def quantities_of(measures: Measures) -> dict[str, NDArray[Any]]:
    """Return the quantities that each structure has one of, by name with unit."""
    return {
        "atoms per structure": measures.atoms,
        "energy (eV/atom)": measures.energies_eV_per_atom,
        "largest force (eV/Å)": measures.max_forces_eV_A,
        "pressure (GPa)": measures.pressures_GPa,
        "density (g/cm³)": measures.densities_g_cm3,
        "shortest distance (Å)": measures.shortest_distances_A,
    }
