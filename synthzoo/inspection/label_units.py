"""Units that labels come in by mistake, and how to tell which from a ratio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase.units import Bohr, GPa, Hartree, Rydberg, kcal, kJ, mol, nm

from synthzoo.inspection.findings import Finding

ENERGY_UNITS = {
    "kcal/mol": mol / kcal,
    "kJ/mol": mol / kJ,
    "Hartree": 1 / Hartree,
    "Rydberg": 1 / Rydberg,
    "meV": 1000.0,
}
"""How many of the unit are one eV."""
FORCE_UNITS = {
    "kcal/mol/Å": mol / kcal,
    "kJ/mol/Å": mol / kJ,
    "kJ/mol/nm": nm * mol / kJ,
    "Hartree/bohr": Bohr / Hartree,
    "Hartree/Å": 1 / Hartree,
    "Rydberg/bohr": Bohr / Rydberg,
    "meV/Å": 1000.0,
    "eV/nm": nm,
}
"""How many of the unit are one eV/Å."""
STRESS_UNITS = {
    "GPa": 1 / GPa,
    "kbar": 10 / GPa,
    "bar": 1e4 / GPa,
    "Hartree/bohr³": Bohr**3 / Hartree,
    "Rydberg/bohr³": Bohr**3 / Rydberg,
}
"""How many of the unit are one eV/Å³."""

NEAR = 1.4
"""A ratio is that of a unit if it is within this factor of it."""
NORMAL = (0.6, 1.6)
"""Ratios of right units: models err, and motion is anharmonic."""
MIN_RATIOS = 3
MOST_SPREAD = 1.6
"""Of the quartiles of ratios that are to be believed, upper over lower."""


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """Labels over what is expected: 1 if unit and sign are right.

    Attributes
    ----------
    value
        The ratio; negative if the sign is reversed.
    evidence
        Where the expectation comes from, in words.
    """

    value: float
    evidence: str

    @property
    def normal(self) -> bool:
        """Whether unit and sign are right."""
        return NORMAL[0] < self.value < NORMAL[1]


def steady(ratios: Sequence[float]) -> float | None:
    """Return the median of ratios, or None if they are few or scatter.

    Parameters
    ----------
    ratios
        Of the same two things, in several places.

    Examples
    --------
    >>> steady([23.0, 23.1, 22.9])
    23.0
    >>> steady([23.0, -1.0, 5.0])
    """
    if len(ratios) < MIN_RATIOS:
        return None
    low, middle, high = np.percentile(ratios, [25, 50, 75])
    if low * high <= 0:
        return None
    spread = max(abs(low), abs(high)) / min(abs(low), abs(high))
    return float(middle) if spread < MOST_SPREAD else None


def nearest_units(size: float, units: Mapping[str, float]) -> dict[str, float]:
    """Return the units that would explain a ratio, with the logarithm of the misfit.

    Parameters
    ----------
    size
        The ratio, positive.
    units
        Ratio that each unit would give.

    Examples
    --------
    >>> list(nearest_units(23.5, FORCE_UNITS))
    ['kcal/mol/Å']
    >>> list(nearest_units(1.0, FORCE_UNITS))
    []
    """
    misfits = {name: abs(float(np.log(size / one))) for name, one in units.items()}
    near = {name: misfit for name, misfit in misfits.items() if misfit < np.log(NEAR)}
    return dict(sorted(near.items(), key=lambda item: item[1]))


def unit_findings(what: str, ratio: Ratio, units: Mapping[str, float]) -> list[Finding]:
    """Return what a ratio says of the sign and the unit of labels.

    Parameters
    ----------
    what
        The labels, such as ``"force"``.
    ratio
        Labels over expectation.
    units
        Ratio that each unit would give.
    """
    found = []
    size = abs(ratio.value)
    if ratio.value < 0:
        message = f"The sign of the {what} labels is reversed: {ratio.evidence}."
        found.append(Finding(kind=f"{what}_sign", severity="error", message=message))
    if not NORMAL[0] < size < NORMAL[1]:
        units_near = list(nearest_units(size, units))
        cause = f"in {units_near[0]}" if units_near else "in another unit"
        found.append(
            Finding(
                kind=f"{what}_units",
                severity="error" if units_near else "warning",
                message=f"The {what} labels are {size:.3g} times as large as expected "
                f"({ratio.evidence}): they seem to be {cause}.",
            )
        )
    return found
