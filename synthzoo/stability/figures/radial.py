"""Distances between the atoms, and how far they move."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from synthzoo.figure_style import BELOW, QUIET_COLOUR, save_figure, tidy
from synthzoo.stability.figures.style import (
    model_keys,
    show_most,
    styled,
)

if TYPE_CHECKING:
    from synthzoo.stability.shown import Shown

RADIAL_FILE = "radial.png"


def write_radial(folder: Path, models: Sequence[Shown]) -> Path:
    """Draw the radial distribution function and the mean-squared displacement.

    Parameters
    ----------
    folder
        Where to write.
    models
        At least one with observables.
    """
    figure = Figure(figsize=(9, 3.9), dpi=130, layout="constrained")
    left, right = figure.subplots(1, 2)
    for shown, colour, line in styled(models):
        radial = [found.radial for found in shown.observables if found.radial]
        if radial:
            values = np.mean([found.values for found in radial], axis=0)
            left.plot(radial[0].distances_A, values, color=colour, linestyle=line)
        for found in shown.observables:
            right.plot(
                found.times_ps,
                found.squared_displacements_A2,
                color=colour,
                linewidth=1,
                alpha=0.8,
            )
    left.axhline(1, color=QUIET_COLOUR, linewidth=0.8, linestyle="--")
    left.set(xlabel="distance (Å)", ylabel="g(r)")
    left.set_title("Radial distribution, second half", fontsize=10)
    right.set(xlabel="time (ps)", ylabel="mean-squared displacement (Å²)")
    right.set_title("Motion of each replica", fontsize=10)
    left.set_ylim(bottom=0)
    show_most(right, positive=True)
    for axes in (left, right):
        axes.set_xlim(left=0)
        tidy(axes)
    figure.legend(handles=model_keys(models, extra=False), **BELOW)
    return save_figure(figure, folder / RADIAL_FILE)
