"""Predictions over labels: the parity figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synthzoo.figure_style import BLUE, DARK_GREY, GREEN, ORANGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from synthzoo.evaluate import Prediction
    from synthzoo.labelled_sets import LabelledSet

COLOURS = (BLUE, ORANGE, GREEN, "#8a5fbf", DARK_GREY)
"""One for each model; then again."""

MAX_POINTS = 20_000
"""More force components are thinned evenly: nobody sees them all."""


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """One model's predictions.

    Attributes
    ----------
    name
        For the legend.
    prediction
        What the model says about the set.
    colour
        Of its points.
    """

    name: str
    prediction: Prediction
    colour: str


def draw_parity(figure: Figure, labelled: LabelledSet, clouds: Sequence[Cloud]) -> None:
    """Draw energies per atom and force components over their labels.

    Parameters
    ----------
    figure
        Empty; it gets two panels.
    labelled
        Structures and labels.
    clouds
        One for each model; later ones lie on top.
    """
    left, right = figure.subplots(1, 2)
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
            right,
            forces[::step],
            cloud.prediction.forces_eV_A.ravel()[::step],
            cloud.colour,
            f"{cloud.name}: {errors.force_rmse_eV_A:.3f} eV/Å",
        )
    _finish(left, "energy", "eV/atom")
    _finish(right, "force component", "eV/Å")


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
