"""Which element each atom type of LAMMPS is."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from ase.data import atomic_masses, atomic_numbers, chemical_symbols

from synthzoo.errors import InputError

NEAR_MASS = 0.15
"""Unified atomic masses within which a mass may be that of an element."""

SAME_MASS = 0.02
"""Within which it is, although another element is near, too."""


class MassWarning(UserWarning):
    """An atom type is said to be one element, and has the mass of another one."""


def check_symbols(symbols: Sequence[str]) -> tuple[str, ...]:
    """Return chemical symbols; refuse what is none."""
    if unknown := [name for name in symbols if name not in atomic_numbers]:
        raise InputError(
            f"{', '.join(unknown)}: no chemical symbols. Give one for each atom type, "
            "in order, such as C,Si."
        )
    return tuple(symbols)


def element_of_mass(mass: float) -> str | None:
    """Return the only element of about this mass; None if there is none, or several.

    Examples
    --------
    >>> element_of_mass(12.0), element_of_mass(58.933), element_of_mass(58.8)
    ('C', 'Co', None)
    """
    near = sorted(
        (abs(known - mass), symbol)
        for symbol, known in zip(chemical_symbols[1:], atomic_masses[1:], strict=True)
        if abs(known - mass) < NEAR_MASS
    )
    if not near or (len(near) > 1 and near[0][0] > SAME_MASS):
        return None
    return near[0][1]


def elements_of_types(
    masses: Sequence[float | None], named: Sequence[str | None]
) -> tuple[str | None, ...]:
    """Return the element of each atom type; None where nothing says which it is.

    ``masses``: of the types, as far as they are known.
    ``named``: elements that names give to the types. They count more than masses, and
    a warning says so where the masses are those of other elements.
    """
    by_mass = [None if mass is None else element_of_mass(mass) for mass in masses]
    for number, (mass, found, name) in enumerate(
        zip(masses, by_mass, named, strict=True), start=1
    ):
        if name and found and name != found:
            warnings.warn(
                f"Atom type {number} is {name}, but its mass of {mass:g} is that of "
                f"{found}: is the order of the elements right?",
                MassWarning,
                stacklevel=2,
            )
    return tuple(name or found for name, found in zip(named, by_mass, strict=True))


def type_without_element(number: int, mass: float | None) -> InputError:
    """Return the error for atoms of a type that has no element."""
    weight = "no mass" if mass is None else f"a mass of {mass:g}"
    return InputError(
        f"Atom type {number} has {weight}, which names no element. Say which elements "
        "the types are: `--elements C,Si`, elements=(...) in Python, `labelmap atom`, "
        "or a `mass` in g/mol."
    )
