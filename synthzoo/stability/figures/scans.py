"""Dimer curves, and the structure squeezed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from synthzoo.figure_style import BELOW, QUIET_COLOUR, save_figure, tidy
from synthzoo.stability.figures.style import (
    model_keys,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from synthzoo.stability.shown import Shown
    from synthzoo.stability.verdict import Scan

SCANS_FILE = "scans.png"

MOST_SCAN_COLUMNS = 4
LEAST_RANGE_EV = 5.0
LOWEST_EV = -30.0
"""Of a dimer's energy: what lies deeper is a hole, however deep."""


def write_scans(folder: Path, models: Sequence[Shown]) -> Path:
    """Draw the dimer curves and the squeezed structure of all models.

    Parameters
    ----------
    folder
        Where to write.
    models
        At least one with scans.
    """
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
