"""Codes that iterate to a density: each structure from a fresh start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.calculator import Calculator, all_changes

from synthzoo.data import unconstrained
from synthzoo.data.structures import is_isolated_atom

if TYPE_CHECKING:
    from ase import Atoms

COMPUTED = ("energy", "forces", "stress")
"""What is asked of a code, as far as it has it."""

ALONE_A = 8.0
"""An atom whose periodic images are further away than this (Å) is alone."""

BOX_A = (12.0, 12.5, 13.0)
"""Cell of an isolated atom; its sides differ, or p orbitals could not choose."""


class PerStructure(Calculator):
    """A calculator that is made anew for each structure.

    No density is handed from one structure to the next, so that a label does not depend
    on the order of the file. The energy is the free energy of the electrons where the
    code has it: that is what the forces are the derivative of.

    An atom alone may need other arguments (spin, integer occupation). Where its energy
    is known, that is its energy in any cell in which it is alone; where not, it is
    computed with those arguments in a cell of `BOX_A`.

    Parameters
    ----------
    make, alone
        Make a calculator for structures, and for an isolated atom.
    atom_energies_eV
        Energy of an isolated atom by symbol, or None where it is to be computed.
    """

    def __init__(
        self,
        *,
        make: Callable[[], Calculator],
        alone: Callable[[], Calculator],
        atom_energies_eV: Mapping[str, float | None],
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._make, self._alone = make, alone
        self._atom_energies_eV = dict(atom_energies_eV)
        self._known = set(make().implemented_properties)
        self.implemented_properties = [name for name in COMPUTED if name in self._known]

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | tuple[str, ...] = ("energy",),
        system_changes: list[str] = all_changes,
    ) -> None:
        """Compute energy, forces and stress at once and keep them in ``results``.

        Parameters
        ----------
        atoms
            Structure with ``n`` atoms.
        properties, system_changes
            As for any ASE calculator; not used.
        """
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        computed: Atoms = self.atoms.copy()  # type: ignore[union-attr]  # set just now
        if is_isolated_atom(computed, ALONE_A):
            self.results = self._atom(computed)
            return
        computed.calc = self._make()
        self.results = {"energy": self._energy(computed)}
        self.results["forces"] = unconstrained.forces_eV_A(computed)
        if "stress" in self._known and computed.pbc.all():
            self.results["stress"] = unconstrained.stress_eV_A3(computed)

    def _energy(self, atoms: Atoms) -> float:
        consistent = "free_energy" in self._known
        return unconstrained.energy_eV(atoms, force_consistent=consistent)

    def _atom(self, atoms: Atoms) -> dict[str, Any]:
        symbol = atoms[0].symbol
        if self._atom_energies_eV.get(symbol) is None:
            box = atoms.copy()
            box.set_cell(BOX_A)
            box.center()
            box.pbc = True
            box.calc = self._alone()
            self._atom_energies_eV[symbol] = self._energy(box)
        return {
            "energy": self._atom_energies_eV[symbol],
            "forces": np.zeros((1, 3)),
            "stress": np.zeros(6),
        }
