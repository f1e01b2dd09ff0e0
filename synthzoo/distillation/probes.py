"""Curves that show at a glance whether a potential is sound: volumes, and dimers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from ase.data import atomic_numbers, covalent_radii

from synthzoo.data.structures import dimer
from synthzoo.generation.starts import vacuum_axes

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    from synthzoo.data.labelled_set import LabelledSet

MOST_CRYSTALS = 4
MOST_PAIRS = 10
"""So many curves are drawn; a set of ten elements has 55 pairs."""

STRETCHES = np.linspace(0.94, 1.06, 13)
DIMER_REACH = np.linspace(0.55, 2.2, 24)
"""Times the sum of covalent radii."""

DIMER_SIDE_A = 25.0
CURVE_KEY, PLACE_KEY = "curve", "place"
"""Keys in ``Atoms.info``: name of the curve, and where on it a structure lies."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Energies of several potentials along one line.

    Attributes
    ----------
    name
        Crystal or pair.
    kind
        What changes: ``volume`` (Å³ per atom) or ``distance`` (Å).
    x
        Places on it.
    energies_eV
        For each potential, by its name: per atom from the minimum for a volume; from
        the widest distance for a dimer. NaN where it has none.
    """

    name: str
    kind: Literal["volume", "distance"]
    x: tuple[float, ...]
    energies_eV: dict[str, tuple[float, ...]]


def probe_structures(data: LabelledSet) -> list[Atoms]:
    """Return crystals of the user at several volumes, and dimers of all pairs.

    ``data``: labelled structures; the crystals are those of lowest energy.
    """
    return [*_stretched(data), *_dimers(data.elements)]


def _stretched(data: LabelledSet) -> list[Atoms]:
    structures = []
    for atoms in lowest_crystals(data):
        for stretch in STRETCHES:
            copy = atoms.copy()
            copy.calc = None
            copy.set_constraint()
            copy.set_cell(atoms.cell * stretch, scale_atoms=True)
            formula, _ = atoms.symbols.formula.reduce()
            copy.info = {
                CURVE_KEY: f"{formula:periodic}, volume",
                PLACE_KEY: copy.get_volume() / len(copy),
            }
            structures.append(copy)
    return structures


def lowest_crystals(data: LabelledSet) -> list[Atoms]:
    """Return the structure of lowest energy per atom of each composition.

    Only those that are periodic in all directions and have no gap count; those of
    which there are most structures come first.
    """
    best: dict[str, tuple[float, Atoms]] = {}
    counts: dict[str, int] = {}
    for atoms, labels in zip(data.structures, data.labels, strict=True):
        if vacuum_axes(atoms).any():
            continue
        formula = atoms.get_chemical_formula(mode="hill", empirical=True)
        counts[formula] = counts.get(formula, 0) + 1
        energy = labels.energy_eV / len(atoms)
        if formula not in best or energy < best[formula][0]:
            best[formula] = energy, atoms
    order = sorted(best, key=lambda formula: -counts[formula])
    return [best[formula][1] for formula in order[:MOST_CRYSTALS]]


def _dimers(elements: Sequence[str]) -> list[Atoms]:
    structures = []
    pairs = itertools.combinations_with_replacement(elements, 2)
    for pair in itertools.islice(pairs, MOST_PAIRS):
        bond_A = sum(covalent_radii[atomic_numbers[name]] for name in pair)
        for distance in DIMER_REACH * bond_A:
            atoms = dimer(pair, float(distance), side_A=DIMER_SIDE_A)
            atoms.info = {CURVE_KEY: "–".join(pair), PLACE_KEY: float(distance)}
            structures.append(atoms)
    return structures


Energies = Callable[[Sequence["Atoms"]], "NDArray[np.float64]"]
"""From structures to total energies in eV; NaN where there is none."""


def curves_of(
    structures: Sequence[Atoms], potentials: Mapping[str, Energies]
) -> list[Curve]:
    """Return what potentials say about the structures of `probe_structures`."""
    energies = {name: compute(structures) for name, compute in potentials.items()}
    names = list(dict.fromkeys(atoms.info[CURVE_KEY] for atoms in structures))
    curves = []
    for name in names:
        members = [i for i, a in enumerate(structures) if a.info[CURVE_KEY] == name]
        x = np.array([structures[i].info[PLACE_KEY] for i in members])
        size = len(structures[members[0]])
        is_volume = name.endswith("volume")
        shown = {}
        for potential, values in energies.items():
            own = values[members]
            own = (own - np.nanmin(own)) / size if is_volume else own - own[-1]
            shown[potential] = tuple(own.tolist())
        curves.append(
            Curve(
                name=name,
                kind="volume" if is_volume else "distance",
                x=tuple(x.tolist()),
                energies_eV=shown,
            )
        )
    return curves
