"""Crystals that elements are known for, and their properties by any potential."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.build import bulk, graphene
from ase.calculators.calculator import PropertyNotImplementedError
from ase.data import atomic_numbers, reference_states
from ase.lattice.hexagonal import Graphite
from scipy.optimize import minimize_scalar

from synthzoo.data import unconstrained
from synthzoo.evaluation.crystals import elastic_constants_GPa, fit_curve

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator

    from synthzoo.zoo.card_records import Crystal

REACH = (0.85, 1.18)
"""Lattice constants are looked for in this range around those of experiments."""
SCAN_POINTS = 12
TOLERANCE_A = 1e-4
CURVE_STRETCH = (0.97, 1.03)
CURVE_POINTS = 9

VACUUM_A = 8.0
CUBIC = ("fcc", "bcc", "diamond", "sc", "zincblende", "rocksalt", "cesiumchloride")


@dataclass(frozen=True, kw_only=True)
class CrystalProperties:
    """Properties of a crystal; None for what it does not have or nobody has computed.

    ``a_A``, ``c_A``: lattice constants of least energy, near those of experiments.
    ``bulk_modulus_GPa``: of crystals with one lattice constant.
    """

    source: str
    a_A: float | None = None
    c_A: float | None = None
    bulk_modulus_GPa: float | None = None
    c11_GPa: float | None = None
    c12_GPa: float | None = None
    c44_GPa: float | None = None


@dataclass(frozen=True, kw_only=True)
class KnownCrystal:
    """A crystal whose atoms sit where symmetry puts them.

    ``name``: of the crystal, such as ``diamond``.
    ``build``: primitive cell from lattice constants in Å.
    ``start_A``: these constants in experiments: a, and c if there are two.
    ``shape``: lattice: ``diamond``, ``fcc``, ``hcp`` …; ``sheet`` for one layer.
    """

    name: str
    build: Callable[..., Atoms]
    start_A: tuple[float, ...]
    shape: str

    @property
    def cubic(self) -> bool:
        """Whether one lattice constant says all."""
        return self.shape in CUBIC


EXPERIMENTS = {
    "diamond": CrystalProperties(
        source="experiment",
        a_A=3.567,
        bulk_modulus_GPa=442,
        c11_GPa=1079,
        c12_GPa=124,
        c44_GPa=578,
    ),
    "graphene": CrystalProperties(source="experiment", a_A=2.461),
    "diamond Si": CrystalProperties(
        source="experiment",
        a_A=5.431,
        bulk_modulus_GPa=98,
        c11_GPa=166,
        c12_GPa=64,
        c44_GPa=80,
    ),
}
"""Measured at room temperature; graphene as it is in graphite."""

EXPERIMENT_DOIS = {
    "diamond": "10.1063/1.1661636",
    "graphene": "10.1038/258136a0",
    "diamond Si": "10.1063/1.1702809",
}
"""Where they are reported."""


def known_crystals(element: str) -> Iterator[KnownCrystal]:
    """Yield the crystals that an element is known for.

    Yields ``crystal``: diamond, graphene and graphite for carbon; for other elements
    the crystal that ASE knows them by, if its atoms sit where symmetry puts them.
    """
    if element == "C":
        yield bulk_crystal("diamond", "C", "diamond", 3.57)
        yield KnownCrystal(
            name="graphene", build=_sheet, start_A=(2.46,), shape="sheet"
        )
        yield KnownCrystal(
            name="graphite", build=_graphite, start_A=(2.46, 6.70), shape="graphite"
        )
        return
    known: dict[str, Any] = reference_states[atomic_numbers[element]] or {}
    shape = known.get("symmetry")
    if shape in CUBIC:
        yield bulk_crystal(f"{shape} {element}", element, shape, known["a"])
    elif shape == "hcp":
        yield KnownCrystal(
            name=f"hcp {element}",
            build=lambda a, c: bulk(element, "hcp", a=a, c=c),
            start_A=(known["a"], known["a"] * known["c/a"]),
            shape=shape,
        )


def bulk_crystal(name: str, formula: str, shape: str, start_A: float) -> KnownCrystal:
    """Return a cubic crystal that ASE builds.

    ``shape``: such as ``fcc`` or ``zincblende``.
    """
    return KnownCrystal(
        name=name,
        build=lambda a: bulk(formula, shape, a=a),
        start_A=(start_A,),
        shape=shape,
    )


def _sheet(a_A: float) -> Atoms:
    atoms: Atoms = graphene(a=a_A, vacuum=VACUUM_A)
    atoms.pbc = True  # some calculators know no mixed cells
    return atoms


def _graphite(a_A: float, c_A: float) -> Atoms:
    atoms: Atoms = Graphite("C", latticeconstant={"a": a_A, "c": c_A}, pbc=True)
    return atoms


def measure_crystal(
    crystal: KnownCrystal, calculator: Calculator, *, source: str
) -> CrystalProperties:
    """Return the properties of a crystal by a potential.

    ``calculator``: potential. Elastic constants need its stress, the others energies
    only.
    """
    lengths_A = lattice_constants_A(crystal, calculator)
    if lengths_A is None:
        return CrystalProperties(source=source)
    if not crystal.cubic:
        return CrystalProperties(
            source=source,
            a_A=lengths_A[0],
            c_A=lengths_A[1] if len(lengths_A) > 1 else None,
        )
    return CrystalProperties(
        source=source,
        a_A=lengths_A[0],
        bulk_modulus_GPa=bulk_modulus_GPa(crystal, lengths_A[0], calculator),
        **_cubic_constants_GPa(crystal.build(*lengths_A), calculator),
    )


def _cubic_constants_GPa(atoms: Atoms, calculator: Calculator) -> dict[str, float]:
    try:
        constants = elastic_constants_GPa(atoms, calculator)
    except (PropertyNotImplementedError, NotImplementedError):
        return {}
    return {
        "c11_GPa": float(constants.diagonal()[:3].mean()),
        "c12_GPa": float(constants[[0, 0, 1], [1, 2, 2]].mean()),
        "c44_GPa": float(constants.diagonal()[3:].mean()),
    }


def from_card(crystal: Crystal, *, source: str) -> CrystalProperties:
    """Return the properties of a crystal that a card states."""
    curve = fit_curve(crystal.volumes_A3_per_atom, crystal.energies_eV_per_atom)
    return CrystalProperties(
        source=source,
        a_A=crystal.a_A,
        bulk_modulus_GPa=curve.bulk_modulus_GPa,
        c11_GPa=crystal.c11_GPa,
        c12_GPa=crystal.c12_GPa,
        c44_GPa=crystal.c44_GPa,
    )


def lattice_constants_A(
    crystal: KnownCrystal, calculator: Calculator
) -> tuple[float, ...] | None:
    """Return the lattice constants of least energy near those of experiments.

    Several constants are found one after the other, twice.

    Returns ``lengths``: in Å; None if there is no minimum in the range that is
    searched.
    """
    lengths = list(crystal.start_A)
    places = list(range(len(lengths)))
    for place in places * len(places):

        def energy(value: float, place: int = place) -> float:
            tried = [*lengths[:place], value, *lengths[place + 1 :]]
            return energy_eV(crystal.build(*tried), calculator)

        length = _minimum(energy, crystal.start_A[place])
        if length is None:
            return None
        lengths[place] = length
    return tuple(lengths)


def _minimum(energy: Callable[[float], float], start_A: float) -> float | None:
    """Return where the energy is least, if that is not at the end of the range."""
    tried = np.linspace(*REACH, SCAN_POINTS) * start_A
    best = int(np.argmin([energy(value) for value in tried]))
    if best in (0, len(tried) - 1):
        return None
    result = minimize_scalar(
        energy,
        bounds=(tried[best - 1], tried[best + 1]),
        method="bounded",
        options={"xatol": TOLERANCE_A},
    )
    return float(result.x)


def energy_eV(atoms: Atoms, calculator: Calculator) -> float:
    """Return the energy of a structure, which keeps the calculator."""
    atoms.calc = calculator
    return unconstrained.energy_eV(atoms)


def bulk_modulus_GPa(
    crystal: KnownCrystal, a_A: float, calculator: Calculator
) -> float | None:
    """Return the bulk modulus of a crystal with one lattice constant."""
    cells = [
        crystal.build(a_A * stretch)
        for stretch in np.linspace(*CURVE_STRETCH, CURVE_POINTS)
    ]
    return fit_curve(
        [atoms.get_volume() / len(atoms) for atoms in cells],
        [energy_eV(atoms, calculator) / len(atoms) for atoms in cells],
    ).bulk_modulus_GPa
