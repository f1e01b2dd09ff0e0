"""How a set is labelled, and what is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from synthzoo.recipes.loading import find_recipe, load_recipe, read_sections
from synthzoo.recipes.schema import (
    LATER,
    Count,
    Positive,
    Range,
    Section,
    matching,
)
from synthzoo.runs.files import SHA256


class RelabelRecipe(Section, frozen=True, kw_only=True):
    """How to label structures with a teacher, and which to leave out.

    Attributes
    ----------
    teacher
        Label source, such as ``ace:c_ace.yace``, ``LCBOP`` or ``carbon``.
    teacher_sha256
        SHA-256 that the teacher's file must have; any file if not given.
    max_force_eV_A
        A structure with a longer force vector on any atom is left out.
    min_distance_A
        A structure with a shorter distance is left out.
    energy_window_eV_per_atom
        Structures outside of it are left out; relative to isolated atoms.
    max_seconds
        A structure that takes the teacher longer fails; never if not given.
    chunk_structures
        Structures per unit of work; what is lost when a run is killed.
    """

    section = "relabel"

    teacher: str
    teacher_sha256: Annotated[str, matching(SHA256.pattern, "a SHA-256")] | None = None
    max_force_eV_A: Positive | None = 30.0
    min_distance_A: Positive | None = None
    energy_window_eV_per_atom: Range | None = None
    max_seconds: Annotated[Positive | None, LATER] = 600.0
    chunk_structures: Count = 50


def named_teacher_sha256(path: Path | str) -> str | None:
    """Return the SHA-256 of the teacher's file that a recipe names, if it does.

    ``path``: YAML file, or the name of a recipe that comes with synthzoo.
    """
    if RelabelRecipe.section not in read_sections(find_recipe(path)):
        return None
    return load_recipe(RelabelRecipe, path, trust=True).teacher_sha256
