"""Learning curves drawn: errors over the number of structures, both logarithmic."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

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


def draw_learning_curves(
    path: Path, points: Sequence[Point], published: PublishedCurves | None = None
) -> Path:
    """Draw energies and forces in a panel each and return the path of the figure.

    Bars are standard deviations over the draws; a dotted line is a start without
    fine-tuning.

    Parameters
    ----------
    path
        File to write.
    points
        Of all curves.
    published
        Other curves to draw beside them, as thin grey lines.
    """
    figure = Figure(figsize=(9, 4.4), dpi=150, layout="constrained")
    sizes = sorted({point.size for point in points if point.size})
    for number, (axes, panel) in enumerate(
        zip(figure.subplots(1, 2), PANELS, strict=True)
    ):
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
    axes.legend(frameon=False, fontsize="small")
    figure.savefig(path)
    return path


def _number_sizes(axes: Axes, sizes: Sequence[int]) -> None:
    axes.set_xscale("log")
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(sizes[0] / 1.2, sizes[-1] * 1.2)


def _draw_ours(axes: Axes, points: Sequence[Point], names: tuple[str, str]) -> None:
    mean, deviation = names
    models = dict.fromkeys(point.model for point in points)
    for model, colour in zip(models, itertools.cycle(COLOURS), strict=False):
        curve = sorted(
            (
                point
                for point in points
                if point.model == model and getattr(point, mean) is not None
            ),
            key=lambda point: point.size,
        )
        tuned = [point for point in curve if point.size]
        if tuned:
            axes.errorbar(
                [point.size for point in tuned],
                [getattr(point, mean) for point in tuned],
                yerr=[getattr(point, deviation) or 0.0 for point in tuned],
                marker="o",
                capsize=2,
                color=colour,
                label=model,
            )
        for point in curve:
            if point.size == 0:
                label = None if tuned else model
                axes.axhline(getattr(point, mean), ls=":", color=colour, label=label)


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
