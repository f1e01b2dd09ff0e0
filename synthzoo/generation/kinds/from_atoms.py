"""Kinds that are made from atoms alone: packings, glasses, pairs."""

from __future__ import annotations

from typing import Annotated, Literal

from synthzoo.generation.kinds.values import Atoms, Distances, Thermostat
from synthzoo.recipes.schema import (
    LATER,
    Count,
    Kind,
    NotNegative,
    Positive,
    PositiveRange,
)


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


StageName = Literal["melt", "quench", "anneal", "cool", "surface"]


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
