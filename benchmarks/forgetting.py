"""What fine-tuning on one kind of structures costs on others, and what replay saves.

    python benchmarks/forgetting.py carbon train.xyz folder --kinds bulk_cryst

A draw of the kinds named (by ``info["config_type"]``) is fitted by `synthzoo finetune`
with its defaults, without and with replay of the zoo's synthetic structures. Errors are
measured on other structures of the same kinds, on the rest of the file, of which
nothing is fitted, and on the synthetic structures that are kept for that. One constant
per atom is taken off the energies of the latter two, since the kinds may differ by one.
One line of ``folder/runs.jsonl`` for each run; the table is ``folder/table.md`` and is
printed; what is there is not run again. Give other kinds and the same folder for a
table of both.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from synthzoo.data.frames import read_frames
from synthzoo.data.label_choice import find_label_keys
from synthzoo.data.labelled_set import as_labelled
from synthzoo.data.structures import write_structures
from synthzoo.evaluation.errors import shifted, shifts_eV
from synthzoo.finetuning.comparison import predict_set
from synthzoo.finetuning.plan import starting_calculator
from synthzoo.finetuning.recipe import FinetuneRecipe, ReplayLabels
from synthzoo.finetuning.run import finetune
from synthzoo.reports.document import markdown_table
from synthzoo.zoo.find import find_checkpoint
from synthzoo.zoo.load import load_calculator

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.records import run_missing

if TYPE_CHECKING:
    from synthzoo.data.labelled_set import LabelledSet
    from synthzoo.models.calculator import SynthzooCalculator

COLUMNS = ("energy_rmse_meV_per_atom", "force_rmse_eV_A")


def main() -> None:
    """Run what is not there yet, then write the table."""
    options = _options()
    options.folder.mkdir(parents=True, exist_ok=True)
    runs = [
        {"run": _named(options, seed, share)}
        for seed in options.seeds
        for share in (None, *options.shares)
    ]
    data = _read(options.data)
    record = options.folder / "runs.jsonl"
    table = _table(run_missing(record, runs, lambda run: _run(data, run, options)))
    (options.folder / "table.md").write_text(table, encoding="utf-8")
    print(table)  # noqa: T201


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kinds", nargs="+", required=True)
    parser.add_argument("--structures", type=int, default=100)
    parser.add_argument("--most", type=int, default=150, help="To measure on, each.")
    parser.add_argument(
        "--shares", type=float, nargs="*", default=[FinetuneRecipe().replay_share]
    )
    parser.add_argument(
        "--replay-labels",
        choices=get_args(ReplayLabels),
        default=FinetuneRecipe().replay_labels,
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--replay", default="zoo")
    parser.add_argument("--visits", type=int, help="The command's own if not given.")
    return parser.parse_args()


def _named(
    options: argparse.Namespace, seed: int, share: float | None
) -> dict[str, Any]:
    names = ("model", "kinds", "structures", "most", "replay", "visits")
    known = {name: getattr(options, name) for name in names}
    labels = options.replay_labels if share is not None else None
    return known | {"seed": seed, "replay_share": share, "replay_labels": labels}


def _read(path: Path) -> LabelledSet:
    """Return the set without atoms and pairs of atoms."""
    frames = read_frames(path)
    labelled = as_labelled(frames, find_label_keys(frames.structures))
    sizes = enumerate(map(len, labelled.structures))
    return labelled.part([index for index, size in sizes if size > 2])


def _run(
    data: LabelledSet, run: dict[str, Any], options: argparse.Namespace
) -> dict[str, Any]:
    seed, share = run["run"]["seed"], run["run"]["replay_share"]
    training, same, rest = _parts(data, seed, options)
    work = options.folder / f"fit-{'-'.join(options.kinds)}-{seed}-{share}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    write_structures(work / "training.xyz", training.structures)
    write_structures(work / "same.xyz", same.structures)
    recipe = FinetuneRecipe(seed=seed, threads=1, visits=options.visits)
    if share is not None:
        recipe = dataclasses.replace(
            recipe, replay_share=share, replay_labels=options.replay_labels
        )
    started = time.process_time()
    finetune(
        options.model,
        work / "training.xyz",
        work / "tuned",
        recipe=recipe,
        test=work / "same.xyz",
        replay=() if share is None else options.replay,
        workers=1,
    )
    metrics = json.loads((work / "tuned" / "metrics.json").read_text())
    start = starting_calculator(find_checkpoint(options.model))
    tuned = load_calculator(work / "tuned", device="cpu")
    judged = metrics["unseen"][0]
    return {
        "same": {name: judged[name][0] for name in ("before", "after")},
        "rest": {"before": _errors(rest, start), "after": _errors(rest, tuned)},
        "synthetic": metrics["synthetic"],
        "training_structures": len(training),
        "cpu_seconds": round(time.process_time() - started, 1),
    }


def _parts(
    data: LabelledSet, seed: int, options: argparse.Namespace
) -> tuple[LabelledSet, LabelledSet, LabelledSet]:
    """Return what is fitted, other structures of its kinds, and the rest."""
    kinds = [str(atoms.info.get("config_type")) for atoms in data.structures]
    of_kind = np.flatnonzero(np.isin(kinds, options.kinds))
    others = np.flatnonzero(~np.isin(kinds, options.kinds))
    fixed = np.random.default_rng(0)
    same = fixed.permutation(of_kind)[: min(options.most, len(of_kind) // 2)]
    rest = fixed.permutation(others)[: options.most]
    pool = np.setdiff1d(of_kind, same)
    drawn = np.random.default_rng(seed).permutation(pool)[: options.structures]
    return data.part(drawn.tolist()), data.part(same.tolist()), data.part(rest.tolist())


def _errors(labelled: LabelledSet, model: SynthzooCalculator) -> dict[str, float]:
    found = predict_set(labelled, model)
    errors = shifted(labelled, found, shifts_eV(labelled, found)).errors[0]
    return {name: getattr(errors, name) for name in COLUMNS}


def _table(lines: list[dict[str, Any]]) -> str:
    header = (
        "Fitted to",
        "Replay",
        "Seed",
        "Same kinds (meV/atom, eV/Å)",
        "Times the error without replay",
        "Rest (meV/atom, eV/Å)",
        "Times the start's error",
        "Synthetic, times the start's error",
        "CPU s",
    )
    return markdown_table(header, [_row(line, lines) for line in lines]) + "\n"


def _row(line: dict[str, Any], lines: list[dict[str, Any]]) -> tuple[str, ...]:
    run, share = line["run"], line["run"]["replay_share"]
    alone = {**run, "replay_share": None, "replay_labels": None}
    (plain,) = (other for other in lines if other["run"] == alone)
    synthetic = line["synthetic"]
    return (
        f"{line['training_structures']} {', '.join(run['kinds'])}",
        "none" if share is None else f"{share:g}, {run['replay_labels']}",
        str(run["seed"]),
        _arrow(line["same"]),
        _times(line["same"]["after"], plain["same"]["after"]),
        _arrow(line["rest"]),
        _times(line["rest"]["after"], line["rest"]["before"]),
        _times(synthetic["after"][0], synthetic["before"][0]) if synthetic else "",
        f"{line['cpu_seconds']:.0f}",
    )


def _times(found: dict[str, float], other: dict[str, float]) -> str:
    return ", ".join(f"{found[name] / other[name]:.2f}" for name in COLUMNS)


def _arrow(found: dict[str, dict[str, float]]) -> str:
    texts = [
        f"{found[when][COLUMNS[0]]:.1f}, {found[when][COLUMNS[1]]:.3f}"
        for when in ("before", "after")
    ]
    return " → ".join(texts)


if __name__ == "__main__":
    main()
