"""Random packings of atoms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers
from ase.units import _amu as amu_kg

from synthzoo.errors import InputError
from synthzoo.generation.grids import draw, grid_points
from synthzoo.generation.prototypes import VACUUM_A
from synthzoo.generation.sizes import bond_lengths_A, volume_A3

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.generation.kinds.from_atoms import MeltQuench, Packing
    from synthzoo.generation.kinds.values import Distances
    from synthzoo.generation.species import Species
    from synthzoo.recipes.schema import Range

MAX_TRIALS_PER_ATOM = 2000
DENSITY_SPREAD = (0.7, 1.2)
"""Default range of densities, as shares of that which the elements suggest."""
CLOSEST = 0.75
"""Default distance of two atoms, as a share of their bond length..."""
FILLED = 0.3
"""... unless spheres of that size would fill more than this share of the cell: at 0.38,
no more can be placed one by one."""


def pack(
    part: Packing | MeltQuench, species: Species, rng: np.random.Generator
) -> Atoms:
    """Return a random packing in a cubic cell of a size and density that are drawn."""
    count = int(rng.integers(part.atoms[0], part.atoms[1] + 1))
    symbols = species.draw(count, rng)
    mass_g = _mass_g(symbols)
    density = draw(part.density_g_cm3 or _densities_g_cm3(symbols), rng)
    length_A = (mass_g / density * 1e24) ** (1 / 3)
    present, kinds = np.unique(symbols, return_inverse=True)
    elements = present.tolist()
    closest_A = _closest_A(part.min_distance_A, elements, kinds, length_A)
    kinds = kinds[np.argsort(-np.diag(closest_A)[kinds], kind="stable")]
    positions = _placed(closest_A[kinds][:, kinds], length_A, rng)
    if positions is None:
        raise InputError(
            f"{len(symbols)} atoms of {', '.join(elements)} at {density:.2f} g/cm³ "
            f"cannot be placed {_range_text(closest_A)} Å apart; lower the density or "
            "min_distance_A."
        )
    symbols = [elements[kind] for kind in kinds]  # the largest were placed first
    return Atoms(symbols, positions=positions, cell=np.eye(3) * length_A, pbc=True)


def pack_plane(
    symbols: Sequence[str],
    area_A2: float,
    min_distance_A: float,
    rng: np.random.Generator,
) -> Atoms:
    """Return atoms at random places of a square in a plane, with vacuum above it.

    ``min_distance_A``: no two atoms are placed closer than this.
    """
    length_A = area_A2**0.5
    closest_A = np.full((len(symbols), len(symbols)), min_distance_A)
    sides_A = np.array([length_A, length_A, 0.0])
    positions = _placed(closest_A, sides_A, rng)
    if positions is None:
        raise InputError(
            f"{len(symbols)} atoms cannot be placed {min_distance_A:g} Å apart on "
            f"{area_A2:.0f} Å²; raise area_A2 or lower min_distance_A."
        )
    cell = [length_A, length_A, VACUUM_A]
    middle = [0.0, 0.0, VACUUM_A / 2]
    return Atoms(list(symbols), positions=positions + middle, cell=cell, pbc=True)


def density_points(part: Packing | MeltQuench) -> list[Range | None]:
    """Return the range of densities, or its points; None if it is left to elements."""
    if part.density_g_cm3 is None:
        return [None]
    return [*grid_points(part.density_g_cm3, part.density_step_g_cm3)]


def _mass_g(symbols: Sequence[str]) -> float:
    return sum(
        count * float(atomic_masses[atomic_numbers[symbol]] * amu_kg * 1000)
        for symbol, count in Counter(symbols).items()
    )


def _densities_g_cm3(symbols: Sequence[str]) -> Range:
    density = _mass_g(symbols) / (volume_A3(symbols) * 1e-24)
    return DENSITY_SPREAD[0] * density, DENSITY_SPREAD[1] * density


def _closest_A(
    given: Distances | None,
    elements: Sequence[str],
    kinds: NDArray[np.int64],
    length_A: float,
) -> NDArray[np.float64]:
    """Return the shortest distance of each pair of elements, of shape ``(n, n)``.

    ``kinds``: index of the element of each atom.
    """
    number = len(elements)
    if given is not None and not isinstance(given, Mapping):
        return np.full((number, number), given)
    closest_A = CLOSEST * bond_lengths_A(elements)
    filled = np.pi / 6 * (np.diag(closest_A)[kinds] ** 3).sum() / length_A**3
    closest_A *= min(1.0, (FILLED / filled) ** (1 / 3))
    for pair, distance_A in (given or {}).items():
        first, second = pair.split("-")
        if {first, second} <= set(elements):
            i, j = elements.index(first), elements.index(second)
            closest_A[i, j] = closest_A[j, i] = distance_A
    return closest_A


def _placed(
    closest_A: NDArray[np.float64],
    length_A: float | NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.float64] | None:
    """Return positions in a box, found one after the other; None if there is no room.

    ``closest_A``: shortest distance of each pair of atoms, of shape ``(n, n)``.
    ``length_A``: of the side of a cube, or of the three sides.
    """
    count = len(closest_A)
    positions = np.empty((count, 3))
    placed = 0
    for _ in range(count * MAX_TRIALS_PER_ATOM):
        trial = rng.uniform(0, length_A, size=3)
        apart = np.abs(positions[:placed] - trial)
        apart = np.minimum(apart, length_A - apart)  # to the nearest image
        distances = np.sqrt((apart**2).sum(axis=1))
        if (distances >= closest_A[placed, :placed]).all():
            positions[placed] = trial
            placed += 1
            if placed == count:
                return positions
    return None


def _range_text(values: NDArray[np.float64]) -> str:
    low, high = values.min(), values.max()
    return f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
