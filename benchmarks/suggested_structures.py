"""Do suggested structures teach more than random ones? Learning from a pool, in rounds.

    python benchmarks/suggested_structures.py carbon-ace-2k train.extxyz out
    python benchmarks/suggested_structures.py carbon-nep-2k pool.xyz out --judge …

For each seed, the first of ``--sizes`` structures are drawn from the pool, and the
model is fine-tuned on them. The pool then gives more, up to each further size: those
that `synthzoo suggest` would choose, random ones, or those farthest from what is known
(farthest-point sampling of the model's features, averaged over a structure). Errors are
those on the structures of ``--judge``; without that, every third structure of the file
judges, and the others are the pool, or so many of them as ``--candidates`` says. All
fits see the same number of structures, at the same rate. There is one line of
``out/runs.jsonl`` for each seed and way of choosing; what is there is not run again.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthzoo.advice.choice import choose, still_ones
from synthzoo.advice.data import Fold, read_data
from synthzoo.advice.starts import fit_to_part, judge_start
from synthzoo.data.structures import kind_of, read_structures, write_structures
from synthzoo.evaluation.errors import ALL
from synthzoo.finetuning.fits import run_fits
from synthzoo.finetuning.recipe import FEW
from synthzoo.models.hidden import results_of_each
from synthzoo.models.uncertainty import Uncertainty
from synthzoo.reports.document import markdown_table

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.records import run_missing

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    from synthzoo.advice.data import UserData
    from synthzoo.advice.starts import Start
    from synthzoo.models.calculator import SynthzooCalculator

Features = Sequence["NDArray[np.floating]"]
FeaturesOf = Callable[[Sequence[int]], tuple[Features, set[int]]]
"""Features of some structures, and those on whose atoms no forces act."""
Errors = dict[str, dict[str, float]]
"""Errors by the group of structures, then by their unit."""

LEAST_ATOMS = 4
QUANTITIES = {"meV/atom": "energy_rmse_meV_per_atom", "eV/Å": "force_rmse_eV_A"}

Chooser = Callable[
    [FeaturesOf, Sequence[int], Sequence[int], int, np.random.Generator], Sequence[int]
]
"""Chooses so many of the others, given those that are known: indices in the pool."""


def suggested(
    features_of: FeaturesOf,
    known: Sequence[int],
    others: Sequence[int],
    count: int,
    __: np.random.Generator,
) -> list[int]:
    """Return what `suggest` chooses."""
    seen, _ = features_of(known)
    new, still = features_of(others)
    found = choose(new, Uncertainty.of(seen), count, still=still)
    return [others[choice.index] for choice in found]


def drawn(
    _: FeaturesOf,
    __: Sequence[int],
    others: Sequence[int],
    count: int,
    rng: np.random.Generator,
) -> list[int]:
    """Return random structures."""
    found: list[int] = rng.permutation(others)[:count].tolist()
    return found


def farthest(
    features_of: FeaturesOf,
    known: Sequence[int],
    others: Sequence[int],
    count: int,
    _: np.random.Generator,
) -> list[int]:
    """Return structures whose mean features are farthest from those that are known."""
    seen = np.array([each.mean(axis=0) for each in features_of(known)[0]])
    new = np.array([each.mean(axis=0) for each in features_of(others)[0]])
    near = np.linalg.norm(new[:, None] - seen, axis=2).min(axis=1)
    chosen: list[int] = []
    while len(chosen) < count:
        chosen.append(int(near.argmax()))
        near = np.minimum(near, np.linalg.norm(new - new[chosen[-1]], axis=1))
    return [others[index] for index in chosen]


CHOOSERS: dict[str, Chooser] = {
    "suggest": suggested,
    "chance": drawn,
    "farthest points": farthest,
}


class Rounds:
    """Fine-tunes a model on parts of a pool, and measures it; no part twice.

    ``data``: the pool and the structures that judge.
    ``pool``, ``judge``: their numbers.
    ``folder``: for what is made on the way.
    ``visits``: structures that each fit sees.
    """

    def __init__(
        self,
        start: Start,
        data: UserData,
        pool: Sequence[int],
        judge: Sequence[int],
        folder: Path,
        visits: int,
    ) -> None:
        self._start, self._data = start, data
        self._pool, self._judge = pool, tuple(judge)
        self._folder = folder
        self._changes: dict[str, Any] = {"visits": visits, **FEW}
        self.fitted = functools.cache(self._fitted)

    def _fitted(self, known: tuple[int, ...]) -> tuple[Errors, SynthzooCalculator]:
        """Return the errors of a model that knows these structures, and the model."""
        fold = Fold(number=1, training=known, tested=self._judge)
        fit = fit_to_part(
            self._start, self._data, fold, len(known), most_atoms=None, seed=0
        )
        recipe = dataclasses.replace(fit.job.recipe, **self._changes)
        job = dataclasses.replace(fit.job, recipe=recipe)
        fit = dataclasses.replace(fit, job=job)
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir()
        run_fits([job], self._folder)
        judge = self._data.bulk.part(self._judge)
        found = fit.said(self._folder, self._data.bulk).judged(judge)
        errors = {
            group.name: {unit: getattr(group, q) for unit, q in QUANTITIES.items()}
            for group in found.errors
        }
        return errors, fit.calculator(self._folder)

    def learn(
        self, chooser: Chooser, start: Sequence[int], sizes: Sequence[int], seed: int
    ) -> Iterator[tuple[tuple[int, ...], Errors]]:
        """Yield what is known at each size, and the errors."""
        rng = np.random.default_rng(seed)
        known = tuple(start)
        errors, calculator = self.fitted(known)
        yield known, errors
        for size in sizes[1:]:
            others = [index for index in self._pool if index not in known]
            features_of = functools.partial(self._features, calculator)
            picks = chooser(features_of, known, others, size - len(known), rng)
            known = (*known, *picks)
            errors, calculator = self.fitted(known)
            yield known, errors

    def _features(
        self, calculator: SynthzooCalculator, part: Sequence[int]
    ) -> tuple[Features, set[int]]:
        structures = self._data.bulk.part(part).structures
        found = list(results_of_each(calculator, structures))
        still = still_ones([each.forces for each in found])
        return [np.asarray(each.features) for each in found], still


def main() -> None:
    """Measure what is not on record, and print the table."""
    options = _options()
    options.folder.mkdir(parents=True, exist_ok=True)
    data, pool, judge = _parts(options)
    sizes = [int(size) for size in options.sizes.split(",")]
    start = judge_start(options.model, data)
    rounds = Rounds(start, data, pool, judge, options.folder / "fit", options.visits)

    def measure(run: dict[str, Any]) -> dict[str, Any]:
        seed = run["seed"]
        known = np.random.default_rng(seed).permutation(pool)[: sizes[0]].tolist()
        found = list(rounds.learn(CHOOSERS[run["by"]], known, sizes, seed))
        return {"known": found[-1][0], "errors": [errors for _, errors in found]}

    runs = [
        {
            "model": options.model,
            "pool": options.pool.name,
            "sizes": sizes,
            "visits": options.visits,
            "seed": seed,
            "by": name,
        }
        for seed in range(options.seeds)
        for name in CHOOSERS
    ]
    record = options.folder / "runs.jsonl"
    lines = [
        line
        for line in run_missing(record, runs, measure)
        if any(run.items() <= line.items() for run in runs)
    ]
    text = markdown_table(_head(sizes), [_row(name, lines) for name in CHOOSERS])
    (options.folder / "table.md").write_text(text, encoding="utf-8")
    print(text)  # noqa: T201


def _parts(options: argparse.Namespace) -> tuple[UserData, list[int], list[int]]:
    """Return the structures, the numbers of those to choose from, and of the judges."""
    pool, judge = (options.folder / name for name in ("pool.xyz", "judge.xyz"))
    structures = _chosen(options.pool, options)
    judging = _chosen(options.judge, options) if options.judge else structures[2::3]
    if not options.judge:
        del structures[2::3]
    order = np.random.default_rng(0).permutation(len(structures))
    kept = sorted(order[: options.candidates].tolist())
    write_structures(pool, [structures[index] for index in kept])
    write_structures(judge, judging)
    data = read_data(
        [pool, judge], energy_key=None, forces_key=None, format=None, drop_bad=False
    )
    places = range(len(data.bulk))
    judges = [place for place in places if str(judge) in data.bulk.origins[place]]
    return data, [place for place in places if place not in judges], judges


def _chosen(file: Path, options: argparse.Namespace) -> list[Atoms]:
    """Return the structures of a file, without small ones and kinds to skip."""
    return [
        atoms
        for atoms in read_structures(file)
        if len(atoms) >= LEAST_ATOMS and kind_of(atoms) not in options.skip
    ]


def _head(sizes: Sequence[int]) -> tuple[str, ...]:
    return ("structures by", *(f"N = {size}" for size in sizes))


def _row(name: str, lines: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """Return means over the seeds, with their standard errors."""
    cells = []
    chosen = [line["errors"] for line in lines if line["by"] == name]
    for each in zip(*chosen, strict=True):
        texts = []
        for unit, digits in zip(QUANTITIES, (1, 3), strict=True):
            values = np.array([errors[ALL][unit] for errors in each])
            spread = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else 0
            texts.append(f"{values.mean():.{digits}f} ± {spread:.{digits}f}")
        cells.append(", ".join(texts))
    return (name, *cells)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model")
    parser.add_argument("pool", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--judge", type=Path, help="file of other structures")
    parser.add_argument(
        "--candidates", type=int, help="at most so many; all if not given"
    )
    parser.add_argument("--skip", action="append", default=[], help="kind to leave out")
    parser.add_argument("--sizes", default="15,25,45")
    parser.add_argument("--visits", type=int, default=600, help="of each fit")
    parser.add_argument("--seeds", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
