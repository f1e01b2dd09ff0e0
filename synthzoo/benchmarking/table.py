"""The results of a learning curve as a table: mean and spread over the draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synthzoo.document import markdown_table

if TYPE_CHECKING:
    from synthzoo.benchmarking.published import PublishedCurves
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
    """Return the points of all curves, in the order of the results.

    Parameters
    ----------
    results
        Of single runs.
    """
    places = dict.fromkeys((found.model, found.size) for found in results)
    return [
        _point(
            model,
            size,
            [found for found in results if (found.model, found.size) == (model, size)],
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

    Parameters
    ----------
    points
        From `summarise`.
    published
        Curves to stand beside them at the same sizes.
    """
    models = list(dict.fromkeys(point.model for point in points))
    theirs = list(published.curves) if published else []
    header = ["N", *models, *(f"published {name}" for name in theirs)]
    rows = []
    found = {(point.model, point.size): point for point in points}
    for size in sorted({point.size for point in points}):
        cells = [_cell(found.get((model, size))) for model in models]
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
