"""Tables and figure of what `engine_speed.py` measured."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.speed_subjects import (
    ACE,
    BY_AOT,
    BY_NEQUIP,
    CHGNET,
    ELEMENTS,
    MODEL,
    NEP,
    ORDER_2,
    ORDER_2_BY_NEQUIP,
    SEVENNET,
    SMALL_MODEL,
    TERSOFF,
    THREE,
    TWO,
)
from synthzoo.reports.document import markdown_table
from synthzoo.reports.style import (
    BELOW,
    BLUE,
    DARK_GREY,
    GREEN,
    ORANGE,
    save_figure,
    tidy,
)

Record = dict[str, Any]

RATIOS = (
    ("dynamics", 8, BY_NEQUIP, MODEL),
    ("dynamics", 64, BY_NEQUIP, MODEL),
    ("dynamics", 512, BY_NEQUIP, MODEL),
    ("dynamics", 512, BY_AOT, MODEL),
    ("dynamics", 512, ACE, MODEL),
    ("dynamics", 512, NEP, MODEL),
    ("dynamics", 512, ACE, SMALL_MODEL),
    ("dynamics", 512, NEP, SMALL_MODEL),
    ("dynamics", 512, TWO, MODEL),
    ("dynamics", 512, THREE, MODEL),
    ("dynamics", 512, ORDER_2_BY_NEQUIP, ORDER_2),
    ("training", 96, BY_NEQUIP, MODEL),
    ("training", 96, TWO, MODEL),
    ("training", 96, THREE, MODEL),
    ("training", 96, ORDER_2_BY_NEQUIP, ORDER_2),
)
"""Work, atoms, and the two subjects: the first one's time over that of the second."""

LOOKS: dict[str, dict[str, Any]] = {
    MODEL: {"color": BLUE, "marker": "o", "linewidth": 2.5},
    SMALL_MODEL: {"color": BLUE, "marker": "s", "linestyle": "--"},
    BY_AOT: {"color": DARK_GREY, "marker": "^"},
    BY_NEQUIP: {"color": DARK_GREY, "marker": "v", "linestyle": "--"},
    TERSOFF: {"color": GREEN, "marker": "o"},
    NEP: {"color": GREEN, "marker": "s", "linestyle": "--"},
    ACE: {"color": GREEN, "marker": "^", "linestyle": ":"},
    SEVENNET: {"color": ORANGE, "marker": "o"},
    CHGNET: {"color": ORANGE, "marker": "s", "linestyle": "--"},
}
KB_PER_MIB = 2**20 / 1000


def tables(record: Record) -> str:
    """Return all tables, as Markdown.

    ``record``: content of `speed.json`.
    """
    versions = ", ".join(" ".join(pair) for pair in record["versions"].items())
    left_out = "".join(f"Left out: {name}. " for name in record["missing"])
    parts = [
        f"One thread of {record['processor']}; {versions}. {left_out}".strip(),
        _calls(record, "dynamics"),
        _calls(record, "new structures"),
        markdown_table(
            ("atoms", "work", "time of", "over that of", "ratio", "turns from … to"),
            list(_ratios(record)),
        ),
        markdown_table(
            ("", "kB an atom, largest structure", "CPU s to the first energy"),
            list(_memory_and_starts(record)),
        ),
        markdown_table(
            ("ms of a training step", "96 atoms"),
            [
                (name, _digits(1000 * median_s(record, name, "training", 96)))
                for name in _names(record, "training")
            ],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def median_s(record: Record, name: str, work: str, atoms: int) -> float:
    """Return the processor time of a call: the median of the turns."""
    return statistics.median(_by_turn(record, name, work, atoms).values())


def ratios_by_turn(
    record: Record, work: str, atoms: int, names: tuple[str, str]
) -> list[float]:
    """Return what the first one's calls take over the second one's, turn by turn."""
    first, second = (_by_turn(record, name, work, atoms) for name in names)
    return [first[turn] / second[turn] for turn in first if turn in second]


def draw(record: Record, path: Path) -> None:
    """Draw atoms per second against the number of atoms."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.add_subplot()
    for name, look in LOOKS.items():
        sizes = _sizes(record, name, "dynamics")
        speeds = [n / median_s(record, name, "dynamics", n) for n in sizes]
        if sizes:
            axes.plot(sizes, speeds, label=name, markersize=5, **look)
    axes.set(xscale="log", yscale="log", xlabel="atoms", ylabel="atoms per second")
    ticks = sorted({n for name in LOOKS for n in _sizes(record, name, "dynamics")})
    axes.set_xticks(ticks, [f"{n:,}" for n in ticks])
    axes.set_xticks([], minor=True)
    tidy(axes)
    figure.legend(**BELOW)
    save_figure(figure, path, dpi=110)


def _calls(record: Record, work: str) -> str:
    """Return the milliseconds of a call for each subject and size."""
    names = [name for name in _names(record, work) if name not in ELEMENTS]
    sizes = sorted({n for name in names for n in _sizes(record, name, work)})
    rows = []
    for name in names:
        known = _sizes(record, name, work)
        cells = (
            _digits(1000 * median_s(record, name, work, n)) if n in known else "–"
            for n in sizes
        )
        rows.append((name, *cells))
    header = f"ms of a call, {work}"
    return markdown_table((header, *(f"{n:,} atoms" for n in sizes)), rows)


def _ratios(record: Record) -> Iterator[tuple[str, ...]]:
    for work, atoms, *names in RATIOS:
        first, second = names
        if found := ratios_by_turn(record, work, atoms, (first, second)):
            low, high = _digits(min(found)), _digits(max(found))
            ratio = _digits(statistics.median(found))
            yield str(atoms), work, first, second, ratio, f"{low} … {high}"


def _memory_and_starts(record: Record) -> Iterator[tuple[str, ...]]:
    for name in _names(record, "start"):
        cpu_s = _digits(median_s(record, name, "start", 0))
        memory = "–"
        for line in record["lines"]:
            if (line["name"], line["work"]) == (name, "memory"):
                memory = _digits(KB_PER_MIB * line["peak_mib"] / line["atoms"])
        if name not in ELEMENTS:
            yield name, memory, cpu_s


def _names(record: Record, work: str) -> list[str]:
    """Return the subjects that did some work, in their order in the record."""
    found = (line["name"] for line in record["lines"] if line["work"] == work)
    return [*dict.fromkeys(found)]


def _sizes(record: Record, name: str, work: str) -> list[int]:
    wanted = name, work
    return sorted(
        {
            line["atoms"]
            for line in record["lines"]
            if (line["name"], line["work"]) == wanted
        }
    )


def _by_turn(record: Record, name: str, work: str, atoms: int) -> dict[int, float]:
    """Return the seconds of a call, by turn."""
    wanted = name, work, atoms
    return {
        line["turn"]: line["cpu_s"] / line["calls"]
        for line in record["lines"]
        if (line["name"], line["work"], line["atoms"]) == wanted
    }


def _digits(value: float) -> str:
    """Return a number with three digits, and no exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
