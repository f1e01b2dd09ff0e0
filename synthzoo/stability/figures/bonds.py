"""How many bonds the atoms have, over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from synthzoo.figure_style import BELOW, BLUE, save_figure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.stability.observables import Observables
    from synthzoo.stability.shown import Shown

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

    Parameters
    ----------
    folder
        Where to write.
    models
        At least one with observables; the first few are shown.
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

    Parameters
    ----------
    observables
        Of at least one replica; the times are those of the one that lived longest.
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
