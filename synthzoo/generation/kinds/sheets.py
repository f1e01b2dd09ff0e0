"""Kinds that are layers of atoms: honeycombs over each other, flat networks."""

from __future__ import annotations

from typing import Annotated, Literal

from synthzoo.generation.kinds.values import Atoms
from synthzoo.recipes.schema import (
    NOT_EMPTY,
    RISING,
    Count,
    CountFrom0,
    Kind,
    Positive,
    PositiveRange,
    RangeFrom0,
    Share,
)

Stacking = Literal["aa", "ab", "abc", "any"]


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
