"""Checks of the units and signs of labels: against a model, or against physics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase.units import GPa, Hartree

from synthzoo.inspection.energy_models import beyond_composition
from synthzoo.inspection.findings import CheckedSet, Finding
from synthzoo.inspection.force_order import stress_of_bonds
from synthzoo.inspection.related import of_whole_cells, related_works
from synthzoo.inspection.unit_ratios import (
    ENERGY_UNITS,
    FORCE_UNITS,
    MIN_RATIOS,
    NORMAL,
    STRESS_UNITS,
    Ratio,
    bond_stiffness_eV,
    bulk_moduli_eV_A3,
    energy_over_forces,
    model_energy_ratio,
    model_force_ratio,
    model_stress_ratio,
    nearest_units,
    stress_over_energy,
    unit_findings,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.inspection.energy_models import Mask

ATOMIC_UNITS = {"energies in Hartree and forces in Hartree/bohr (or Rydberg)": 1.889726}
"""Change of energy over the work of the forces, displacements being in Å."""

STIFFNESS_EV = (4.0, 400.0)
"""Stiffness of bonds times length squared: beyond it, the unit is wrong."""
BULK_MODULUS_GPA = (0.3, 1500.0)
CLEAR_CORRELATION = 0.3
"""Of the forces along bonds with their lengths, over all structures."""

USUAL_SPREAD_EV_PER_ATOM = 12.0
"""The middle half of a set's energies is closer together, in any material."""
MIN_ENERGIES = 8
ALL_ELECTRON_MISFIT = 0.08

SHEAR_ORDERS = {
    "VASP (xx yy zz xy yz zx)": [1, 2, 0],
    "LAMMPS (xx yy zz xy xz yz)": [2, 1, 0],
}
"""Where yz, xz and xy are among the last three numbers."""
MIN_SHEARED = 8
CLEAR_SHEAR = 0.6
MOST_STANDING = 0.5
"""Of the correlation in the other order: with more, either may be right."""


def force_units(data: CheckedSet) -> list[Finding]:
    """Find forces in another unit or with the wrong sign.

    With a model's predictions the unit is named.
    """
    ratio = model_force_ratio(data)
    if ratio is not None:
        return unit_findings("force", ratio, FORCE_UNITS)
    slopes = bond_stiffness_eV(data)
    if len(slopes.values) < MIN_RATIOS or abs(slopes.correlation) < CLEAR_CORRELATION:
        return []
    if slopes.correlation < 0:
        message = (
            f"The sign of the force labels is reversed: in {len(slopes.values)} "
            "structures long bonds push and short ones pull."
        )
        return [Finding(kind="force_sign", severity="error", message=message)]
    middle = float(np.median(np.abs(slopes.values)))
    if STIFFNESS_EV[0] < middle < STIFFNESS_EV[1]:
        return []
    large = middle > STIFFNESS_EV[1]
    message = (
        f"The forces are too {'large' if large else 'small'} for eV/Å: the stiffness "
        f"of bonds times their length squared is {middle:.3g} eV, usual values are 10 "
        "to 200 eV. Are they in "
        f"{'kcal/mol/Å' if large else 'Hartree/bohr or Rydberg/bohr'}?"
    )
    return [Finding(kind="force_units", severity="warning", message=message)]


def energy_units(data: CheckedSet) -> list[Finding]:
    """Find energies in another unit.

    With a model's predictions the unit is named.
    """
    ratio = model_energy_ratio(data)
    if ratio is not None:
        return unit_findings("energy", ratio, ENERGY_UNITS)
    usable = np.isfinite(data.energies_eV) & ~data.isolated
    if np.count_nonzero(usable) < MIN_ENERGIES:
        return []
    return [*_all_electron(data, usable), *_wide_spread(data, usable)]


def _all_electron(data: CheckedSet, usable: Mask) -> list[Finding]:
    """Find total energies of all electrons that are still in Hartree or kcal/mol."""
    atomic = np.array([all_electron_energy_hartree(z) for z in data.elements])
    ratios = (
        data.energies_eV[usable] / data.sizes[usable] / (data.shares[usable] @ atomic)
    )
    low, high = np.percentile(ratios, [5, 95])
    units = {"Hartree": 1.0, "kcal/mol": ENERGY_UNITS["kcal/mol"] * Hartree}
    for unit, one in units.items():
        misfit = max(abs(low / one - 1), abs(high / one - 1))
        if max(data.elements) > 2 and misfit < ALL_ELECTRON_MISFIT:
            message = (
                f"The energies are those of all electrons in {unit}: are they to be "
                "converted to eV?"
            )
            return [Finding(kind="energy_units", severity="warning", message=message)]
    return []


def all_electron_energy_hartree(number: int) -> float:
    """Return about the total energy of an atom, by the expansion for large atoms.

    Right to a few percent for all but hydrogen (Schwinger,
    doi 10.1103/PhysRevA.24.2353).

    Examples
    --------
    >>> round(all_electron_energy_hartree(6), 1)
    -37.6
    """
    z = float(number)
    return float(-0.768745 * z ** (7 / 3) + 0.5 * z**2 - 0.2699 * z ** (5 / 3))


def _wide_spread(data: CheckedSet, usable: Mask) -> list[Finding]:
    rest = beyond_composition(
        data.energies_eV[usable] / data.sizes[usable], data.shares[usable]
    )
    low, high = np.percentile(rest, [25, 75])
    if high - low < USUAL_SPREAD_EV_PER_ATOM:
        return []
    message = (
        f"Half of the energies spread over {high - low:.0f} eV/atom beyond what the "
        "composition explains, more than bonds can: kcal/mol or kJ/mol, or labels of "
        "several sources?"
    )
    return [Finding(kind="energy_units", severity="warning", message=message)]


def energies_against_forces(data: CheckedSet) -> list[Finding]:
    """Find energies and forces that do not belong together, from close frames."""
    works = related_works(data)
    ratio = energy_over_forces(works)
    if ratio is None or ratio.normal:
        return []
    size = abs(ratio.value)
    causes = {} if NORMAL[0] < size < NORMAL[1] else _causes(size)
    whole = energy_over_forces(of_whole_cells(data, works))
    if whole is not None and whole.normal:
        causes["energies per atom"] = abs(float(np.log(whole.value)))
    best = sorted(causes, key=lambda name: causes[name])[:2]
    if ratio.value < 0:
        best = ["forces (or energies) with the wrong sign", *best]
    cause = f": {', or '.join(best)}?" if best else "."
    return [
        Finding(
            kind="energies_against_forces",
            severity="error" if best else "warning",
            message="Between close frames the energy changes by "
            f"{ratio.value:.3g} times what the forces say ({ratio.evidence}){cause}",
        )
    ]


def _causes(size: float) -> dict[str, float]:
    energies = nearest_units(size, ENERGY_UNITS)
    forces = nearest_units(1 / size, FORCE_UNITS)
    return {
        **{f"energies in {name}": misfit for name, misfit in energies.items()},
        **{f"forces in {name}": misfit for name, misfit in forces.items()},
        **nearest_units(size, ATOMIC_UNITS),
    }


def stress_units(data: CheckedSet) -> list[Finding]:
    """Find stresses in another unit or with the wrong sign.

    With a model's predictions or strained frames the unit is named.
    """
    if not data.stresses_eV_A3:
        return []
    ratio = model_stress_ratio(data)
    if ratio is None:
        ratio = stress_over_energy(related_works(data))
        if ratio is not None and (found := _energies_beside_stress(ratio)):
            return found
    if ratio is not None:
        return unit_findings("stress", ratio, STRESS_UNITS)
    return _stress_against_volumes(data)


def _stress_against_volumes(data: CheckedSet) -> list[Finding]:
    slopes = bulk_moduli_eV_A3(data)
    if not len(slopes.values):
        return []
    modulus_GPa = float(np.median(slopes.values)) / GPa
    if modulus_GPa < 0:
        message = (
            "The sign of the stress labels is reversed: compressed cells appear to be "
            "under tension. ASE's stress is positive under tension; VASP, for one, "
            "writes the opposite."
        )
        return [Finding(kind="stress_sign", severity="error", message=message)]
    if BULK_MODULUS_GPA[0] < modulus_GPa < BULK_MODULUS_GPA[1]:
        return []
    large = modulus_GPa > BULK_MODULUS_GPA[1]
    message = (
        f"The stress labels are too {'large' if large else 'small'} for eV/Å³: they "
        f"would mean a bulk modulus of {modulus_GPa:.3g} GPa. "
        f"Are they in {'GPa or kbar' if large else 'Hartree/bohr³ or Rydberg/bohr³'}?"
    )
    return [Finding(kind="stress_units", severity="warning", message=message)]


def _energies_beside_stress(ratio: Ratio) -> list[Finding]:
    """Find the unit of energies that explains what no unit of stress does."""
    size = abs(ratio.value)
    units = list(nearest_units(1 / size, ENERGY_UNITS))
    if ratio.normal or not units or nearest_units(size, STRESS_UNITS):
        return []
    message = (
        f"Stress times strain is {ratio.value:.3g} times what the energies say "
        f"({ratio.evidence}): the energies seem to be in {units[0]}."
    )
    return [Finding(kind="energy_units", severity="error", message=message)]


def stress_order(data: CheckedSet) -> list[Finding]:
    """Find stresses whose shear components are not in ASE's order.

    Shear is compared with a model's, or with what the lengths of bonds let expect.
    """
    frames = [
        index
        for index, stress in data.stresses_eV_A3.items()
        if stress[3:].any() and data.structures[index].cell.rank == 3
    ]
    expected = np.array([_expected_shear(data, index) for index in frames])
    if np.count_nonzero(expected.any(axis=-1)) < MIN_SHEARED:
        return []
    shear = np.array([data.stresses_eV_A3[index][3:] for index in frames])
    standing = abs(_correlation(shear, expected))
    others = {
        name: abs(_correlation(shear[:, order], expected))
        for name, order in SHEAR_ORDERS.items()
    }
    best = max(others, key=others.__getitem__)
    if others[best] < CLEAR_SHEAR or standing > MOST_STANDING * others[best]:
        return []
    message = (
        f"The stress seems to be in the order of {best}; ASE's is xx yy zz yz xz xy. "
        f"Its shear has a correlation of {standing:.2f} with what is expected, and "
        f"{others[best]:.2f} in the other order."
    )
    return [Finding(kind="stress_order", severity="warning", message=message)]


def _expected_shear(data: CheckedSet, index: int) -> NDArray[np.float64]:
    if data.reference is not None and data.reference.stresses_eV_A3 is not None:
        return np.asarray(data.reference.stresses_eV_A3[index][3:])
    return stress_of_bonds(data, index)[3:]


def _correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    size = float(np.sqrt((one**2).sum() * (other**2).sum()))
    return float((one * other).sum()) / size if size else 0.0
