"""The picture of a map: for each description, a panel for each colour."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure

from synthzoo.reports.style import save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from synthzoo.environments.quantities import Quantity

PANEL_INCHES = 3.6
MOST_IN_A_ROW = 4
POINTS_IN_A_PANEL = 30_000
NUMBERS, KINDS = "viridis", "tab10"
SPREAD = (1, 99)
"""Percentiles between which colours change: a few odd values would take them all."""
FRAMED = (1, 99)
"""Percentiles of the places that a panel holds, and `MARGIN` of their range around."""
MARGIN = 0.2
MOST_NAMED = 10
BEHIND = "0.85"


def draw_maps(
    path: Path,
    places: dict[str, NDArray[np.float32]],
    quantities: Sequence[Quantity],
    *,
    behind: dict[str, NDArray[np.float32]],
) -> Path:
    """Draw the figure and return its path.

    ``places``: of the environments, by what describes them, ``(n, 2)``.
    ``behind``: of those of another map, drawn in grey.
    """
    rows = math.ceil(len(quantities) / MOST_IN_A_ROW)
    columns = math.ceil(len(quantities) / rows)
    figure = Figure(
        figsize=(columns * PANEL_INCHES, rows * len(places) * PANEL_INCHES),
        layout="constrained",
    )
    blocks = figure.subplots(rows * len(places), columns, squeeze=False)
    for block, name in zip(np.split(blocks, len(places)), places, strict=True):
        panels: list[Axes] = block.ravel().tolist()
        for axes, quantity in zip(panels, quantities, strict=False):
            _draw(axes, places[name], quantity, behind.get(name))
            axes.set(title=quantity.name)
        for axes in panels[len(quantities) :]:
            axes.axis("off")
        for line in block:
            line[0].set_ylabel(f"by {name}")
    return save_figure(figure, path, dpi=100)


def _draw(
    axes: Axes,
    where: NDArray[np.float32],
    quantity: Quantity,
    behind: NDArray[np.float32] | None,
) -> None:
    if behind is not None:
        axes.scatter(behind[:, 0], behind[:, 1], s=1, c=BEHIND, linewidths=0)
    _colour(axes, where, quantity)
    axes.set(xticks=[], yticks=[])
    _frame(axes, where)


def _colour(axes: Axes, where: NDArray[np.float32], quantity: Quantity) -> None:
    values, categories = frequent_first(quantity)
    order = np.random.default_rng(0).permutation(len(where))  # no kind on top
    options: dict[str, Any] = {
        "c": values[order],
        "s": _size(len(where)),
        "linewidths": 0,
    }
    if categories is None:
        low, high = np.nanpercentile(values, SPREAD)
        options |= {"cmap": NUMBERS, "vmin": low, "vmax": high}
    else:
        count = len(categories)
        options |= {
            "cmap": ListedColormap(colours_of(count)),
            "norm": BoundaryNorm(np.arange(count + 1) - 0.5, count),
        }
    points = axes.scatter(where[order, 0], where[order, 1], **options)
    bar = axes.figure.colorbar(points, ax=axes, fraction=0.046)
    if categories is not None:
        bar.set_ticks(range(len(categories)), labels=categories)


def _frame(axes: Axes, where: NDArray[np.float32]) -> None:
    """Show where nearly all environments are; the page shows the few others, too."""
    low, high = np.percentile(where, FRAMED, axis=0)
    margin = MARGIN * (high - low) + np.finfo(np.float32).eps
    low, high = low - margin, high + margin
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))


def frequent_first(
    quantity: Quantity,
) -> tuple[NDArray[np.float64], tuple[str, ...] | None]:
    """Return values and kinds that occur; those that are rare become one kind."""
    if quantity.categories is None:
        return quantity.values, None
    counts = np.bincount(
        quantity.values.astype(int), minlength=len(quantity.categories)
    )
    named = np.sort(np.argsort(-counts, kind="stable")[:MOST_NAMED])
    named = named[counts[named] > 0]
    numbers = np.full(len(counts), len(named))
    numbers[named] = np.arange(len(named))
    names = tuple(quantity.categories[i] for i in named)
    values = numbers[quantity.values.astype(int)]
    return values.astype(float), (*names, "others") if values.max() >= len(
        names
    ) else names


def colours_of(count: int) -> list[str]:
    """Return so many colours that differ, as hexadecimal numbers."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    table = colormaps[KINDS if count <= MOST_NAMED else "tab20"]
    return [to_hex(table(i % table.N)) for i in range(count)]


def _size(points: int) -> float:
    """Return the area of a point: few are drawn large."""
    return float(np.clip(POINTS_IN_A_PANEL / max(points, 1), 1, 20))
