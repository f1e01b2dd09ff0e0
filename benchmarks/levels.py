"""Compare two levels of theory in one network with costly energies alone.

    python benchmarks/levels.py carbon-gap17-dft-train.extxyz ace:c_ace.yace OUTPUT \
        --start carbon-ace-2k --sizes 25 100 --draws 0 1 2

A cheap teacher labels 500 structures of a labelled set (``--low``) with energies and
forces: the low level. The set's own labels are the high level, of which only the
energies are used. The other structures, at most 300, judge energies and forces.
Structures of the high level are drawn from the same, so that both levels label them.

Each run is one line of OUTPUT/runs.jsonl, and runs that are there already are not
repeated; OUTPUT/table.md has the means over the draws. The rows:

scratch   a new network, high energies alone
start     the start, high energies alone
levels    the start with `--with low.xyz`: both levels
stand-in  the start with `--energies-only`: its own forces stand in for labels. The fits
          of the row before make this one, too
equal     the row before at the rate and with the steps of both levels
bound     the start, energies and forces of the high level
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from synthzoo import finetune
from synthzoo.data.label_choice import find_label_keys
from synthzoo.data.labels import LabelKeys, labels_of
from synthzoo.data.structures import label, read_structures, write_structures
from synthzoo.finetuning.recipe import LEVELS_RATE, LEVELS_VISITS
from synthzoo.labelling.relabel import relabel_file
from synthzoo.reports.document import markdown_table

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.records import run_missing

LOW, JUDGES = 500, 300
NAMES = ("energy_rmse_meV_per_atom", "force_rmse_eV_A")
LEAST_ATOMS = 3
"""Isolated atoms and dimers are left out."""

SCRATCH, LEVELS, STAND_IN = "scratch", "levels", "stand-in"
ENERGIES = {"energies_only": True}
ROWS: dict[str, dict[str, Any]] = {
    SCRATCH: ENERGIES | {"forces_weight": 0.0, "compare_direct": True},
    "start": ENERGIES | {"forces_weight": 0.0},
    LEVELS: ENERGIES,
    "equal": ENERGIES | {"learning_rate": LEVELS_RATE, "visits": LEVELS_VISITS},
    "bound": {},
}


def main() -> None:
    """Run what is not there yet."""
    options = _options()
    options.output.mkdir(exist_ok=True, parents=True)
    runs = [
        {"start": options.start, "size": size, "draw": draw, "row": row}
        | {"settings": options.settings}
        for draw in options.draws
        for size in options.sizes
        for row in options.rows
    ]
    pool = Pool(options.structures, options.output, low=options.low)
    measure = _measure(pool, low_level(pool, options.teacher))
    lines = run_missing(options.output / "runs.jsonl", runs, measure)
    (options.output / "table.md").write_text(table_of(lines), encoding="utf-8")


class Pool:
    """The structures of the high level: some to draw from, others to judge.

    ``structures``: labelled structures of the high level.
    ``low``: how many to draw from, which are also those of the low level.
    ``judges``: how many judge, at most.
    """

    def __init__(
        self, structures: Path, folder: Path, *, low: int = LOW, judges: int = JUDGES
    ) -> None:
        self.folder = folder
        self.judges = folder / "judges.xyz"
        found = read_structures(structures)
        kept = [atoms for atoms in found if len(atoms) >= LEAST_ATOMS]
        self._keys = find_label_keys(kept)
        order = np.random.default_rng(0).permutation(len(kept))
        self.structures = [kept[index] for index in order[:low]]
        judging = [kept[index] for index in order[low : low + judges]]
        if not self.judges.exists():
            write_structures(
                self.judges, [_plain(atoms, self._keys) for atoms in judging]
            )

    def write(self, path: Path, atoms: Iterable[Atoms]) -> Path:
        """Write structures of the pool with their labels."""
        write_structures(path, [_plain(each, self._keys) for each in atoms])
        return path

    def high(self, size: int, draw: int) -> Path:
        """Return a file with so many structures of the high level."""
        path = self.folder / f"high-{size}-{draw}.xyz"
        order = np.random.default_rng(1 + draw).permutation(len(self.structures))
        return self.write(path, [self.structures[index] for index in order[:size]])


def low_level(pool: Pool, teacher: str) -> Path:
    """Return the structures of the pool with a teacher's labels, the low level."""
    low = pool.folder / "low.xyz"
    if not low.exists():
        bare = pool.write(pool.folder / "structures.xyz", pool.structures)
        relabel_file(bare, low, teacher=teacher)
    return low


def _plain(atoms: Atoms, keys: LabelKeys) -> Atoms:
    """Return a structure with its labels in ASE's own place, and nowhere else."""
    found = labels_of(atoms, keys)
    bare = Atoms(atoms.symbols, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    return label(bare, energy_eV=found.energy_eV, forces_eV_A=found.forces_eV_A)


def _measure(sets: Pool, low: Path) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def measure(run: dict[str, Any]) -> dict[str, Any]:
        output = sets.folder / "model"
        shutil.rmtree(output, ignore_errors=True)
        more = {"levels": {"low": low}} if run["row"] == LEVELS else {}
        started = time.process_time()
        finetune(
            run["start"],
            sets.high(run["size"], run["draw"]),
            output,
            test=sets.judges,
            workers=1,
            threads=1,
            seed=run["draw"],
            **ROWS[run["row"]] | more | run["settings"],
        )
        found = json.loads((output / "metrics.json").read_text(encoding="utf-8"))
        errors = (
            found["direct"]["before"][0]
            if run["row"] == SCRATCH
            else found["unseen"][0]["after"][0]
        )
        seconds = round(time.process_time() - started, 1)
        line = {name: errors[name] for name in NAMES} | {"cpu_seconds": seconds}
        if found["alone"] is not None:
            alone = found["alone"]["before"][0]
            line[STAND_IN] = {name: alone[name] for name in NAMES}
        return line

    return measure


def table_of(lines: Iterable[dict[str, Any]]) -> str:
    """Return means and standard deviations over the draws."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    lines = list(lines)
    for line in [line for line in lines if STAND_IN in line]:
        run = {name: line[name] for name in ("start", "size", "draw", "settings")}
        lines.append(run | line[STAND_IN] | {"row": STAND_IN})
    for line in lines:
        settings = json.dumps(line["settings"]) if line["settings"] else ""
        key = (line["start"], str(line["size"]), line["row"], settings)
        groups.setdefault(key, []).append(line)
    rows = [
        (
            *key,
            str(len(group)),
            _spread(group, "energy_rmse_meV_per_atom", 1),
            _spread(group, "force_rmse_eV_A", 3),
            _spread(group, "cpu_seconds", 0),
        )
        for key, group in sorted(groups.items(), key=lambda entry: _place(entry[0]))
    ]
    header = ("Start", "N", "Row", "Settings", "Draws", "Energy", "Force", "CPU s")
    return markdown_table(header, rows) + "\n"


def _place(key: tuple[str, ...]) -> tuple[Any, ...]:
    start, size, row, settings = key
    rows = [*ROWS, STAND_IN]
    return start, int(size), rows.index(row) if row in rows else 0, settings


def _spread(group: list[dict[str, Any]], name: str, digits: int) -> str:
    values = [line[name] for line in group if name in line]
    if not values:
        return "–"
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {np.std(values, ddof=1):.{digits}f}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("structures", type=Path)
    parser.add_argument("teacher")
    parser.add_argument("output", type=Path)
    parser.add_argument("--low", type=int, default=LOW)
    parser.add_argument("--start", default="carbon-ace-2k")
    parser.add_argument("--sizes", type=int, nargs="+", default=[25, 100])
    parser.add_argument("--draws", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--settings", type=json.loads, default={})
    return parser.parse_args()


if __name__ == "__main__":
    main()
