"""A structure that can be started from: atoms pushed apart, then relaxed."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.data import covalent_radii
from ase.optimize import FIRE

from synthzoo.pairs import find_pairs

if TYPE_CHECKING:
    from ase import Atoms

APART = 0.75
"""Atoms are pushed apart to this many times the sum of their covalent radii."""

SPRING_EV_A2 = 20.0
MAX_FORCE_EV_A = 0.5
MAX_STEPS = 300


class SoftSpheres(Calculator):
    r"""Atoms that repel each other by a spring where they overlap.

    .. math:: E = k/2 \sum_{i<j} \max(0, d_{ij} - r_{ij})^2
    """

    implemented_properties = ["energy", "forces"]  # noqa: RUF012  ase's own way

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Collection[str] = ("energy",),
        system_changes: Collection[str] = tuple(all_changes),
    ) -> None:
        """Compute energy (eV) and forces (eV/Å).

        Parameters
        ----------
        atoms
            Structure.
        properties, system_changes
            Not needed.
        """
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        here = cast("Atoms", self.atoms)
        radii = APART * covalent_radii[here.numbers]
        pairs = find_pairs(here, float(2 * radii.max()))
        overlap = radii[pairs.first] + radii[pairs.second] - pairs.distances_A
        close = overlap > 0
        overlap, first = overlap[close], pairs.first[close]
        away = (
            -pairs.vectors_A[close]
            / np.maximum(pairs.distances_A[close], 1e-9)[:, None]
        )
        forces = np.zeros((len(here), 3))
        np.add.at(forces, first, SPRING_EV_A2 * overlap[:, None] * away)
        energy = float(SPRING_EV_A2 / 4 * (overlap**2).sum())
        self.results: dict[str, Any] = {"energy": energy, "forces": forces}


def relax(atoms: Atoms, calculator: Calculator) -> Atoms:
    """Return a relaxed copy of a structure; the cell stays.

    Parameters
    ----------
    atoms
        Structure; atoms may overlap, but not lie on one place.
    calculator
        What to relax it with, once the atoms are apart.
    """
    relaxed: Atoms = atoms.copy()
    for found in (SoftSpheres(), calculator):  # type: ignore[no-untyped-call]
        relaxed.calc = found
        FIRE(relaxed, logfile=None).run(fmax=MAX_FORCE_EV_A, steps=MAX_STEPS)
    relaxed.calc = None
    relaxed.set_momenta(np.zeros((len(relaxed), 3)))
    return relaxed
