"""The command line: parse, call one function, print."""

from synthzoo.cli import (
    benchmark,
    chain,
    completion,
    data,
    md,
    models,
    paper,
    teachers,
    tuning,
    zoo,
)
from synthzoo.cli.group import main

__all__ = [
    "benchmark",
    "chain",
    "completion",
    "data",
    "main",
    "md",
    "models",
    "paper",
    "teachers",
    "tuning",
    "zoo",
]
