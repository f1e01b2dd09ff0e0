"""How long bonds and how dense materials are, as far as the elements alone tell."""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np
from ase.build import bulk
from ase.data import atomic_numbers, covalent_radii, reference_states
from ase.data.vdw_alvarez import vdw_radii

from synthzoo.data.sound import min_distance_A

if TYPE_CHECKING:
    from numpy.typing import NDArray

NONMETALS = {
    *("H", "He", "C", "N", "O", "F", "Ne", "P", "S", "Cl", "Ar"),
    *("As", "Se", "Br", "Kr", "Sb", "Te", "I", "Xe"),
}
"""They make the anions of compounds."""
METALLOIDS = {"B", "Si", "Ge"}
"""In compounds they are the cations of oxides, but their bonds are covalent."""

CRYSTALS = {"fcc", "bcc", "hcp", "diamond", "bct", "sc", "rhombohedral"}
"""Crystals of elements that ASE builds with all of their atoms."""
SEARCHED_A = 6.0
"""No element has longer bonds."""

ANIONS_FILL = 0.74
"""Share of space that close-packed spheres fill; anions are nearly close-packed."""
CATION_SHARE = 0.5
"""Of a cation's covalent sphere that comes on top, and of hydrogen's own sphere."""


@functools.cache
def _crystal(element: str) -> tuple[float, float] | None:
    """Return bond length (Å) and volume per atom (Å³) of an element, where known."""
    state = reference_states[atomic_numbers[element]]
    if state is None or state["symmetry"] not in CRYSTALS:
        return None
    try:
        atoms = bulk(element)
    except ValueError:  # ASE knows the lattice, but not the atoms in it
        return None
    bond_A = min_distance_A(atoms, cutoff_A=SEARCHED_A)
    return bond_A, atoms.get_volume() / len(atoms)


def are_metals(elements: Collection[str]) -> bool:
    """Return whether all elements are metals, which may share the sites of a crystal.

    Examples
    --------
    >>> are_metals({"Mo", "W"}), are_metals({"In", "P"})
    (True, False)
    """
    return not {*elements} & (NONMETALS | METALLOIDS)


@functools.cache
def bond_length_A(first: str, second: str) -> float:
    """Return the length of the bond between two elements.

    Between metals, and between atoms of one element, it is the mean distance of
    neighbours in their crystals. Otherwise it is the sum of the covalent radii.

    Examples
    --------
    >>> round(bond_length_A("W", "W"), 2), round(bond_length_A("In", "P"), 2)
    (2.74, 2.49)
    """
    crystals = [_crystal(element) for element in (first, second)]
    if (are_metals({first, second}) or first == second) and all(crystals):
        return sum(crystal[0] for crystal in crystals if crystal) / 2
    numbers = [atomic_numbers[element] for element in (first, second)]
    return float(covalent_radii[numbers].sum())


def bond_lengths_A(elements: Sequence[str]) -> NDArray[np.float64]:
    """Return the bond lengths of all pairs, of shape ``(n_elements, n_elements)``."""
    return np.array([[bond_length_A(a, b) for b in elements] for a in elements])


def volume_A3(symbols: Sequence[str]) -> float:
    """Return roughly what volume so many atoms of a solid take.

    If the crystal of each element is known, the volumes of these add up (Vegard's law,
    in the form of Zen). In other compounds, anions are spheres of their van der Waals
    radius that fill 74 % of space; half of the covalent spheres of the cations, and
    half of the spheres of hydrogen, come on top.

    Examples
    --------
    >>> round(volume_A3(["Na", "Cl"]), 1)  # 44.8 in rock salt
    43.7
    """
    crystals = [_crystal(element) for element in symbols]
    if all(crystals):
        return float(sum(crystal[1] for crystal in crystals if crystal))
    return float(sum(_volume_in_compound_A3(element) for element in symbols))


def _volume_in_compound_A3(element: str) -> float:
    number = atomic_numbers[element]
    if element in NONMETALS:
        share = CATION_SHARE if element == "H" else 1.0
        return float(share * _sphere_A3(vdw_radii[number]) / ANIONS_FILL)
    return CATION_SHARE * _sphere_A3(covalent_radii[number])


def _sphere_A3(radius_A: float) -> float:
    return 4 / 3 * math.pi * radius_A**3
