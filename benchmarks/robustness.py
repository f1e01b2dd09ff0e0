"""Many fine-tunings with the command's defaults: how many diverge, and their errors.

    python benchmarks/robustness.py carbon train.xyz folder --workers 2

Five sizes and twenty draws, each with a seed of its own, by `synthzoo benchmark`'s own
function; a fixed part of the file judges, the draws come from the rest: no test file is
needed. A run counts as diverged if it has no result, or if an error is larger than
twice the start's own. Results of single runs are one line each in
``folder/runs.jsonl``; the table is ``folder/table.md``, and printed. The same command
goes on where a killed one stopped.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np

from synthzoo.benchmarking.learning_curves import describe_result, run_benchmark
from synthzoo.benchmarking.single_run import Result, read_result
from synthzoo.data.structures import read_structures, write_structures
from synthzoo.reports.document import markdown_table

DIVERGED = 2.0
"""Times the error of the start."""


def main() -> None:
    """Run what is not there yet, then write the table."""
    options = _options()
    options.folder.mkdir(parents=True, exist_ok=True)
    training, judges = _split(options)
    run_benchmark(
        [options.model],
        training,
        judges,
        options.folder / "curve",
        sizes=[0, *options.sizes],
        draws=options.draws,
        workers=options.workers,
        on_result=lambda found: print(describe_result(found), flush=True),  # noqa: T201
    )
    results = [
        read_result(path) for path in sorted(options.folder.rglob("runs/*.json"))
    ]
    lines = [json.dumps(dataclasses.asdict(found)) for found in results]
    (options.folder / "runs.jsonl").write_text("\n".join(lines) + "\n")
    table = _table(results)
    (options.folder / "table.md").write_text(table, encoding="utf-8")
    print(table)  # noqa: T201


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[5, 10, 25, 50, 100])
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--judges", type=int, default=100)
    parser.add_argument("--workers", type=int, default=1)
    return parser.parse_args()


def _split(options: argparse.Namespace) -> tuple[Path, Path]:
    """Write the structures to draw from, and those that judge."""
    paths = options.folder / "training.xyz", options.folder / "judges.xyz"
    if not all(path.is_file() for path in paths):
        frames = [atoms for atoms in read_structures(options.data) if len(atoms) > 2]
        order = np.random.default_rng(0).permutation(len(frames))
        write_structures(paths[0], [frames[i] for i in order[options.judges :]])
        write_structures(paths[1], [frames[i] for i in order[: options.judges]])
    return paths


def _table(results: list[Result]) -> str:
    (start,) = [found.errors[0] for found in results if found.size == 0]
    limits = np.array([start.energy_rmse_meV_per_atom, start.force_rmse_eV_A])
    header = (
        "Structures",
        "Runs",
        "Diverged",
        "Energy RMSE (meV/atom): mean, worst",
        "Force RMSE (eV/Å): mean, worst",
    )
    rows = [("0", "1", "", f"{limits[0]:.1f}", f"{limits[1]:.3f}")]
    for size in sorted({found.size for found in results if found.size}):
        runs = [found for found in results if found.size == size]
        errors = np.array(
            [
                (
                    found.errors[0].energy_rmse_meV_per_atom,
                    found.errors[0].force_rmse_eV_A,
                )
                if found.failed is None
                else (np.inf, np.inf)
                for found in runs
            ]
        )
        good = (errors < DIVERGED * limits).all(axis=1)
        counts = str(size), str(len(runs)), str(int((~good).sum()))
        rows.append((*counts, *_mean_and_worst(errors[good])))
    return markdown_table(header, rows) + "\n"


def _mean_and_worst(errors: np.ndarray) -> tuple[str, str]:
    """Return texts on energies and forces of the runs that did not diverge."""
    if len(errors) == 0:
        return "–", "–"
    mean, worst = errors.mean(axis=0), errors.max(axis=0)
    return f"{mean[0]:.1f}, {worst[0]:.1f}", f"{mean[1]:.3f}, {worst[1]:.3f}"


if __name__ == "__main__":
    main()
