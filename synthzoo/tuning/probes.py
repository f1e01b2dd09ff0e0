"""Simple systems that show what a fine-tuning did to the physics of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii

from synthzoo.builders import PROTOTYPES
from synthzoo.crystals import fit_curve
from synthzoo.predict import predict_structures

if TYPE_CHECKING:
    from synthzoo.calculator import SynthzooCalculator

CRYSTALS: dict[str, dict[str, float]] = {
    "C": {"diamond": 1.545, "graphite-ab": 1.42},
    "Si": {"diamond": 2.352},
}
"""Crystals whose energy–volume curve is drawn, with their bond length in Å."""

STRETCH = (0.94, 1.07)
POINTS = 14
DIMER_REACH = (0.45, 2.2)
"""Of twice the covalent radius."""

CELL_A = 25.0
WALL = 0.75
"""Times the covalent bond length: nearer than this a dimer must repel."""


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
    findings
        What is worth saying about it.
    """

    name: str
    x_label: str
    y_label: str
    x: tuple[float, ...]
    before_eV: tuple[float, ...]
    after_eV: tuple[float, ...]
    findings: tuple[str, ...] = ()


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
    bond_A = 2 * float(covalent_radii[atomic_numbers[element]])
    distances = np.linspace(*DIMER_REACH, 4 * POINTS) * bond_A
    pairs = [
        Atoms(f"{element}2", [[0, 0, 0], [0, 0, distance]], cell=[CELL_A] * 3, pbc=True)
        for distance in distances
    ]
    old, new = (_energies(pairs, model) for model in (before, after))
    near = distances < WALL * bond_A
    return Curve(
        name=f"{element} dimer",
        x_label="distance (Å)",
        y_label="energy (eV)",
        x=tuple(distances.tolist()),
        before_eV=tuple((old - old[-1]).tolist()),
        after_eV=tuple((new - new[-1]).tolist()),
        findings=(_wall(element, distances[near], (old[near], new[near])),),
    )


def _wall(
    element: str, distances_A: np.ndarray, energies_eV: tuple[np.ndarray, np.ndarray]
) -> str:
    """Return down to where a dimer repels, before and after."""
    had_A, has_A = (_repels_to_A(distances_A, values) for values in energies_eV)
    now = f"The {element} dimer {_reach(has_A, distances_A)}"
    if np.isclose(had_A, has_A):
        return f"{now}, as before."
    change = "has a new hole" if has_A > had_A else "has grown"
    return f"{now}: its wall {change}. Before, it {_reach(had_A, distances_A)}."


def _repels_to_A(distances_A: np.ndarray, energies_eV: np.ndarray) -> float:
    """Return the distance down to which energies rise, coming from the widest."""
    holes = np.flatnonzero(np.diff(energies_eV) >= 0)
    return float(distances_A[holes[-1] + 1] if len(holes) else distances_A[0])


def _reach(repels_to_A: float, distances_A: np.ndarray) -> str:
    near_A, far_A = distances_A[0], distances_A[-1]
    if repels_to_A >= far_A:
        return f"does not repel below {far_A:.2f} Å"
    end = "" if repels_to_A > near_A else ", the shortest distance looked at"
    return f"repels from {far_A:.2f} Å down to {repels_to_A:.2f} Å{end}"


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
    old, new = (_energies(cells, model) / sizes for model in (before, after))
    return Curve(
        name=f"{name.removesuffix('-ab')} ({element})",
        x_label="volume (Å³/atom)",
        y_label="energy (eV/atom)",
        x=tuple(volumes.tolist()),
        before_eV=tuple((old - old.min()).tolist()),
        after_eV=tuple((new - new.min()).tolist()),
        findings=(_equilibrium(name, element, volumes, (old, new)),),
    )


def _equilibrium(
    name: str,
    element: str,
    volumes: np.ndarray,
    energies: tuple[np.ndarray, np.ndarray],
) -> str:
    texts = []
    for values in energies:
        curve = fit_curve(volumes.tolist(), values.tolist())
        if curve.minimum_A3_per_atom is None:
            texts.append("no minimum")
        else:
            texts.append(
                f"{curve.minimum_A3_per_atom:.3f} Å³/atom and "
                f"{curve.bulk_modulus_GPa:.0f} GPa"
            )
    name = name.removesuffix("-ab")
    return f"{name} ({element}), volume and bulk modulus: {texts[0]} → {texts[1]}."


def _energies(
    structures: Sequence[Atoms], calculator: SynthzooCalculator
) -> np.ndarray:
    return np.array(
        [
            atoms.get_potential_energy()
            for atoms in predict_structures(structures, calculator)
        ]
    )
