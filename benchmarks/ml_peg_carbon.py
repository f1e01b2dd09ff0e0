"""Carbon by the rules of ml-peg, for several models side by side.

    python benchmarks/ml_peg_carbon.py carbon ace:c_ace.yace -o measured

Each model melts and quenches 216 atoms in two ways: that of ml-peg's
`amorphous_carbon_melt_quench` (how many atoms have four neighbours) and that of its
`melt_quench_stability` (whether the dynamics hold). Then come its `binding_curves` and
`graphene_interlayer`, and the energies of nanotubes. `synthzoo evaluate --physics C`
and `benchmarks/conservation.py` measure what else ml-peg asks of carbon.

What a run found is kept in the folder; the same command goes on after a kill. Tables go
to standard output, pictures to the folder.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from ase import Atoms, units
from ase.build import bulk, graphene, nanotube
from ase.io import read, write
from ase.lattice.hexagonal import Graphite
from ase.md.bussi import Bussi
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import Stationary, thermalize_momenta
from ase.neighborlist import neighbor_list
from ase.optimize import LBFGS
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from PIL import Image

from synthzoo.errors import SynthzooError
from synthzoo.evaluation.crystal_properties import energy_eV
from synthzoo.evaluation.physics_measures import Curve, minima_below
from synthzoo.potentials import load_potential, model_name
from synthzoo.reports.document import markdown_table
from synthzoo.reports.style import (
    BELOW,
    BLUE,
    DARK_GREY,
    GREEN,
    ORANGE,
    save_figure,
)
from synthzoo.runs.files import new_file

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

HOT_K, COLD_K = 8000.0, 300.0
TOO_HOT_K = 10 * HOT_K
CHECKED_EVERY = 10
SEED = 10
G_CM3 = 1e24 / units.mol
"""An atomic mass per Å³."""
BONDED_A = 1.85
BONDS = {"sp": 2, "sp²": 3, "sp³": 4}
"""Kinds of atoms, and how many neighbours they have within `BONDED_A`."""
COLOURS = {"sp": GREEN, "sp²": BLUE, "sp³": ORANGE}
DISTANCES_A = np.arange(50, 805, 5) / 100
LAYER_DISTANCES_A = np.arange(20, 81) / 10
FALSE_BELOW_A = 1.1
"""No structure of carbon has a minimum with neighbours closer than this."""
TUBES = ((4, 4), (6, 6), (9, 9), (6, 0), (9, 0), (15, 0))
BOND_A = 1.42


Found = Mapping[str, Mapping[float, Atoms]]
"""By model and density: what a protocol ends with."""


class UnstableError(RuntimeError):
    """The dynamics have blown up."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a structure of a density is made, moved, and at which densities (g/cm³).

    ``move``: from the structure and the share of the steps that is run.
    ``table``: of what all models end with, at each density.
    """

    name: str
    densities: tuple[float, ...]
    start: Callable[[float], Atoms]
    move: Callable[[Atoms, float], None]
    table: Callable[[Found], str]


def main() -> None:
    """Run what is not there yet, draw, and print the tables."""
    options = _options()
    options.output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for protocol in PROTOCOLS:
        if options.only not in (None, protocol.name):
            continue
        densities = options.densities or protocol.densities
        found = {
            model: {
                density: run(protocol, model, density, options.share, options.output)
                for density in densities
            }
            for model in options.models
        }
        say(protocol.table(found))
        if protocol.name == "glass":
            draw_glasses(found, options.output / f"glasses-{options.share}.png")
    if options.only in (None, "curves"):
        calculators = {m: load_potential(m).calculator for m in options.models}
        say(curve_table(calculators))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--only", choices=["glass", "stability", "curves"])
    parser.add_argument("--densities", type=float, nargs="+", help="in g/cm³")
    parser.add_argument(
        "--share", type=float, default=1.0, help="of the steps of the dynamics"
    )
    return parser.parse_args()


def run(
    protocol: Protocol, model: str, density: float, share: float, output: Path
) -> Atoms:
    """Return what a protocol ends with, from the folder if it is there."""
    part = "" if share == 1 else f"-{share}"
    path = output / f"{protocol.name}{part}-{_short(model)}-{density}.extxyz"
    if not path.is_file():
        atoms = protocol.start(density)
        atoms.calc = load_potential(model).calculator
        begun = time.process_time()
        try:
            protocol.move(atoms, share)
        except (SynthzooError, RuntimeError, ValueError) as error:
            atoms.info["failure"] = f"{type(error).__name__}: {error}".split("\n")[0]
        atoms.info["seconds"] = time.process_time() - begun
        atoms.info["share"] = share
        atoms.calc = None
        with new_file(path) as partial:
            write(partial, atoms, format="extxyz")
    found = read(path)
    assert isinstance(found, Atoms)
    return found


def diamond(density: float) -> Atoms:
    """Return 216 atoms of diamond, stretched to a density in g/cm³."""
    return _scaled(bulk("C", cubic=True).repeat(3), density)


def lattice(density: float) -> Atoms:
    """Return 216 atoms near a simple cubic lattice of a density in g/cm³."""
    atoms = _scaled(bulk("C", "sc", a=1.0).repeat(6), density)
    reach = 0.05 * atoms.cell.lengths()[0] / 6
    rng = np.random.default_rng(SEED)
    atoms.positions += rng.uniform(-reach, reach, atoms.positions.shape)
    return atoms


def _scaled(atoms: Atoms, density: float) -> Atoms:
    volume_A3 = atoms.get_masses().sum() * G_CM3 / density
    stretch = (volume_A3 / atoms.get_volume()) ** (1 / 3)
    atoms.set_cell(atoms.cell * stretch, scale_atoms=True)
    return atoms


def make_glass(atoms: Atoms, share: float) -> None:
    """Melt and quench as `amorphous_carbon_melt_quench` does, in steps of 1 fs.

    ``share``: of its 3 ps at 8000 K, and of its 7.8 ps of cooling.
    """
    rng = np.random.default_rng(SEED)
    LBFGS(atoms, logfile=os.devnull).run(fmax=10.0, steps=500)
    dynamics = Langevin(
        atoms,
        timestep=units.fs,
        temperature_K=HOT_K,
        friction=0.001 / units.fs,
        rng=rng,
    )
    dynamics.attach(require_sound, interval=CHECKED_EVERY, atoms=atoms)
    thermalize(atoms, HOT_K, rng)
    dynamics.run(round(3000 * share))
    for temperature_K in np.arange(HOT_K, COLD_K - 1, -100):
        thermalize(atoms, temperature_K, rng)  # as janus-core does in a ramp
        dynamics.set_temperature(temperature_K=temperature_K)
        dynamics.run(round(100 * share))
    LBFGS(atoms, logfile=os.devnull).run(fmax=0.02, steps=1000)
    require_sound(atoms)


def hold(atoms: Atoms, share: float) -> None:
    """Melt and quench as `melt_quench_stability` does, in steps of 0.5 fs.

    ``share``: of its 5 ps at 8000 K, and of its 8 ps of cooling.
    """
    rng = np.random.default_rng(SEED)
    thermalize(atoms, 100.0, rng)
    dynamics = Bussi(
        atoms,
        timestep=0.5 * units.fs,
        temperature_K=HOT_K,
        taut=100 * units.fs,
        rng=rng,
    )
    dynamics.attach(require_sound, interval=CHECKED_EVERY, atoms=atoms)
    dynamics.run(round(10_000 * share))
    steps = round(16_000 * share)
    for step in range(0, steps, CHECKED_EVERY):
        temperature_K = HOT_K + (COLD_K - HOT_K) * step / steps
        dynamics.target_kinetic_energy = units.kB * temperature_K * dynamics.ndof / 2
        dynamics.run(CHECKED_EVERY)


def thermalize(atoms: Atoms, temperature_K: float, rng: np.random.Generator) -> None:
    """Draw velocities."""
    thermalize_momenta(atoms, temperature_K, rng=rng)
    Stationary(atoms)


def require_sound(atoms: Atoms) -> None:
    """Stop dynamics that have blown up, by ml-peg's rule."""
    temperature_K = atoms.get_temperature()
    numbers = [atoms.get_potential_energy(), temperature_K, *atoms.get_forces().flat]
    if not np.isfinite(numbers).all() or temperature_K > TOO_HOT_K:
        raise UnstableError(f"{temperature_K:.0f} K")


def kinds_of(atoms: Atoms) -> NDArray[np.int64]:
    """Return how many neighbours each atom has."""
    first = neighbor_list("i", atoms, BONDED_A)
    return np.bincount(first, minlength=len(atoms))


def glass_table(found: Found) -> str:
    """Return shares of sp, sp² and sp³ atoms in per cent, and the time of a step."""
    densities = sorted({density for glasses in found.values() for density in glasses})
    rows = [
        (f"{density}", *(_shares(glasses[density]) for glasses in found.values()))
        for density in densities
    ]
    return markdown_table(("g/cm³", *map(_short, found)), rows)


def _shares(glass: Atoms) -> str:
    if "failure" in glass.info:
        return str(glass.info["failure"])
    bonds = kinds_of(glass)
    shares = " / ".join(f"{100 * (bonds == n).mean():.0f}" for n in BONDS.values())
    return f"{shares} ({glass.info['seconds']:.0f} s)"


def stability_table(found: Found) -> str:
    """Return how many trajectories held, and which did not."""
    rows = []
    for model, ends in found.items():
        failed = [
            f"{d}: {a.info['failure']}" for d, a in ends.items() if "failure" in a.info
        ]
        held = f"{len(ends) - len(failed)} of {len(ends)}"
        rows.append((_short(model), held, "; ".join(failed) or "–"))
    return markdown_table(("model", "stable", "failures"), rows)


def curve_table(calculators: Mapping[str, Calculator]) -> str:
    """Return minima of binding curves, of a bilayer, and energies of nanotubes."""
    columns = [dict(_curve_values(calculator)) for calculator in calculators.values()]
    rows = [(name, *(column[name] for column in columns)) for name in columns[0]]
    return markdown_table(("", *map(_short, calculators)), rows)


def _curve_values(calculator: Calculator) -> Iterator[tuple[str, str]]:
    for name, build in STRUCTURES.items():
        curve = _curve(build, DISTANCES_A, calculator)
        lowest = int(np.nanargmin(curve.y))
        bottom = f"{curve.x[lowest]:.2f} Å, {curve.y[lowest]:.2f} eV"
        yield f"{name}: minimum", bottom
        false = [
            f"{x:.2f} Å, {y:.0f} eV" for x, y in minima_below(curve, FALSE_BELOW_A)
        ]
        yield f"{name}: false minima", "; ".join(false) or "–"
    curve = _curve(bilayer, LAYER_DISTANCES_A, calculator)
    lowest = int(np.nanargmin(curve.y))
    yield (
        "bilayer: minimum",
        f"{curve.x[lowest]:.1f} Å, {1000 * curve.y[lowest]:.0f} meV",
    )
    for distance in (2.7, 3.0, 3.3):
        at = curve.y[curve.x.index(distance)]
        yield f"bilayer at {distance} Å (meV/atom)", f"{1000 * at:.0f}"
    flat = _energy_eV_atom(sheet(BOND_A), calculator)
    for tube in TUBES:
        atoms = nanotube(*tube, bond=BOND_A, vacuum=10)
        atoms.pbc = True
        strain = _energy_eV_atom(atoms, calculator) - flat
        yield f"nanotube {tube} above graphene (meV/atom)", f"{1000 * strain:.0f}"


def _curve(
    build: Callable[[float], Atoms], x: NDArray[np.float64], calculator: Calculator
) -> Curve:
    """Return energies per atom in eV, above those at the largest distance."""
    y = np.array(
        [_energy_eV_atom(build(float(distance)), calculator) for distance in x]
    )
    return Curve(
        title="", x_label="", y_label="", x=tuple(map(float, x)), y=tuple(y - y[-1])
    )


def _energy_eV_atom(atoms: Atoms, calculator: Calculator) -> float:
    try:
        return energy_eV(atoms, calculator) / len(atoms)
    except SynthzooError:  # of 50 times the density of diamond, as bcc at 0.5 Å
        return math.nan


def sheet(neighbours_A: float) -> Atoms:
    """Return graphene with neighbours at a distance."""
    atoms: Atoms = graphene(a=3**0.5 * neighbours_A, vacuum=15)
    atoms.pbc = True
    return atoms


def bilayer(distance_A: float) -> Atoms:
    """Return two layers of graphene, stacked as in graphite."""
    constants = {"a": 2.46, "c": 2 * distance_A}
    atoms: Atoms = Graphite("C", latticeconstant=constants)
    atoms.pbc = True  # C-ACE knows no slabs
    atoms.cell[2, 2] = 40 + distance_A
    atoms.positions[:, 2] += 20
    return atoms


STRUCTURES: dict[str, Callable[[float], Atoms]] = {
    "dimer": lambda nn: Atoms("C2", [[0, 0, 0], [nn, 0, 0]]),
    "graphene": sheet,
    "diamond": lambda nn: bulk("C", "diamond", a=4 * nn / 3**0.5),
    "sc": lambda nn: bulk("C", "sc", a=nn),
    "bcc": lambda nn: bulk("C", "bcc", a=2 * nn / 3**0.5),
    "fcc": lambda nn: bulk("C", "fcc", a=2**0.5 * nn),
}


def draw_glasses(found: Found, path: Path) -> None:
    """Draw the structures, one row for each model."""
    densities = sorted({density for glasses in found.values() for density in glasses})
    size = (2.3 * len(densities), 2.6 * len(found))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(found), len(densities), squeeze=False)
    for row, (model, glasses) in zip(panels, found.items(), strict=True):
        for axes, density in zip(row, densities, strict=True):
            axes.set(aspect="equal", xticks=[], yticks=[], title=f"{density} g/cm³")
            axes.spines[:].set_visible(False)
            _draw_glass(axes, glasses[density])
        row[0].set_ylabel(_short(model))
    handles = [
        panels[0, 0].scatter([], [], color=colour, label=kind)
        for kind, colour in COLOURS.items()
    ]
    figure.legend(handles=handles, **BELOW)
    save_figure(figure, path, dpi=80)
    with Image.open(path) as picture:  # few colours make a small file
        picture.convert("RGB").quantize(48).save(path, optimize=True)


def _draw_glass(axes: Axes, glass: Atoms) -> None:
    bonds = kinds_of(glass)
    glass.wrap()
    first, second, across = neighbor_list("ijS", glass, BONDED_A)
    inside = (across == 0).all(axis=1) & (first < second)
    ends = glass.positions[:, :2][np.stack([first, second], axis=1)[inside]]
    axes.add_collection(LineCollection(list(ends), colors="0.7", linewidths=0.6))
    colours = {n: COLOURS[kind] for kind, n in BONDS.items()}
    order = np.argsort(glass.positions[:, 2])
    axes.scatter(
        glass.positions[order, 0],
        glass.positions[order, 1],
        s=14,
        c=[colours.get(int(bonds[atom]), DARK_GREY) for atom in order],
        edgecolors="white",
        linewidths=0.3,
        zorder=2,
    )


def _short(model: str) -> str:
    return Path(model_name(model)).name


def say(text: str) -> None:
    """Write a table now."""
    sys.stdout.write(f"{text}\n\n")
    sys.stdout.flush()


PROTOCOLS = (
    Protocol(
        name="glass",
        densities=(2.5, 3.5, 1.5, 3.0, 2.0),
        start=diamond,
        move=make_glass,
        table=glass_table,
    ),
    Protocol(
        name="stability",
        densities=(0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5),
        start=lattice,
        move=hold,
        table=stability_table,
    ),
)


if __name__ == "__main__":
    main()
