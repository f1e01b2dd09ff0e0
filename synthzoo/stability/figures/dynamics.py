"""Temperature and energy of the replicas, over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from scipy.ndimage import uniform_filter1d

from synthzoo.figure_style import BELOW, save_figure, tidy
from synthzoo.stability.figures.style import (
    FAILURE_MARK,
    at_constant_energy,
    model_keys,
    show_most,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from synthzoo.stability.shown import Shown
    from synthzoo.stability.verdict import Series

DYNAMICS_FILE = "dynamics.png"

MEAN_WINDOWS = 150
"""A curve over time is drawn as a running mean over the longest over this."""


def write_dynamics(folder: Path, models: Sequence[Shown]) -> Path:
    """Draw temperature and energy of each replica; a cross where it failed.

    Parameters
    ----------
    folder
        Where to write.
    models
        At least one with replicas.
    """
    figure = Figure(figsize=(9, 5.6), dpi=130, layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True)
    constant = at_constant_energy(models)
    longest = max(len(found.times_fs) for shown in models for found in shown.series)
    window = max(1, longest // MEAN_WINDOWS)
    for shown, colour, _ in styled(models):
        for series, end_ps in zip(shown.series, shown.failed_ps, strict=True):
            times = series.times_fs / 1000
            energies = _energies(series, total=constant)
            changes = (1000 if constant else 1) * (energies - energies[0])
            for axes, values in ((top, series.temperatures_K), (bottom, changes)):
                _draw_curve(axes, times, values, colour, window=window)
                _mark_failure(axes, end_ps, colour)
    _draw_target(top, models)
    means = ", running means" if window > 1 else ""
    top.set_title(f"Temperature and energy of each replica{means}", fontsize=11)
    top.set(ylabel="temperature (K)")
    bottom.set(
        xlabel="time (ps)",
        ylabel="change of the total\nenergy (meV/atom)"
        if constant
        else "change of the potential\nenergy (eV/atom)",
    )
    bottom.set_xlim(left=0)
    show_most(top, positive=True)
    show_most(bottom)
    for axes in (top, bottom):
        tidy(axes)
    figure.legend(handles=model_keys(models), **(BELOW | {"ncols": 4}))
    return save_figure(figure, folder / DYNAMICS_FILE)


def _energies(series: Series, *, total: bool) -> NDArray[np.float64]:
    return series.total_eV_per_atom if total else series.potential_eV_per_atom


def _draw_curve(
    axes: Axes,
    times_ps: NDArray[np.float64],
    values: NDArray[np.float64],
    colour: str,
    *,
    window: int,
) -> None:
    """Draw the running mean of what is finite."""
    finite = np.isfinite(values)
    smooth = uniform_filter1d(values[finite], window)
    axes.plot(times_ps[finite], smooth, color=colour, linewidth=1.1, alpha=0.85)


def _mark_failure(axes: Axes, time_ps: float | None, colour: str) -> None:
    """Draw a cross at the top where a replica failed."""
    if time_ps is None:
        return
    axes.plot(
        time_ps,
        0.96,
        "x",
        transform=axes.get_xaxis_transform(),
        color=colour,
        markersize=8,
        markeredgewidth=2,
        zorder=3,
        gid=FAILURE_MARK,
    )


def _draw_target(axes: Axes, models: Sequence[Shown]) -> None:
    everything = [series for shown in models for series in shown.series]
    longest = max(everything, key=lambda series: series.times_fs[-1])
    axes.plot(
        longest.times_fs / 1000,
        longest.targets_K,
        "--",
        color="black",
        linewidth=1,
        zorder=3,
    )
