"""Diamond and graphene by any potential: relaxed cells, energy–volume curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms, units
from ase.build import bulk, graphene
from ase.eos import EquationOfState
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from ase.stress import voigt_6_to_full_3x3_strain

from synthzoo.data import unconstrained
from synthzoo.errors import InputError
from synthzoo.potentials import Model, teacher_reference
from synthzoo.zoo.card_records import Crystal, ReferenceValues

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator
    from numpy.typing import NDArray

ELEMENT = "C"
ATOMS_PER_CELL = 8
"""In the conventional cell of diamond."""

MAX_FORCE_EV_A = 0.002
MAX_RELAX_STEPS = 100
FIT_POINTS = 4
DRAWN_POINTS = 200
CURVE_POINTS = 13
CURVE_STRETCH = (0.95, 1.06)
"""Of the lattice constant, where no volumes are given."""

VACUUM_A = 8.0
"""On each side of graphene."""

DISPLACEMENT_A = 0.03
"""Width of the random displacements that a relaxation has to take back."""

STRAIN = 0.005
"""Of the cells from which elastic constants are computed, to both sides."""


@dataclass(frozen=True, kw_only=True)
class Relaxation:
    """A crystal whose cell and positions were relaxed.

    Attributes
    ----------
    name
        Of the crystal.
    a_A
        Lattice constant.
    energy_eV_per_atom
        Relative to isolated atoms.
    steps
        Steps that it took.
    converged
        Whether all forces, also on the cell, ended below the limit.
    """

    name: str
    a_A: float
    energy_eV_per_atom: float
    steps: int
    converged: bool


@dataclass(frozen=True, kw_only=True)
class EnergyVolume:
    """Energies of diamond at several volumes.

    Attributes
    ----------
    volumes_A3_per_atom, energies_eV_per_atom
        Points on the curve.
    minimum_A3_per_atom, bulk_modulus_GPa
        From a fit through the points; None if it has no minimum among them.
    """

    volumes_A3_per_atom: tuple[float, ...]
    energies_eV_per_atom: tuple[float, ...]
    minimum_A3_per_atom: float | None
    bulk_modulus_GPa: float | None


def relax_crystals(
    calculator: Calculator, rng: np.random.Generator
) -> dict[str, tuple[Relaxation, Atoms]]:
    """Return diamond and graphene, relaxed from displaced atoms in a wrong cell.

    Graphene is periodic across its vacuum, too: some calculators know no mixed cells.
    """
    crystals = {
        "diamond": bulk(ELEMENT, "diamond", a=3.65, cubic=True),
        "graphene": graphene(a=2.40, vacuum=VACUUM_A),
    }
    found = {}
    for name, atoms in crystals.items():
        atoms.positions += rng.normal(scale=DISPLACEMENT_A, size=atoms.positions.shape)
        stretches = np.array(atoms.pbc)
        atoms.pbc = True
        atoms.calc = calculator
        found[name] = _relax(atoms, name, stretches), atoms
    return found


def _relax(atoms: Atoms, name: str, stretches: NDArray[np.bool_]) -> Relaxation:
    """Relax positions and cell in place, the cell in the given directions only."""
    x, y, z = stretches
    mask = [x, y, z, y and z, x and z, x and y]
    everything: Any = FrechetCellFilter(atoms, mask=mask)
    optimiser = BFGS(everything, logfile=None)
    try:
        converged = optimiser.run(fmax=MAX_FORCE_EV_A, steps=MAX_RELAX_STEPS)
    except InputError as error:
        raise InputError(
            f"This model does not hold {name} together: it collapsed while it was "
            f"relaxed ({error})"
        ) from error
    atoms.info["name"] = name
    return Relaxation(
        name=name,
        a_A=float(atoms.cell.lengths()[stretches].mean()),
        energy_eV_per_atom=unconstrained.energy_eV(atoms) / len(atoms),
        steps=optimiser.get_number_of_steps(),
        converged=bool(converged),
    )


def volumes_around(a_A: float) -> tuple[float, ...]:
    """Return evenly stretched volumes (Å³ per atom) around a lattice constant in Å."""
    stretch = np.linspace(*CURVE_STRETCH, CURVE_POINTS)
    return tuple((stretch * a_A) ** 3 / ATOMS_PER_CELL)


def diamond_curve(
    calculator: Calculator, volumes_A3_per_atom: Sequence[float]
) -> tuple[EnergyVolume, list[Atoms]]:
    """Return the energies of diamond at each volume, and the cells."""
    structures = []
    for volume in volumes_A3_per_atom:
        atoms = bulk(ELEMENT, "diamond", a=(ATOMS_PER_CELL * volume) ** (1 / 3))
        atoms.calc = calculator
        structures.append(atoms)
    energies = [unconstrained.energy_eV(atoms) / len(atoms) for atoms in structures]
    return fit_curve(volumes_A3_per_atom, energies), structures


def fit_curve(
    volumes_A3_per_atom: Sequence[float], energies_eV_per_atom: Sequence[float]
) -> EnergyVolume:
    """Return points on an energy–volume curve with its minimum and bulk modulus.

    The fit is a cubic polynomial in the inverse length, the equation of state of
    doi 10.1103/PhysRevB.67.026103.

    ``volumes_A3_per_atom``, ``energies_eV_per_atom``: points on the curve; too few are
    not fitted.

    Examples
    --------
    >>> volumes = np.linspace(5, 6.5, 9)
    >>> curve = fit_curve(volumes, (volumes - 5.7) ** 2)
    >>> round(curve.minimum_A3_per_atom, 2)
    5.7
    """
    volumes = tuple(map(float, volumes_A3_per_atom))
    energies = tuple(map(float, energies_eV_per_atom))
    minimum, modulus = _fit_minimum(volumes, energies)
    return EnergyVolume(
        volumes_A3_per_atom=volumes,
        energies_eV_per_atom=energies,
        minimum_A3_per_atom=minimum,
        bulk_modulus_GPa=modulus,
    )


def smooth_curve(
    volumes_A3_per_atom: Sequence[float], energies_eV_per_atom: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return many points of the fit of `fit_curve`, with or without a minimum.

    ``volumes_A3_per_atom``, ``energies_eV_per_atom``: points on the curve; too few are
    returned as they are.
    Returns ``volumes, energies``: for drawing, from the smallest volume to the largest.

    Examples
    --------
    >>> volumes, energies = smooth_curve([4, 5, 6, 7], [3, 1, 0, 1])
    >>> float(volumes[0]), float(volumes[-1]), round(float(energies[0]), 6)
    (4.0, 7.0, 3.0)
    """
    volumes = np.asarray(volumes_A3_per_atom, float)
    energies = np.asarray(energies_eV_per_atom, float)
    if len(volumes) < FIT_POINTS:
        return volumes, energies
    fit = np.polynomial.Polynomial.fit(volumes ** (-1 / 3), energies, 3)
    many = np.linspace(volumes.min(), volumes.max(), DRAWN_POINTS)
    return many, fit(many ** (-1 / 3))


def _fit_minimum(
    volumes: tuple[float, ...], energies: tuple[float, ...]
) -> tuple[float, float] | tuple[None, None]:
    """Return volume and bulk modulus (GPa) at the minimum, if there is one inside."""
    if len(volumes) < FIT_POINTS:
        return None, None
    try:
        minimum, _, modulus = EquationOfState(volumes, energies).fit(warn=False)
    except ValueError:  # ASE's word for a fit without a minimum
        return None, None
    if not min(volumes) < minimum < max(volumes):
        return None, None
    return float(minimum), float(modulus / units.GPa)


def elastic_constants_GPa(atoms: Atoms, calculator: Calculator) -> NDArray[np.float64]:
    """Return the elastic constants of a crystal, in Voigt order.

    Each constant is a central difference of the stress with the strain. The atoms relax
    in the strained cells, whose shape stays fixed ("relaxed-ion" constants).

    ``atoms``: crystal, periodic in three directions and relaxed: the constants are
    those at its cell. It is not changed.
    Returns ``constants``: symmetric matrix in GPa, of shape ``(6, 6)``.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> copper = elastic_constants_GPa(bulk("Cu", a=3.59), EMT())
    >>> [round(float(copper[i, j])) for i, j in ((0, 0), (0, 1), (3, 3))]
    [172, 115, 90]
    """
    stiffness = [
        _strained_stress(atoms, calculator, axis, STRAIN)
        - _strained_stress(atoms, calculator, axis, -STRAIN)
        for axis in range(6)
    ]
    constants = np.array(stiffness) / (2 * STRAIN) / units.GPa
    return (constants + constants.T) / 2


def _strained_stress(
    atoms: Atoms, calculator: Calculator, axis: int, strain: float
) -> NDArray[np.float64]:
    """Return the stress (eV/Å³) after one strain, with the atoms relaxed."""
    strains = np.zeros(6)
    strains[axis] = strain
    deformation = voigt_6_to_full_3x3_strain(strains)  # the unit matrix included
    strained = Atoms(
        atoms.symbols,
        scaled_positions=atoms.get_scaled_positions(),
        cell=atoms.cell.array @ deformation,
        pbc=True,
        calculator=calculator,
    )
    BFGS(strained, logfile=None).run(fmax=MAX_FORCE_EV_A, steps=MAX_RELAX_STEPS)
    return unconstrained.stress_eV_A3(strained)


def reference_values(teacher: Model) -> ReferenceValues:
    """Return a teacher's values for diamond and graphene, for a model card.

    Parameters
    ----------
    teacher
        Reference of a teacher of carbon, such as ``ace:c_ace.yace``; see
        `synthzoo.potentials.resolve`.

    Raises
    ------
    InputError
        If the reference has another form, the file is missing, or the teacher does not
        know carbon.
    TeacherError
        If the teacher cannot be loaded, fails its test, or crashes.

    Examples
    --------
    >>> found = reference_values("ace:c_ace.yace")  # doctest: +SKIP
    >>> round(found.crystals["diamond"].a_A, 3)  # doctest: +SKIP
    3.568
    """
    from synthzoo.teachers.loading import called_apart

    reference = teacher_reference(teacher)
    return called_apart(partial(_reference_values, reference), reference)


def _reference_values(teacher: str) -> ReferenceValues:
    from synthzoo.teachers import load_teacher

    loaded = load_teacher(teacher)
    if ELEMENT not in loaded.elements:
        raise InputError(f"{teacher} knows {', '.join(loaded.elements)}, not carbon.")
    alone = loaded.isolated_atom_energies_eV[ELEMENT]
    crystals = {
        name: Crystal(
            a_A=found.a_A, energy_eV_per_atom=found.energy_eV_per_atom - alone
        )
        for name, (found, _) in relax_crystals(
            loaded.calculator, np.random.default_rng(0)
        ).items()
    }
    curve, _ = diamond_curve(loaded.calculator, volumes_around(crystals["diamond"].a_A))
    constants = elastic_constants_GPa(
        bulk(ELEMENT, "diamond", a=crystals["diamond"].a_A), loaded.calculator
    )
    crystals["diamond"] = replace(
        crystals["diamond"],
        c11_GPa=float(constants[0, 0]),
        c12_GPa=float(constants[0, 1]),
        c44_GPa=float(constants[3, 3]),
        volumes_A3_per_atom=curve.volumes_A3_per_atom,
        energies_eV_per_atom=tuple(
            energy - alone for energy in curve.energies_eV_per_atom
        ),
    )
    return ReferenceValues(teacher=loaded.provenance["teacher"], crystals=crystals)
