"""What the figures of a stability check share: colours, legends, ranges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D

from synthzoo.figure_style import BELOW, BLUE, DARK_GREY, ORANGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from synthzoo.stability.shown import Shown

COLOURS = (BLUE, ORANGE, "#009e73", "#cc79a7", "#56b4e9", DARK_GREY)
"""Of the models, in their order; told apart with any kind of sight."""
LINES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1)), "-.", (0, (8, 2)), ":")
"""Of the models: curves that lie upon each other can still be seen."""

FAILURE_MARK = "failure"
"""Told to matplotlib as the group of the crosses."""


def styled(models: Sequence[Shown]) -> list[tuple[Shown, str, Any]]:
    """Return each model with its colour and its kind of line.

    Parameters
    ----------
    models
        In the order of the report.
    """
    return [
        (shown, COLOURS[place % len(COLOURS)], LINES[place % len(LINES)])
        for place, shown in enumerate(models)
    ]


def model_keys(models: Sequence[Shown], *, extra: bool = True) -> list[Line2D]:
    """Return the entries of a legend: the models, a cross, the thermostat.

    Parameters
    ----------
    models
        In the order of the report.
    extra
        Whether there may be more than the models.
    """
    keys = [
        Line2D([], [], color=colour, linestyle=line, linewidth=2, label=shown.name)
        for shown, colour, line in styled(models)
    ]
    if extra and any(set(shown.failed_ps) - {None} for shown in models):
        keys.append(
            Line2D([], [], color="black", linestyle="", marker="x", label="failure")
        )
    if extra and not at_constant_energy(models):
        keys.append(
            Line2D([], [], color="black", linestyle="--", label="thermostat", lw=1)
        )
    return keys


def show_most(axes: Axes, *, positive: bool = False) -> None:
    """Keep the values just before a failure, maybe huge, from hiding the rest.

    Zero, where changes begin, is always shown.

    Parameters
    ----------
    axes
        With its curves.
    positive
        Whether nothing is below zero, which is the lower end then.
    """
    values = np.concatenate(
        [
            np.asarray(line.get_ydata(), float)
            for line in axes.get_lines()
            if line.get_gid() != FAILURE_MARK
        ]
    )
    values = values[np.isfinite(values)]
    low, high = np.percentile([0.0, *values], [0.5, 98])
    low, high = min(low, 0.0), max(high, 0.0)
    margin = max(0.1 * (high - low), 1e-9)
    axes.set_ylim(0 if positive else low - margin, high + 2 * margin)


def at_constant_energy(models: Sequence[Shown]) -> bool:
    """Return whether no replica has a thermostat.

    Parameters
    ----------
    models
        With their series.
    """
    everything = [series for shown in models for series in shown.series]
    return all(np.isnan(series.targets_K).all() for series in everything)


def legend_below(figure: Figure, axes: Axes) -> None:
    """Draw the legend of a panel below it, each entry once.

    Parameters
    ----------
    figure, axes
        The figure and its panel.
    """
    handles, labels = axes.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    figure.legend(handles=list(unique.values()), labels=list(unique), **BELOW)
