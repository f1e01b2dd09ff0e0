"""Temperature and energy of the replicas, over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter
from scipy.ndimage import uniform_filter1d

from synthzoo.reports.style import (
    BELOW,
    BLUE,
    DARK_GREY,
    ORANGE,
    QUIET_COLOUR,
    save_figure,
    tidy,
)
from synthzoo.stability.distances import mean_partials

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from synthzoo.stability.observables import Observables, Shown
    from synthzoo.stability.survival import SurvivalCurve
    from synthzoo.stability.verdict import Scan, Series


COLOURS = (BLUE, ORANGE, "#009e73", "#cc79a7", "#56b4e9", DARK_GREY)
"""Of the models, in their order; told apart with any kind of sight."""
LINES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1)), "-.", (0, (8, 2)), ":")
"""Of the models: curves that lie upon each other can still be seen."""

FAILURE_MARK = "failure"
"""Told to matplotlib as the group of the crosses."""


def styled(models: Sequence[Shown]) -> list[tuple[Shown, str, Any]]:
    """Return each model with its colour and its kind of line."""
    return [
        (shown, COLOURS[place % len(COLOURS)], LINES[place % len(LINES)])
        for place, shown in enumerate(models)
    ]


def model_keys(models: Sequence[Shown], *, extra: bool = True) -> list[Line2D]:
    """Return the entries of a legend: the models, a cross, the thermostat.

    ``extra``: whether there may be more than the models.
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

    ``positive``: whether nothing is below zero, which is the lower end then.
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
    """Return whether no replica has a thermostat."""
    everything = [series for shown in models for series in shown.series]
    return all(np.isnan(series.targets_K).all() for series in everything)


def legend_below(figure: Figure, axes: Axes) -> None:
    """Draw the legend of a panel below it, each entry once."""
    handles, labels = axes.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    figure.legend(handles=list(unique.values()), labels=list(unique), **BELOW)


DYNAMICS_FILE = "dynamics.png"

MEAN_WINDOWS = 150
"""A curve over time is drawn as a running mean over the longest over this."""


def write_dynamics(folder: Path, models: Sequence[Shown]) -> Path:
    """Draw temperature and energy of each replica; a cross where it failed."""
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


BONDS_FILE = "bonds.png"

MOST_MODELS = 4

BOND_COLOURS = ("#cc3311", "#ee7733", "#ddcc77", "#88ccee", BLUE, "#332288")
"""Of the shares of atoms with few to many bonds."""
NETWORK_BONDS = {"0–1": 0, "2": 2, "3": 3, "4": 4, "5": 5, "6 or more": 6}
CARBON_BONDS = {
    "0–1": 0,
    "2 (sp)": 2,
    "3 (sp²)": 3,
    "4 (sp³)": 4,
    "5": 5,
    "6 or more": 6,
}
PACKING_BONDS = {"0–5": 0, "6–7": 6, "8–9": 8, "10–11": 10, "12": 12, "13 or more": 13}
"""What groups of atoms are called, and the least number of bonds in each."""

PACKED = 5.5
"""More bonds of an atom than this, in the mean, are those of a packing."""


def write_bonds(folder: Path, models: Sequence[Shown]) -> Path:
    """Draw how many bonds the atoms have over time, the mean over the replicas.

    ``models``: at least one with observables; the first few are shown.
    """
    drawn = [shown for shown in models if shown.observables][:MOST_MODELS]
    width = max(6.0, 1.2 + 3.4 * len(drawn))
    figure = Figure(figsize=(width, 3.9), dpi=130, layout="constrained")
    panels = figure.subplots(1, len(drawn), sharex=True, sharey=True, squeeze=False)[0]
    end_ps = max(shown.planned_ps for shown in drawn)
    groups = _bond_groups(drawn)
    for axes, shown in zip(panels, drawn, strict=True):
        times, shares = mean_bond_shares(shown.observables)
        heights = np.add.reduceat(shares, list(groups.values()), axis=1)
        axes.stackplot(times, heights.T, colors=BOND_COLOURS)
        axes.set(xlabel="time (ps)", ylim=(0, 1), xlim=(0, end_ps))
        axes.set_title(shown.name, fontsize=10)
        axes.xaxis.set_major_locator(MaxNLocator(5))
    panels[0].set_ylabel("share of the atoms")
    panels[0].yaxis.set_major_formatter(PercentFormatter(1.0))
    patches = [
        Line2D([], [], color=colour, linewidth=7, label=name)
        for name, colour in zip(groups, BOND_COLOURS, strict=True)
    ]
    figure.legend(handles=patches, title="bonds of an atom", **(BELOW | {"ncols": 6}))
    return save_figure(figure, folder / BONDS_FILE)


def _bond_groups(models: Sequence[Shown]) -> dict[str, int]:
    if all(shown.is_carbon for shown in models):
        return CARBON_BONDS
    means = [shown.mean_bonds for shown in models]
    return NETWORK_BONDS if np.mean(means) < PACKED else PACKING_BONDS


def mean_bond_shares(
    observables: Sequence[Observables],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return times (ps) and mean shares of atoms by bonds, over the living replicas.

    ``observables``: of at least one replica; the times are those of the one that lived
    longest.
    """
    longest = max(observables, key=lambda found: found.times_ps[-1])
    found: dict[float, list[NDArray[np.float64]]] = {
        round(time, 6): [] for time in longest.times_ps.tolist()
    }
    for each in observables:
        for time, shares in zip(each.times_ps.tolist(), each.bond_shares, strict=True):
            found.get(round(time, 6), []).append(shares)
    means = np.array([np.mean(shares, axis=0) for shares in found.values()])
    return np.array(list(found)), means


DRIFT_FILE = "drift.png"


def write_drift(folder: Path, models: Sequence[Shown]) -> Path:
    """Draw how the fluctuation of the energy depends on the time step.

    ``models``: at least one with a replica that measured it at several time steps.
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


RADIAL_FILE = "radial.png"


def write_radial(folder: Path, models: Sequence[Shown]) -> Path:
    """Draw the radial distribution function and the mean-squared displacement."""
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


PARTIAL_FILE = "partial.png"
MOST_PAIR_COLUMNS = 3


def write_partial(folder: Path, models: Sequence[Shown]) -> Path:
    """Draw the radial distribution of each pair of elements, a panel for each."""
    means = [
        mean_partials([found.partial for found in shown.observables])
        for shown in models
    ]
    names = list(dict.fromkeys(name for found in means for name in found))
    columns = min(MOST_PAIR_COLUMNS, len(names))
    rows = math.ceil(len(names) / columns)
    figure = Figure(
        figsize=(3.2 * columns, 2.7 * rows + 0.4), dpi=130, layout="constrained"
    )
    panels = np.ravel(figure.subplots(rows, columns, squeeze=False))
    for axes, name in zip(panels, names, strict=False):
        for (_, colour, line), found in zip(styled(models), means, strict=True):
            if radial := found.get(name):
                axes.plot(
                    radial.distances_A, radial.values, color=colour, linestyle=line
                )
        axes.axhline(1, color=QUIET_COLOUR, linewidth=0.8, linestyle="--")
        axes.set(xlabel="distance (Å)", ylabel="g(r)")
        axes.set_title(name, fontsize=10)
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        tidy(axes)
    for axes in panels[len(names) :]:
        axes.remove()
    figure.legend(handles=model_keys(models, extra=False), **BELOW)
    return save_figure(figure, folder / PARTIAL_FILE)


SCANS_FILE = "scans.png"

MOST_SCAN_COLUMNS = 4
LEAST_RANGE_EV = 5.0
LOWEST_EV = -30.0
"""Of a dimer's energy: what lies deeper is a hole, however deep."""


def write_scans(folder: Path, models: Sequence[Shown]) -> Path:
    """Draw the dimer curves and the squeezed structure of all models."""
    names = dict.fromkeys(
        (scan.kind, scan.name) for shown in models for scan in shown.verdict.scans
    )
    columns = min(len(names), MOST_SCAN_COLUMNS)
    rows = -(-len(names) // columns)
    size = (max(6.0, 3.4 * columns), 0.7 + 3.0 * rows)
    figure = Figure(figsize=size, dpi=130, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    for axes, (kind, name) in zip(panels, names, strict=False):
        for shown, colour, line in styled(models):
            for scan in shown.verdict.scans:
                if (scan.kind, scan.name) == (kind, name):
                    _draw_scan(axes, scan, colour, line)
        _label_scan(axes, kind, name)
    figure.legend(handles=model_keys(models, extra=False), **BELOW)
    return save_figure(figure, folder / SCANS_FILE)


def _draw_scan(axes: Axes, scan: Scan, colour: str, line: Any) -> None:
    energies = np.array(scan.energies_eV)
    finite = energies[np.isfinite(energies)]
    if len(finite):  # from the widest distance, or from the structure at the start
        axes.plot(scan.x, energies - finite[0], color=colour, linestyle=line)


def _label_scan(axes: Axes, kind: str, name: str) -> None:
    if kind == "dimer":
        axes.set(xlabel="distance (Å)", ylabel="energy (eV)")
        axes.set_title(f"dimer {name}", fontsize=10)
        _show_well(axes)
    else:
        axes.set(xlabel="length over that at the start", ylabel="energy (eV/atom)")
        axes.set_title(f"{name}, squeezed", fontsize=10)
    axes.axhline(0, color=QUIET_COLOUR, linewidth=0.8)
    tidy(axes)


def _show_well(axes: Axes) -> None:
    """Show the well of a dimer, and its wall as far as twice the depth."""
    values = np.concatenate([np.asarray(line.get_ydata()) for line in axes.get_lines()])
    values = values[np.isfinite(values)]
    low = max(float(values.min()), LOWEST_EV)
    high = min(float(values.max()), max(2 * abs(low), LEAST_RANGE_EV))
    margin = 0.05 * (high - low)
    axes.set_ylim(low - margin, high + margin)


SURVIVAL_FILE = "survival.png"


def write_survival(folder: Path, models: Sequence[Shown]) -> Path:
    """Draw the share of the replicas that live over time, with its confidence band."""
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
