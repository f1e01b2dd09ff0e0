"""Known crystals by any potential: lattice constants, stiffness, and phonons."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms, units
from ase.build import bulk, graphene
from ase.data import atomic_numbers, reference_states
from ase.lattice.hexagonal import Graphite
from ase.phonons import Phonons
from scipy.optimize import minimize_scalar

from synthzoo.crystals import fit_curve
from synthzoo.errors import UnknownModelError
from synthzoo.registry import find_card
from synthzoo.stability.potentials import Model, load_potential

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

    from synthzoo.cards import ReferenceValues

REACH = (0.85, 1.18)
"""Lattice constants are looked for in this range around those of experiments."""
SCAN_POINTS = 12
TOLERANCE_A = 1e-4
CURVE_STRETCH = (0.97, 1.03)
CURVE_POINTS = 9

VACUUM_A = 8.0
SUPERCELL_A = 7.0
"""Least length of the cell in which atoms are displaced, along each vector."""
DISPLACEMENT_A = 0.03
"""Far enough that rounding in float32 does not make a mode imaginary."""
IMAGINARY_THZ = 0.5
"""A squared frequency below minus the square of this is an unstable mode."""

THZ_PER_EV = units._e / units._hplanck * 1e-12
CUBIC = ("fcc", "bcc", "diamond", "sc")


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


@dataclass(frozen=True, kw_only=True)
class _Prototype:
    """A crystal whose atoms sit where symmetry puts them.

    Attributes
    ----------
    name
        Of the crystal.
    build
        Primitive cell from lattice constants in Å.
    start_A
        These constants in experiments: a, and c if there are two.
    three_d
        Whether it fills space.
    """

    name: str
    build: Callable[..., Atoms]
    start_A: tuple[float, ...]
    three_d: bool = True


def check_crystals(
    calculator: Calculator,
    elements: Sequence[str],
    reference: ReferenceValues | None = None,
) -> list[CrystalCheck]:
    """Return how a potential sees the crystals of some elements.

    Carbon: diamond, graphene and graphite. Other elements: the crystal that ASE knows
    them by, if its atoms sit where symmetry puts them. Only energies and forces are
    needed, no stress.

    Parameters
    ----------
    calculator
        Potential.
    elements
        Chemical symbols that it knows.
    reference
        Values to compare with, from the card of the model or of its start.
    """
    return [
        _check(prototype, calculator, reference)
        for element in elements
        for prototype in _prototypes(element)
    ]


def check_model(
    model: Model, elements: Sequence[str], *, device: str = "auto"
) -> list[CrystalCheck]:
    """Return how a model sees the crystals of some elements, beside its teacher.

    Parameters
    ----------
    model
        As for `synthzoo.check_stability`.
    elements
        Chemical symbols that it knows.
    device
        Where a model of the zoo computes.

    Raises
    ------
    SynthzooError
        If the model cannot be loaded.
    """
    calculator = load_potential(model, device=device).calculator
    return check_crystals(calculator, elements, _reference(model))


def _reference(model: Model) -> ReferenceValues | None:
    try:
        return find_card(str(model)).reference_values
    except UnknownModelError:
        return None  # a folder, a teacher or a calculator has no card


def _prototypes(element: str) -> Iterator[_Prototype]:
    if element == "C":
        yield _Prototype(name="diamond", build=_build("C", "diamond"), start_A=(3.57,))
        yield _Prototype(
            name="graphene",
            build=_sheet,
            start_A=(2.46,),
            three_d=False,
        )
        yield _Prototype(name="graphite", build=_graphite, start_A=(2.46, 6.70))
        return
    known: dict[str, Any] = reference_states[atomic_numbers[element]] or {}
    shape = known.get("symmetry")
    if shape in CUBIC:
        yield _Prototype(
            name=f"{shape} {element}",
            build=_build(element, shape),
            start_A=(known["a"],),
        )
    elif shape == "hcp":
        yield _Prototype(
            name=f"hcp {element}",
            build=lambda a, c: bulk(element, "hcp", a=a, c=c),
            start_A=(known["a"], known["a"] * known["c/a"]),
        )


def _build(element: str, shape: str) -> Callable[[float], Atoms]:
    return lambda a: bulk(element, shape, a=a)


def _sheet(a_A: float) -> Atoms:
    atoms: Atoms = graphene(a=a_A, vacuum=VACUUM_A)
    atoms.pbc = True  # some calculators know no mixed cells
    return atoms


def _graphite(a_A: float, c_A: float) -> Atoms:
    atoms: Atoms = Graphite("C", latticeconstant={"a": a_A, "c": c_A}, pbc=True)
    return atoms


def _check(
    prototype: _Prototype, calculator: Calculator, reference: ReferenceValues | None
) -> CrystalCheck:
    lengths = _lattice_constants(prototype, calculator)
    modulus = lowest_THz = highest_THz = None
    if lengths is not None:
        lowest_THz, highest_THz = _frequencies_THz(
            prototype.build(*lengths), calculator
        )
        if prototype.three_d and len(lengths) == 1:
            modulus = _bulk_modulus_GPa(prototype, lengths[0], calculator)
    known = reference.crystals.get(prototype.name) if reference else None
    curve = (
        fit_curve(known.volumes_A3_per_atom, known.energies_eV_per_atom)
        if known
        else None
    )
    return CrystalCheck(
        name=prototype.name,
        a_A=lengths[0] if lengths else None,
        c_A=lengths[1] if lengths and len(lengths) > 1 else None,
        bulk_modulus_GPa=modulus,
        lowest_THz=lowest_THz,
        highest_THz=highest_THz,
        reference=reference.teacher if reference and known else None,
        reference_a_A=known.a_A if known else None,
        reference_bulk_modulus_GPa=curve.bulk_modulus_GPa if curve else None,
    )


def _lattice_constants(
    prototype: _Prototype, calculator: Calculator
) -> tuple[float, ...] | None:
    """Return the constants of least energy, one after the other, twice if several."""
    lengths = list(prototype.start_A)
    places = list(range(len(lengths)))
    for place in places * len(places):

        def energy_eV(value: float, place: int = place) -> float:
            tried = [*lengths[:place], value, *lengths[place + 1 :]]
            return _energy_eV(prototype.build(*tried), calculator)

        found = _minimum(energy_eV, prototype.start_A[place])
        if found is None:
            return None
        lengths[place] = found
    return tuple(lengths)


def _minimum(energy_eV: Callable[[float], float], start_A: float) -> float | None:
    """Return where the energy is least, if that is not at the end of the range."""
    tried = np.linspace(*REACH, SCAN_POINTS) * start_A
    best = int(np.argmin([energy_eV(value) for value in tried]))
    if best in (0, len(tried) - 1):
        return None
    found = minimize_scalar(
        energy_eV,
        bounds=(tried[best - 1], tried[best + 1]),
        method="bounded",
        options={"xatol": TOLERANCE_A},
    )
    return float(found.x)


def _energy_eV(atoms: Atoms, calculator: Calculator) -> float:
    atoms.calc = calculator
    return float(atoms.get_potential_energy())


def _bulk_modulus_GPa(
    prototype: _Prototype, a_A: float, calculator: Calculator
) -> float | None:
    cells = [
        prototype.build(a_A * stretch)
        for stretch in np.linspace(*CURVE_STRETCH, CURVE_POINTS)
    ]
    return fit_curve(
        [atoms.get_volume() / len(atoms) for atoms in cells],
        [_energy_eV(atoms, calculator) / len(atoms) for atoms in cells],
    ).bulk_modulus_GPa


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
