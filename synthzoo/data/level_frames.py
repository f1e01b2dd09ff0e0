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
    named = any(level_in(atoms) for atoms in frames.structures)
    for index, atoms in enumerate(frames.structures):
        name = level_in(atoms) or level or HIGH
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


def part_of_level(frames: FrameSet, level: str | None) -> FrameSet:
    """Return the structures that labels of one level of theory may be compared with.

    Structures that name no level are of any.

    ``level``: the level that is compared; None if it has no name.
    """
    levels = [level_in(atoms) for atoms in frames.structures]
    named = sorted({name for name in levels if name is not None})
    if level in named:
        wanted = {None, level}
        return frames.part([n for n, name in enumerate(levels) if name in wanted])
    if len(named) > 1 or (level is not None and named):
        of = "a model of one level" if level is None else f"the level {level}"
        raise InputError(
            f"{', '.join(file.name for file in frames.files)} holds labels of the "
            f"level(s) of theory {', '.join(named)}, which do not belong to {of}. Give "
            "labels of that level alone."
        )
    return frames


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        if not is_level_name(name):
            raise InputError(
                f"A level of theory cannot be called {name!r}: use up to 40 letters, "
                "digits, `.`, `+`, `-` and `_`, and begin with a letter or a digit."
            )


def level_in(atoms: Atoms) -> str | None:
    """Return the level of theory that a structure names, if it names one."""
    name = atoms.info.get(LEVEL_KEY)
    return name if isinstance(name, str) and name else None


def _split(frames: FrameSet, name: str) -> dict[str, FrameSet]:
    found: dict[str, list[int]] = {}
    for index, atoms in enumerate(frames.structures):
        found.setdefault(level_in(atoms) or name, []).append(index)
    return {key: frames.part(indices) for key, indices in found.items()}


def _joined(one: FrameSet, other: FrameSet) -> FrameSet:
    return FrameSet(
        structures=[*one.structures, *other.structures],
        origins=[*one.origins, *other.origins],
    )
