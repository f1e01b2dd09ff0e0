"""A calculator whose energy, like that of a DFT code, is not what forces belong to."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from ase.calculators.emt import EMT

ENTROPY_EV = 0.25
"""Between the free energy of the electrons and the energy without smearing."""


class Smeared(EMT):
    """EMT with another energy beside its own, which is taken for the free one.

    Parameters
    ----------
    spin
        Adds 1 eV, so that it is seen whether an atom was computed with it.
    fails_below_A3
        Volume of a cell below which there is no convergence.
    """

    made: ClassVar[list[Smeared]] = []
    """Every calculator there was."""

    def __init__(
        self, *, spin: bool = False, fails_below_A3: float = 0.0, **arguments: Any
    ) -> None:
        super().__init__(**arguments)
        self._spin, self._fails_below_A3 = spin, fails_below_A3
        self.structures = 0
        self.made.append(self)

    def calculate(self, *arguments: Any, **named: Any) -> None:
        """Compute everything for a structure and keep it in ``results``."""
        super().calculate(*arguments, **named)
        self.structures += 1
        if self.atoms.cell.volume < self._fails_below_A3:  # type: ignore[union-attr]
            raise ArithmeticError("not converged in 150 iterations")
        self.results["free_energy"] += float(self._spin)
        self.results["energy"] = self.results["free_energy"] + ENTROPY_EV
        if not np.isfinite(self.results["energy"]):
            raise ArithmeticError("no finite energy")
