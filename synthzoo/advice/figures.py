"""The figures of the advice: errors of all models, and learning curves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from synthzoo.advice.verdict import ENERGIES, FORCES
from synthzoo.data.labelled_set import rms
from synthzoo.reports.style import (
    BELOW,
    BLUE,
    DARK_GREY,
    GREEN,
    ORANGE,
    QUIET_COLOUR,
    save_figure,
    tidy,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from synthzoo.advice.findings import Found
    from synthzoo.advice.trials import Trial

ERRORS_FILE, CURVES_FILE = "errors.png", "learning-curves.png"
PANELS = {"energy RMSE (meV/atom)": ENERGIES, "force RMSE (eV/Å)": FORCES}
COLOURS = (QUIET_COLOUR, GREEN, ORANGE, BLUE, DARK_GREY)
REACH = 4
"""Times the number of structures to which learning curves are drawn."""


def write_errors(folder: Path, found: Found) -> Path:
    """Draw the errors of the models with as much data as can be, and each part's."""
    shown = found.largest
    figure = Figure(figsize=(9, 1.5 + 0.4 * len(shown)), dpi=120, layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (title, quantity) in zip(panels, PANELS.items(), strict=True):
        _draw_bars(axes, shown, quantity, found.verdict.enough.name)
        axes.set_xlabel(title)
        axes.set_xscale("log")
        tidy(axes)
    return save_figure(figure, folder / ERRORS_FILE)


def _draw_bars(axes: Axes, shown: list[Trial], quantity: str, enough: str) -> None:
    for place, trial in enumerate(shown):
        colour = BLUE if trial.name == enough else QUIET_COLOUR
        whole = getattr(trial.prediction.errors[0], quantity)
        axes.plot([whole], [place], "o", color=colour, markersize=9)
        values = trial.values(quantity)
        axes.plot(values, np.full(len(values), place), "|", color=colour, markersize=13)
    axes.set_yticks(range(len(shown)), [trial.name for trial in shown])
    axes.set_ylim(len(shown) - 0.5, -0.5)


def write_curves(folder: Path, found: Found) -> Path:
    """Draw learning curves with their power laws and bands."""
    figure = Figure(figsize=(9, 4.2), dpi=120, layout="constrained")
    panels = figure.subplots(1, 2)
    names = [trial.name for trial in found.largest]
    for axes, (title, quantity) in zip(panels, PANELS.items(), strict=True):
        for place, name in enumerate(names):
            _draw_curve(axes, found, name, quantity, COLOURS[place % len(COLOURS)])
        axes.axvline(len(found.data.bulk), color="0.7", linestyle=":")
        axes.set(xscale="log", yscale="log", xlabel="structures fitted", ylabel=title)
        tidy(axes)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, **BELOW)
    return save_figure(figure, folder / CURVES_FILE)


def _draw_curve(
    axes: Axes, found: Found, name: str, quantity: str, colour: str
) -> None:
    points = sorted(
        (trial.size, rms(trial.values(quantity)))
        for trial in found.trials
        if trial.name == name
    )
    sizes, values = zip(*points, strict=True)
    axes.plot(sizes, values, "o", color=colour, label=name)
    law = found.curve(name, quantity)
    if law is None:
        return
    grid = np.geomspace(sizes[0], REACH * len(found.data.bulk), 40)
    told = [law.at(each) for each in grid]
    axes.plot(grid, [each.error for each in told], color=colour, linewidth=1)
    axes.fill_between(
        grid,
        [each.lowest for each in told],
        [each.highest for each in told],
        color=colour,
        alpha=0.12,
        linewidth=0,
    )
