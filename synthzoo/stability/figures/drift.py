"""The fluctuation of the energy against the time step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from synthzoo.figure_style import QUIET_COLOUR, save_figure, tidy
from synthzoo.stability.figures.style import legend_below, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from synthzoo.stability.shown import Shown

DRIFT_FILE = "drift.png"


def write_drift(folder: Path, models: Sequence[Shown]) -> Path:
    """Draw how the fluctuation of the energy depends on the time step.

    Parameters
    ----------
    folder
        Where to write.
    models
        At least one with a replica that measured it at several time steps.
    """
    figure = Figure(figsize=(6, 3.9), dpi=130, layout="constrained")
    axes = figure.subplots()
    for shown, colour, _ in styled(models):
        for replica in shown.verdict.replicas:
            drifts = sorted(replica.drifts, key=lambda drift: drift.timestep_fs)
            steps = [drift.timestep_fs for drift in drifts]
            values = [drift.fluctuation_meV_per_atom for drift in drifts]
            if len(steps) > 1:
                axes.plot(steps, values, "o-", color=colour, label=shown.name)
    used = _draw_second_order(axes)
    axes.set(xscale="log", yscale="log", xlabel="time step (fs)")
    axes.set_xticks(used, [f"{step:g}" for step in used])
    axes.set_xticks([], minor=True)
    axes.set_ylabel("fluctuation of the total\nenergy (meV/atom)")
    axes.set_title("Energy conservation against the time step", fontsize=11)
    tidy(axes)
    legend_below(figure, axes)
    return save_figure(figure, folder / DRIFT_FILE)


def _draw_second_order(axes: Axes) -> list[float]:
    """Draw the slope that is right; return the time steps of what is drawn."""
    points = np.concatenate([line.get_xydata() for line in axes.get_lines()])
    steps = np.array([points[:, 0].min(), points[:, 0].max()])
    axes.plot(
        steps,
        points[:, 1].max() * (steps / steps[1]) ** 2,
        "--",
        color=QUIET_COLOUR,
        label="second order (slope only)",
    )
    return sorted(set(points[:, 0].tolist()))
