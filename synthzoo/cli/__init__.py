"""The command line: parse, call one function, print."""

from synthzoo.cli import finetune, legacy, make, md, teachers, zoo
from synthzoo.cli.options import main

__all__ = [
    "finetune",
    "legacy",
    "main",
    "make",
    "md",
    "teachers",
    "zoo",
]
