"""ASE calculators that break down for real on structures which ask for it.

`info` does not reach a calculator through every path, so the order is in the cell: its
third vector's length over 100 Å says which fault (see `FAULTS`).
"""

import ctypes
import os
import signal
import time
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT


class NotConvergedError(RuntimeError):
    """What a self-consistent code raises."""


def crash() -> None:
    """Read address zero: a real segmentation fault."""
    ctypes.string_at(0)


def hang() -> None:
    """Sleep in C for ever, holding the interpreter's lock."""
    ctypes.PyDLL(None).sleep(1_000_000)


def be_killed() -> None:
    """Die as by the kernel's out-of-memory killer."""
    os.kill(os.getpid(), signal.SIGKILL)


def leave() -> None:
    """End the process as Fortran's STOP does, with a last word."""
    os.write(1, b"SYSTEM ABORT: no such neighbour\n")
    os._exit(3)


def diverge() -> None:
    """Do not converge."""
    raise NotConvergedError("did not converge in 3 steps")


def be_slow() -> None:
    """Take a while."""
    time.sleep(0.05)


FAULTS = {
    1: crash,
    2: hang,
    3: be_killed,
    4: leave,
    5: diverge,
    7: be_slow,
}
NAN = 6
FAULTY = (
    'ase:tests.faulty_calculators.Faulty{"isolated_atom_energies_eV": {"Cu": null}}'
)


class Faulty(Calculator):
    """EMT for copper, with a fault where the structure asks for it."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012  ASE's way

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._emt = EMT()

    def reset(self) -> None:
        """Forget everything; EMT remembers its neighbour list otherwise."""
        super().reset()
        if hasattr(self, "_emt"):
            self._emt.reset()

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Any = ("energy",),
        system_changes: Any = all_changes,
    ) -> None:
        """Compute with EMT, or break down."""
        assert atoms is not None
        super().calculate(atoms, properties, system_changes)
        fault = fault_of(atoms)
        FAULTS.get(fault, bool)()
        computed = atoms.copy()
        computed.calc = self._emt
        self.results = {
            "energy": computed.get_potential_energy(),
            "forces": computed.get_forces() * (np.nan if fault == NAN else 1),
        }


def fault_of(atoms: Atoms) -> int:
    """Return the number of the fault that a structure asks for; 0 is none."""
    return int(atoms.cell.lengths()[2] // 100)


def copper(number: int, fault: int = 0) -> Atoms:
    """Return copper atoms in a box that may ask for a fault."""
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=number)
    atoms.center(vacuum=5.0, axis=2)
    if fault:
        cell = atoms.cell.array.copy()
        cell[2, 2] = 100.0 * fault + 1
        atoms.set_cell(cell)
    atoms.info["number"] = number
    return atoms


class Crashing(Faulty):
    """Breaks down on everything."""

    def calculate(self, *_: Any, **__: Any) -> None:
        """Break down."""
        crash()


class Pushed(Faulty):
    """Forces are a tenth too long."""

    def calculate(self, *arguments: Any, **named: Any) -> None:
        """Compute with EMT, wrongly."""
        super().calculate(*arguments, **named)
        self.results["forces"] = self.results["forces"] * 1.1
