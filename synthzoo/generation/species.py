"""Which elements structures are made of, and in which shares."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from ase.formula import Formula

from synthzoo.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.recipes.schema import Range

TRIALS = 10_000
"""Draws of shares, after which their ranges count as impossible."""
ROUNDING = 1e-6
LONGEST = 100
"""Characters of a formula."""
MOST_ATOMS = 1000
"""Of a formula."""

Composition = str | Mapping[str, "Range"]
"""A formula, or the range of each element's share."""


@dataclass(frozen=True)
class Species:
    """The elements of a recipe; draws which of them are on which site.

    Nothing is drawn for a single element.
    ``compositions``: each structure takes one of them. Without any, it takes some of
    the elements, from one to all of them equally often, in shares that are drawn
    uniformly.
    """

    elements: tuple[str, ...]
    compositions: tuple[Composition, ...] = ()

    def __post_init__(self) -> None:
        """Refuse compositions that cannot be."""
        for composition in self.compositions:
            self._check(composition)

    def draw(self, count: int, rng: np.random.Generator) -> list[str]:
        """Return symbols of about so many atoms, in random order.

        A formula is kept: the number is rounded to a multiple of its atoms.
        """
        if len(self.elements) == 1:
            return [self.elements[0]] * count
        composition = self._composition(rng)
        if isinstance(composition, str):
            unit = list(Formula(composition))
            symbols = unit * max(1, round(count / len(unit)))
            return [symbols[index] for index in rng.permutation(len(symbols))]
        return self._on_sites(composition, count, rng)

    def on_sites(self, count: int, rng: np.random.Generator) -> list[str]:
        """Return symbols of exactly so many sites, in random order."""
        if len(self.elements) == 1:
            return [self.elements[0]] * count
        return self._on_sites(self._composition(rng), count, rng)

    def on_sublattices(
        self, sizes: Sequence[int], rng: np.random.Generator
    ) -> list[str]:
        """Return the element of each sublattice of an ordered crystal, all different.

        A formula with the stoichiometry of the crystal decides; of sublattices of equal
        size, the first takes the largest atom. Without such a formula, any elements
        take any sublattices.

        ``sizes``: number of sites on each sublattice, at most as many as elements.
        """
        counts = [
            Formula(composition).count()
            for composition in self.compositions
            if isinstance(composition, str)
        ]
        fitting = [each for each in counts if _ratios(each.values()) == _ratios(sizes)]
        if not fitting:
            chosen = rng.permutation(len(self.elements))[: len(sizes)]
            return [self.elements[index] for index in chosen]
        count = fitting[int(rng.integers(len(fitting)))]
        symbols = sorted(count, key=lambda symbol: (count[symbol], -_radius_A(symbol)))
        order = np.argsort(sizes, kind="stable")
        placed = dict(zip(order.tolist(), symbols, strict=True))
        return [placed[index] for index in range(len(sizes))]

    def _composition(self, rng: np.random.Generator) -> str | NDArray[np.float64]:
        """Return a formula, or a share of each element."""
        if not self.compositions:
            return self._any_shares(rng)
        index = int(rng.integers(len(self.compositions)))
        composition = self.compositions[index]
        if isinstance(composition, str):
            return composition
        return self._shares_within(composition, rng)

    def _any_shares(self, rng: np.random.Generator) -> NDArray[np.float64]:
        number = len(self.elements)
        present = rng.permutation(number)[: int(rng.integers(1, number + 1))]
        shares = np.zeros(number)
        shares[present] = rng.dirichlet(np.ones(len(present)))
        return shares

    def _shares_within(
        self, ranges: Mapping[str, Range], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Return shares that are uniform on the part of the simplex within ranges."""
        low, high = np.transpose([ranges.get(each, (0, 0)) for each in self.elements])
        free = np.flatnonzero(high > low)
        for _ in range(TRIALS):
            shares: NDArray[np.float64] = low.astype(float)
            if len(free):
                rest = 1 - low.sum()
                shares[free] += rest * rng.dirichlet(np.ones(len(free)))
            if (shares <= high + ROUNDING).all() and abs(shares.sum() - 1) < ROUNDING:
                return shares
        raise InputError(
            f"The ranges of shares {dict(ranges)} leave no room to draw from; widen "
            "them, or give formulas."
        )

    def _on_sites(
        self,
        composition: str | NDArray[np.float64],
        count: int,
        rng: np.random.Generator,
    ) -> list[str]:
        if isinstance(composition, str):
            found = Formula(composition).count()
            composition = np.array([found.get(each, 0) for each in self.elements])
        symbols = np.repeat(self.elements, _rounded(composition, count))
        return [str(symbol) for symbol in rng.permutation(symbols)]

    def _check(self, composition: Composition) -> None:
        if isinstance(composition, str):
            self._check_known(_parsed(composition), composition)
            return
        if not composition:
            raise InputError("a composition names no element.")
        self._check_known(composition, "")
        low, high = np.sum(list(composition.values()), axis=0)
        if not low <= 1 + ROUNDING or not high >= 1 - ROUNDING:
            raise InputError(
                f"the shares {dict(composition)} cannot add up to 1: their lower ends "
                f"make {low:g}, their upper ends {high:g}."
            )

    def _check_known(self, named: Iterable[str], formula: str) -> None:
        if unknown := sorted(set(named) - set(self.elements)):
            raise InputError(
                f"a composition{formula and f', {formula},'} has {', '.join(unknown)}, "
                f"which is not among the elements {', '.join(self.elements)}."
            )


def _parsed(formula: str) -> dict[str, int]:
    if len(formula) > LONGEST:
        raise InputError(
            f"a formula has {len(formula)} characters; the limit is {LONGEST}."
        )
    try:
        count = Formula(formula).count()
    except ValueError as error:
        raise InputError(f"{formula!r} is no formula, such as SiO2.") from error
    if not 0 < sum(count.values()) <= MOST_ATOMS:
        raise InputError(
            f"the formula {formula} has {sum(count.values())} atoms; at least one and "
            f"at most {MOST_ATOMS} can be used."
        )
    return count


def _ratios(counts: Iterable[int]) -> list[int]:
    """Return numbers in their smallest whole ratio, in rising order."""
    ordered = sorted(counts)
    return [count // math.gcd(*ordered) for count in ordered]


def _rounded(shares: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Return whole numbers in these shares that add up, by largest remainders."""
    exact = count * shares / shares.sum()
    numbers: NDArray[np.int64] = np.floor(exact + ROUNDING).astype(np.int64)
    missing = count - int(numbers.sum())
    numbers[np.argsort(numbers - exact, kind="stable")[:missing]] += 1
    return numbers


def _radius_A(symbol: str) -> float:
    return float(covalent_radii[atomic_numbers[symbol]])
