"""What distillation is worth: errors after it, of its teacher, and of direct training.

    python benchmarks/distillation.py motaw-dft-train.extxyz \
        nep:UNEP-v1_NEP4.txt out --size 25 --draws 5 --minutes 30
    python benchmarks/distillation.py motaw-dft-train.extxyz \
        nep:UNEP-v1_NEP4.txt out --size 25 --draws 5 --minutes 30 \
        --test motaw-dft-test.extxyz

Each draw takes so many structures of the file at random, all draws different ones, and
`distill` makes a potential of them. It is judged on the other structures of the file,
at most so many; only the final table is made with a test set. Runs that are finished
are not repeated.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from synthzoo import distill
from synthzoo.data.structures import read_structures, write_structures
from synthzoo.distillation.report import RESULTS_FILE
from synthzoo.runs.provenance import installed_versions

MOST_JUDGED = 150


def main() -> None:
    """Run the draws one after the other, then print their table."""
    options = _options()
    options.output.mkdir(parents=True, exist_ok=True)
    runs = [_run(options, draw) for draw in range(options.draws)]
    record = {"versions": installed_versions(), "runs": runs}
    (options.output / "distillation.json").write_text(json.dumps(record, indent=1))
    print("\n".join(_table(runs)))  # noqa: T201


def _table(runs: list[dict[str, Any]]) -> list[str]:
    """Return median and range of the errors of each potential over the draws."""
    lines = []
    for name in dict.fromkeys(each["name"] for run in runs for each in run["errors"]):
        found = [e for run in runs for e in run["errors"] if e["name"] == name]
        energies = [each["energy_meV_per_atom"] for each in found]
        forces = [each["force_eV_A"] for each in found]
        lines.append(
            f"{name:18} {_spread(energies, 1)} meV/atom  {_spread(forces, 3)} eV/Å"
        )
    survived = sum(run["passed"] for run in runs)
    return [*lines, f"survived dynamics: {survived} of {len(runs)}"]


def _spread(values: list[float], digits: int) -> str:
    """Return the median and the range of a number over the draws."""
    low, middle, high = np.quantile(values, [0, 0.5, 1])
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="labelled structures to draw from")
    parser.add_argument("teacher")
    parser.add_argument("output", type=Path, help="folder for all runs")
    parser.add_argument("--size", type=int, default=25, help="structures of a draw")
    parser.add_argument("--draws", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--test", type=Path, help="test set, for the final table")
    parser.add_argument("--no-direct", action="store_true")
    parser.add_argument("--workers", type=int)
    return parser.parse_args()


def _run(options: argparse.Namespace, draw: int) -> dict[str, Any]:
    folder: Path = options.output / f"{options.size}-{draw}"
    drawn, rest = folder.with_suffix(".xyz"), folder.with_suffix(".rest.xyz")
    if not rest.exists():
        structures = read_structures(options.data)
        order = np.random.default_rng(draw).permutation(len(structures))
        chosen, others = np.split(order, [options.size])
        for path, indices in ((drawn, chosen), (rest, others[:MOST_JUDGED])):
            write_structures(path, [structures[i] for i in np.sort(indices)])
    distill(
        drawn,
        options.teacher,
        folder,
        minutes=options.minutes,
        test=options.test or rest,
        compare_direct=not options.no_direct,
        seed=draw,
        workers=options.workers,
        tell=print,
    )
    found: dict[str, Any] = json.loads((folder / RESULTS_FILE).read_text())
    return {"draw": draw, "errors": found["errors"], "passed": found["passed"]}


if __name__ == "__main__":
    main()
