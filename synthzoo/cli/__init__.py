"""The command line: parse, call one function, print."""

from synthzoo.cli import (
    advice,
    distill,
    environments,
    finetune,
    legacy,
    make,
    md,
    simulate,
    teachers,
    zoo,
)
from synthzoo.cli.options import main

__all__ = [
    "advice",
    "distill",
    "environments",
    "finetune",
    "legacy",
    "main",
    "make",
    "md",
    "simulate",
    "teachers",
    "zoo",
]
