"""The last part of the demo: whether the model survives molecular dynamics."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ase import Atoms

PROTOCOL = "quick"
CHECK_FOLDER = "md"


@dataclass(frozen=True, kw_only=True)
class DemoCheck:
    """What a check of stability has shown.

    Attributes
    ----------
    protocol
        Which one, with shorter dynamics.
    passed
        Whether nothing went wrong.
    lines
        The verdict in words.
    """

    protocol: str
    passed: bool
    lines: tuple[str, ...]


def check_model(
    checkpoint: Path, atoms: Atoms, folder: Path, *, duration_ps: float, seed: int
) -> DemoCheck:
    """Run a short protocol, with its report in a folder of its own.

    Parameters
    ----------
    checkpoint
        Of the model.
    atoms
        Structure to start from.
    folder
        Of the demo.
    duration_ps
        Length of the dynamics.
    seed
        Of the velocities.

    Raises
    ------
    SynthzooError
        If the checkpoint cannot be loaded.
    """
    from synthzoo.calculator import load_calculator
    from synthzoo.stability.check import check_stability, find_protocol
    from synthzoo.stability.plan import planned_fs
    from synthzoo.stability.protocols import rescaled
    from synthzoo.stability.text import verdict_lines

    start = atoms.copy()
    start.set_momenta(np.zeros((len(start), 3)))
    recipe = find_protocol(PROTOCOL)
    factor = 1000 * duration_ps / planned_fs(recipe)
    verdict = check_stability(
        load_calculator(checkpoint, device="cpu"),
        start,
        folder / CHECK_FOLDER,
        protocol=rescaled(recipe, duration=factor, hottest_K=None),
        seed=seed,
    )
    _, *lines = verdict_lines(verdict)
    return DemoCheck(
        protocol=PROTOCOL, passed=verdict.passed, lines=tuple(map(str.strip, lines))
    )
