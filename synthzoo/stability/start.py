"""Before the first step: whether a structure can be run with a model."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.constraints import FixAtoms
from ase.data import covalent_radii
from ase.optimize import FIRE

from synthzoo.data import unconstrained
from synthzoo.data.pairs import find_pairs
from synthzoo.data.sound import check_structure
from synthzoo.errors import InputError, SynthzooError
from synthzoo.models.doubt import refuse_limit
from synthzoo.potentials import (
    Model,
    Potential,
    gives_stress,
    load_potential,
    model_name,
)
from synthzoo.stability.contacts import shortest_contact
from synthzoo.stability.fixed import fixed_atoms, keep_fixed
from synthzoo.stability.protocol import Dynamics, longest_step_fs

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.models.place import Place
    from synthzoo.stability.protocol import MdRecipe


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
        """Compute energy (eV) and forces (eV/Å)."""
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

    Atoms may overlap, but not lie on one place.
    ``calculator``: what to relax it with, once the atoms are apart.
    """
    relaxed: Atoms = atoms.copy()
    for potential in (SoftSpheres(), calculator):  # type: ignore[no-untyped-call]
        relaxed.calc = potential
        FIRE(relaxed, logfile=None).run(fmax=MAX_FORCE_EV_A, steps=MAX_STEPS)
    relaxed.calc = None
    relaxed.set_momenta(np.zeros((len(relaxed), 3)))
    return relaxed


LARGE_FORCE_EV_A = 30.0
"""A structure with a longer force vector is far from equilibrium."""

SMALL_CELL_A = 8.0
"""A cell with less height is smaller than twice the reach of most potentials."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """Starting structures that can be run with a model."""

    structures: tuple[Atoms, ...]
    notes: tuple[str, ...]
    provenance: dict[str, Any] = field(default_factory=dict)


def clean_structures(
    structures: tuple[Atoms, ...], recipe: MdRecipe, timestep_fs: float
) -> Start:
    """Return structures without velocities, and notes about them.

    Of their constraints only fixed atoms are left.
    """
    notes: list[str] = []
    for number, atoms in enumerate(structures):
        _check(atoms, _called(number, structures), recipe)
    notes += _notes_on_constraints(structures)
    if any(np.any(atoms.get_momenta()) for atoms in structures):
        notes.append("Velocities are drawn anew from each replica's seed.")
    longest_fs = min(longest_step_fs(atoms) for atoms in structures)
    if recipe.moving and timestep_fs > longest_fs:
        lightest = min(structures, key=longest_step_fs)
        symbol = lightest.symbols[int(lightest.get_masses().argmin())]
        notes.append(
            f"The time step of {timestep_fs:g} fs is too long for {symbol}: use at "
            f"most {longest_fs:.2g} fs."
        )
    return Start(structures=tuple(map(_bare, structures)), notes=tuple(notes))


def prepare(
    model: Model, start: Start, recipe: MdRecipe, *, place: Place, relaxed: bool
) -> Start:
    """Return starting structures after a look at them with the model."""
    potential = load_potential(model, place=place)
    name = model_name(model)
    for number, atoms in enumerate(start.structures):
        called = _called(number, start.structures)
        check_structure(atoms, elements=potential.elements, name=called, overlaps=False)
        if not relaxed:
            _check_contacts(atoms, called, recipe)
    structures = start.structures
    if relaxed:
        structures = tuple(relax(atoms, potential.calculator) for atoms in structures)
    notes = [*start.notes]
    for number, atoms in enumerate(structures):
        called = _called(number, structures)
        notes += _check_energy(potential, name, atoms, called, recipe)
    return dataclasses.replace(
        start,
        structures=structures,
        notes=tuple(dict.fromkeys(notes)),
        provenance=potential.provenance,
    )


def _called(number: int, structures: tuple[Atoms, ...]) -> str:
    if len(structures) == 1:
        return "The structure"
    return f"Structure number {number + 1}"


def _notes_on_constraints(structures: tuple[Atoms, ...]) -> Iterator[str]:
    fixed = {len(fixed_atoms(atoms)): len(atoms) for atoms in structures}
    for count, atoms in sorted(fixed.items()):
        if count:
            yield (
                f"{count} of {atoms} atoms are fixed: they stay, and have no part in "
                "the temperature."
            )
    if any(
        not isinstance(constraint, FixAtoms)
        for atoms in structures
        for constraint in atoms.constraints
    ):
        yield "Constraints other than fixed atoms are not used: those atoms move."


def _bare(atoms: Atoms) -> Atoms:
    """Return a copy that has elements, positions, cell, masses and fixed atoms only."""
    bare: Atoms = atoms.copy()
    bare.calc = None
    keep_fixed(bare)
    bare.set_momenta(np.zeros((len(bare), 3)))
    bare.info.clear()
    return bare


def _check(atoms: Atoms, name: str, recipe: MdRecipe) -> None:
    check_structure(atoms, name=name, overlaps=False)
    if len(atoms) < 2 and recipe.moving:
        raise InputError(
            f"{name} has only one atom, which cannot move relative to others; repeat "
            "the cell, as with atoms.repeat(3)."
        )
    if _has_barostat(recipe) and not atoms.pbc.all():
        raise InputError(
            f"{name} is not periodic in all directions; a protocol with constant "
            "pressure needs a periodic cell."
        )


def _has_barostat(recipe: MdRecipe) -> bool:
    return any(
        isinstance(stage, Dynamics) and stage.ensemble == "npt"
        for stage in recipe.moving
    )


def _check_contacts(atoms: Atoms, name: str, recipe: MdRecipe) -> None:
    pair = shortest_contact(atoms, recipe.limits)
    if pair is None or pair.ratio >= recipe.limits.fused_ratio:
        return
    symbols = atoms.symbols
    raise InputError(
        f"{name}: atoms overlap at the start, {symbols[pair.first]} {pair.first} and "
        f"{symbols[pair.second]} {pair.second} are {pair.distance_A:.2f} Å apart. "
        "Relax the structure first, or ask for it (--relax; relaxed=True)."
    )


def _check_energy(
    potential: Potential, model: str, atoms: Atoms, name: str, recipe: MdRecipe
) -> list[str]:
    """Return notes about a structure from its energy and forces."""
    tried = atoms.copy()
    tried.calc = potential.calculator
    try:
        energy_eV = unconstrained.energy_eV(tried)
        forces_eV_A = np.linalg.norm(unconstrained.forces_eV_A(tried), axis=1)
    except SynthzooError:
        raise
    except Exception as error:  # calculators raise what they like
        raise InputError(
            f"{name} cannot be computed with {model}: {type(error).__name__}: {error}"
        ) from error
    if not np.isfinite([energy_eV, *forces_eV_A]).all():
        raise InputError(f"{name} has no finite energy and forces with {model}.")
    if _has_barostat(recipe) and not gives_stress(potential, atoms):
        raise InputError(
            f"{model} gives no stress, which constant pressure needs; choose a "
            "protocol without it."
        )
    refuse_limit(tried.calc.results, recipe.limits.uncertainty_eV_A, model=model)
    return _notes(potential, atoms, float(forces_eV_A.max()))


def _notes(potential: Potential, atoms: Atoms, longest_eV_A: float) -> list[str]:
    notes = []
    if longest_eV_A > LARGE_FORCE_EV_A:
        notes.append(
            f"Forces of up to {longest_eV_A:.0f} eV/Å at the start: the structure is "
            "far from equilibrium and will heat up; --relax helps."
        )
    periodic = atoms.pbc & (atoms.cell.lengths() > 0)
    if periodic.any() and not potential.all_images:
        heights = 1 / np.linalg.norm(atoms.cell.complete().reciprocal(), axis=1)
        height_A = float(heights[periodic].min())
        if height_A < SMALL_CELL_A:
            notes.append(
                f"The cell is only {height_A:.1f} Å high: if that is less than twice "
                "the calculator's cutoff, the calculator must count several images of "
                "an atom."
            )
    return notes
