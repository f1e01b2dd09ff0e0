"""Learning curves drawn: errors over the number of structures, both logarithmic."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from synthzoo.figure_style import save_figure
from synthzoo.parity import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from synthzoo.benchmarking.published import PublishedCurves
    from synthzoo.benchmarking.table import Point

PANELS = (
    (
        "energy RMSE (meV/atom)",
        "energy_rmse_meV_per_atom",
        "energy_std_meV_per_atom",
    ),
    ("force RMSE (eV/Å)", "force_rmse_eV_A", "force_std_eV_A"),
)
PALE = "0.55"
STYLES = (":", "--", "-.", (0, (1, 3)))
"""Of published lines; ours are solid."""

FAR_OFF = 2.0
"""A start this much worse than all curves has no line, which would squeeze them."""

LEGEND_COLUMNS = 3


def draw_learning_curves(
    path: Path, points: Sequence[Point], published: PublishedCurves | None = None
) -> Path:
    """Draw energies and forces in a panel each and return the path of the figure.

    Bars are standard deviations over the draws; a dotted line is a start without
    fine-tuning, whose errors are in the legend, too.

    Parameters
    ----------
    path
        File to write.
    points
        Of all curves.
    published
        Other curves to draw beside them, as thin grey lines.
    """
    figure = Figure(figsize=(9, 4.8), dpi=150, layout="constrained")
    sizes = sorted({point.size for point in points if point.size})
    panels = figure.subplots(1, 2)
    for number, (axes, panel) in enumerate(zip(panels, PANELS, strict=True)):
        if published is not None:
            _draw_published(axes, published, number)
        _draw_ours(axes, points, panel[1:])
        axes.set(xlabel="training structures", ylabel=panel[0], yscale="log")
        if sizes:
            _number_sizes(axes, sizes)
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(LogLocator(subs=range(2, 10)))
        axes.yaxis.set_minor_formatter("{x:g}")
        axes.grid(which="both", alpha=0.3)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=LEGEND_COLUMNS,
        frameon=False,
        fontsize="small",
    )
    return save_figure(figure, path)


def _number_sizes(axes: Axes, sizes: Sequence[int]) -> None:
    axes.set_xscale("log")
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(sizes[0] / 1.2, sizes[-1] * 1.2)


def _draw_ours(axes: Axes, points: Sequence[Point], names: tuple[str, str]) -> None:
    mean, deviation = names
    known = [point for point in points if getattr(point, mean) is not None]
    highest = max((getattr(point, mean) for point in known if point.size), default=0.0)
    models = dict.fromkeys(point.model for point in points)
    for model, colour in zip(models, itertools.cycle(COLOURS), strict=False):
        curve = sorted(
            (point for point in known if point.model == model),
            key=lambda point: point.size,
        )
        tuned = [point for point in curve if point.size]
        label = _label(model, curve)
        for value in [getattr(point, mean) for point in curve if point.size == 0]:
            if not tuned or value <= FAR_OFF * highest:
                only = None if tuned else label
                axes.axhline(value, ls=":", color=colour, label=only)
        if tuned:
            axes.errorbar(
                [point.size for point in tuned],
                [getattr(point, mean) for point in tuned],
                yerr=[getattr(point, deviation) or 0.0 for point in tuned],
                marker="o",
                capsize=2,
                color=colour,
                label=label,
            )


def _label(model: str, curve: Sequence[Point]) -> str:
    """Return a model's name, with its errors before fine-tuning."""
    starts = [
        f"{point.energy_rmse_meV_per_atom:.0f} / {point.force_rmse_eV_A:.2f}"
        for point in curve
        if point.size == 0
    ]
    return f"{model} (N = 0: {starts[0]})" if starts else model


def _draw_published(axes: Axes, published: PublishedCurves, number: int) -> None:
    for name, style in zip(published.drawn, itertools.cycle(STYLES), strict=False):
        curve: Mapping[int, tuple[float | None, float | None]] = published.curves[name]
        known = [(size, row[number]) for size, row in curve.items()]
        shown = [(size, value) for size, value in known if value is not None]
        axes.plot(
            [size for size, _ in shown],
            [value for _, value in shown],
            ls=style,
            lw=1,
            color=PALE,
            label=f"published {name}",
        )
