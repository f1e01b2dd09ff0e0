"""Energy curves of simple systems, before and after a fine-tuning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synthzoo.finetuning.physics import dimers, energies_eV
from synthzoo.generation.builders import PROTOTYPES

if TYPE_CHECKING:
    from synthzoo.models.calculator import SynthzooCalculator

CRYSTALS: dict[str, dict[str, float]] = {
    "C": {"diamond": 1.545, "graphite-ab": 1.42},
    "Si": {"diamond": 2.352},
}
"""Crystals whose energy–volume curve is drawn, with their bond length in Å."""

STRETCH = (0.94, 1.07)
POINTS = 14
DIMER_REACH = (0.45, 2.2)
"""Of twice the covalent radius."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Energies of one system along one line, before and after a fine-tuning.

    Attributes
    ----------
    name
        Of the system.
    x_label, y_label
        What the axes are, with units.
    x
        Distances in Å, or volumes in Å³ per atom.
    before_eV, after_eV
        Energies; those of a dimer from its widest distance, those of a crystal per atom
        from their minimum.
    """

    name: str
    x_label: str
    y_label: str
    x: tuple[float, ...]
    before_eV: tuple[float, ...]
    after_eV: tuple[float, ...]


def probe(
    before: SynthzooCalculator,
    after: SynthzooCalculator,
    elements: Sequence[str],
) -> list[Curve]:
    """Return the dimer of each element, and crystals where they are known.

    Parameters
    ----------
    before, after
        The two models.
    elements
        Chemical symbols to look at.
    """
    curves = [_dimer(element, before, after) for element in elements]
    for element in elements:
        for name, bond_A in CRYSTALS.get(element, {}).items():
            curves.append(_crystal(element, name, bond_A, before, after))
    return curves


def _dimer(
    element: str, before: SynthzooCalculator, after: SynthzooCalculator
) -> Curve:
    distances, pairs = dimers(element, DIMER_REACH, 4 * POINTS)
    old, new = (energies_eV(pairs, model) for model in (before, after))
    return Curve(
        name=f"{element} dimer",
        x_label="distance (Å)",
        y_label="energy (eV)",
        x=tuple(distances.tolist()),
        before_eV=tuple((old - old[-1]).tolist()),
        after_eV=tuple((new - new[-1]).tolist()),
    )


def _crystal(
    element: str,
    name: str,
    bond_A: float,
    before: SynthzooCalculator,
    after: SynthzooCalculator,
) -> Curve:
    stretches = np.linspace(*STRETCH, POINTS)
    cells = [PROTOTYPES[name](element, bond_A * stretch) for stretch in stretches]
    volumes = np.array([atoms.get_volume() / len(atoms) for atoms in cells])
    sizes = np.array([len(atoms) for atoms in cells])
    old, new = (energies_eV(cells, model) / sizes for model in (before, after))
    return Curve(
        name=f"{name.removesuffix('-ab')} ({element})",
        x_label="volume (Å³/atom)",
        y_label="energy (eV/atom)",
        x=tuple(volumes.tolist()),
        before_eV=tuple((old - old.min()).tolist()),
        after_eV=tuple((new - new.min()).tolist()),
    )
