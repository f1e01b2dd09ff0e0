"""What the figures of all reports share."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib import rc_context
from matplotlib.ticker import LogLocator, MaxNLocator

from synthzoo.runs.files import new_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE = "#1f5fa8"
ORANGE = "#d9730d"
GREEN = "#2e8b57"
DARK_GREY = "#5b6470"
QUIET_COLOUR = "#8a8f98"
"""Of what helps to read a figure: zero lines, remarks."""

BELOW: dict[str, Any] = {
    "loc": "outside lower center",
    "frameon": False,
    "fontsize": 9,
    "ncols": 3,
}
"""Of a legend that covers no data: below all panels."""

MOST_TICKS = 8
LABEL_GAP = 0.4
"""Least distance of two tick labels along an axis, over their height."""


def tidy(axes: Axes) -> None:
    """Draw a light grid behind the data, and no frame above or to the right."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, color="0.92")
    axes.set_axisbelow(True)


def save_figure(
    figure: Figure, path: Path, *, dpi: float | None = None, format: str | None = None
) -> Path:
    """Write a figure in which no labels of a horizontal axis touch; return where."""
    figure.set_dpi(dpi or figure.dpi)
    for count in range(MOST_TICKS, 1, -1):
        _lay_out(figure)
        crowded = [axes for axes in figure.axes if labels_touch(axes)]
        if not crowded:
            _hold_places(figure)
            break
        for axes in crowded:
            _spread_labels(axes, count)
    with new_file(path) as partial:
        format = format or path.suffix[1:] or None
        figure.savefig(partial, dpi=figure.dpi, format=format)
    return path


def _lay_out(figure: Figure) -> None:
    """Give the panels their places, for half of what a drawing would take."""
    engine = figure.get_layout_engine()
    if engine is None:
        figure.draw_without_rendering()
    else:
        engine.execute(figure)


def _hold_places(figure: Figure) -> None:
    """Leave the panels where they are: `savefig` then draws once and not twice."""
    with rc_context(
        {"figure.autolayout": False, "figure.constrained_layout.use": False}
    ):
        figure.set_layout_engine(None)


def labels_touch(axes: Axes) -> bool:
    """Return whether two labels of the horizontal axis touch, once it is laid out."""
    low, high = sorted(axes.get_xlim())
    boxes = sorted(
        (
            label.get_window_extent()
            for which in ("major", "minor")
            for label in axes.get_xticklabels(which=which)
            if label.get_text() and low <= label.get_position()[0] <= high
        ),
        key=lambda box: box.x0,
    )
    return any(
        right.x0 - left.x1 < LABEL_GAP * min(left.height, right.height)
        for left, right in itertools.pairwise(boxes)
    )


def _spread_labels(axes: Axes, count: int) -> None:
    """Leave so many labels on a scale; turn those that name something."""
    locator = axes.xaxis.get_major_locator()
    if isinstance(locator, MaxNLocator):
        locator.set_params(nbins=count)
    elif isinstance(locator, LogLocator):
        locator.set_params(numticks=count)
        axes.xaxis.set_minor_formatter("")
    else:
        axes.tick_params(axis="x", labelrotation=90)
