"""Kinds that start from the structures of a file."""

from __future__ import annotations

from typing import Annotated

from synthzoo.generation.kinds.values import Thermostat
from synthzoo.recipes.schema import (
    LATER,
    NOT_EMPTY,
    Count,
    CountFrom0,
    Kind,
    NotNegative,
    Number,
    Positive,
    PositiveRange,
    Share,
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
