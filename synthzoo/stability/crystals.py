"""Known crystals by any potential: lattice constants, stiffness, and phonons."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms, units
from ase.phonons import Phonons

from synthzoo.evaluation.crystal_properties import (
    KnownCrystal,
    bulk_modulus_GPa,
    from_card,
    known_crystals,
    lattice_constants_A,
)
from synthzoo.models.place import ANYWHERE, Place
from synthzoo.potentials import Model, load_potential
from synthzoo.zoo.registry import card_of

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

    from synthzoo.zoo.card_records import ReferenceValues

SUPERCELL_A = 7.0
"""Least length of the cell in which atoms are displaced, along each vector."""
DISPLACEMENT_A = 0.03
"""Far enough that rounding in float32 does not make a mode imaginary."""
IMAGINARY_THZ = 0.5
"""A squared frequency below minus the square of this is an unstable mode."""

THZ_PER_EV = units._e / units._hplanck * 1e-12


@dataclass(frozen=True, kw_only=True)
class CrystalCheck:
    """One crystal as a potential sees it.

    Attributes
    ----------
    name
        Of the crystal, such as ``diamond``.
    a_A, c_A
        Lattice constants of least energy; None if there is no minimum near those of
        experiments, or the crystal has no such constant.
    bulk_modulus_GPa
        Of crystals with one lattice constant.
    lowest_THz, highest_THz
        Frequencies at the wave vectors that fit into the supercell; negative ones are
        imaginary: the crystal falls apart along this mode.
    reference
        Whose values the next ones are, if there are any.
    reference_a_A, reference_bulk_modulus_GPa
        What they are.
    """

    name: str
    a_A: float | None
    c_A: float | None
    bulk_modulus_GPa: float | None
    lowest_THz: float | None
    highest_THz: float | None
    reference: str | None
    reference_a_A: float | None
    reference_bulk_modulus_GPa: float | None

    @property
    def sound(self) -> bool:
        """Whether it has a minimum of the energy and no imaginary mode there."""
        return self.lowest_THz is not None and self.lowest_THz > -IMAGINARY_THZ


def check_crystals(
    calculator: Calculator,
    elements: Sequence[str],
    reference: ReferenceValues | None = None,
) -> list[CrystalCheck]:
    """Measure crystals of some elements with a potential.

    For carbon these are diamond, graphene and graphite. For another element it is the
    crystal that ASE lists, if symmetry determines the positions of its atoms. The
    potential needs no stress.

    Parameters
    ----------
    calculator
        Potential.
    elements
        Chemical symbols that it knows.
    reference
        Values to compare with, from the card of the model or of its start.

    Examples
    --------
    >>> from ase.calculators.emt import EMT
    >>> (copper,) = check_crystals(EMT(), ["Cu"])
    >>> round(copper.a_A, 2), round(copper.bulk_modulus_GPa)
    (3.59, 134)
    """
    return [
        _check(crystal, calculator, reference)
        for element in elements
        for crystal in known_crystals(element)
    ]


def check_model(
    model: Model, elements: Sequence[str], *, place: Place = ANYWHERE
) -> list[CrystalCheck]:
    """Return how a model sees the crystals of some elements, beside its teacher."""
    potential = load_potential(model, place=place)
    card = None if potential.config is None else card_of(potential.config)
    reference = None if card is None else card.reference_values
    return check_crystals(potential.calculator, elements, reference)


def _check(
    crystal: KnownCrystal, calculator: Calculator, reference: ReferenceValues | None
) -> CrystalCheck:
    lengths_A = lattice_constants_A(crystal, calculator)
    modulus = lowest_THz = highest_THz = None
    if lengths_A is not None:
        lowest_THz, highest_THz = _frequencies_THz(
            crystal.build(*lengths_A), calculator
        )
        if crystal.cubic:
            modulus = bulk_modulus_GPa(crystal, lengths_A[0], calculator)
    known = reference.crystals.get(crystal.name) if reference else None
    teacher = reference and known and from_card(known, source=reference.teacher)
    return CrystalCheck(
        name=crystal.name,
        a_A=lengths_A[0] if lengths_A else None,
        c_A=lengths_A[1] if lengths_A and len(lengths_A) > 1 else None,
        bulk_modulus_GPa=modulus,
        lowest_THz=lowest_THz,
        highest_THz=highest_THz,
        reference=teacher.source if teacher else None,
        reference_a_A=teacher.a_A if teacher else None,
        reference_bulk_modulus_GPa=teacher.bulk_modulus_GPa if teacher else None,
    )


def _frequencies_THz(atoms: Atoms, calculator: Calculator) -> tuple[float, float]:
    """Return the lowest and highest frequency of the modes that fit a supercell.

    Between its wave vectors a small supercell knows nothing: no band is interpolated.
    """
    repeats = np.ceil(SUPERCELL_A / atoms.cell.lengths()).astype(int)
    with tempfile.TemporaryDirectory() as folder:
        phonons = Phonons(
            atoms,
            calculator,
            supercell=tuple(repeats.tolist()),
            delta=DISPLACEMENT_A,
            name=str(Path(folder) / "phonons"),
        )
        phonons.run()
        phonons.read(acoustic=True)
    waves = np.indices(repeats).reshape(3, -1).T / repeats
    found = phonons.band_structure(waves, verbose=False) * THZ_PER_EV
    return float(found.min()), float(found.max())
