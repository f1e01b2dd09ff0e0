"""The share of the replicas that live, over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from synthzoo.figure_style import save_figure, tidy
from synthzoo.stability.figures.style import legend_below, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from synthzoo.stability.shown import Shown
    from synthzoo.stability.survival import SurvivalCurve

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
        if shown.survival is not None:
            _draw(
                axes, shown.name, shown.survival, {"color": colour, "linestyle": line}
            )
    axes.set(xlabel="time (ps)", ylabel="replicas alive", ylim=(-0.02, 1.05))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_title("Survival, with 95 % confidence band", fontsize=11)
    axes.set_xlim(left=0)
    tidy(axes)
    legend_below(figure, axes)
    return save_figure(figure, folder / SURVIVAL_FILE)


def _draw(axes: Axes, name: str, curve: SurvivalCurve, style: dict[str, Any]) -> None:
    """Draw a curve and its band, whose edges tell it from those that it overlaps."""
    living = curve.replicas - curve.failures
    label = f"{name}: {living} of {curve.replicas} lived"
    times, steps = curve.times_ps, {"where": "post", **style}
    axes.step(times, curve.shares, linewidth=2, label=label, **steps)
    for edge in (curve.lowest, curve.highest):
        axes.step(times, edge, linewidth=0.8, alpha=0.6, **steps)
    band = {"step": "post", "color": style["color"], "alpha": 0.12, "linewidth": 0}
    axes.fill_between(times, curve.lowest, curve.highest, **band)
