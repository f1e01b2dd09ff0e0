"""The kind that relaxes the structures of another one."""

from __future__ import annotations

from typing import Annotated

from synthzoo.errors import InputError
from synthzoo.generation.kinds.from_prototypes import Crystals, OfPrototypes, Surfaces
from synthzoo.generation.kinds.sheets import Layers
from synthzoo.recipes.schema import RISING, CountFrom0, Kind, Positive, RangeFrom0


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
