"""How `synthzoo -h` lists the commands: by what they are for, with one line each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

SECTIONS = {
    "Use a model": ("list", "show", "predict", "md", "verify", "fetch", "demo"),
    "Simulate elsewhere": ("lammps", "serve", "export"),
    "Fine-tune it on your own data": (
        "inspect",
        "map",
        "advise",
        "finetune",
        "evaluate",
        "benchmark",
        "suggest",
    ),
    "Make a model of any material": ("distill",),
    "Make a model step by step": (
        "build",
        "generate",
        "relabel",
        "pretrain",
        "teachers",
        "reference",
        "local-energies",
        "estimate",
        "thin",
        "transmute",
        "transmute-model",
    ),
    "Share it": ("publish", "import-paper"),
    "Set up the shell": ("completion",),
}
"""Commands for each heading, in the order in which a new user needs them."""

NEVER_CUT = 1000
"""Characters: a first sentence is shown whole, on a second line if it must be."""


class ListedByJob(click.Group):
    """A group whose help shows its commands under headings, with a full line each."""

    group_class = type
    """Groups within this one are listed in the same way."""

    def __init__(
        self,
        *args: Any,
        sections: Mapping[str, tuple[str, ...]] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self.sections = sections or {}

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002  click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        """Write the commands below their headings."""
        width = max(map(len, self.commands))
        sections = self.sections or {"Commands": tuple(self.commands)}
        for heading, names in sections.items():
            rows = [
                (f"{name:<{width}}", self.commands[name].get_short_help_str(NEVER_CUT))
                for name in names
            ]
            with formatter.section(heading):
                formatter.write_dl(rows)
