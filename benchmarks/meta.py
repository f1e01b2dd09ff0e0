"""Compare starts for fine-tuning: meta-learned, one teacher, all teachers mixed.

    python benchmarks/meta.py carbon-gap17-dft-train.extxyz OUTPUT \
        ace:ace.xyz nep:nep.xyz lcbop:lcbop.xyz tersoff:tersoff.xyz

The labelled sets hold the same structures, each with the energies and forces of one
teacher; the first one is the default level. Three networks are pre-trained by the
recipe `carbon-ace-2k` on as many structures of each set, with equally many steps of
equally many atoms:

one    the first teacher alone
mixed  all teachers, a last layer for each, ordinary training
meta   all teachers, as tasks of Reptile

Each is fine-tuned on N structures of the labelled file, drawn from a pool of 500, and
judged on others of the file. Each run is one line of OUTPUT/runs.jsonl, and runs that
are there already are not repeated; OUTPUT/table.md has the means over the draws.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from synthzoo import finetune, pretrain
from synthzoo.models.recipe import ModelRecipe
from synthzoo.recipes.loading import load_recipe
from synthzoo.training.recipe import MetaRecipe, PretrainRecipe

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.levels import NAMES, Pool, table_of
from benchmarks.records import run_missing

RECIPE = "carbon-ace-2k"
ONE, MIXED = "one", "mixed"


def main() -> None:
    """Run what is not there yet."""
    options = _options()
    options.output.mkdir(exist_ok=True, parents=True)
    starts = Starts(options)
    runs = [
        {"start": start, "size": size, "draw": draw, "row": f"visits {visits}"}
        for draw in options.draws
        for size, visits in zip(options.sizes, options.visits, strict=True)
        for start in options.starts
    ]
    pool = Pool(options.structures, options.output, judges=options.judges)
    lines = run_missing(options.output / "runs.jsonl", runs, _measure(starts, pool))
    (options.output / "table.md").write_text(table_of(lines), encoding="utf-8")


class Starts:
    """The pre-trained networks, made when they are first needed."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        pairs = (text.split(":", 1) for text in options.levels)
        self.files = {name: Path(file) for name, file in pairs}

    def find(self, name: str) -> Path:
        """Return the checkpoint of a name: one, mixed, or meta-K-OUTER-INNER rate."""
        (first, file), *others = self.files.items()
        recipe = load_recipe(PretrainRecipe, RECIPE)
        model = ModelRecipe(**self.options.model)
        epochs = self.options.epochs * (1 if name != ONE else len(self.files))
        changes: dict[str, Any] = {"max_epochs": epochs}
        if name not in {ONE, MIXED}:
            inner_steps, outer_rate, rate = name.removeprefix("meta-").split("-")
            changes |= {
                "meta": MetaRecipe(
                    inner_steps=int(inner_steps), outer_rate=float(outer_rate)
                ),
                "learning_rate": float(rate),
                "ema_decay": recipe.fit.ema_decay ** int(inner_steps),
            }
        recipe = dataclasses.replace(
            recipe, model=model, fit=dataclasses.replace(recipe.fit, **changes)
        )
        output: Path = self.options.output / name
        if not output.exists():
            pretrain(
                recipe,
                file,
                output,
                structures=self.options.pretrained_on,
                levels=None if name == ONE else dict(others),
                level=None if name == ONE else first,
            )
        return output


def _measure(starts: Starts, pool: Pool) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def measure(run: dict[str, Any]) -> dict[str, Any]:
        output = pool.folder / "model"
        shutil.rmtree(output, ignore_errors=True)
        start = starts.find(run["start"])
        started = time.process_time()
        finetune(
            start,
            pool.high(run["size"], run["draw"]),
            output,
            test=pool.judges,
            visits=int(run["row"].removeprefix("visits ")),
            replay_share=0.0,
            workers=1,
            threads=1,
            seed=run["draw"],
        )
        (found,) = json.loads((output / "metrics.json").read_text("utf-8"))["unseen"]
        before = {f"before_{name}": found["before"][0][name] for name in NAMES}
        seconds = round(time.process_time() - started, 1)
        after = {name: found["after"][0][name] for name in NAMES}
        return after | before | {"cpu_seconds": seconds, "settings": {}}

    return measure


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("structures", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("levels", nargs="+", metavar="NAME:FILE")
    parser.add_argument("--starts", nargs="+", default=[ONE, MIXED, "meta-10-0.5-0.01"])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 25, 100])
    parser.add_argument("--visits", type=int, nargs="+", default=[250, 600, 3000])
    parser.add_argument("--draws", type=int, nargs="+", default=[0])
    parser.add_argument("--judges", type=int, default=300)
    parser.add_argument("--pretrained-on", type=int)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--model", type=json.loads, default={})
    return parser.parse_args()


if __name__ == "__main__":
    main()
