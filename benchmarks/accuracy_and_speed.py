"""Draw the table of accuracy and speed that stands on a page.

    python benchmarks/accuracy_and_speed.py docs/speed.md docs/accuracy-and-speed.png

The first column of the table names a potential, the second one what it was fitted to.
A value that starts with ≈ was carried over from another test; its mark is hollow.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from matplotlib.figure import Figure

from synthzoo.reports.style import (
    BELOW,
    BLUE,
    DARK_GREY,
    GREEN,
    ORANGE,
    save_figure,
    tidy,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEADER = "| potential | fitted to |"
CARRIED_OVER = "≈ "
COLOURS = {"`carbon": BLUE, "`paper": DARK_GREY, "direct": ORANGE}
"""By how the name begins; other potentials are teachers and universal networks."""

MARKERS = "osD^vP*X<>"


class Point(NamedTuple):
    """A row of the table: what it is, and milliseconds, meV/atom and eV/Å."""

    name: str
    fitted: str
    values: tuple[float, float, float]
    carried_over: bool


def main() -> None:
    """Read the page and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("figure", type=Path)
    options = parser.parse_args()
    points = read_points(options.page.read_text(encoding="utf-8"))
    draw(points, options.figure)


def read_points(page: str) -> list[Point]:
    """Return the rows of the first table whose header begins as `HEADER`."""
    lines = iter(page.splitlines())
    next(line for line in lines if line.startswith(HEADER))
    next(lines)
    points = []
    for line in lines:
        if not line.startswith("|"):
            break
        name, fitted, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        time_ms, energy, force = (float(c.removeprefix(CARRIED_OVER)) for c in cells)
        carried_over = any(cell.startswith(CARRIED_OVER) for cell in cells)
        points.append(Point(name, fitted, (time_ms, energy, force), carried_over))
    return points


def draw(points: list[Point], path: Path) -> None:
    """Draw the errors of energies and of forces against the time of a call."""
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, place, label in (
        (panels[0], 1, "energy RMSE (meV/atom)"),
        (panels[1], 2, "force RMSE (eV/Å)"),
    ):
        _draw_panel(axes, points, place)
        axes.set(xscale="log", xlabel="ms of a call, 64 atoms", ylabel=label)
        axes.set_ylim(bottom=0)
        axes.set_xlim(1, 1e4)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        tidy(axes)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, **BELOW)
    save_figure(figure, path, dpi=110)


def _draw_panel(axes: Axes, points: list[Point], place: int) -> None:
    for marker, point in zip(MARKERS, points, strict=False):
        colour = next(
            (c for start, c in COLOURS.items() if point.name.startswith(start)), GREEN
        )
        axes.plot(
            point.values[0],
            point.values[place],
            marker=marker,
            color=colour,
            markerfacecolor="white" if point.carried_over else colour,
            linestyle="none",
            markersize=8,
            label=f"{point.name.replace('`', '')}, {point.fitted}",
        )


if __name__ == "__main__":
    main()
