"""Crystals by several potentials: lattice constants and elasticity.

    python benchmarks/crystals.py motaw-nep-2k nep:UNEP-v1_NEP4.txt --elements Mo Ta W
    python benchmarks/crystals.py inp-sevennet-1k sevennet:7net-0 \
        --compounds InP:zincblende:5.87

The crystals of elements are those that ASE knows them by. Compounds are given with a
cubic structure and a lattice constant in Å at which the search begins. The known
failures on the cards of metals and compounds are taken from the table.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from synthzoo.evaluation.crystal_properties import (
    bulk_crystal,
    known_crystals,
    measure_crystal,
)
from synthzoo.potentials import load_potential
from synthzoo.reports.document import markdown_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase.calculators.calculator import Calculator

    from synthzoo.evaluation.crystal_properties import CrystalProperties, KnownCrystal


def compound(text: str) -> KnownCrystal:
    """Return a crystal from its formula, structure and lattice constant in Å."""
    formula, shape, start_A = text.split(":")
    return bulk_crystal(f"{shape} {formula}", formula, shape, float(start_A))


def crystals_of(elements: Sequence[str]) -> list[KnownCrystal]:
    """Return the crystals that some elements are known for."""
    return [crystal for element in elements for crystal in known_crystals(element)]


def measure(
    calculator: Calculator, crystals: Sequence[KnownCrystal]
) -> dict[str, float]:
    """Return each quantity by its name, which holds its unit."""
    return {
        f"{crystal.name}: {quantity}": value
        for crystal in crystals
        for quantity, value in _quantities(
            measure_crystal(crystal, calculator, source="")
        ).items()
    }


def _quantities(found: CrystalProperties) -> dict[str, float]:
    """Return what a crystal has of the quantities."""
    known = {
        "lattice constant a (Å)": found.a_A,
        "lattice constant c (Å)": found.c_A,
        "bulk modulus (GPa)": found.bulk_modulus_GPa,
        "C11 (GPa)": found.c11_GPa,
        "C12 (GPa)": found.c12_GPa,
        "C44 (GPa)": found.c44_GPa,
    }
    if found.c11_GPa is not None and found.c12_GPa is not None:
        shear_GPa = (found.c11_GPa - found.c12_GPa) / 2
        known["shear modulus (C11 - C12)/2 (GPa)"] = shear_GPa
    return {name: value for name, value in known.items() if value is not None}


def main() -> None:
    """Measure with each potential and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("potentials", nargs="+")
    parser.add_argument("--elements", nargs="+", default=[])
    parser.add_argument("--compounds", nargs="+", type=compound, default=[])
    options = parser.parse_args()
    crystals = [*crystals_of(options.elements), *options.compounds]
    found = [
        measure(load_potential(name).calculator, crystals)
        for name in options.potentials
    ]
    rows = [
        [quantity, *(f"{each[quantity]:.4g}" for each in found)]
        for quantity in found[0]
    ]
    header = ["", *(Path(name).name for name in options.potentials)]
    print(markdown_table(header, rows))  # noqa: T201


if __name__ == "__main__":
    main()
