"""The demo: what the zoo's carbon potential does in two minutes, without a network."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from ase import Atoms, units
from ase.build import bulk, graphene
from ase.eos import EquationOfState
from ase.filters import FrechetCellFilter
from ase.md.velocitydistribution import Stationary, thermalize_momenta
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS
from tqdm import tqdm

from synthzoo.checkpoint import (
    WEIGHTS_FILE,
    installed_versions,
    new_folder,
    read_config,
    refuse_existing,
)
from synthzoo.errors import InputError, UnknownModelError
from synthzoo.structures import label, write_structures

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

    from synthzoo.cards import ReferenceValues
    from synthzoo.checkpoint import CheckpointConfig

ELEMENT = "C"
RELAXED_FILE = "relaxed.xyz"
CURVE_FILE = "energy-volume.xyz"
TRAJECTORY_FILE = "dynamics.xyz"
RESULTS_FILE = "results.json"
REPORT_FILE = "report.md"
FIGURE_FILE = "demo.png"

ATOMS_PER_CELL = 8
"""In the conventional cell of diamond."""

MAX_FORCE_EV_A = 0.002
MAX_RELAX_STEPS = 100
CURVE_POINTS = 13
CURVE_STRETCH = (0.95, 1.06)
"""Of the lattice constant, where the card has no volumes to compare with."""

TEMPERATURE_K = 300.0
START_K = 2 * TEMPERATURE_K
"""Half of the kinetic energy goes into the springs of a crystal that starts at rest."""

TIMESTEP_FS = 0.5
STEPS_PER_FRAME = 20
MD_CELLS = (2, 2, 2)
"""Conventional cells of diamond along each axis."""


@dataclass(frozen=True, kw_only=True)
class Relaxation:
    """A crystal whose cell and positions were relaxed.

    Attributes
    ----------
    name
        Of the crystal.
    a_A
        Lattice constant.
    energy_eV_per_atom
        Relative to isolated atoms.
    steps
        Steps that it took.
    converged
        Whether all forces, also on the cell, ended below the limit.
    """

    name: str
    a_A: float
    energy_eV_per_atom: float
    steps: int
    converged: bool


@dataclass(frozen=True, kw_only=True)
class EnergyVolume:
    """Energies of diamond at several volumes.

    Attributes
    ----------
    volumes_A3_per_atom, energies_eV_per_atom
        Points on the curve.
    minimum_A3_per_atom, bulk_modulus_GPa
        From a fit through the points; None if it has no minimum.
    """

    volumes_A3_per_atom: tuple[float, ...]
    energies_eV_per_atom: tuple[float, ...]
    minimum_A3_per_atom: float | None
    bulk_modulus_GPa: float | None


@dataclass(frozen=True, kw_only=True)
class Dynamics:
    """Molecular dynamics of diamond at constant energy.

    Attributes
    ----------
    atoms
        Size of the cell.
    timestep_fs
        Step of the integrator.
    times_ps
        Time of each step.
    temperatures_K
        Instantaneous temperatures.
    energies_meV_per_atom
        Change of the total energy since the start.
    drift_meV_per_atom
        Slope of a straight line through those energies, times the duration.
    """

    atoms: int
    timestep_fs: float
    times_ps: tuple[float, ...]
    temperatures_K: tuple[float, ...]
    energies_meV_per_atom: tuple[float, ...]
    drift_meV_per_atom: float

    @property
    def mean_temperature_K(self) -> float:
        """The mean over the second half, after the start has spread out."""
        half = len(self.temperatures_K) // 2
        return float(np.mean(self.temperatures_K[half:]))


@dataclass(frozen=True, kw_only=True)
class DemoSummary:
    """What the demo found and where it lies.

    Attributes
    ----------
    output
        Folder with all files.
    model
        Model that was shown, as it was asked for.
    weights_sha256
        Hash of its weights.
    seed
        Of the displacements and velocities at the start.
    versions
        Packages that made the numbers.
    diamond, graphene
        The relaxed crystals.
    curve
        Energies of diamond over the volume.
    dynamics
        Molecular dynamics of diamond.
    reference
        The teacher's values, from the model's card; None without a card.
    seconds
        Wall time.
    """

    output: Path
    model: str
    weights_sha256: str
    seed: int
    versions: dict[str, str]
    diamond: Relaxation
    graphene: Relaxation
    curve: EnergyVolume
    dynamics: Dynamics
    reference: ReferenceValues | None
    seconds: float

    @property
    def figure(self) -> Path:
        """The figure."""
        return self.output / FIGURE_FILE

    @property
    def report(self) -> Path:
        """The table, what was done, and what to try next."""
        return self.output / REPORT_FILE


def run_demo(
    output: Path,
    *,
    model: str = "carbon",
    duration_ps: float = 0.5,
    seed: int = 1,
) -> DemoSummary:
    """Relax diamond and graphene, draw an energy–volume curve, run dynamics.

    Parameters
    ----------
    output
        Folder to make; it appears when everything is done.
    model
        Name, folder or hub reference of a potential of carbon.
    duration_ps
        Length of the molecular dynamics.
    seed
        Of the displacements and velocities at the start.

    Raises
    ------
    InputError
        If the folder exists and is not empty, or the model is no potential of carbon.
    SynthzooError
        If the model cannot be loaded.
    """
    from synthzoo.calculator import load_calculator
    from synthzoo.hub import find_folder
    from synthzoo.registry import file_record
    from synthzoo.report import write_demo_figure, write_demo_report

    started = time.monotonic()
    output = Path(output)
    refuse_existing(output)
    checkpoint = find_folder(model)
    _check_model(model, read_config(checkpoint))
    calculator = load_calculator(checkpoint, device="cpu")
    reference = _reference(model)
    with new_folder(output) as folder, tqdm(desc="demo", leave=False) as bar:
        rng = np.random.default_rng(seed)
        diamond, graphene = _relax_crystals(calculator, rng, folder)
        curve = _curve(calculator, _volumes(diamond, reference), folder)
        start = bulk(ELEMENT, "diamond", a=diamond.a_A, cubic=True).repeat(MD_CELLS)
        start.calc = calculator
        thermalize_momenta(start, START_K, rng=rng)
        dynamics = _dynamics(start, duration_ps, folder, bar)
        summary = DemoSummary(
            output=output,
            model=str(model),
            weights_sha256=file_record(checkpoint / WEIGHTS_FILE).sha256,
            seed=seed,
            versions=installed_versions(),
            diamond=diamond,
            graphene=graphene,
            curve=curve,
            dynamics=dynamics,
            reference=reference,
            seconds=time.monotonic() - started,
        )
        _write_results(folder / RESULTS_FILE, summary)
        write_demo_figure(folder, summary)
        write_demo_report(folder, summary)
    return summary


def _check_model(model: str, config: CheckpointConfig) -> None:
    if ELEMENT not in config.elements:
        raise InputError(
            f"The demo needs a potential of carbon; {model} knows "
            f"{', '.join(config.elements)}."
        )
    if config.kind != "potential":
        raise InputError(
            f"The demo needs a potential; {model} is only a starting point for "
            "fine-tuning."
        )


def _reference(model: str) -> ReferenceValues | None:
    from synthzoo.registry import find_card

    try:
        return find_card(str(model)).reference_values
    except UnknownModelError:
        return None  # a folder or a hub reference has no card here


def _relax_crystals(
    calculator: Calculator, rng: np.random.Generator, folder: Path
) -> tuple[Relaxation, Relaxation]:
    crystals = {
        "diamond": bulk(ELEMENT, "diamond", a=3.65, cubic=True),
        "graphene": graphene(a=2.40, vacuum=8.0),
    }
    found, relaxed = [], []
    for name, atoms in crystals.items():
        atoms.positions += rng.normal(scale=0.03, size=atoms.positions.shape)
        atoms.calc = calculator
        found.append(_relax(atoms, name))
        relaxed.append(_labelled(atoms))
    write_structures(folder / RELAXED_FILE, relaxed)
    return found[0], found[1]


def _relax(atoms: Atoms, name: str) -> Relaxation:
    """Relax cell and positions in place; only periodic directions may stretch."""
    x, y, z = atoms.pbc
    mask = [x, y, z, y and z, x and z, x and y]
    everything: Any = FrechetCellFilter(atoms, mask=mask)
    optimiser = BFGS(everything, logfile=None)
    try:
        converged = optimiser.run(fmax=MAX_FORCE_EV_A, steps=MAX_RELAX_STEPS)
    except InputError as error:
        raise InputError(
            f"This model does not hold {name} together: it collapsed while it was "
            f"relaxed ({error})"
        ) from error
    atoms.info["name"] = name
    return Relaxation(
        name=name,
        a_A=float(atoms.cell.lengths()[atoms.pbc].mean()),
        energy_eV_per_atom=atoms.get_potential_energy() / len(atoms),
        steps=optimiser.get_number_of_steps(),
        converged=bool(converged),
    )


def _volumes(
    diamond: Relaxation, reference: ReferenceValues | None
) -> tuple[float, ...]:
    """Return the teacher's volumes, or some around the relaxed one."""
    known = reference.crystals.get("diamond") if reference else None
    if known and known.volumes_A3_per_atom:
        return known.volumes_A3_per_atom
    stretch = np.linspace(*CURVE_STRETCH, CURVE_POINTS)
    return tuple((stretch * diamond.a_A) ** 3 / ATOMS_PER_CELL)


def _curve(
    calculator: Calculator, volumes_A3_per_atom: tuple[float, ...], folder: Path
) -> EnergyVolume:
    structures = []
    for volume in volumes_A3_per_atom:
        atoms = bulk(ELEMENT, "diamond", a=(ATOMS_PER_CELL * volume) ** (1 / 3))
        atoms.calc = calculator
        structures.append(_labelled(atoms))
    write_structures(folder / CURVE_FILE, structures)
    energies = [atoms.get_potential_energy() / len(atoms) for atoms in structures]
    return fit_curve(volumes_A3_per_atom, energies)


def fit_curve(
    volumes_A3_per_atom: Sequence[float], energies_eV_per_atom: Sequence[float]
) -> EnergyVolume:
    """Return points on an energy–volume curve with its minimum and bulk modulus.

    The fit is a cubic polynomial in the inverse length, the equation of state of
    doi 10.1103/PhysRevB.67.026103.

    Parameters
    ----------
    volumes_A3_per_atom, energies_eV_per_atom
        At least four points.

    Examples
    --------
    >>> volumes = np.linspace(5, 6.5, 9)
    >>> curve = fit_curve(volumes, (volumes - 5.7) ** 2)
    >>> round(curve.minimum_A3_per_atom, 2)
    5.7
    """
    volumes = tuple(map(float, volumes_A3_per_atom))
    energies = tuple(map(float, energies_eV_per_atom))
    minimum, modulus = None, None
    with contextlib.suppress(ValueError):  # the fit has no minimum
        found, _, curvature = EquationOfState(volumes, energies).fit(warn=False)
        if min(volumes) < found < max(volumes):
            minimum, modulus = float(found), float(curvature / units.GPa)
    return EnergyVolume(
        volumes_A3_per_atom=volumes,
        energies_eV_per_atom=energies,
        minimum_A3_per_atom=minimum,
        bulk_modulus_GPa=modulus,
    )


def _dynamics(
    atoms: Atoms, duration_ps: float, folder: Path, bar: tqdm[NoReturn]
) -> Dynamics:
    """Run at constant energy from the momenta that the atoms have."""
    steps = round(1000 * duration_ps / TIMESTEP_FS)
    bar.reset(total=steps)
    Stationary(atoms)
    integrator = VelocityVerlet(atoms, TIMESTEP_FS * units.fs)
    temperatures, energies, frames = [], [], []
    for step, _ in enumerate(integrator.irun(steps)):
        temperatures.append(atoms.get_temperature())
        energies.append(1000 * atoms.get_total_energy() / len(atoms))
        if step % STEPS_PER_FRAME == 0:
            frames.append(_labelled(atoms, time_ps=step * TIMESTEP_FS / 1000))
        bar.update(min(step, 1))
    write_structures(folder / TRAJECTORY_FILE, frames)
    times = np.arange(steps + 1) * TIMESTEP_FS / 1000
    changes = np.array(energies) - energies[0]
    return Dynamics(
        atoms=len(atoms),
        timestep_fs=TIMESTEP_FS,
        times_ps=tuple(times.tolist()),
        temperatures_K=tuple(map(float, temperatures)),
        energies_meV_per_atom=tuple(changes.tolist()),
        drift_meV_per_atom=float(np.polyfit(times, changes, 1)[0] * times[-1]),
    )


def _labelled(atoms: Atoms, **info: Any) -> Atoms:
    """Return a copy that keeps the results, for writing."""
    copy = label(
        atoms,
        energy_eV=atoms.get_potential_energy(),
        forces_eV_A=atoms.get_forces(),
    )
    copy.info.update(info)
    return copy


def _write_results(path: Path, summary: DemoSummary) -> None:
    values = dataclasses.asdict(summary)
    del values["output"]
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
