"""How each kind of part is made: what `generate` and `estimate` know of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from synthzoo.generation import (
    around,
    builders,
    melt_quench,
    relaxed,
    sheets,
    short_dynamics,
    start_files,
)
from synthzoo.generation.grids import draw
from synthzoo.generation.kinds.from_atoms import Dimers, MeltQuench, Packing
from synthzoo.generation.kinds.from_file import Around, ShortDynamics
from synthzoo.generation.kinds.from_prototypes import Compressed, Crystals, Surfaces
from synthzoo.generation.kinds.part import Part
from synthzoo.generation.kinds.relaxed import Relaxed
from synthzoo.generation.kinds.sheets import Layers, Networks
from synthzoo.generation.packing import density_points, pack
from synthzoo.recipes.schema import inside

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms

    from synthzoo.generation.recipe import GenerateRecipe
    from synthzoo.generation.species import Species
    from synthzoo.teachers import Teacher

P = TypeVar("P", bound=Part)
C = TypeVar("C", Crystals, Surfaces, Compressed)

Named = tuple[str, "Atoms"]
"""A name that no other structure of the job has, and a structure.

The name is empty for the frames of a trajectory, which belong together.
"""


@dataclass(frozen=True, kw_only=True)
class Work(Generic[P]):
    """What the structures of one job are made from.

    ``part``: as `Maker.split` gave it.
    ``item``: number of the job among those of its part.
    ``driver``: moves the atoms; None for parts without dynamics.
    """

    part: P
    item: int
    species: Species
    rng: np.random.Generator
    driver: Teacher | None = None

    @property
    def mover(self) -> Teacher:
        """The driver of a part that has dynamics."""
        if self.driver is None:
            raise ValueError(f"parts of kind {self.part.kind} have no dynamics")
        return self.driver


@dataclass(frozen=True, kw_only=True)
class Cost(Generic[P]):
    """What the dynamics of a part cost.

    ``limit_hours``: a job that takes longer has failed.
    ``atom_steps``: time steps times atoms of all its jobs.
    ``sample``: short runs that stand for it, of this number of time steps each.
    """

    limit_hours: Callable[[P], float]
    atom_steps: Callable[[P], float]
    sample: Callable[[P, int], list[P]]


def _in_one_job(part: P, seed: tuple[int, int]) -> list[P]:  # noqa: ARG001
    return [part]


def _takes_all(part: P, species: Species) -> None:
    """Accept any elements."""


@dataclass(frozen=True, kw_only=True)
class Maker(Generic[P]):
    """How one kind of part is made.

    ``make``: yields the structures of one job. An error of a part with dynamics ends
    its job only; it is recorded, what was yielded before is kept, and the others go on.
    ``structures``, ``mean_atoms``: how many there will be of these elements, and their
    mean size.
    ``check``: refuses elements of which the part cannot be made.
    ``split``: the part once for each of its jobs, with what is settled for each; it
    takes the seed and the number of the part in the recipe.
    ``dynamics``: of parts whose atoms a driver moves.
    """

    make: Callable[[Work[P]], Iterator[Named]]
    structures: Callable[[P, Species], int]
    mean_atoms: Callable[[P, Species], float]
    check: Callable[[P, Species], object] = _takes_all
    split: Callable[[P, tuple[int, int]], list[P]] = _in_one_job
    dynamics: Cost[P] | None = None


def maker_of(part: P) -> Maker[P]:
    """Return how a part is made."""
    return MAKERS[type(part)]


def check_parts(recipe: GenerateRecipe) -> None:
    """Refuse elements of which a part cannot be made.

    ``recipe``: as `with_hashes` returns it.
    """
    for index, part in enumerate(recipe.parts):
        with inside(f"parts[{index}]"):
            maker_of(part).check(part, recipe.species)


def _trajectory(work: Work[MeltQuench]) -> Iterator[Named]:
    calculator = work.mover.forces_calculator
    frames = melt_quench.trajectory(work.part, work.species, calculator, work.rng)
    for frame in frames:
        yield "", frame


def _family(work: Work[Around]) -> Iterator[Named]:
    for frame in around.family(work.part, work.mover, work.rng):
        yield "", frame


def _short_dynamics(work: Work[ShortDynamics]) -> Iterator[Named]:
    for frame in short_dynamics.frames(work.part, work.mover, work.rng):
        yield "", frame


def _packings(work: Work[Packing]) -> Iterator[Named]:
    part = work.part
    points = density_points(part)
    for index in range(part.count):
        settled = dataclasses.replace(part, density_g_cm3=points[index % len(points)])
        yield str(index), pack(settled, work.species, work.rng)


def _stacks(work: Work[Layers]) -> Iterator[Named]:
    for index in range(work.part.count):
        yield str(index), sheets.stack(work.part, work.species, work.rng)


def _networks(work: Work[Networks]) -> Iterator[Named]:
    driver = work.mover.forces_calculator
    for index in range(work.part.count):
        yield str(index), sheets.network(work.part, work.species, driver, work.rng)


def _relaxed(work: Work[Relaxed]) -> Iterator[Named]:
    part, driver = work.part, work.mover.forces_calculator
    made_from: Work[Any] = dataclasses.replace(cast("Any", work), part=part.of)
    for name, made in maker_of(part.of).make(made_from):
        atoms = relaxed.relaxed(made, driver, part.relax_steps, work.rng)
        builders.rattle(atoms, draw(part.rattle_A, work.rng), work.rng)
        atoms.info.update(made.info)
        yield name, atoms


def _dimers(work: Work[Dimers]) -> Iterator[Named]:
    for index, atoms in enumerate(builders.dimers(work.part, work.species)):
        yield str(index), atoms


def _of_prototypes(
    build: Callable[[C, str, Species, np.random.Generator], Atoms],
) -> Maker[C]:
    """Return the maker of a part that takes each of its prototypes so many times.

    ``build``: makes one structure of a prototype.
    """

    def make(work: Work[C]) -> Iterator[Named]:
        for prototype in builders.crystal_names(work.part, work.species):
            for index in range(work.part.count):
                atoms = build(work.part, prototype, work.species, work.rng)
                atoms.info["prototype"] = prototype
                yield f"{prototype}-{index}", atoms

    def mean_atoms(part: C, species: Species) -> float:
        names = builders.crystal_names(part, species)
        sizes = [builders.crystal_size(part, name, species) for name in names]
        return sum(sizes) / len(sizes)

    return Maker(
        make=make,
        structures=lambda part, species: (
            part.count * len(builders.crystal_names(part, species))
        ),
        mean_atoms=mean_atoms,
        check=builders.crystal_names,
    )


def _mean_size(part: MeltQuench | Networks | Packing, species: Species) -> float:  # noqa: ARG001
    return sum(part.atoms) / 2


def _mean_start(part: Around | ShortDynamics, _: Species) -> float:
    return start_files.mean_atoms(part)


MAKERS: dict[type[Any], Maker[Any]] = {
    MeltQuench: Maker(
        make=_trajectory,
        structures=lambda part, _: (
            part.trajectories * melt_quench.kept_structures(part)
        ),
        mean_atoms=_mean_size,
        split=melt_quench.trajectories,
        dynamics=Cost(
            limit_hours=lambda part: part.max_hours,
            atom_steps=melt_quench.atom_steps,
            sample=melt_quench.sample,
        ),
    ),
    Packing: Maker(
        make=_packings, structures=lambda part, _: part.count, mean_atoms=_mean_size
    ),
    Crystals: _of_prototypes(builders.crystal),
    Surfaces: _of_prototypes(builders.slab),
    Compressed: _of_prototypes(builders.compressed),
    Layers: Maker(
        make=_stacks,
        structures=lambda part, _: part.count,
        mean_atoms=lambda part, _: sheets.mean_stack(part),
    ),
    Networks: Maker(
        make=_networks,
        structures=lambda part, _: part.count,
        mean_atoms=_mean_size,
        split=sheets.jobs,
        dynamics=Cost(
            limit_hours=lambda part: part.max_hours,
            atom_steps=sheets.atom_steps,
            sample=sheets.sample,
        ),
    ),
    Relaxed: Maker(
        make=_relaxed,
        structures=lambda part, species: maker_of(part.of).structures(part.of, species),
        mean_atoms=lambda part, species: maker_of(part.of).mean_atoms(part.of, species),
        check=lambda part, species: maker_of(part.of).check(part.of, species),
        split=relaxed.jobs,
        dynamics=Cost(
            limit_hours=lambda part: part.max_hours,
            atom_steps=relaxed.atom_steps,
            sample=relaxed.sample,
        ),
    ),
    Dimers: Maker(
        make=_dimers,
        structures=builders.dimer_count,
        mean_atoms=lambda part, species: 2.0,  # noqa: ARG005
    ),
    Around: Maker(
        make=_family,
        structures=lambda part, _: part.count,
        mean_atoms=_mean_start,
        split=around.shares,
        dynamics=Cost(
            limit_hours=lambda part: part.max_hours,
            atom_steps=around.atom_steps,
            sample=around.sample,
        ),
    ),
    ShortDynamics: Maker(
        make=_short_dynamics,
        structures=lambda part, _: (
            part.trajectories * short_dynamics.kept_structures(part)
        ),
        mean_atoms=_mean_start,
        split=short_dynamics.trajectories,
        dynamics=Cost(
            limit_hours=lambda part: part.max_hours,
            atom_steps=short_dynamics.atom_steps,
            sample=short_dynamics.sample,
        ),
    ),
}
"""The maker of each kind of part."""
