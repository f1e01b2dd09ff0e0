"""Do suggested structures teach more than random ones? Learning from a pool, in rounds.

    python benchmarks/suggested_structures.py carbon-ace-2k pool.xyz others.xyz out

For each seed, the first of ``--sizes`` structures are drawn from the pool, and the
model is fine-tuned on them. The pool then gives more, up to each further size: those
that `synthzoo suggest` would choose, random ones, or those farthest from what is known
(farthest-point sampling of the model's features, averaged over a structure). Errors are
those on the other file. There is one line of ``out/runs.jsonl`` for each seed; what is
there is not run again.
"""

from __future__ import annotations

import argparse
import functools
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthzoo import evaluate_models, finetune, load_calculator
from synthzoo.advice.choice import choose
from synthzoo.data.structures import read_structures, write_structures
from synthzoo.models.hidden import features_of_each
from synthzoo.models.uncertainty import Uncertainty
from synthzoo.reports.document import markdown_table

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.records import run_missing

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

Features = Sequence["NDArray[np.float32]"]
Chooser = Callable[[Features, Features, int, np.random.Generator], list[int]]


def suggested(
    known: Features, others: Features, count: int, _: np.random.Generator
) -> list[int]:
    """Return what `suggest` chooses."""
    return [choice.index for choice in choose(others, Uncertainty.of(known), count)]


def drawn(
    _: Features, others: Features, count: int, rng: np.random.Generator
) -> list[int]:
    """Return random structures."""
    found: list[int] = rng.permutation(len(others))[:count].tolist()
    return found


def farthest(
    known: Features, others: Features, count: int, _: np.random.Generator
) -> list[int]:
    """Return structures whose mean features are farthest from those that are known."""
    seen = np.array([each.mean(axis=0) for each in known])
    new = np.array([each.mean(axis=0) for each in others])
    near = np.linalg.norm(new[:, None] - seen, axis=2).min(axis=1)
    chosen: list[int] = []
    while len(chosen) < count:
        chosen.append(int(near.argmax()))
        near = np.minimum(near, np.linalg.norm(new - new[chosen[-1]], axis=1))
    return chosen


CHOOSERS: dict[str, Chooser] = {
    "suggested": suggested,
    "random": drawn,
    "farthest": farthest,
}
QUANTITIES = {"meV/atom": "energy_rmse_meV_per_atom", "eV/Å": "force_rmse_eV_A"}


class Rounds:
    """Fine-tunes a model on parts of a pool, and measures it; no part twice.

    ``folder``: for what is made on the way.
    """

    def __init__(
        self, model: str, pool: Sequence[Atoms], judge: Path, folder: Path
    ) -> None:
        self._model, self._pool, self._judge = model, pool, judge
        self._folder = folder
        self.fitted = functools.cache(self._fitted)

    def _fitted(self, known: tuple[int, ...]) -> tuple[dict[str, float], Any]:
        """Return the errors of a model that knows these structures, and the model."""
        data, tuned = self._folder / "data.xyz", self._folder / "tuned"
        write_structures(data, [self._pool[index] for index in known])
        shutil.rmtree(tuned, ignore_errors=True)
        # without the further fits that only say how good this one is
        finetune(
            self._model, data, tuned, workers=1, check_share=0.0, held_out_share=0.0
        )
        (found,) = evaluate_models([tuned], self._judge)
        errors = {unit: getattr(found.groups[0], q) for unit, q in QUANTITIES.items()}
        return errors, load_calculator(tuned)

    def learn(
        self, chooser: Chooser, start: Sequence[int], sizes: Sequence[int], seed: int
    ) -> list[dict[str, float]]:
        """Return the errors at each size."""
        rng = np.random.default_rng(seed)
        known = tuple(start)
        errors, calculator = self.fitted(known)
        found = [errors]
        for size in sizes[1:]:
            rest = [i for i in range(len(self._pool)) if i not in known]
            seen, new = (
                list(features_of_each(calculator, [self._pool[i] for i in part]))
                for part in (known, rest)
            )
            picks = chooser(seen, new, size - len(known), rng)
            known = (*known, *(rest[i] for i in picks))
            errors, calculator = self.fitted(known)
            found.append(errors)
        return found


def main() -> None:
    """Measure what is not on record, and print the table."""
    options = _options()
    options.folder.mkdir(parents=True, exist_ok=True)
    pool = read_structures(options.pool)
    sizes = [int(size) for size in options.sizes.split(",")]

    def measure(run: dict[str, Any]) -> dict[str, Any]:
        rounds = Rounds(options.model, pool, options.judge, options.folder)
        seed = run["seed"]
        start = np.random.default_rng(seed).permutation(len(pool))[: sizes[0]].tolist()
        return {
            name: rounds.learn(chooser, start, sizes, seed)
            for name, chooser in CHOOSERS.items()
        }

    runs = [
        {"model": options.model, "pool": options.pool.name, "sizes": sizes, "seed": s}
        for s in range(options.seeds)
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


def _head(sizes: Sequence[int]) -> tuple[str, ...]:
    return ("structures by", *(f"N = {size}" for size in sizes))


def _row(name: str, lines: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """Return means over the seeds, with their standard errors."""
    cells = []
    for errors in zip(*(line[name] for line in lines), strict=True):
        texts = []
        for unit, digits in zip(QUANTITIES, (1, 3), strict=True):
            values = np.array([error[unit] for error in errors])
            spread = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else 0
            texts.append(f"{values.mean():.{digits}f} ± {spread:.{digits}f}")
        cells.append(", ".join(texts))
    return (name, *cells)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model")
    parser.add_argument("pool", type=Path)
    parser.add_argument("judge", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sizes", default="15,25,45")
    parser.add_argument("--seeds", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
