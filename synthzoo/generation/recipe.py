"""What `generate` can make: one frozen struct for each kind of part."""

from __future__ import annotations

from typing import Annotated, Literal

from synthzoo.models.interface import Cutoff
from synthzoo.recipes.schema import (
    LATER,
    NOT_EMPTY,
    RISING,
    Checked,
    Count,
    CountFrom0,
    Kind,
    NotNegative,
    Positive,
    PositiveRange,
    RangeFrom0,
    Section,
    Seed,
    Share,
    Symbol,
)

SECONDS_PER_HOUR = 3600.0

Thermostat = Literal["langevin", "bussi", "nose-hoover"]
StageName = Literal["melt", "quench", "anneal", "cool", "surface"]


Atoms = Annotated[tuple[Count, Count], RISING]
"""Smallest and largest number of atoms."""

Prototypes = dict[str, Positive]
"""Name of each prototype and its bond length in Å."""


class Packing(Kind, tag="packing", frozen=True, kw_only=True):
    """Random packings of atoms in a cubic cell.

    Attributes
    ----------
    count
        Number of structures.
    atoms
        Smallest and largest number of atoms.
    density_g_cm3
        Range of densities.
    density_step_g_cm3
        With it, the densities are the points of this spacing in their range, each used
        equally often, instead of drawn.
    min_distance_A
        No two atoms are placed closer than this.
    """

    count: Count
    atoms: Atoms
    density_g_cm3: PositiveRange
    density_step_g_cm3: Annotated[Positive | None, LATER] = None
    min_distance_A: Positive


class MeltQuench(Kind, tag="melt-quench", frozen=True, kw_only=True):
    """Melt–quench–anneal molecular dynamics, then the same glass with a cut through it.

    The stages follow the protocol of doi 10.1039/D2DD00137C: random packing, melt,
    quench, anneal, cool; each stage of zero length is left out.

    Attributes
    ----------
    trajectories
        Number of independent trajectories.
    atoms
        Smallest and largest number of atoms.
    density_g_cm3
        Range of densities.
    density_step_g_cm3, anneal_step_K
        With them, density and annealing temperature are points of these spacings in
        their ranges instead of drawn: all pairs of them, in an order that the seed
        decides, each used equally often.
    min_distance_A
        Shortest distance in the random packing at the start.
    melt_K, anneal_K, cold_K, surface_K
        Ranges of temperature; one value is drawn per trajectory.
    melt_fs, quench_fs, anneal_fs, cool_fs, surface_fs
        Length of each stage.
    vacuum_A
        Gap that opens the cooled glass to a slab before the surface stage.
    sample_fs
        Time between two structures that are kept.
    timestep_fs
        Step of the integrator.
    thermostat
        Langevin dynamics, the stochastic rescaling of Bussi, Donadio and Parrinello, or
        a Nosé–Hoover chain.
    friction_per_fs
        Friction of the Langevin thermostat; its inverse is the time constant of the
        others.
    leave_out
        Stages that are run, but of which no structure is kept.
    max_hours
        A trajectory that takes longer has failed: its driver hangs.
    """

    trajectories: Count
    atoms: Atoms
    density_g_cm3: PositiveRange
    density_step_g_cm3: Annotated[Positive | None, LATER] = None
    min_distance_A: Positive
    melt_K: PositiveRange
    melt_fs: NotNegative
    quench_fs: NotNegative
    anneal_K: PositiveRange
    anneal_fs: NotNegative
    anneal_step_K: Annotated[Positive | None, LATER] = None
    cool_fs: NotNegative
    cold_K: PositiveRange = (300.0, 300.0)
    surface_K: PositiveRange = (300.0, 2000.0)
    surface_fs: NotNegative = 0.0
    vacuum_A: NotNegative = 8.0
    sample_fs: Positive = 100.0
    timestep_fs: Positive = 1.0
    thermostat: Annotated[Thermostat, LATER] = "langevin"
    friction_per_fs: Positive = 0.01
    leave_out: Annotated[tuple[StageName, ...], LATER] = ()
    max_hours: Annotated[Positive, LATER] = 48.0


class Crystals(Kind, tag="crystals", frozen=True, kw_only=True):
    """Crystals under strain, with rattled atoms and now and then a vacancy.

    Attributes
    ----------
    count
        Structures per prototype.
    prototypes
        Name of each prototype and its bond length in Å.
    max_atoms
        The cell is repeated up to this size.
    stretch
        Range of the isotropic factor on all lengths.
    max_strain
        Largest entry of the random symmetric strain on top of it.
    squeeze_c
        Range of the factor on the third cell vector alone: it brings layers together.
    rattle_A
        Range of the standard deviation of the random displacements.
    vacancy_share
        Share of structures that lose one atom.
    """

    count: Count
    prototypes: Prototypes
    max_atoms: Count = 32
    stretch: PositiveRange = (0.9, 1.15)
    max_strain: Share = 0.08
    squeeze_c: Annotated[PositiveRange, LATER] = (1.0, 1.0)
    rattle_A: RangeFrom0 = (0.0, 0.25)
    vacancy_share: Share = 0.0


class Surfaces(Kind, tag="surfaces", frozen=True, kw_only=True):
    """Slabs of crystals: a rattled crystal, opened along one lattice vector.

    Attributes
    ----------
    count
        Structures per prototype.
    prototypes
        Name of each prototype and its bond length in Å.
    max_atoms
        The cell is repeated up to this size before it is opened.
    vacuum_A
        Range of the gap.
    rattle_A
        Range of the standard deviation of the random displacements.
    """

    count: Count
    prototypes: Prototypes
    max_atoms: Count = 32
    vacuum_A: PositiveRange = (2.0, 10.0)
    rattle_A: RangeFrom0 = (0.0, 0.2)


class Dimers(Kind, tag="dimers", frozen=True, kw_only=True):
    """Pairs of atoms in a large cell, and one isolated atom.

    Attributes
    ----------
    count
        Number of distances, evenly spaced.
    distance_A
        Shortest and longest distance.
    """

    count: Count
    distance_A: PositiveRange


class Compressed(Kind, tag="compressed", frozen=True, kw_only=True):
    """Rattled crystals, squeezed evenly: atoms that are too close, for the wall.

    Attributes
    ----------
    count
        Structures per prototype.
    prototypes
        Name of each prototype and its bond length in Å.
    max_atoms
        The cell is repeated up to this size.
    shortest
        Range of the shortest distance, as a share of the bond length.
    rattle_A
        Range of the standard deviation of the random displacements before.
    """

    count: Count
    prototypes: Prototypes
    max_atoms: Count = 32
    shortest: PositiveRange = (0.7, 0.95)
    rattle_A: RangeFrom0 = (0.0, 0.15)


class Around(Kind, tag="around", frozen=True, kw_only=True):
    """Families of structures around those of a file: rattle, relax a little, repeat.

    The procedure is that of arXiv:2506.10956. A parent is drawn from the family, its
    cell is strained and its atoms are displaced at random. A few steps along the forces
    of the driver, cut short at random, make a structure of it that is plausible, but
    not relaxed. Each structure of the file founds a family and belongs to it.

    Attributes
    ----------
    structures
        File, in any format that ASE reads; its labels are not used.
    count
        Number of structures, shared evenly among those of the file.
    min_atoms, max_atoms
        A smaller cell is repeated, a larger one is cut. Molecules stay as they are.
    rattle_A
        Range of the standard deviation of the displacements, drawn on a logarithmic
        scale.
    strain
        Range of the standard deviation of the entries of the strain, drawn likewise;
        the cell of the file's structure is strained, and vacuum keeps its width. No
        strain if null.
    swap_share
        Share of the attempts in which two unlike atoms change places.
    temperature_K
        Parents with energies per atom above the lowest by more than kT are drawn more
        rarely, and children are relaxed further.
    late_share
        Share of the parents that are drawn by their generation instead: later ones are
        more likely.
    relax_steps
        Most steps along the forces.
    closest
        A structure is refused if two of its atoms are closer than this share of the sum
        of their covalent radii. Where the file's structure has closer ones, it sets the
        limit.
    max_force_eV_A
        Largest force of a structure, or that of the file's structure if it is larger.
    distinct_A
        Structures that differ from another one of the family by less than this
        displacement, on average over the atoms, are left out.
    max_hours
        A family that takes longer has failed: its driver hangs.
    """

    structures: str
    count: Count
    min_atoms: Count = 16
    max_atoms: Count = 96
    rattle_A: PositiveRange = (0.03, 0.4)
    strain: PositiveRange | None = (0.005, 0.08)
    swap_share: Share = 0.05
    temperature_K: Positive = 1000.0
    late_share: Share = 0.5
    relax_steps: CountFrom0 = 10
    closest: Positive = 0.65
    max_force_eV_A: Positive = 10.0
    distinct_A: NotNegative = 0.05
    max_hours: Positive = 48.0


Part = Packing | MeltQuench | Crystals | Surfaces | Compressed | Dimers


class ThinRecipe(Checked, frozen=True, kw_only=True):
    """Which structures of a set to keep: those that are least like each other.

    Attributes
    ----------
    keep
        Number of structures.
    cutoff_A
        Radius of the atomic environments that are compared.
    environments
        Each structure is represented by so many of its environments, those that are
        least like each other.
    one_of_each
        Key in ``Atoms.info``, such as ``kind``: at least one structure is kept for each
        of its values.
    """

    keep: Count
    cutoff_A: Cutoff = 5.0
    environments: Count = 8
    one_of_each: str | None = None


class GenerateRecipe(Section, frozen=True, kw_only=True):
    """Which synthetic structures to make.

    Attributes
    ----------
    element
        Chemical symbol.
    seed
        Every part, trajectory and structure draws from its own stream under this seed.
    driver
        Teacher whose forces move the atoms, such as ``ace:c_ace.yace``.
    parts
        What to make, in this order.
    thin
        Which of the structures to keep; all of them if not given.
    """

    section = "generate"

    element: Symbol
    seed: Seed
    driver: str
    parts: Annotated[tuple[Part, ...], NOT_EMPTY]
    thin: Annotated[ThinRecipe | None, LATER] = None
