"""How many times as fast as a universal potential a student is, on one thread.

    python benchmarks/student_speed.py motaw-nep-2k start.xyz --teacher sevennet:7net-0

The first structure of the file is moved a little from call to call, as in dynamics.
The potentials take turns, and only their processor time counts.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from synthzoo.data.structures import read_structures
from synthzoo.potentials import load_potential

if TYPE_CHECKING:
    from ase import Atoms

STEP_A = 0.002
STUDENT_CALLS = 20
"""Of the student in a turn, in which the teacher is called once."""


def main() -> None:
    """Measure both in turns and print the medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("student")
    parser.add_argument("structure", type=Path)
    parser.add_argument("--teacher", default="sevennet:7net-0")
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    student, teacher = (
        _ready(options.student, options.structure),
        _ready(options.teacher, options.structure),
    )
    rng = np.random.default_rng(0)
    turns = [
        (seconds(student, STUDENT_CALLS, rng), seconds(teacher, 1, rng))
        for _ in range(options.turns)
    ]
    for name, values in zip(("student", "teacher"), np.transpose(turns), strict=True):
        print(f"{name}: {1000 * np.median(values):.3g} ms a call")  # noqa: T201
    ratios = np.divide(*np.transpose(turns)[::-1])
    print(  # noqa: T201
        f"{len(student)} atoms: {np.median(ratios):.3g} times as fast "
        f"({ratios.min():.3g} to {ratios.max():.3g})"
    )


def _ready(name: str, structure: Path) -> Atoms:
    """Return the structure with a potential that has been called twice."""
    atoms = read_structures(structure)[0]
    atoms.calc = load_potential(name).calculator
    seconds(atoms, 2, np.random.default_rng(1))
    return atoms


def seconds(atoms: Atoms, calls: int, rng: np.random.Generator) -> float:
    """Return the processor time of one call."""
    start = time.process_time()
    for _ in range(calls):
        atoms.rattle(STEP_A, rng=rng)
        atoms.get_forces()
    return (time.process_time() - start) / calls


if __name__ == "__main__":
    main()
