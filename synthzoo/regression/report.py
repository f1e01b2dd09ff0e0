"""Learning curves of regressions as a table, a figure, and in words."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from synthzoo.reports.document import markdown_table
from synthzoo.reports.style import save_figure, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from synthzoo.environments.sample import Sample
    from synthzoo.regression.jobs import Result

NAMES = {"gpr": "GPR", "network": "network", "dkl": "deep kernel"}
PANEL_INCHES = 4.2
ERROR = "RMSE (meV/atom)"


@dataclass(frozen=True, kw_only=True)
class Point:
    """One point of a learning curve: mean and standard deviation over the folds.

    Attributes
    ----------
    regressor
        ``gpr``, ``network`` or ``dkl``.
    size
        Environments that were fitted.
    representatives, sigma_meV
        Of GPR; None for others.
    folds
        Number of folds.
    rmse_meV, std_meV
        Error of the energies of atoms, and its deviation; None for one fold.
    mae_meV
        Mean absolute error.
    fit_seconds, predict_us
        CPU time of a fit, and of a prediction for each atom in µs, without SOAP.
    """

    regressor: str
    size: int
    representatives: int | None
    sigma_meV: float | None
    folds: int
    rmse_meV: float
    std_meV: float | None
    mae_meV: float
    fit_seconds: float
    predict_us: float

    @property
    def curve(self) -> tuple[str, int | None, float | None]:
        """What points of one curve have in common."""
        return self.regressor, self.representatives, self.sigma_meV


def summarise(results: Sequence[Result]) -> list[Point]:
    """Return the points of all curves, in the order of the results."""

    def key(result: Result) -> tuple[str, int, int | None, float | None]:
        return result.regressor, result.size, result.representatives, result.sigma_meV

    places = dict.fromkeys(map(key, results))
    return [
        _point([each for each in results if key(each) == place]) for place in places
    ]


def _point(results: Sequence[Result]) -> Point:
    errors = [each.rmse_meV for each in results]
    return Point(
        regressor=results[0].regressor,
        size=results[0].size,
        representatives=results[0].representatives,
        sigma_meV=results[0].sigma_meV,
        folds=len(results),
        rmse_meV=float(np.mean(errors)),
        std_meV=float(np.std(errors, ddof=1)) if len(errors) > 1 else None,
        mae_meV=float(np.mean([each.mae_meV for each in results])),
        fit_seconds=float(np.mean([each.fit_seconds for each in results])),
        predict_us=float(np.mean([each.predict_us for each in results])),
    )


def curves_of(points: Sequence[Point]) -> dict[str, list[Point]]:
    """Return the points of each curve, by a name that tells it from the others."""
    found: dict[str, list[Point]] = {}
    for curve in dict.fromkeys(point.curve for point in points):
        name = _name(curve, points)
        found[name] = [point for point in points if point.curve == curve]
    return found


def _name(curve: tuple[str, int | None, float | None], points: Sequence[Point]) -> str:
    regressor, representatives, sigma_meV = curve
    parts = [NAMES[regressor]]
    of_gpr = [point for point in points if point.regressor == regressor]
    if len({point.representatives for point in of_gpr}) > 1:
        parts.append(f"M = {representatives:,}")
    if len({point.sigma_meV for point in of_gpr}) > 1:
        parts.append(f"σ = {sigma_meV:g} meV")
    return ", ".join(parts)


def first_curves(points: Sequence[Point]) -> dict[str, list[Point]]:
    """Return one curve for each regressor: of GPR that with the first M and σ."""
    found: dict[str, list[Point]] = {}
    for name, curve in curves_of(points).items():
        if all(curve[0].regressor != other[0].regressor for other in found.values()):
            found[name] = curve
    return found


def describe_points(points: Sequence[Point]) -> list[str]:
    """Return what curves show, in words."""
    curves = {curve[0].regressor: curve for curve in first_curves(points).values()}
    found = []
    if {"gpr", "network"} <= curves.keys():
        found.append(_crossing(curves["gpr"], curves["network"]))
    sigmas = _best(points, "sigma_meV")
    if sigmas:
        told = ", ".join(f"{best:g} meV at N = {size:,}" for size, best in sigmas)
        found.append(f"The best σ is {told}.")
        if "network" in curves:
            best = [_smallest(points, size) for size, _ in sigmas]
            crossing = _crossing(best, curves["network"])
            found.append(f"With it, {crossing.replace('The', 'the')}")
    if {"network", "dkl"} <= curves.keys():
        ratio = curves["dkl"][-1].predict_us / curves["network"][-1].predict_us
        found.append(
            f"The deep kernel predicts {ratio:.1f} times slower than the network."
        )
    return found


def _crossing(gpr: Sequence[Point], network: Sequence[Point]) -> str:
    """Return where the network begins to be better for good."""
    others = {point.size: point.rmse_meV for point in network}
    both = [
        (point.size, float(np.log(others[point.size] / point.rmse_meV)))
        for point in sorted(gpr, key=lambda point: point.size)
        if point.size in others
    ]
    if not both:
        return "GPR and network have no size in common."
    if all(ratio > 0 for _, ratio in both):
        return "GPR has the smaller error at all sizes."
    if all(ratio <= 0 for _, ratio in both):
        return "The network has the smaller error at all sizes."
    for (low, before), (high, after) in reversed(list(itertools.pairwise(both))):
        if before > 0 >= after:
            share = before / (before - after)
            size = np.exp(np.log(low) + share * np.log(high / low))
            return f"The network overtakes GPR near {_rounded(size):,} environments."
    return "GPR overtakes the network."


def _rounded(size: float) -> int:
    """Return a number with two digits that count."""
    return int(float(f"{size:.1e}"))


def _best(points: Sequence[Point], name: str) -> list[tuple[int, float]]:
    """Return the value of one setting of GPR with the smallest error, for each size.

    Others are as in the first curve. Empty if only one value was tried.
    """
    scanned = scan_of(points, name)
    if len({getattr(point, name) for point in scanned}) < 2:
        return []
    sizes = sorted({point.size for point in scanned})
    found = []
    for size in sizes:
        here = [point for point in scanned if point.size == size]
        found.append((size, getattr(min(here, key=lambda each: each.rmse_meV), name)))
    return found


def _smallest(points: Sequence[Point], size: int) -> Point:
    """Return the point of GPR with the best sigma, and the first M."""
    scanned = [each for each in scan_of(points, "sigma_meV") if each.size == size]
    return min(scanned, key=lambda point: point.rmse_meV)


def scan_of(points: Sequence[Point], name: str) -> list[Point]:
    """Return the points of GPR that differ in one setting from the first curve."""
    gpr = [point for point in points if point.regressor == "gpr"]
    if not gpr:
        return []
    (fixed,) = {"sigma_meV", "representatives"} - {name}
    return [point for point in gpr if getattr(point, fixed) == getattr(gpr[0], fixed)]


def page(
    points: Sequence[Point], findings: Sequence[str], teacher: str, sample: Sample
) -> str:
    """Return the table with what is needed to read it."""
    curves = curves_of(points)
    sizes = sorted({point.size for point in points})
    cells = {
        name: {point.size: _cell(point) for point in curve}
        for name, curve in curves.items()
    }
    rows = [
        [f"{size:,}", *(cells[name].get(size, "") for name in curves)] for size in sizes
    ]
    costs = [
        [
            name,
            f"{curve[-1].size:,}",
            f"{curve[-1].fit_seconds:.0f}",
            f"{curve[-1].predict_us:.0f}",
        ]
        for name, curve in curves.items()
    ]
    return "\n".join(
        [
            f"# Energies of atoms by {teacher}\n",
            f"RMSE in meV/atom after fitting N environments of "
            f"{', '.join(sample.sets)}, on trajectories of which none was fitted; mean "
            f"± standard deviation over {points[0].folds} fold(s).\n",
            markdown_table(["N", *curves], rows),
            "",
            *(f"- {finding}" for finding in findings),
            *([""] if findings else []),
            "CPU time of the largest fit, and of a prediction without SOAP:\n",
            markdown_table(["", "N", "fit (s)", "prediction (µs/atom)"], costs),
            "",
        ]
    )


def _cell(point: Point) -> str:
    text = f"{point.rmse_meV:.1f}"
    return text if point.std_meV is None else f"{text} ± {point.std_meV:.1f}"


def draw(path: Path, points: Sequence[Point]) -> Path:
    """Draw learning curves, and scans of M and σ where there are some; return where."""
    scans = [
        (name, label)
        for name, label in (
            ("sigma_meV", "σ (meV)"),
            ("representatives", "M (representatives)"),
        )
        if _best(points, name)
    ]
    count = 1 + len(scans)
    figure = Figure(figsize=(count * PANEL_INCHES, PANEL_INCHES), layout="constrained")
    axes = figure.subplots(1, count, squeeze=False)[0]
    for name, curve in first_curves(points).items():
        _line(axes[0], name, [point.size for point in curve], curve)
    axes[0].set_xlabel("N (environments)")
    for panel, (name, label) in zip(axes[1:], scans, strict=True):
        scanned = scan_of(points, name)
        for size in sorted({point.size for point in scanned}):
            line = sorted(
                (point for point in scanned if point.size == size),
                key=lambda point: getattr(point, name),
            )
            values = [getattr(point, name) for point in line]
            _line(panel, f"N = {size:,}", values, line)
        panel.set_xlabel(label)
    for panel in axes:
        panel.set(xscale="log", yscale="log", ylabel=ERROR)
        panel.yaxis.set_major_locator(MaxNLocator(nbins=7))
        panel.yaxis.set_major_formatter("{x:g}")
        panel.yaxis.set_minor_locator(NullLocator())
        tidy(panel)
        panel.legend(fontsize=8, frameon=False)
    return save_figure(figure, path, dpi=150)


def _line(
    axes: Axes, name: str, values: Sequence[float], points: Sequence[Point]
) -> None:
    axes.errorbar(
        values,
        [point.rmse_meV for point in points],
        yerr=[point.std_meV or 0.0 for point in points],
        marker="o",
        markersize=4,
        capsize=2,
        label=name,
    )
