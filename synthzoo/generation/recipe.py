"""What `generate` is asked for: elements, a driver, and parts of several kinds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from synthzoo.errors import InputError
from synthzoo.generation.kinds.from_atoms import MeltQuench, Packing
from synthzoo.generation.kinds.from_file import FromFile
from synthzoo.generation.kinds.from_prototypes import Crystals, OfPrototypes
from synthzoo.generation.kinds.part import Part
from synthzoo.generation.kinds.relaxed import Relaxed
from synthzoo.models.interface import Cutoff
from synthzoo.recipes.schema import (
    DIFFERENT,
    LATER,
    NOT_EMPTY,
    RISING,
    Checked,
    Count,
    Section,
    Seed,
    Share,
    Symbol,
)

if TYPE_CHECKING:
    from pathlib import Path

    from synthzoo.generation.species import Species

MOST_ELEMENTS = 16
"""All pairs of them are needed: a set that covers more would outgrow these recipes."""

FEW_ELEMENTS = Meta(
    max_length=MOST_ELEMENTS, description=f"at most {MOST_ELEMENTS} elements"
)
Composition = Annotated[
    str | dict[Symbol, Annotated[tuple[Share, Share], RISING]],
    Meta(description="a formula (SiO2), or ranges of shares (Si: [0, 1], C: [0, 1])"),
]
"""A formula, or the range of each element's share.

The text has no pattern: beside a dictionary, it makes msgspec 0.22 crash.
"""


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
        Chemical symbol, if there is only one.
    elements
        Chemical symbols, if there are several. A recipe whose parts all start from
        files needs neither: those of its files are taken.
    compositions
        What the structures are made of, each taken equally often: formulas such as
        ``SiO2``, or a range of the share of each element, from which shares are drawn
        uniformly. If not given, a structure has some of the elements, from one to all
        of them equally often, in shares drawn uniformly.
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

    element: Annotated[Symbol | None, LATER] = None
    elements: Annotated[tuple[Symbol, ...], FEW_ELEMENTS, DIFFERENT, LATER] = ()
    compositions: Annotated[tuple[Composition, ...], LATER] = ()
    seed: Seed
    driver: str
    parts: Annotated[tuple[Part, ...], NOT_EMPTY]
    thin: Annotated[ThinRecipe | None, LATER] = None

    def __post_init__(self) -> None:
        """Refuse elements and pairs that do not go together."""
        super().__post_init__()
        given = (self.element is not None) + bool(self.elements)
        from_files = all(isinstance(part, FromFile) for part in self.parts)
        if given != 1 and (given or not from_files):
            raise InputError(
                "give either element, such as `element: C`, or elements, such as "
                "`elements: [In, P]`."
            )
        if self.compositions:
            _ = self.species
        for part in self.parts:
            if isinstance(part, Packing | MeltQuench):
                self._check_packing(part)
            made = part.of if isinstance(part, Relaxed) else part
            if isinstance(made, Crystals):
                self._check_defects(made)

    def beside(self, folder: Path) -> GenerateRecipe:
        """Return the recipe, with the files of structures that lie in a folder.

        Others are looked for in the current folder.
        """
        parts = [
            replace(part, structures=str(folder / part.structures))
            if isinstance(part, FromFile | OfPrototypes)
            and part.structures
            and (folder / part.structures).exists()
            else part
            for part in self.parts
        ]
        return replace(self, parts=tuple(parts))

    @property
    def species(self) -> Species:
        """What the structures are made of."""
        from synthzoo.generation.species import Species  # takes ase, which is slow

        elements = (self.element,) if self.element else self.elements
        return Species(elements, self.compositions)

    def _check_packing(self, part: Packing | MeltQuench) -> None:
        if part.density_step_g_cm3 and part.density_g_cm3 is None:
            raise InputError(
                "density_step_g_cm3 needs a range of densities, density_g_cm3."
            )
        if not isinstance(part.min_distance_A, dict):
            return
        known = {self.element, *self.elements}
        for pair in part.min_distance_A:
            if len(ends := pair.split("-")) != 2 or not set(ends) <= known:
                raise InputError(
                    f"min_distance_A: {pair!r} is no pair of the elements of the "
                    "recipe, such as In-P."
                )

    def _check_defects(self, part: Crystals) -> None:
        alone = self.element or (len(self.elements) == 1 and self.elements[0])
        if alone and (part.antisite_share or part.swap_share):
            raise InputError(
                "antisite_share and swap_share need several elements; the recipe has "
                f"only {alone}."
            )
