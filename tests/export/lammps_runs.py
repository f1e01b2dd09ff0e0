"""Input files of LAMMPS for the tests, and what comes out of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from ase import Atoms, units
from ase.calculators.lammps import Prism
from ase.io import write

if TYPE_CHECKING:
    from numpy.typing import NDArray

BAR = units.bar  # eV/Å³
QUIET = ("-screen", "none", "-log", "none", "-nocite")

WRITTEN = (
    'print "$(pe:%.15g) $(pxx:%.15g) $(pyy:%.15g) $(pzz:%.15g) $(pxy:%.15g) '
    '$(pxz:%.15g) $(pyz:%.15g)" file out.txt\n'
    "write_dump all custom out.dump id type x y z fx fy fz c_each modify sort id "
    "format float %.12g\n"
)


SETUP = (
    "pair_style tersoff\npair_coeff * * missing.tersoff C\n"
    "velocity all create 600 7 loop geom\n"
)
"""A pair style to be replaced, and velocities."""


class Found(NamedTuple):
    """What LAMMPS and ASE say about a structure, in eV, Å and bar.

    ``pressure``: xx, yy, zz, xy, xz, yz.
    """

    energy: float
    energies: NDArray[np.float64]
    forces: NDArray[np.float64]
    pressure: NDArray[np.float64]


def write_data(atoms: Atoms, path: Path, elements: tuple[str, ...]) -> None:
    """Write a data file with masses; types in the order of the elements."""
    write(
        path,
        atoms,
        format="lammps-data",
        specorder=list(elements),
        masses=True,
        units="metal",
        atom_style="atomic",
    )


def start(atoms: Atoms, *, data: str = "start.data") -> str:
    """Return the first lines of an input file, in which the data file is read."""
    border = " ".join("p" if periodic else "f" for periodic in atoms.pbc)
    return (
        f"units metal\nboundary {border}\nbox tilt large\natom_style atomic\n"
        f"read_data {data}\n"
    )


def single_point(atoms: Atoms) -> str:
    """Return an input file that computes a structure and writes what it finds."""
    return (
        f"{start(atoms)}pair_style lj/cut 5.0\npair_coeff * * 0.1 3.0\n"
        "compute each all pe/atom\n"
        "thermo_style custom step pe pxx pyy pzz pxy pxz pyz\n"
        f"thermo_modify norm no\nfix 1 all nve\nrun 0\n{WRITTEN}"
    )


def read_found(folder: Path) -> Found:
    """Return what `WRITTEN` wrote."""
    energy, *pressure = map(float, (folder / "out.txt").read_text().split())
    rows = np.loadtxt(folder / "out.dump", skiprows=9, ndmin=2)
    return Found(energy, rows[:, 8], rows[:, 5:8], np.array(pressure))


def of_ase(atoms: Atoms, calculator: Any) -> Found:
    """Return what a calculator says in ASE, turned to the axes of LAMMPS's box."""
    computed = atoms.copy()
    computed.calc = calculator
    prism = Prism(computed.cell, pbc=computed.pbc)
    turn = prism.rot_mat
    stress = computed.get_stress(voigt=False)
    pressure = -(turn.T @ stress @ turn) / BAR
    return Found(
        computed.get_potential_energy(),
        computed.get_potential_energies(),
        prism.vector_to_lammps(computed.get_forces()),
        pressure[(0, 1, 2, 0, 0, 1), (0, 1, 2, 1, 2, 2)],
    )
