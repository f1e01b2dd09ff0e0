"""The figure of a set: energies, forces, distances, densities, bonds, sizes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from synthzoo.inspection.measures import DISTANCE_STEP_A, MOST_BONDS, bin_edges
from synthzoo.inspection.summary import HYBRIDISATIONS
from synthzoo.reports.style import BLUE, GREEN, ORANGE, QUIET_COLOUR, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from synthzoo.inspection.measures import Measures

BOND_COLOURS = ("#b9bec6", ORANGE, BLUE, GREEN, "#7a4fa3")
"""For fewer than two bonds, two, three, four, and more."""
MOST_BINS = 50
LEAST_BINS = 8
MOST_BARS = 12
DENSITY_BINS = 12
STEPS = (1, 2, 5, 10)
"""Of the labels of a number of structures, times a power of ten."""
WIDE_FORCES = 100.0
"""Largest over smallest force from which powers of ten are enough labels."""
WIDE_DENSITIES = 1.3
"""Largest over smallest density from which bonds are shown by density."""


def draw_measures(
    measures: Measures, path: Path, *, title: str, kind: str | None = None
) -> Path:
    """Draw the figure of a set and return its path.

    ``measures``: numbers of at least one structure.
    ``kind``: format of the image; what the path ends in if not given.
    """
    figure = Figure(figsize=(12, 7), layout="constrained")
    figure.suptitle(title)
    panels = figure.subplots(2, 3).ravel()
    _histogram(panels[0], measures.energies_eV_per_atom, "energy (eV/atom)")
    _logarithmic(panels[1], measures.max_forces_eV_A, "largest force (eV/Å)")
    _distances(panels[2], measures)
    _histogram(panels[3], measures.densities_g_cm3, "density (g/cm³)")
    _bonds(panels[4], measures)
    _sizes(panels[5], measures.atoms)
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        if axes.get_ylabel() == "structures":
            axes.yaxis.set_major_locator(MaxNLocator(steps=STEPS, integer=True))
    return save_figure(figure, path, dpi=150, format=kind)


def _histogram(axes: Axes, values: NDArray[np.float64], name: str) -> None:
    finite = values[np.isfinite(values)]
    axes.set(xlabel=name, ylabel="structures")
    if not len(finite):
        _say_nothing(axes, name)
        return
    axes.hist(finite, bins=bin_edges(finite, _bins(finite)).tolist(), color=BLUE)
    axes.ticklabel_format(axis="x", useOffset=False)


def _logarithmic(axes: Axes, values: NDArray[np.float64], name: str) -> None:
    positive = values[np.isfinite(values) & (values > 1e-4)]
    axes.set(xlabel=name, ylabel="structures")
    if not len(positive):
        _say_nothing(axes, name)
        return
    low, high = float(positive.min()), float(positive.max())
    edges = np.geomspace(low / 1.01, high * 1.01, _bins(positive) + 1)
    axes.hist(positive, bins=edges.tolist(), color=BLUE)
    axes.set_xscale("log")
    if high < WIDE_FORCES * low:
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}" if high < 5 * low else "")
    zeros = np.count_nonzero(values <= 1e-4)
    if zeros:
        axes.set_title(f"{zeros:,} without force", fontsize=9, color=QUIET_COLOUR)


def _bins(values: NDArray[Any]) -> int:
    return int(np.clip(2 * np.sqrt(len(values)), LEAST_BINS, MOST_BINS))


def _say_nothing(axes: Axes, name: str) -> None:
    text = f"no {name.partition(' (')[0]}"
    axes.text(0.5, 0.5, text, ha="center", transform=axes.transAxes, color=QUIET_COLOUR)
    axes.set(xticks=[], yticks=[])


def _distances(axes: Axes, measures: Measures) -> None:
    shown = int(measures.reach_A / DISTANCE_STEP_A)
    middles = (np.arange(shown) + 0.5) * DISTANCE_STEP_A
    per_atom = measures.distances[:shown] / measures.atoms.sum() / DISTANCE_STEP_A
    axes.fill_between(middles, per_atom, color=BLUE, step="mid")
    axes.set(xlabel="distance (Å)", ylabel="neighbours per atom and Å")
    axes.set_ylim(bottom=0)
    if not per_atom.any():
        _say_nothing(axes, "neighbours")
        return
    nearest = middles[np.flatnonzero(per_atom)[0]]
    axes.set_xlim(0.8 * nearest, measures.reach_A)


def _sizes(axes: Axes, sizes: NDArray[np.int64]) -> None:
    values, counts = np.unique(sizes, return_counts=True)
    if len(values) <= MOST_BARS:
        labels = [str(value) for value in values]
        axes.bar(labels, counts, color=BLUE)
        margin = max(1.0, 3 - len(labels) / 2)
        axes.set_xlim(-margin, len(labels) - 1 + margin)
    else:
        axes.hist(sizes, bins=_bins(sizes), color=BLUE)
    axes.set(xlabel="atoms per structure", ylabel="structures")


def _bonds(axes: Axes, measures: Measures) -> None:
    densities = measures.densities_g_cm3
    finite = densities[np.isfinite(densities) & (densities > 0)]
    if len(finite) and finite.max() > WIDE_DENSITIES * finite.min():
        draw_bonds_by_density(axes, measures)
        return
    shares = measures.bonds.sum(axis=0) / measures.atoms.sum()
    numbers = np.arange(MOST_BONDS + 1)
    axes.bar(numbers, shares, color=BLUE)
    ticks = numbers[::2]
    axes.set_xticks(ticks, [_or_more(int(number)) for number in ticks])
    axes.set(xlabel="bonds per atom", ylabel="share of atoms", ylim=(0, 1))


def _or_more(bonds: int) -> str:
    return f"≥{bonds}" if bonds == MOST_BONDS else str(bonds)


def draw_bonds_by_density(axes: Axes, measures: Measures) -> None:
    """Draw the shares of atoms with two, three, four bonds over the density.

    ``measures``: numbers of structures, some of them with a density.
    """
    densities, edges = _density_bins(measures.densities_g_cm3)
    carbon = set(measures.elements) == {"C"}
    bottom = np.zeros(len(edges) - 1)
    place = np.digitize(densities, edges[1:-1])
    used = np.isfinite(densities)
    for (name, bonds), colour in zip(_bond_classes(carbon), BOND_COLOURS, strict=True):
        atoms = measures.bonds[:, bonds].sum(axis=1)
        counts = np.bincount(place[used], atoms[used], len(bottom))
        totals = np.bincount(place[used], measures.atoms[used], len(bottom))
        shares = counts / np.maximum(totals, 1)
        if shares.any():
            axes.bar(
                edges[:-1],
                shares,
                np.diff(edges),
                bottom,
                align="edge",
                color=colour,
                edgecolor="white",
                label=name,
            )
        bottom += shares
    axes.set(xlabel="density (g/cm³)", ylabel="share of atoms", ylim=(0, 1))
    axes.set_xlim(edges[0], edges[-1])
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.14), ncols=5, frameon=False)


def _density_bins(
    densities: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    finite = densities[np.isfinite(densities)]
    edges: NDArray[np.float64] = np.linspace(
        float(finite.min()), float(finite.max()), DENSITY_BINS + 1
    )
    return densities, edges


def _bond_classes(carbon: bool) -> list[tuple[str, slice]]:  # noqa: FBT001
    names = [HYBRIDISATIONS[bonds] if carbon else str(bonds) for bonds in (2, 3, 4)]
    return [
        ("<2", slice(0, 2)),
        *((name, slice(bonds, bonds + 1)) for bonds, name in enumerate(names, start=2)),
        (">4", slice(5, None)),
    ]
