"""The command line: parse, call one function, print."""

from synthzoo.cli import chain, completion, data, paper, teachers, tuning, zoo
from synthzoo.cli.group import OUTSIDE_CAUSES, main

__all__ = [
    "OUTSIDE_CAUSES",
    "chain",
    "completion",
    "data",
    "main",
    "paper",
    "teachers",
    "tuning",
    "zoo",
]
