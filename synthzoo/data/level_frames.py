"""Read structures of several levels of theory from files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from synthzoo.data.frames import FrameSet, read_frames
from synthzoo.data.levels import HIGH, LEVEL_KEY, is_level_name
from synthzoo.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms


@dataclass(frozen=True, kw_only=True)
class LevelFrames:
    """Structures of all files, by their level of theory.

    ``default``: the level that the model is for. ``own``: its structures.
    ``others``: those of the other levels, by name.
    """

    default: str
    own: FrameSet
    others: Mapping[str, FrameSet]


def read_levels(
    files: Sequence[Path],
    others: Mapping[str, Sequence[Path]],
    *,
    level: str | None,
    format: str | None = None,
) -> LevelFrames:
    """Return what some files hold of each level of theory.

    A structure says its level under `LEVEL_KEY`; if not, that of its file is meant.

    ``files``: of the level that the model is for, if their structures say no other.
    ``others``: files of other levels, by name.
    ``level``: which level the model is for.
    """
    found: dict[str, list[int]] = {}
    frames = read_frames(files, format=format)
    named = any(_level_of(atoms) for atoms in frames.structures)
    for index, atoms in enumerate(frames.structures):
        name = _level_of(atoms) or level or HIGH
        found.setdefault(name, []).append(index)
    sets = {name: frames.part(indices) for name, indices in found.items()}
    if level is None and len(sets) > 1:
        raise InputError(
            f"The data hold several levels of theory: {', '.join(sorted(sets))}. Say "
            "which one the model is for (--level)."
        )
    default = level or next(iter(sets), HIGH)
    if default not in sets:
        raise InputError(
            f"The data hold no level {default!r}; they hold {', '.join(sorted(sets))}."
        )
    for name, more in others.items():
        for key, part in _split(read_frames(more, format=format), name).items():
            sets[key] = _joined(sets[key], part) if key in sets else part
    if level is not None and len(sets) == 1 and not named:
        raise InputError(
            f"All data are of one level, {level}: --level says which one of several "
            "the model is for. Give the structures of the others with --with."
        )
    if len(sets) > 1:
        _check_names(sets)
    own = sets.pop(default)
    return LevelFrames(default=default, own=own, others=sets)


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        if not is_level_name(name):
            raise InputError(
                f"A level of theory cannot be called {name!r}: use up to 40 letters, "
                "digits, `.`, `+`, `-` and `_`, and begin with a letter or a digit."
            )


def _level_of(atoms: Atoms) -> str | None:
    name = atoms.info.get(LEVEL_KEY)
    return name if isinstance(name, str) and name else None


def _split(frames: FrameSet, name: str) -> dict[str, FrameSet]:
    found: dict[str, list[int]] = {}
    for index, atoms in enumerate(frames.structures):
        found.setdefault(_level_of(atoms) or name, []).append(index)
    return {key: frames.part(indices) for key, indices in found.items()}


def _joined(one: FrameSet, other: FrameSet) -> FrameSet:
    return FrameSet(
        structures=[*one.structures, *other.structures],
        origins=[*one.origins, *other.origins],
    )
