"""Types and units that several kinds of structures share."""

from __future__ import annotations

from typing import Annotated, Literal

from synthzoo.recipes.schema import RISING, Count, Positive

SECONDS_PER_HOUR = 3600.0

Thermostat = Literal["langevin", "bussi", "nose-hoover"]

Atoms = Annotated[tuple[Count, Count], RISING]
"""Smallest and largest number of atoms."""

Distances = Positive | dict[str, Positive]
"""In Å: of all pairs, or of those that are named, such as ``In-P``."""
