"""Predictions over labels, as a picture."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase.units import GPa

from synthzoo.reports.style import BLUE, DARK_GREY, GREEN, ORANGE, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from synthzoo.data.labelled_set import LabelledSet
    from synthzoo.evaluation.errors import Prediction

MAX_NAME = 24
"""Characters of a model's name in a figure."""

COLOURS = (BLUE, ORANGE, GREEN, "#8a5fbf", DARK_GREY)
"""One for each model; then again."""

MAX_POINTS = 20_000
"""More force components are thinned evenly: nobody sees them all."""


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """One model's predictions.

    ``prediction``: what the model says about the set.
    """

    name: str
    prediction: Prediction
    colour: str


def draw_parity(figure: Figure, labelled: LabelledSet, clouds: Sequence[Cloud]) -> None:
    """Draw energies per atom, force components and stress over their labels.

    ``figure``: empty; it gets two panels, or three where stress is known.
    """
    stresses = labelled.stresses_eV_A3.ravel() / GPa
    known = np.isfinite(stresses)
    panels = 3 if known.any() else 2
    figure.set_size_inches(4.5 * panels, 4.4)
    left, middle, *right = figure.subplots(1, panels)
    sizes = np.array([len(atoms) for atoms in labelled.structures])
    energies = labelled.energies_eV / sizes
    forces = labelled.forces_eV_A.ravel()
    step = max(1, len(forces) // MAX_POINTS)
    for cloud in clouds:
        errors = cloud.prediction.errors[0]
        _scatter(
            left,
            energies,
            cloud.prediction.energies_eV_per_atom,
            cloud.colour,
            f"{cloud.name}: {errors.energy_rmse_meV_per_atom:.1f} meV/atom",
        )
        _scatter(
            middle,
            forces[::step],
            cloud.prediction.forces_eV_A.ravel()[::step],
            cloud.colour,
            f"{cloud.name}: {errors.force_rmse_eV_A:.3f} eV/Å",
        )
        if right and errors.stress_rmse_GPa is not None:
            _scatter(
                right[0],
                stresses[known],
                cloud.prediction.stresses_eV_A3.ravel()[known] / GPa,
                cloud.colour,
                f"{cloud.name}: {errors.stress_rmse_GPa:.2f} GPa",
            )
    _finish(left, "energy", "eV/atom")
    _finish(middle, "force component", "eV/Å")
    for axes in right:
        _finish(axes, "stress component", "GPa")


def _scatter(
    axes: Axes,
    labels: NDArray[np.float64],
    predictions: NDArray[np.float64],
    colour: str,
    name: str,
) -> None:
    size = 14 if len(labels) < 500 else 4
    axes.scatter(
        labels,
        predictions,
        s=size,
        color=colour,
        alpha=0.6,
        linewidths=0,
        label=name,
        rasterized=True,
    )


def _finish(axes: Axes, quantity: str, unit: str) -> None:
    ends = np.array([*axes.get_xlim(), *axes.get_ylim()])
    limits = ends.min(), ends.max()
    axes.plot(limits, limits, color="0.4", linewidth=0.8, zorder=0)
    axes.set(xlim=limits, ylim=limits, aspect="equal")
    axes.ticklabel_format(useOffset=False)
    axes.locator_params(nbins=6)
    axes.set_xlabel(f"{quantity}, label ({unit})")
    axes.set_ylabel(f"{quantity}, predicted ({unit})")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="upper left")


def _short(model: str) -> str:
    """Return a name for a legend: no folder, no module, no arguments."""
    name = Path(str(model).partition("{")[0]).name
    return (name.rpartition(".")[2] if name.startswith("ase:") else name)[:MAX_NAME]


def write_parity_of(
    path: Path, labelled: LabelledSet, predictions: Mapping[str, Prediction]
) -> None:
    """Draw what several models, by name, say about a set."""
    from matplotlib.figure import Figure

    figure = Figure(dpi=120, layout="constrained")
    clouds = [
        Cloud(name=_short(name), prediction=found, colour=colour)
        for (name, found), colour in zip(
            predictions.items(), itertools.cycle(COLOURS), strict=False
        )
    ]
    draw_parity(figure, labelled, clouds)
    save_figure(figure, path)
