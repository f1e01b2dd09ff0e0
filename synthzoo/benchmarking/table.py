"""The results of a learning curve as a table: mean and spread over the draws."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import yaml
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from synthzoo.errors import InputError
from synthzoo.evaluation.parity import COLOURS
from synthzoo.reports.document import markdown_table
from synthzoo.reports.style import save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from synthzoo.benchmarking.single_run import Result


@dataclass(frozen=True, kw_only=True)
class Point:
    """One point of a learning curve.

    Attributes
    ----------
    model
        Name of the start.
    size
        Number of structures; 0 is the start as it is.
    draws, failed
        Runs with a result, and those that came to none.
    energy_rmse_meV_per_atom, energy_std_meV_per_atom
        Mean and standard deviation over the draws; the latter is None for one draw.
    force_rmse_eV_A, force_std_eV_A
        The same of the force components.
    seconds, cpu_seconds
        Mean of what a run took, the measuring included.
    """

    model: str
    size: int
    draws: int
    failed: int
    energy_rmse_meV_per_atom: float | None
    energy_std_meV_per_atom: float | None
    force_rmse_eV_A: float | None
    force_std_eV_A: float | None
    seconds: float
    cpu_seconds: float


def summarise(results: Sequence[Result]) -> list[Point]:
    """Return the points of all curves, in the order of the results."""
    places = dict.fromkeys((result.model, result.size) for result in results)
    return [
        _point(
            model,
            size,
            [
                result
                for result in results
                if (result.model, result.size) == (model, size)
            ],
        )
        for model, size in places
    ]


def _point(model: str, size: int, results: Sequence[Result]) -> Point:
    good = [found.errors[0] for found in results if found.failed is None]
    energy = _spread([found.energy_rmse_meV_per_atom for found in good])
    force = _spread([found.force_rmse_eV_A for found in good])
    return Point(
        model=model,
        size=size,
        draws=len(good),
        failed=len(results) - len(good),
        energy_rmse_meV_per_atom=energy[0],
        energy_std_meV_per_atom=energy[1],
        force_rmse_eV_A=force[0],
        force_std_eV_A=force[1],
        seconds=float(np.mean([found.seconds for found in results])),
        cpu_seconds=float(np.mean([found.cpu_seconds for found in results])),
    )


def _spread(values: Sequence[float]) -> tuple[float | None, float | None]:
    if not values:
        return None, None
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return float(np.mean(values)), deviation


def errors_table(points: Sequence[Point], published: PublishedCurves | None) -> str:
    """Return a table in Markdown: a row for each size, a column for each start.

    ``published``: curves to stand beside them at the same sizes.
    """
    models = list(dict.fromkeys(point.model for point in points))
    theirs = list(published.curves) if published else []
    header = ["N", *models, *(f"published {name}" for name in theirs)]
    rows = []
    by_place = {(point.model, point.size): point for point in points}
    for size in sorted({point.size for point in points}):
        cells = [_cell(by_place.get((model, size))) for model in models]
        if published:
            cells += [_published_cell(published, name, size) for name in theirs]
        rows.append([str(size), *cells])
    return markdown_table(header, rows) + "\n"


def _cell(point: Point | None) -> str:
    if point is None:
        return ""
    told = [f"{point.failed} failed"] if point.failed else []
    if point.energy_rmse_meV_per_atom is not None:
        energy = _with_spread(
            point.energy_rmse_meV_per_atom, point.energy_std_meV_per_atom, 1
        )
        force = _with_spread(point.force_rmse_eV_A, point.force_std_eV_A, 3)
        told.insert(0, f"{energy} / {force}")
    return ", ".join(told)


def _with_spread(mean: float | None, deviation: float | None, digits: int) -> str:
    text = f"{mean:.{digits}f}"
    return text if deviation is None else f"{text} ± {deviation:.{digits}f}"


def _published_cell(published: PublishedCurves, name: str, size: int) -> str:
    energy, force = published.curves[name].get(size, (None, None))
    if energy is None and force is None:
        return ""
    return (
        f"{'–' if energy is None else f'{energy:.1f}'} / "
        f"{'–' if force is None else f'{force:.3f}'}"
    )


FOLDER = Path(__file__).parent / "published_data"


@dataclass(frozen=True, kw_only=True)
class PublishedCurves:
    """Errors after training on so many structures.

    ``drawn``: curves that a figure shows; a table shows all.
    ``curves``: for each curve and number of structures: RMSE of the energy per atom
    (meV) and of the force components (eV/Å), None where it is not known.
    """

    source: str
    drawn: tuple[str, ...]
    curves: dict[str, dict[int, tuple[float | None, float | None]]]


def published_names() -> list[str]:
    """Return the names of the sets of curves that come with synthzoo."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read_published(name: str) -> PublishedCurves:
    """Return a set of published curves.

    Examples
    --------
    >>> read_published("carbon-gap17").curves["direct"][25]
    (192.3, 1.272)
    """
    path = FOLDER / f"{name}.yaml"
    if name not in published_names():
        raise InputError(
            f"There are no published curves {name!r}; there are: "
            f"{', '.join(published_names())}."
        )
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    return PublishedCurves(
        source=values["source"],
        drawn=tuple(values["drawn"]),
        curves={
            curve: {
                int(size): (energy, force) for size, (energy, force) in rows.items()
            }
            for curve, rows in values["curves"].items()
        },
    )


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

    ``published``: other curves to draw beside them, as thin grey lines.
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
