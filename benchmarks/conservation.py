"""Measure how well dynamics without a thermostat keep the energy.

    python benchmarks/conservation.py carbon --atoms 64 1000 --ps 10

The structure is diamond at about 1000 K, moved by velocity Verlet. The neighbour list
serves for many steps and is made anew when atoms have moved through half of its skin;
energy that jumps or drifts there would show. Printed are the slope of the total energy
and its largest deviation from a straight line.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet

from synthzoo.models.place import Place
from synthzoo.potentials import load_potential
from synthzoo.runs.progress import progress_bar

if TYPE_CHECKING:
    from numpy.typing import NDArray

TEMPERATURE_K = 2000.0
"""Of the momenta at first; half of it goes into the potential energy."""

CELLS = {8: (1, 1, 1), 64: (2, 2, 2), 512: (4, 4, 4), 1000: (5, 5, 5)}
"""Atoms, and how often the cubic cell of diamond is repeated along each axis."""


def main() -> None:
    """Run the dynamics, one size after the other, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="carbon")
    parser.add_argument("--atoms", type=int, nargs="+", choices=CELLS, default=[64])
    parser.add_argument("--ps", type=float, default=10.0)
    parser.add_argument("--timestep-fs", type=float, default=1.0)
    given = parser.parse_args()
    say("| atoms | drift in meV/atom/ps | largest deviation in meV/atom |")
    say("| --- | --- | --- |")
    for size in given.atoms:
        atoms = bulk("C", cubic=True).repeat(CELLS[size])
        atoms.calc = load_potential(given.model, place=Place(device="cpu")).calculator
        times, energies = run(atoms, given.ps, given.timestep_fs)
        drift, start = np.polyfit(times, energies, 1)
        largest = np.abs(energies - (start + drift * times)).max()
        say(f"| {size} | {drift:+.4f} | {largest:.3f} |")


def run(
    atoms: Atoms, duration_ps: float, timestep_fs: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return times in ps and total energies in meV/atom, ten steps apart."""
    thermalize_momenta(atoms, temperature_K=TEMPERATURE_K, rng=np.random.default_rng(5))
    dynamics = VelocityVerlet(atoms, timestep=timestep_fs * units.fs)
    found = []
    blocks = range(round(100 * duration_ps / timestep_fs))
    for _ in progress_bar(blocks, desc=f"{len(atoms)} atoms", unit="block"):
        dynamics.run(10)
        found.append((dynamics.get_time() / units.fs / 1000, energy_meV(atoms)))
    times, energies = np.array(found).T
    return times, energies


def say(line: str) -> None:
    """Write a line now."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def energy_meV(atoms: Atoms) -> float:
    """Return the total energy of an atom."""
    return float(1000 * atoms.get_total_energy() / len(atoms))


if __name__ == "__main__":
    main()
