"""Time synthzoo beside nequip's own calculator, and print the tables of the README.

Run it on an otherwise idle machine:

    python benchmarks/speed.py carbon

The argument is the name or folder of a checkpoint that knows carbon. Both calculators
have the same weights and run in one process, their steps taking turns, so that other
load on the machine meets both alike; what is printed are medians.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ase.build import bulk
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet
from ase.units import fs

from synthzoo.models.checkpoint import load_model
from synthzoo.models.engine.module import undo
from synthzoo.models.predict import predict_structures
from synthzoo.runs.provenance import installed_versions
from synthzoo.zoo.find import find_folder
from synthzoo.zoo.load import load_calculator

if TYPE_CHECKING:
    from ase import Atoms

SIZES = {8: 1, 64: 2, 216: 3, 512: 4}
"""Atoms of a diamond cell, and how often its cubic cell is repeated along each axis."""

OURS = """
from ase.build import bulk
from synthzoo import load_calculator
atoms = bulk("C")
atoms.calc = load_calculator({folder!r}, device="cpu")
atoms.get_potential_energy()
"""

NEQUIPS = """
import json
from ase.build import bulk
from nequip.integrations.ase import NequIPCalculator
from nequip.integrations.utils import basic_transforms
from nequip.model import {builder}
from nequip.utils.global_state import set_global_state
import torch
set_global_state()
types = {elements!r}
model = {builder}(seed=0, model_dtype="float32", type_names=types, r_max={cutoff},
                  **{arguments!r})
model.load_state_dict(torch.load({weights!r}))
model.eval()
transforms = basic_transforms(model.metadata, {cutoff}, types, dict(zip(types, types)))
atoms = bulk("C")
atoms.calc = NequIPCalculator(model=model, device="cpu", transforms=transforms)
atoms.get_potential_energy()
"""


def main() -> None:
    """Run all benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="carbon")
    parser.add_argument("--steps", type=int, default=40, help="MD steps per size")
    parser.add_argument("--starts", type=int, default=5, help="fresh processes each")
    options = parser.parse_args()
    folder = find_folder(options.model)
    versions = " ".join(map(" ".join, installed_versions().items()))
    show(f"{options.model}, {torch.get_num_threads()} thread(s), {versions}\n")
    show_commands(options.starts)
    show_first_energy(folder, options.starts)
    show_steps(folder, options.steps)
    show_predictions(folder)


def show(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def show_commands(starts: int) -> None:
    """Time what must be quick because it loads nothing heavy."""
    commands = {
        "python -c pass": ["-c", "pass"],
        "import synthzoo": ["-c", "import synthzoo"],
        "synthzoo list": ["-c", "from synthzoo.cli import main; main()", "list"],
    }
    show("| fresh process | seconds |\n| --- | --- |")
    for name, arguments in commands.items():
        show(f"| `{name}` | {median_of(starts, partial(python, arguments)):.2f} |")


def show_first_energy(folder: Path, starts: int) -> None:
    """Time from nothing to an energy, imports included."""
    with tempfile.TemporaryDirectory() as scratch:
        weights = Path(scratch) / "weights.pt"
        model, config = load_model(folder)
        torch.save(model.state_dict(), weights)
        codes = {
            "synthzoo": OURS.format(folder=str(folder)),
            "nequip": NEQUIPS.format(
                builder=config.builder,
                elements=list(config.elements),
                cutoff=config.cutoff_A,
                arguments=config.arguments,
                weights=str(weights),
            ),
        }
        seconds: dict[str, list[float]] = {name: [] for name in codes}
        for _ in range(starts):
            for name, code in codes.items():
                seconds[name].append(timed(partial(python, ["-c", code])))
    show("\n| fresh process to first energy | seconds |\n| --- | --- |")
    for name, values in seconds.items():
        show(f"| {name} | {statistics.median(values):.2f} |")


def show_steps(folder: Path, steps: int) -> None:
    """Time MD steps of both calculators, in turns."""
    ours, nequips = load_calculator(folder, device="cpu"), nequip_calculator(folder)
    show("\n| atoms | synthzoo ms/step | nequip ms/step | ratio |")
    show("| --- | --- | --- | --- |")
    for size, repeats in SIZES.items():
        pair = [dynamics(repeats, calculator) for calculator in (ours, nequips)]
        times = np.array([take_turns(pair, turn) for turn in range(steps + 3)])[3:]
        first, second = 1000 * np.median(times, axis=0)
        ratio = np.median(times[:, 0] / times[:, 1])
        show(f"| {size} | {first:.2f} | {second:.2f} | {ratio:.3f} |")


def show_predictions(folder: Path, parts: int = 10, size: int = 100) -> None:
    """Time many small cells, in batches and one by one, part by part in turns."""
    rng = np.random.default_rng(0)
    calculator = load_calculator(folder, device="cpu")
    calculator.calculate(small_cell(rng))
    batched = looped = 0.0
    for _ in range(parts):
        cells = [small_cell(rng) for _ in range(size)]
        batched += timed(partial(list, predict_structures(cells, calculator)))
        for atoms in cells:
            looped += timed(partial(calculator.calculate, atoms))
    show(f"\n| {parts * size} cells of 2 or 8 atoms | seconds |\n| --- | --- |")
    show(f"| `predict_structures` | {batched:.2f} |")
    show(f"| loop over the calculator | {looped:.2f} |")
    show(f"| ratio | {looped / batched:.1f} |")


def small_cell(rng: np.random.Generator) -> Atoms:
    """Return a rattled cell of diamond."""
    atoms = bulk("C", cubic=bool(rng.integers(2)))
    atoms.rattle(0.1, rng=rng)
    return atoms


def nequip_calculator(folder: Path) -> Any:
    """Return nequip's own eager calculator with a checkpoint's weights."""
    from nequip.integrations.ase import NequIPCalculator
    from nequip.integrations.utils import basic_transforms

    model, config = load_model(folder)
    undo(model)
    types = list(config.elements)
    transforms = basic_transforms(
        model.metadata, config.cutoff_A, types, dict(zip(types, types, strict=True))
    )
    return NequIPCalculator(model=model, device="cpu", transforms=transforms)


def dynamics(repeats: int, calculator: Any) -> VelocityVerlet:
    """Return the dynamics of a diamond cell at room temperature."""
    atoms = bulk("C", cubic=True).repeat(repeats)
    atoms.calc = calculator
    thermalize_momenta(atoms, temperature_K=300, rng=np.random.default_rng(0))
    return VelocityVerlet(atoms, timestep=0.5 * fs)


def take_turns(pair: list[VelocityVerlet], turn: int) -> list[float]:
    """Return the seconds of one step of each; who begins alternates."""
    seconds = [0.0, 0.0]
    for index in (0, 1) if turn % 2 else (1, 0):
        # nequip's calculator needs nequip's default dtype.
        torch.set_default_dtype(torch.float64 if index else torch.float32)
        seconds[index] = timed(partial(pair[index].run, 1))
    torch.set_default_dtype(torch.float32)
    return seconds


def timed(action: Callable[[], object]) -> float:
    """Return the seconds that something takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def median_of(count: int, action: Callable[[], object]) -> float:
    """Return the median of several timings, in seconds."""
    return statistics.median(timed(action) for _ in range(count))


def python(arguments: list[str]) -> None:
    """Run Python in a fresh process."""
    subprocess.run(
        [sys.executable, *arguments], check=True, capture_output=True, env=os.environ
    )


if __name__ == "__main__":
    main()
