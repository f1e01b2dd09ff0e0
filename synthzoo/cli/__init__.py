"""The command line: parse, call one function, print."""

from synthzoo.cli import chain, completion, teachers, zoo
from synthzoo.cli.group import OUTSIDE_CAUSES, main

__all__ = ["OUTSIDE_CAUSES", "chain", "completion", "main", "teachers", "zoo"]
