"""The share of the replicas that live, over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from synthzoo.figure_style import tidy
from synthzoo.stability.figures.style import legend_below, save, styled

if TYPE_CHECKING:
    from synthzoo.stability.shown import Shown

SURVIVAL_FILE = "survival.png"


def write_survival(folder: Path, models: Sequence[Shown]) -> Path:
    """Draw the share of the replicas that live over time, with its confidence band.

    Parameters
    ----------
    folder
        Where to write.
    models
        At least one with replicas.
    """
    figure = Figure(figsize=(7.5, 3.8), dpi=130, layout="constrained")
    axes = figure.subplots()
    for shown, colour, line in styled(models):
        curve = shown.survival
        if curve is None:
            continue
        living = curve.replicas - curve.failures
        label = f"{shown.name}: {living} of {curve.replicas} lived"
        axes.step(
            curve.times_ps,
            curve.shares,
            where="post",
            color=colour,
            linestyle=line,
            linewidth=2,
            label=label,
        )
        axes.fill_between(
            curve.times_ps,
            curve.lowest,
            curve.highest,
            step="post",
            color=colour,
            alpha=0.15,
            linewidth=0,
        )
    axes.set(xlabel="time (ps)", ylabel="replicas alive", ylim=(-0.02, 1.05))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_title("Survival, with 95 % confidence band", fontsize=11)
    axes.set_xlim(left=0)
    tidy(axes)
    legend_below(figure, axes)
    return save(figure, folder / SURVIVAL_FILE)
