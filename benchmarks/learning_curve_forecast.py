"""Forecasts of `advise` from 12 to 50 structures against what 100 and 200 really give.

For each draw, 75 structures of a file are what a user has: a third of them is left out
in turn, and models are fitted to 12, 25 and 50 of the rest, as `advise` does. The power
law says what 100 and 200 structures would give. Then models are fitted to 100 and 200
structures of the file and tested on others. Told are the error of the forecast and how
often the truth lies within its band.

    python benchmarks/learning_curve_forecast.py carbon-gap17-dft-train.extxyz out
    python benchmarks/learning_curve_forecast.py … out --start carbon --draws 3

Without ``--start``, the linear model is forecast; with it, a network that is
fine-tuned for as long as `advise` does it. What a fit said is kept in ``out``: a script
that was stopped goes on with the next fit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthzoo.advice.data import Fold, UserData, curve_sizes, make_folds, read_data
from synthzoo.advice.request import FIT_ATOMS
from synthzoo.advice.simple_models import LINEAR, ace_kind
from synthzoo.advice.starts import file_stem, fit_to_part, judge_start
from synthzoo.advice.trials import Trial, keep, kept, trial
from synthzoo.advice.verdict import ENERGIES, FORCES, power_law
from synthzoo.data.labelled_set import rms
from synthzoo.data.structures import read_structures, write_structures
from synthzoo.finetuning.fits import run_fits
from synthzoo.reports.document import markdown_table

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.records import run_missing

if TYPE_CHECKING:
    from synthzoo.advice.trials import Said

HAD, WANTED = 75, (100, 200)
LEAST_TESTED, TESTED = 100, 150
"""Structures on which the truth is measured: sizes that leave fewer are left out."""

FitAndSay = Callable[[Sequence[int], Sequence[int], int], "Said"]
"""Fits to some structures of a file and says what the model gives for others."""


def linear(data: UserData, _: argparse.Namespace) -> FitAndSay:
    """Return fits of the linear model."""
    kind = ace_kind(data.bulk)
    return lambda fitted, tested, seed: kind.fit_and_say(
        data.bulk, fitted, tested, seed
    )


def network(data: UserData, options: argparse.Namespace) -> FitAndSay:
    """Return short fits of a start, as `advise` makes them."""
    start = judge_start(options.start, data)

    def fit_and_say(fitted: Sequence[int], tested: Sequence[int], seed: int) -> Said:
        named = hashlib.sha256(json.dumps([fitted, tested, seed]).encode()).hexdigest()
        done = options.folder / f"{file_stem(options.start)}-{named[:12]}.npz"
        if done.is_file():
            return kept(done)
        fold = Fold(number=1, training=tuple(fitted), tested=tuple(tested))
        fit = fit_to_part(
            start, data, fold, len(fitted), most_atoms=FIT_ATOMS, seed=seed
        )
        folder = options.folder / "fit"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        run_fits([fit.job], folder)
        said = fit.said(folder, data.bulk)
        keep(done, said)
        return said

    return fit_and_say


def wanted(pool: int) -> list[int]:
    """Return the numbers of structures that are forecast, for a pool of so many."""
    return [size for size in WANTED if pool - size >= LEAST_TESTED]


def measured(data: UserData, draw: int, fit_and_say: FitAndSay) -> dict[str, Any]:
    """Return forecasts and truths of one draw."""
    order = np.random.default_rng(draw).permutation(len(data.bulk)).tolist()
    had = order[:HAD]
    folds = [
        Fold(
            number=fold.number,
            training=tuple(had[i] for i in fold.training),
            tested=tuple(had[i] for i in fold.tested),
        )
        for fold in make_folds(data.bulk.part(had), draw)
    ]

    def tried(size: int, folds: Sequence[Fold]) -> Trial:
        parts = [data.bulk.part(fold.tested) for fold in folds]
        said = [fit_and_say(f.training[:size], f.tested, draw) for f in folds]
        return trial("", size, parts, said)

    trials = [tried(size, folds) for size in curve_sizes(folds)]
    sizes = wanted(len(data.bulk))
    tested = tuple(order[max(sizes) :][-TESTED:])
    found: dict[str, Any] = {
        "sizes": [each.size for each in trials],
        "curves": {
            quantity: [each.values(quantity).tolist() for each in trials]
            for quantity in (ENERGIES, FORCES)
        },
    }
    for size in sizes:
        truth = tried(
            size, [Fold(number=1, training=tuple(order[:size]), tested=tested)]
        )
        for quantity in (ENERGIES, FORCES):
            law = power_law(trials, quantity)
            assert law is not None
            told = law.at(size)
            found[f"{quantity} {size}"] = {
                "truth": float(truth.values(quantity)[0]),
                "forecast": told.error,
                "lowest": told.lowest,
                "highest": told.highest,
                "last": rms(trials[-1].values(quantity)),
            }
    return found


def main() -> None:
    """Measure what is not on record, and print the table."""
    options = _options()
    options.folder.mkdir(parents=True, exist_ok=True)
    data = _read(options)
    fits = (network if options.start else linear)(data, options)
    runs = [
        {"file": options.file.name, "start": options.start or LINEAR, "draw": draw}
        for draw in range(options.draws)
    ]
    lines = run_missing(
        options.folder / "runs.jsonl",
        runs,
        lambda run: measured(data, run["draw"], fits),
    )
    chosen = [line for line in lines if any(r.items() <= line.items() for r in runs)]
    print(markdown_table(HEAD, list(_rows(chosen))))  # noqa: T201


HEAD = (
    "error of",
    "structures",
    "truth",
    "forecast",
    "error of the forecast",
    "the same, if nothing changed after 50",
    "truth within the band",
)


def _rows(lines: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for quantity, digits in ((ENERGIES, 1), (FORCES, 3)):
        for size in WANTED:
            each = [
                found for line in lines if (found := line.get(f"{quantity} {size}"))
            ]
            if not each:
                continue
            truth, told, last = (
                np.array([one[name] for one in each])
                for name in ("truth", "forecast", "last")
            )
            held = [one["lowest"] <= one["truth"] <= one["highest"] for one in each]
            rows.append(
                (
                    quantity,
                    str(size),
                    f"{truth.mean():.{digits}f}",
                    f"{told.mean():.{digits}f}",
                    f"{100 * np.abs(told / truth - 1).mean():.0f} %",
                    f"{100 * np.abs(last / truth - 1).mean():.0f} %",
                    f"{sum(held)} of {len(held)}",
                )
            )
    return rows


def _read(options: argparse.Namespace) -> UserData:
    """Return structures of the file with at least four atoms."""
    large = [atoms for atoms in read_structures(options.file) if len(atoms) >= 4]
    order = np.random.default_rng(0).permutation(len(large))
    pool = options.folder / "pool.xyz"
    write_structures(pool, [large[i] for i in order[: options.pool].tolist()])
    return read_data(
        [pool], energy_key=None, forces_key=None, format=None, drop_bad=False
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--start", help="fine-tune this network instead")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--pool", type=int, default=350, help="structures to draw from")
    return parser.parse_args()


if __name__ == "__main__":
    main()
