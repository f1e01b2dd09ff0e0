"""What stress labels give a fine-tuning: errors, and crystals, by their weight.

    python benchmarks/stress_labels.py start train.xyz folder --crystal Cu fcc 3.63

Some structures of a file, drawn at random, are fitted by `synthzoo finetune` with each
of several weights of stress, and others of the file measure the errors. The equilibrium
volume and the bulk modulus of crystals are those of a Birch-Murnaghan fit. What is
there is not run again; the table is ``folder/table.md`` and is printed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.build import bulk
from ase.eos import EquationOfState
from ase.units import GPa

from synthzoo.data.structures import read_structures, write_structures
from synthzoo.evaluation.errors import error_columns
from synthzoo.evaluation.evaluate import evaluate_models
from synthzoo.finetuning.run import finetune
from synthzoo.reports.document import markdown_table
from synthzoo.zoo.load import load_calculator

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.records import run_missing

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

SCALES = np.linspace(0.97, 1.03, 7)
"""Lengths of the crystals whose energies are fitted."""


def main() -> None:
    """Run what is not there yet, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("start")
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--structures", type=int, default=25)
    parser.add_argument("--most", type=int, default=120, help="To measure on.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--weights", type=float, nargs="+", default=[0.0, 0.1, 1.0])
    parser.add_argument("--crystal", nargs=3, action="append", default=[])
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    runs = [
        {"structures": options.structures, "seed": options.seed, "weight": weight}
        for weight in options.weights
    ]
    record = options.folder / "runs.jsonl"
    found = run_missing(record, runs, lambda run: _run(options, run))
    rows = [[str(value) for value in run.values()] for run in found]
    table = markdown_table(list(found[0]), rows)
    (options.folder / "table.md").write_text(table, encoding="utf-8")
    print(table)  # noqa: T201


def _run(options: argparse.Namespace, run: dict[str, Any]) -> dict[str, Any]:
    name = "-".join(map(str, run.values()))
    fitted, others = (options.folder / f"{name}-{part}.xyz" for part in ("fit", "test"))
    frames = read_structures(options.data)
    order = np.random.default_rng(options.seed).permutation(len(frames))
    count = options.structures
    write_structures(fitted, [frames[index] for index in order[:count]])
    write_structures(
        others, [frames[index] for index in order[count : count + options.most]]
    )
    tuned = finetune(
        options.start,
        fitted,
        options.folder / name,
        test=others,
        stress_weight=run["weight"],
    )
    (errors,) = evaluate_models([str(tuned.output)], others)
    columns = error_columns(errors.groups[:1])
    calculator = load_calculator(tuned.output)
    return {quantity: texts[0] for quantity, texts in columns.items()} | {
        f"{symbol} (Å³, GPa)": _crystal(calculator, symbol, kind, float(length))
        for symbol, kind, length in options.crystal
    }


def _crystal(calculator: Calculator, symbol: str, kind: str, length_A: float) -> str:
    """Return equilibrium volume per atom and bulk modulus, in words."""
    volumes, energies = [], []
    for scale in SCALES.tolist():
        atoms = bulk(symbol, kind, a=scale * length_A)
        atoms.calc = calculator
        volumes.append(atoms.get_volume())
        energies.append(atoms.get_potential_energy())
    volume, _, modulus = EquationOfState(volumes, energies, "birchmurnaghan").fit()
    return f"{volume:.2f}, {modulus / GPa:.0f}"


if __name__ == "__main__":
    main()
