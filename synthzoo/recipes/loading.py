"""The recipes: frozen structs that the YAML files mirror, one section per stage.

Defaults live here only. Unknown keys are errors, so that a misspelt option is never
silently ignored.
"""

from __future__ import annotations

import dataclasses
import json
import re
import reprlib
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec

from synthzoo.errors import InputError
from synthzoo.recipes.plain_values import read_yaml
from synthzoo.recipes.schema import (
    Section,
    from_values,
    hashed_values,
)
from synthzoo.runs.files import hash_values, is_there, packaged_folder

SECTIONS = ("generate", "relabel", "pretrain", "finetune", "md")
"""Names of the sections of a recipe file, in the order of the stages."""

TEACHER_KEYS = {"driver", "teacher"}
"""Keys of recipes whose values are references of teachers."""

CODE_KINDS = {
    "ase": "the Python class",
    "mace": "a pickled network,",
    "nequip": "a compiled network,",
}
"""Kinds of teachers that can run any program, and what they are."""

_QUOTED_PATH, _LAST_PART = re.compile(r'"[^"]*/([^"/]*)"'), r'"\1"'

Recipe = TypeVar("Recipe", bound=Section)


def load_recipe(
    cls: type[Recipe],
    path: Path | str,
    *,
    teacher: str | None = None,
    trust: bool = False,
) -> Recipe:
    """Return one section of a recipe file, checked.

    ``cls``: recipe class; it says which section to read.
    ``path``: YAML file, or the name of a recipe that comes with synthzoo.
    ``teacher``: reference that stands for the recipe's own driver or teacher.
    ``trust``: whether the file may name a teacher of `CODE_KINDS`, such as an ASE
    calculator (``ase:``), a class that is imported and called: it can run any program.
    Recipes that come with synthzoo always may.

    Notes
    -----
    Instead of keys, a section may hold the name of another recipe (or of a file beside
    this one), whose section of the same name is meant.
    """
    path = find_recipe(path)
    name = cls.section
    section = _section(path, name)
    if isinstance(section, str):
        beside = path.parent / section
        path = find_recipe(beside if is_there(beside) else section)
        section = _section(path, name)
    recipe = parse_recipe(cls, section, source=f"{path}, section {name}")
    recipe = recipe.beside(path.parent)
    if teacher is not None and (key := _teacher_key(recipe)):
        override: dict[str, Any] = {key: teacher}
        return dataclasses.replace(recipe, **override)
    if not trust:
        _refuse_foreign_code(recipe, path)
    return recipe


def settle_recipe(
    cls: type[Recipe],
    recipe: Recipe | Path | str | None,
    *,
    teacher: str | None = None,
    trust: bool = False,
    **changes: Any,
) -> Recipe:
    """Return the recipe that is meant, with some of its values changed.

    ``recipe``: the recipe itself, its file, or the name of one that comes with
    synthzoo; all defaults if not given.
    ``**changes``: fields of the recipe, with their new values.
    """
    if isinstance(recipe, str | Path):
        recipe = load_recipe(cls, recipe, teacher=teacher, trust=trust)
    elif recipe is None:
        return cls(**changes)
    elif teacher is not None and (key := _teacher_key(recipe)):
        changes[key] = teacher
    return dataclasses.replace(recipe, **changes)


def recipe_source(recipe: Section | Path | str) -> str:
    """Return what error messages call a recipe; nothing if it is not from a file."""
    if isinstance(recipe, Section):
        return ""
    return str(find_recipe(recipe))


def _teacher_key(recipe: Any) -> str | None:
    names = (field.name for field in dataclasses.fields(recipe))
    return next((name for name in names if name in TEACHER_KEYS), None)


def _refuse_foreign_code(recipe: Any, path: Path) -> None:
    """Refuse code that a recipe names which does not come with synthzoo."""
    key = _teacher_key(recipe)
    if key is None or path.resolve().parent == recipes_folder().resolve():
        return
    kind, _, what = getattr(recipe, key).partition(":")
    what = what.partition("{")[0]
    if kind in CODE_KINDS:
        raise InputError(
            f"{path}: {key} is {CODE_KINDS[kind]} {what}, which would be "
            "loaded and called, and can run any program. If you trust whoever "
            "wrote this recipe, allow it with --trust (in Python: trust=True)."
        )


def _section(path: Path, name: str) -> Any:
    sections = read_sections(path)
    if unknown := [key for key in sections if key not in SECTIONS]:
        raise InputError(
            f"{path}: unknown sections {reprlib.repr(unknown)}. Known sections: "
            f"{list(SECTIONS)}."
        )
    if name not in sections:
        raise InputError(f"{path} has no section `{name}`.")
    return sections[name]


def parse_recipe(cls: type[Recipe], values: Any, *, source: str) -> Recipe:
    """Return a recipe made from plain values, checked; see `load_recipe`."""
    return from_values(cls, values, source=source)


def recipe_values(recipe: Any) -> dict[str, Any]:
    """Return a recipe as plain values that JSON and YAML can hold."""
    values = msgspec.to_builtins(recipe, enc_hook=lambda number: number.tolist())
    return cast("dict[str, Any]", json.loads(json.dumps(values)))


def recipe_hash(recipe: Any) -> str:
    """Return the SHA-256 of a resolved recipe, defaults included.

    Of a teacher only the kind and the file's name count, not the folder it lies in. An
    option that came later counts once it is used.
    """
    values = hashed_values(recipe)
    for key in TEACHER_KEYS & values.keys():
        values[key] = teacher_name(values[key])
    return hash_values(values)


def teacher_name(reference: str) -> str:
    """Return a teacher's reference without the folder in which its file lies.

    Examples
    --------
    >>> teacher_name("ace:potentials/c_ace.yace")
    'ace:c_ace.yace'
    >>> teacher_name("lammps:tersoff:mine/C.tersoff")
    'lammps:tersoff:C.tersoff'
    >>> teacher_name('ase:my.Code{"pseudopotentials": "home/me/C.upf"}')
    'ase:my.Code{"pseudopotentials": "C.upf"}'
    >>> teacher_name("zoo:hf:someone/carbon")
    'zoo:hf:someone/carbon'
    """
    kind, _, what = reference.partition(":")
    if "{" in what:  # the arguments of an ASE calculator may hold paths, too
        return f"{kind}:{_QUOTED_PATH.sub(_LAST_PART, what)}"
    if what.startswith("hf:"):  # a repository's name holds a slash
        return reference
    style, colon, file = what.rpartition(":")
    return f"{kind}:{style}{colon}{Path(file).name}"


def recipes_folder() -> Path:
    """Return the folder of the recipes that come with synthzoo."""
    return packaged_folder(Path(__file__).parent, "recipes")


def find_recipe(name: Path | str) -> Path:
    """Return the path of a recipe file, or of a recipe that comes with synthzoo.

    ``name``: path, or name of a recipe that comes with synthzoo.
    """
    path = Path(name)
    if is_there(path) and path.is_file():
        return path
    packaged = recipes_folder() / f"{name}.yaml"
    if is_there(packaged):
        return packaged
    known = sorted(found.stem for found in recipes_folder().glob("*.yaml"))
    raise InputError(
        f"There is no recipe file {name}, and no recipe of that name comes with "
        f"synthzoo. It has: {', '.join(known)}."
    )


def read_sections(path: Path) -> dict[str, Any]:
    """Return the sections of a recipe file as plain values."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as text: {error}.") from error
    content = read_yaml(text, source=str(path))
    if not isinstance(content, dict):
        raise InputError(f"{path} should hold sections {list(SECTIONS)}.")
    return content
