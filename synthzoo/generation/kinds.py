"""The kinds of structures that a recipe can ask for: one frozen struct for each."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from synthzoo.errors import InputError
from synthzoo.recipes.schema import (
    LATER,
    NOT_EMPTY,
    RISING,
    Count,
    CountFrom0,
    Kind,
    NotNegative,
    Number,
    Positive,
    PositiveRange,
    RangeFrom0,
    Share,
)

SECONDS_PER_HOUR = 3600.0
Thermostat = Literal["langevin", "bussi", "nose-hoover"]
StageName = Literal["melt", "quench", "anneal", "cool", "surface"]
Stacking = Literal["aa", "ab", "abc", "any"]


Atoms = Annotated[tuple[Count, Count], RISING]
"""Smallest and largest number of atoms."""

Prototypes = dict[str, Positive | None]
"""Name of each prototype and its bond length in Å; null takes that of the elements."""

Distances = Positive | dict[str, Positive]
"""In Å: of all pairs, or of those that are named, such as ``In-P``."""


class Packing(Kind, tag="packing", frozen=True, kw_only=True):
    """Random packings of atoms in a cubic cell.

    Attributes
    ----------
    count
        Number of structures.
    atoms
        Smallest and largest number of atoms.
    density_g_cm3
        Range of densities. If not given, it lies around that of a solid, as far as the
        elements tell (`synthzoo.generation.sizes.volume_A3`).
    density_step_g_cm3
        With it, the densities are the points of this spacing in their range, each used
        equally often, instead of drawn.
    min_distance_A
        No two atoms are placed closer than this; one number, or one for each pair of
        elements. Pairs without one may come as close as three quarters of their bond
        length, or closer where so many atoms would not fit.
    """

    count: Count
    atoms: Atoms
    density_g_cm3: Annotated[PositiveRange | None, LATER] = None
    density_step_g_cm3: Annotated[Positive | None, LATER] = None
    min_distance_A: Annotated[Distances | None, LATER] = None


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
        Range of densities. If not given, it lies around that of a solid, as far as the
        elements tell (`synthzoo.generation.sizes.volume_A3`).
    density_step_g_cm3, anneal_step_K
        With them, density and annealing temperature are points of these spacings in
        their ranges instead of drawn: all pairs of them, in an order that the seed
        decides, each used equally often.
    min_distance_A
        Shortest distance in the random packing at the start, as in `Packing`.
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
    density_g_cm3: Annotated[PositiveRange | None, LATER] = None
    density_step_g_cm3: Annotated[Positive | None, LATER] = None
    min_distance_A: Annotated[Distances | None, LATER] = None
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


class OfPrototypes(Kind, frozen=True, kw_only=True):
    """Base of parts that take each of their crystals so many times."""

    count: Count
    prototypes: Prototypes = msgspec.field(default_factory=dict)
    structures: Annotated[str | None, LATER] = None
    structures_sha256: Annotated[str | None, LATER] = None
    max_atoms: Count = 32

    def __post_init__(self) -> None:
        """Refuse a part without crystals."""
        super().__post_init__()
        if not self.prototypes and self.structures is None:
            raise InputError(f"{self.kind} need prototypes, or a file of structures.")


class Crystals(OfPrototypes, tag="crystals", frozen=True, kw_only=True):
    """Crystals under strain, with rattled atoms and now and then a defect.

    Attributes
    ----------
    count
        Structures per prototype.
    prototypes
        Name of each prototype and its bond length in Å (null: that of its elements).
    structures
        File of structures that are used like prototypes, with the elements they have;
        in any format that ASE reads.
    structures_sha256
        Hash that the file must have; any if not given.
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
    antisite_share
        Share of structures in which one atom is of another element of the recipe.
    swap_share
        Share of structures in which two atoms of different elements change places.
    interstitial_share
        Share of structures with one more atom, in a gap between the others.
    contact_A
        With it, an atom and its nearest neighbour are moved along their bond to a
        distance in this range, as the last step.
    """

    stretch: PositiveRange = (0.9, 1.15)
    max_strain: Share = 0.08
    squeeze_c: Annotated[PositiveRange, LATER] = (1.0, 1.0)
    rattle_A: RangeFrom0 = (0.0, 0.25)
    vacancy_share: Share = 0.0
    antisite_share: Annotated[Share, LATER] = 0.0
    swap_share: Annotated[Share, LATER] = 0.0
    interstitial_share: Annotated[Share, LATER] = 0.0
    contact_A: Annotated[PositiveRange | None, LATER] = None


class Surfaces(OfPrototypes, tag="surfaces", frozen=True, kw_only=True):
    """Slabs of crystals: a rattled crystal, opened along one lattice vector.

    Attributes
    ----------
    count
        Structures per prototype.
    prototypes
        Name of each prototype and its bond length in Å (null: that of its elements).
    structures
        File of structures that are used like prototypes, with the elements they have;
        in any format that ASE reads.
    structures_sha256
        Hash that the file must have; any if not given.
    max_atoms
        The cell is repeated up to this size before it is opened.
    vacuum_A
        Range of the gap.
    rattle_A
        Range of the standard deviation of the random displacements.
    """

    vacuum_A: PositiveRange = (2.0, 10.0)
    rattle_A: RangeFrom0 = (0.0, 0.2)


class Dimers(Kind, tag="dimers", frozen=True, kw_only=True):
    """Pairs of all elements in a large cell, and an isolated atom of each.

    Attributes
    ----------
    count
        Number of distances of each pair, evenly spaced.
    distance_A
        Shortest and longest distance; from 0.6 to 2.5 bond lengths if not given.
    """

    count: Count
    distance_A: Annotated[PositiveRange | None, LATER] = None


class Compressed(OfPrototypes, tag="compressed", frozen=True, kw_only=True):
    """Rattled crystals, squeezed evenly: atoms that are too close, for the wall.

    Attributes
    ----------
    count
        Structures per prototype.
    prototypes
        Name of each prototype and its bond length in Å (null: that of its elements).
    structures
        File of structures that are used like prototypes, with the elements they have;
        in any format that ASE reads.
    structures_sha256
        Hash that the file must have; any if not given.
    max_atoms
        The cell is repeated up to this size.
    shortest
        Range of the shortest distance, as a share of the bond length.
    rattle_A
        Range of the standard deviation of the random displacements before.
    """

    shortest: PositiveRange = (0.7, 0.95)
    rattle_A: RangeFrom0 = (0.0, 0.15)


class Layers(Kind, tag="layers", frozen=True, kw_only=True):
    """Honeycomb layers over each other, as in graphite.

    Attributes
    ----------
    count
        Number of structures.
    bond_A
        Bond length in a layer, before it is strained.
    max_atoms
        The sides of the layers are drawn so that no structure has more.
    layers
        Range of the number of layers in a cell.
    distance_A
        Range of the distance between layers.
    uneven_share
        Share of the structures in which each distance is drawn by itself.
    open_share
        Share of the structures with vacuum above the last layer.
    stackings
        How layers lie over each other, each equally often: ``aa``, ``ab``, ``abc``, or
        ``any``, which slides each layer by a random vector.
    stretch, max_strain, rattle_A
        As for `Crystals`.
    buckle_A
        Range of the height of a wave in each layer.
    vacancies
        Range of the number of atoms that are taken out.
    """

    count: Count
    bond_A: Positive
    max_atoms: Count = 48
    layers: Annotated[tuple[Count, Count], RISING] = (1, 4)
    distance_A: PositiveRange
    uneven_share: Share = 0.3
    open_share: Share = 0.2
    stackings: Annotated[tuple[Stacking, ...], NOT_EMPTY] = ("aa", "ab", "abc", "any")
    stretch: PositiveRange = (0.97, 1.03)
    max_strain: Share = 0.02
    rattle_A: RangeFrom0 = (0.0, 0.1)
    buckle_A: RangeFrom0 = (0.0, 0.0)
    vacancies: Annotated[tuple[CountFrom0, CountFrom0], RISING] = (0, 0)


class Networks(Kind, tag="networks", frozen=True, kw_only=True):
    """Flat networks of rings and chains, with vacuum above: amorphous sheets.

    A honeycomb in which bonds are rotated, or atoms at random places of a plane, take
    some steps along the forces of the driver.

    Attributes
    ----------
    count
        Number of structures.
    atoms
        Smallest and largest number of atoms, vacancies included.
    area_A2
        Range of the area of each atom.
    packed_share
        Share of the structures that start from random places.
    min_distance_A
        No two atoms are placed closer than this there.
    rotated_share
        Range of the share of bonds that are rotated by 90° in the others.
    vacancies
        Range of the number of atoms that are taken out.
    relax_steps
        Range of the number of steps along the forces.
    stretch, max_strain, rattle_A
        As for `Crystals`, of the relaxed network.
    buckle_A
        Range of the height of a wave in it.
    max_hours
        A structure that takes longer has failed: its driver hangs.
    """

    count: Count
    atoms: Atoms
    area_A2: PositiveRange
    packed_share: Share = 0.5
    min_distance_A: Positive = 1.1
    rotated_share: RangeFrom0 = (0.0, 0.3)
    vacancies: Annotated[tuple[CountFrom0, CountFrom0], RISING] = (0, 0)
    relax_steps: Annotated[tuple[CountFrom0, CountFrom0], RISING] = (0, 100)
    stretch: PositiveRange = (0.98, 1.02)
    max_strain: Share = 0.02
    rattle_A: RangeFrom0 = (0.0, 0.1)
    buckle_A: RangeFrom0 = (0.0, 0.0)
    max_hours: Positive = 48.0


class Relaxed(Kind, tag="relaxed", frozen=True, kw_only=True):
    """Structures of another part that take some steps along the forces of the driver.

    The other part rattles its structures first, so that each relaxes in its own way:
    dangling bonds of a rattled surface find each other, those around a vacancy, too.

    Attributes
    ----------
    of
        What is relaxed: crystals or slabs of prototypes, or layers.
    relax_steps
        Range of the number of steps along the forces; the cell stays as it is.
    rattle_A
        Range of the standard deviation of the random displacements afterwards.
    max_hours
        A job of some structures that takes longer has failed: its driver hangs.
    """

    of: Crystals | Surfaces | Layers
    relax_steps: Annotated[tuple[CountFrom0, CountFrom0], RISING] = (5, 60)
    rattle_A: RangeFrom0 = (0.0, 0.0)
    max_hours: Positive = 48.0

    def __post_init__(self) -> None:
        """Refuse structures of a file, which other kinds start from."""
        super().__post_init__()
        if isinstance(self.of, OfPrototypes) and self.of.structures is not None:
            raise InputError(
                "relaxed takes prototypes; for the structures of a file there is "
                "`kind: around`."
            )


class FromFile(Kind, frozen=True, kw_only=True):
    """Base of the parts that start from the structures of a file.

    Attributes
    ----------
    structures
        File, in any format that ASE reads. Labels, velocities and constraints in it are
        not used.
    structures_sha256
        Hash that the file must have; any if not given.
    only
        Numbers of the structures to start from, the first being 0; all if not given.
    min_atoms, max_atoms
        A smaller cell is repeated; of a larger one a part is cut out, where its sides
        fit and through no molecule. Molecules and clusters in vacuum stay as they are.
    max_hours
        A job, which is about one of the structures, has failed if it takes longer: its
        driver hangs.
    """

    structures: str
    structures_sha256: str | None = None
    only: Annotated[tuple[CountFrom0, ...], NOT_EMPTY] | None = None
    min_atoms: Count = 16
    max_atoms: Count = 96
    max_hours: Positive = 48.0


class Around(FromFile, tag="around", frozen=True, kw_only=True):
    """Families of structures around given ones: rattle, relax a little, repeat.

    The procedure is that of arXiv:2506.10956. A parent is drawn from the family, its
    cell is strained and its atoms are displaced at random. A few steps along the forces
    of the driver, cut short at random, make a structure of it that is plausible, but
    not relaxed. Each structure of the file founds a family and belongs to it.

    Attributes
    ----------
    structures, structures_sha256, only, min_atoms, max_atoms, max_hours
        See `FromFile`.
    count
        Number of structures, shared evenly among those of the file.
    open_share
        Share of them whose family is that of a slab: the structure of the file is
        opened across one of its cell vectors. Structures that have vacuum already are
        not opened.
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
    """

    count: Count
    open_share: Annotated[Share, LATER] = 0.0
    rattle_A: PositiveRange = (0.03, 0.4)
    strain: PositiveRange | None = (0.005, 0.08)
    swap_share: Share = 0.05
    temperature_K: Positive = 1000.0
    late_share: Share = 0.5
    relax_steps: CountFrom0 = 10
    closest: Positive = 0.65
    max_force_eV_A: Positive = 10.0
    distinct_A: NotNegative = 0.05


class ShortDynamics(FromFile, tag="dynamics", frozen=True, kw_only=True):
    """Short molecular dynamics of given structures, hot and cold, under pressure.

    Each trajectory has a structure of the file, a temperature, and either a constant
    cell or one of the pressures: all combinations, in an order that the seed decides.
    All structures are used before one of them is used again. Pressures are for
    structures that are periodic without a gap of vacuum and for drivers with stress;
    the cell of all others is constant. Atoms that come too close, a cell that doubles
    or halves, or energy that comes from nowhere end a trajectory. What was kept before
    stays.

    Attributes
    ----------
    structures, structures_sha256, only, min_atoms, max_atoms, max_hours
        See `FromFile`.
    trajectories
        Number of trajectories.
    temperatures_K
        Temperatures of the thermostat, one for each trajectory.
    pressures_GPa
        Pressures of Berendsen's barostat, which scales the cell evenly. A cell that is
        far from its equilibrium goes there without overshooting.
    duration_fs
        Length of each trajectory.
    sample_fs
        Time between two structures that are kept.
    timestep_fs
        Step of the integrator; bonds of hydrogen need 0.5 fs.
    thermostat, friction_per_fs
        As for `MeltQuench`. At a pressure, the thermostat is Berendsen's, too.
    barostat_fs
        Time in which a material with a bulk modulus of 100 GPa reaches its pressure.
    closest
        Atoms are too close below this share of the sum of their covalent radii, or of
        the shortest distance at the start if that is smaller.
    """

    trajectories: Count
    temperatures_K: Annotated[tuple[Positive, ...], NOT_EMPTY] = (300.0, 1000.0, 2000.0)
    pressures_GPa: tuple[Number, ...] = (0.0, 10.0)
    duration_fs: Positive = 500.0
    sample_fs: Positive = 50.0
    timestep_fs: Positive = 1.0
    thermostat: Thermostat = "langevin"
    friction_per_fs: Positive = 0.01
    barostat_fs: Positive = 300.0
    closest: Positive = 0.5


Part = (
    Packing
    | MeltQuench
    | Crystals
    | Surfaces
    | Compressed
    | Layers
    | Networks
    | Relaxed
    | Dimers
    | Around
    | ShortDynamics
)
