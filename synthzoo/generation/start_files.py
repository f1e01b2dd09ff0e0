"""Files of structures that parts of a recipe start from: found, hashed, checked."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from synthzoo.data.sound import check_set, check_structure
from synthzoo.data.structures import iter_structures
from synthzoo.errors import FileWarning, InputError
from synthzoo.generation.kinds.from_file import FromFile
from synthzoo.generation.kinds.from_prototypes import OfPrototypes
from synthzoo.generation.starts import bare, is_alone, resized
from synthzoo.recipes.schema import inside
from synthzoo.runs.files import hash_files

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.generation.kinds.part import Part
    from synthzoo.generation.recipe import GenerateRecipe


P = TypeVar("P", bound=FromFile | OfPrototypes)


def with_hashes(recipe: GenerateRecipe) -> GenerateRecipe:
    """Return a recipe that says which content its files have, and where they lie."""
    parts: list[Part] = []
    for index, part in enumerate(recipe.parts):
        with inside(f"parts[{index}]"):
            if isinstance(part, FromFile | OfPrototypes):
                parts.append(with_hash(part))
            else:
                parts.append(part)
    return _with_elements(replace(recipe, parts=tuple(parts)))


def _with_elements(recipe: GenerateRecipe) -> GenerateRecipe:
    """Return a recipe with the elements of its files, if it names none."""
    if recipe.element or recipe.elements:
        return recipe
    parts = [part for part in recipe.parts if isinstance(part, FromFile)]
    found = [atoms for part in parts for atoms in starts(part).values()]
    symbols = sorted({symbol for atoms in found for symbol in atoms.symbols})
    if len(symbols) == 1:
        return replace(recipe, element=symbols[0])
    return replace(recipe, elements=tuple(symbols))


def with_hash(part: P) -> P:
    """Return a part that says which content its file has, and where it lies."""
    if part.structures is None:
        return part
    path = Path(part.structures).absolute()
    found = hash_files([path])
    if part.structures_sha256 not in {None, found}:
        raise InputError(
            f"{path} has SHA-256 {found}, but the recipe asks for "
            f"{part.structures_sha256}: these are other structures."
        )
    return replace(part, structures=str(path), structures_sha256=found)


def without_folders(recipe: GenerateRecipe) -> GenerateRecipe:
    """Return a recipe whose files may lie elsewhere the next time."""
    parts = [
        replace(part, structures=Path(part.structures).name)
        if isinstance(part, FromFile | OfPrototypes) and part.structures
        else part
        for part in recipe.parts
    ]
    return replace(recipe, parts=tuple(parts))


def check_starts(recipe: GenerateRecipe, elements: Collection[str]) -> None:
    """Refuse files of which nothing can be made, and say what is ignored.

    ``recipe``: as `with_hashes` returns it.
    ``elements``: chemical symbols that the driver knows.
    """
    for part in recipe.parts:
        if isinstance(part, FromFile):
            _check(part, elements)


def _check(part: FromFile, elements: Collection[str]) -> None:
    path = part.structures
    found = starts(part)
    if any(atoms.constraints for atoms in read_hashed(path, part.structures_sha256)):
        warnings.warn(
            f"{path}: constraints are ignored, all atoms move.",
            FileWarning,
            stacklevel=2,
        )
    for number, atoms in found.items():
        check_structure(atoms, name=f"{path}, structure {number}")
    check_set(list(found.values()), elements, by=f"{path}: the driver")


def starts(part: FromFile) -> dict[int, Atoms]:
    """Return the structures that a part starts from, by their number in the file.

    Isolated atoms are left out: nothing about them can change.

    ``part``: as `with_hashes` returns it.
    """
    found = read_hashed(part.structures, part.structures_sha256)
    numbers = range(len(found)) if part.only is None else part.only
    if missing := [number for number in numbers if number >= len(found)]:
        raise InputError(
            f"{part.structures} has no structure {missing[0]}: the last of its "
            f"{len(found)} structures is {len(found) - 1}."
        )
    chosen = {number: bare(found[number], pbc=found[number].pbc) for number in numbers}
    kept = {n: atoms for n, atoms in chosen.items() if not is_alone(atoms)}
    if not kept:
        raise InputError(
            f"{part.structures} holds isolated atoms only; give structures in which "
            "atoms can move."
        )
    return kept


@functools.lru_cache(maxsize=4)
def read_hashed(path: str, sha256: str | None) -> tuple[Atoms, ...]:
    """Return the structures of a file that must still have the content of this hash."""
    if sha256 != hash_files([Path(path)]):
        raise InputError(f"{path} has changed since the run began.")
    return tuple(iter_structures(path, tell=lambda _: None))


def group_name(part: FromFile, number: int) -> str:
    """Return the name of the group of all that comes of one structure of a file."""
    return f"start-{str(part.structures_sha256)[:6]}-{number}"


def middle_sized(part: FromFile) -> int:
    """Return the number of a structure that is neither small nor large."""
    found = starts(part)
    return sorted(found, key=lambda number: len(found[number]))[len(found) // 2]


def mean_atoms(part: FromFile) -> float:
    """Return the mean number of atoms of the structures that a part starts from."""
    rng = np.random.default_rng(0)
    found = starts(part).values()
    sizes = [len(resized(each, part.min_atoms, part.max_atoms, rng)) for each in found]
    return sum(sizes) / len(sizes)
