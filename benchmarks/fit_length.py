"""Whether trials on parts of the structures tell how long to fine-tune.

    python benchmarks/fit_length.py carbon carbon-gap17-dft-train.extxyz OUTPUT \
        --sizes 10 25 --draws 0 1 2 --factors 0.25 1 4 16

N structures of a labelled set are drawn, others judge, 150 at most. For each factor a
fit sees so many times the default number of structures, once without a fifth of the
drawn ones (a trial; up to five with --folds), once with all. Each run is one line of
OUTPUT/runs.jsonl, and runs that are there already are not repeated; OUTPUT/table.md has
the errors on the judges after the fit to all (meV/atom, eV/Å), and the mean losses of
the trials on what they fitted and on what they left out.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from synthzoo.data.frames import read_frames
from synthzoo.data.labelled_set import as_labelled, find_keys
from synthzoo.data.structures import read_structures, write_structures
from synthzoo.finetuning.comparison import predict_set
from synthzoo.finetuning.energy_reference import with_reference
from synthzoo.finetuning.fits import FitJob, run_fits
from synthzoo.finetuning.jobs import make_jobs
from synthzoo.finetuning.length import judge_trial, trial_job
from synthzoo.finetuning.recipe import FinetuneRecipe
from synthzoo.finetuning.replay import find_replay
from synthzoo.finetuning.request import Request, read_sets
from synthzoo.models.calculator import SynthzooCalculator
from synthzoo.reports.document import markdown_table
from synthzoo.zoo.find import find_checkpoint

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.records import run_missing

MOST_JUDGES, LEAST_ATOMS = 150, 3


def main() -> None:
    """Run what is not there yet, then write the table."""
    options = _options()
    options.output.mkdir(exist_ok=True, parents=True)
    runs = [
        {"size": size, "draw": draw, "factor": factor, "fold": fold}
        for draw in options.draws
        for size in options.sizes
        for factor in options.factors
        for fold in (None, *range(options.folds))
    ]
    structures = [
        atoms
        for atoms in read_structures(options.structures)
        if len(atoms) >= LEAST_ATOMS
    ]
    torch.set_num_threads(1)

    def measure(run: dict[str, Any]) -> dict[str, Any]:
        files = _draw(options.output, structures, run["size"], run["draw"])
        started = time.process_time()
        found = _measure(options, files, run)
        return found | {"cpu_seconds": round(time.process_time() - started, 1)}

    lines = run_missing(options.output / "runs.jsonl", runs, measure)
    (options.output / "table.md").write_text(_table(lines), encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("structures", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[25])
    parser.add_argument("--draws", type=int, nargs="+", default=[0])
    parser.add_argument("--factors", type=float, nargs="+", default=[0.25, 1, 4, 16])
    parser.add_argument("--folds", type=int, default=1, help="Trials of each fit.")
    parser.add_argument("--replay", type=Path, help="Synthetic structures to mix in.")
    parser.add_argument("--replay-share", type=float)
    return parser.parse_args()


def _draw(
    folder: Path, structures: list[Any], size: int, draw: int
) -> tuple[Path, Path]:
    """Return files with the structures of a draw, and with those that judge it."""
    drawn, judges = (folder / f"{name}-{size}-{draw}.xyz" for name in ("drawn", "rest"))
    order = np.random.default_rng(draw).permutation(len(structures))
    for path, indices in (
        (drawn, order[:size]),
        (judges, order[size : size + MOST_JUDGES]),
    ):
        write_structures(path, [structures[index] for index in np.sort(indices)])
    return drawn, judges


def _measure(
    options: argparse.Namespace, files: tuple[Path, Path], run: dict[str, Any]
) -> dict[str, Any]:
    drawn, judging = files
    request = _request(options, drawn)
    sets = read_sets(request)
    plan = sets.plan
    usual = plan.recipe.visits or 0  # resolved: not None
    visits = math.ceil(run["factor"] * usual)
    first = make_jobs(request, sets)[0]
    if run["fold"] is None:
        recipe = dataclasses.replace(plan.recipe, visits=visits)
        weights = _fitted(dataclasses.replace(first, recipe=recipe))
        stored = with_reference(weights, plan.config, plan.reference)
        frames = read_frames([judging])
        judges = as_labelled(frames, find_keys(frames))
        errors = predict_set(judges, SynthzooCalculator(stored)).errors[0]
        return {"visits": visits, "judges": dataclasses.asdict(errors)}
    weights = _fitted(trial_job(plan, first, run["fold"], visits))
    trial = judge_trial(plan, run["fold"], visits, weights)
    return dataclasses.asdict(trial)


def _fitted(job: FitJob) -> dict[str, torch.Tensor]:
    with tempfile.TemporaryDirectory() as folder:
        return run_fits([job], Path(folder))[job.name]


def _request(options: argparse.Namespace, drawn: Path) -> Request:
    recipe = FinetuneRecipe(check_share=0.0)
    if options.replay_share is not None:
        recipe = dataclasses.replace(recipe, replay_share=options.replay_share)
    start = find_checkpoint(options.model)
    return Request(
        name="model",
        start=start,
        files=[drawn],
        replay=find_replay(options.replay, start.config),
        recipe=recipe,
    )


def _table(lines: list[dict[str, Any]]) -> str:
    header = ("N", "draw", "visits", "energy", "force", "fitted", "left out")
    same = ("size", "draw", "factor")
    rows = []
    for line in lines:
        if line["fold"] is not None:
            continue
        trials = [
            other
            for other in lines
            if other["fold"] is not None and all(other[k] == line[k] for k in same)
        ]
        rows.append(
            (
                *(str(line[name]) for name in ("size", "draw", "visits")),
                f"{line['judges']['energy_rmse_meV_per_atom']:.1f}",
                f"{line['judges']['force_rmse_eV_A']:.3f}",
                *(_losses(trials, part) for part in ("fitted", "left_out")),
            )
        )
    return markdown_table(header, rows) + "\n"


def _losses(trials: list[dict[str, Any]], part: str) -> str:
    """Return the mean losses of some trials at their start and their end."""
    if not trials:
        return ""
    start, end = (
        np.mean([trial[part][when] for trial in trials]) for when in ("start", "end")
    )
    return f"{start:.3g} → {end:.3g} ({100 * (end / start - 1):+.0f} %)"


if __name__ == "__main__":
    main()
