"""Physics of carbon that no error bar shows: layers, elasticity, the wall, a phonon.

    python benchmarks/carbon_physics.py carbon paper/ace-100k ace:c_ace.yace

Each potential is measured at its own lattice constants. MODELS are whatever `synthzoo
md` takes: a name of the zoo, a checkpoint folder, `hf:…` or a teacher. The table is
printed as Markdown; the known failures on the cards of carbon are taken from it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.filters import FrechetCellFilter
from ase.lattice.hexagonal import Graphite
from ase.optimize import BFGS
from ase.vibrations import Vibrations

from synthzoo.evaluation.crystals import elastic_constants_GPa, relax_crystals
from synthzoo.models.place import Place
from synthzoo.potentials import load_potential
from synthzoo.reports.document import markdown_table

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

LAYER_DISTANCES_A = (2.4, 2.6, 2.8, 3.0, 3.2, 3.4, 3.6, 3.8, 4.0)
SEPARATED_A = 8.0
ABOVE_SEPARATE = "energy above separate layers (meV/atom)"
RELAXED_FROM_A = 2.8
PRESSED_TO_A = 3.1
DIMER_DISTANCES_A = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2)
DISSOCIATED_A = 10.0
CELL_A = 25.0
MAX_FORCE_EV_A = 0.005
MAX_STEPS = 300


def measure(calculator: Calculator) -> dict[str, float]:
    """Return each quantity by its name, which holds its unit."""
    relaxed = relax_crystals(calculator, np.random.default_rng(0))
    sheet, graphene = relaxed["graphene"]
    diamond, _ = relaxed["diamond"]
    return {
        "graphene: lattice constant (Å)": sheet.a_A,
        "graphene: E2g mode (cm⁻¹)": _highest_mode_per_cm(graphene, calculator),
        **layer_energies(sheet.a_A, calculator),
        **dict(_pressed_graphite(sheet.a_A, calculator)),
        "diamond: lattice constant (Å)": diamond.a_A,
        **dict(_diamond(diamond.a_A, calculator)),
        **dict(_dimer(calculator)),
    }


def layer_energies(a_A: float, calculator: Calculator) -> dict[str, float]:
    """Return the energy of graphite (AB) at some layer distances, by its name."""
    return {
        f"graphite at {distance} Å: {ABOVE_SEPARATE}": _above_separate_meV(
            _graphite(a_A, distance, calculator), a_A
        )
        for distance in LAYER_DISTANCES_A
    }


def _pressed_graphite(
    a_A: float, calculator: Calculator
) -> Iterator[tuple[str, float]]:
    """Yield where graphite ends that starts with layers too close, and its pressure."""
    relaxed = _graphite(a_A, RELAXED_FROM_A, calculator)
    everything: Any = FrechetCellFilter(relaxed)
    BFGS(everything, logfile=None).run(MAX_FORCE_EV_A, MAX_STEPS)
    begun = f"graphite relaxed from {RELAXED_FROM_A} Å"
    yield f"{begun}: layer distance (Å)", float(relaxed.cell.lengths()[2] / 2)
    yield f"{begun}: {ABOVE_SEPARATE}", _above_separate_meV(relaxed, a_A)
    pressed = _graphite(a_A, PRESSED_TO_A, calculator)
    yield (
        f"graphite at {PRESSED_TO_A} Å: pressure along z (GPa)",
        float(-pressed.get_stress()[2] / units.GPa),
    )


def _graphite(a_A: float, layers_A: float, calculator: Calculator) -> Atoms:
    constants = {"a": a_A, "c": 2 * layers_A}
    atoms: Atoms = Graphite("C", latticeconstant=constants, pbc=True)
    atoms.calc = calculator
    return atoms


def _above_separate_meV(graphite: Atoms, a_A: float) -> float:
    """Return the energy per atom above that of layers without any interaction."""
    separate = _graphite(a_A, SEPARATED_A, graphite.calc)
    above_eV = graphite.get_potential_energy() - separate.get_potential_energy()
    return float(1000 * above_eV / len(graphite))


def _diamond(a_A: float, calculator: Calculator) -> Iterator[tuple[str, float]]:
    constants = elastic_constants_GPa(bulk("C", "diamond", a=a_A), calculator)
    c11, c12, c44 = constants[0, 0], constants[0, 1], constants[3, 3]
    yield "diamond: C11 (GPa)", float(c11)
    yield "diamond: C12 (GPa)", float(c12)
    yield "diamond: C44 (GPa)", float(c44)
    yield "diamond: bulk modulus (GPa)", float((c11 + 2 * c12) / 3)
    yield "diamond: shear modulus (C11 - C12)/2 (GPa)", float((c11 - c12) / 2)


def _dimer(calculator: Calculator) -> Iterator[tuple[str, float]]:
    def energy_eV(distance_A: float) -> float:
        atoms = Atoms(
            "C2", [[0, 0, 0], [0, 0, distance_A]], cell=[CELL_A] * 3, pbc=True
        )
        atoms.calc = calculator
        return float(atoms.get_potential_energy())

    apart_eV = energy_eV(DISSOCIATED_A)
    for distance in DIMER_DISTANCES_A:
        yield (
            f"C2 at {distance} Å: energy above two atoms (eV)",
            energy_eV(distance) - apart_eV,
        )


def _highest_mode_per_cm(atoms: Atoms, calculator: Calculator) -> float:
    """Return the highest frequency at Γ: all images of a displaced atom move along."""
    still = atoms.copy()
    still.calc = calculator
    with tempfile.TemporaryDirectory() as folder:
        vibrations = Vibrations(still, name=str(Path(folder) / "modes"))
        vibrations.run()
        return float(vibrations.get_frequencies().real.max())


@click.command(help=__doc__)
@click.argument("models", nargs=-1, required=True)
@click.option("--device", default="cpu", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON with all digits.")
def main(models: tuple[str, ...], device: str, *, as_json: bool) -> None:
    """Measure each model and print the table."""
    found = {
        model: measure(load_potential(model, place=Place(device=device)).calculator)
        for model in models
    }
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    header = ("", *(Path(model).name for model in models))
    rows = [
        (name, *(f"{found[model][name]:.4g}" for model in models))
        for name in found[models[0]]
    ]
    click.echo(markdown_table(header, rows))


if __name__ == "__main__":
    main()
