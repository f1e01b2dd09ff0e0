"""Memory and time before the first step of `pretrain`, from small sets to large ones.

    python -m benchmarks.large_sets 1000 10000 100000 -o large-sets.json

Structures are rattled diamonds, and their labels random numbers of a plausible size: it
is not what is learnt that is measured. Each set is trained on twice, by new processes
with an empty cache: the first run reads the file, the second finds what that has kept.
The engine's code is compiled before. Both runs stop after some steps, between the first
and last of which memory should not grow.

Times are those of the processor, of everything since the start of the process. The peak
of the memory counts the mapped pages of a set, too, which the system takes back when it
needs them; the memory of the process itself is without them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.build import bulk

from synthzoo.data.structures import label, write_structures
from synthzoo.runs.provenance import installed_versions

if TYPE_CHECKING:
    from ase import Atoms

REPEATS = (1, 2, 3)
"""Of diamond's cubic cell: 48 atoms."""
FEW = 50
"""Structures of the set for which the engine's code is compiled."""
RUNS = ("first", "second")
MB = 2**20


def main() -> None:
    """Measure sets of several sizes, or one of them where this was started for it."""
    options = _options()
    if options.run is not None:
        _train(*options.run, steps=options.steps)
        return
    found = []
    with tempfile.TemporaryDirectory(dir=options.scratch) as name:
        folder = Path(name)
        _measure(folder, FEW, steps=1)
        for count in options.counts:
            lines = _measure(folder, count, steps=options.steps)
            found += lines
            for line in lines:
                print(json.dumps(line), flush=True)  # noqa: T201
    record = {"versions": installed_versions(), "found": found}
    if options.output is not None:
        options.output.write_text(json.dumps(record, indent=1))
    _tell(found)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("counts", nargs="*", type=int, help="structures of each set")
    parser.add_argument("-o", "--output", type=Path, help="JSON file to write")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--scratch", type=Path, help="where large files may lie")
    parser.add_argument("--run", nargs=2, type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _structures(count: int) -> Iterator[Atoms]:
    rng = np.random.default_rng(count)
    crystal = bulk("C", cubic=True).repeat(REPEATS)
    for number in range(count):
        atoms = crystal.copy()
        atoms.positions += rng.normal(scale=0.1, size=atoms.positions.shape)
        atoms.info.update(group=f"g{number // 4}", teacher="none: random numbers")
        yield label(
            atoms,
            energy_eV=len(atoms) * rng.normal(-7.0, 0.3),
            forces_eV_A=rng.normal(size=atoms.positions.shape),
        )


def _measure(folder: Path, count: int, *, steps: int) -> list[dict[str, Any]]:
    """Return what two runs on a set need; the set is removed after them."""
    data = folder / f"{count}.xyz"
    write_structures(data, _structures(count))
    found = [
        {"structures": count, "run": run, "file_MB": data.stat().st_size / MB}
        | _start(data, folder / f"{count}-{run}", folder / "cache", steps)
        for run in RUNS
    ]
    data.unlink()
    return found


def _start(data: Path, output: Path, cache: Path, steps: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.large_sets", "--steps", str(steps)]
    done = subprocess.run(
        [*command, "--run", str(data), str(output)],
        env={**os.environ, "XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _train(data: Path, output: Path, *, steps: int) -> None:
    """Train for some steps, and print what that took as JSON."""
    from synthzoo.errors import InterruptedRunError
    from synthzoo.training.module import FitModule
    from synthzoo.training.place import TrainingPlace
    from synthzoo.training.pretrain import pretrain
    from synthzoo.training.recipe import FitRecipe, PretrainRecipe

    begun, step = time.monotonic(), FitModule.optimizer_step
    states: list[dict[str, float]] = []

    def counted(module: FitModule, *args: Any, **named: Any) -> None:
        step(module, *args, **named)
        states.append(_state(begun))
        if len(states) == steps:
            raise KeyboardInterrupt

    FitModule.optimizer_step = counted  # type: ignore[assignment, method-assign]
    recipe = PretrainRecipe(fit=FitRecipe(threads=1, max_epochs=100))
    try:
        pretrain(recipe, data, output, place=TrainingPlace(device="cpu"))
    except (KeyboardInterrupt, InterruptedRunError):
        print(json.dumps({"first": states[0], "last": states[-1]}))  # noqa: T201


def _state(begun: float) -> dict[str, float]:
    """Return time and memory up to now."""
    lines = Path("/proc/self/status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines)
    return {
        "cpu_s": time.process_time(),
        "wall_s": time.monotonic() - begun,
        "peak_MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "own_MB": int(status["RssAnon"].split()[0]) / 1024,
    }


def _tell(found: list[dict[str, Any]]) -> None:
    heads = (
        "structures",
        "run",
        "file (MB)",
        "first step (CPU s)",
        "peak then (MB)",
        "own then (MB)",
        "peak at the end (MB)",
        "own at the end (MB)",
    )
    rows = [
        (
            f"{line['structures']:,}",
            line["run"],
            f"{line['file_MB']:.0f}",
            f"{line['first']['cpu_s']:.1f}",
            *(
                f"{line[when][what]:.0f}"
                for when in ("first", "last")
                for what in ("peak_MB", "own_MB")
            ),
        )
        for line in found
    ]
    for row in (heads, ("---",) * len(heads), *rows):
        print("| " + " | ".join(row) + " |")  # noqa: T201


if __name__ == "__main__":
    main()
