"""Options about levels of theory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from synthzoo.data.levels import LOW


class LevelFileType(click.ParamType[tuple[str, str]]):
    """A file or pattern, perhaps behind the name of its level: pbe:low.xyz."""

    name = "[name:]file"

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, str]:
        """Return level and file."""
        if isinstance(value, tuple):
            return value
        name, colon, file = str(value).partition(":")
        if not colon or Path(value).exists():
            return LOW, str(value)
        if not name or not file:
            self.fail(f"{value!r} is not of the form NAME:FILE.", param, ctx)
        return name, file


def by_level(
    _: click.Context, __: click.Parameter, pairs: tuple[tuple[str, str], ...]
) -> dict[str, list[str]] | None:
    """Return the files of each level."""
    found: dict[str, list[str]] = {}
    for name, file in pairs:
        found.setdefault(name, []).append(file)
    return found or None


level_option = click.option(
    "--level",
    help="Level of theory to compute, if the model has several; its default level if "
    "not given.",
)

levels_option = click.option(
    "--with",
    "levels",
    type=LevelFileType(),
    multiple=True,
    callback=by_level,
    metavar="[NAME:]FILE",
    help="Structures of another level of theory, such as many cheap forces; may be "
    "repeated.",
)
level_of_data_option = click.option(
    "--level",
    help="Name of the level of theory of the data, beside those of --with; `high` by "
    "default.",
)
