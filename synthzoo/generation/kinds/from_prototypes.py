"""Kinds that are made from crystals: strained, cut open, squeezed."""

from __future__ import annotations

from typing import Annotated

import msgspec

from synthzoo.errors import InputError
from synthzoo.recipes.schema import (
    LATER,
    Count,
    Kind,
    Positive,
    PositiveRange,
    RangeFrom0,
    Share,
)

Prototypes = dict[str, Positive | None]
"""Name of each prototype and its bond length in Å; null takes that of the elements."""


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
