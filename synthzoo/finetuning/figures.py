"""The figures of a fine-tuning: its loss, parity, errors by group, and probes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from synthzoo.evaluation.calibration import draw_reliability
from synthzoo.evaluation.parity import Cloud, draw_parity
from synthzoo.reports.style import BELOW, BLUE, save_figure, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from synthzoo.evaluation.errors import GroupErrors
    from synthzoo.finetuning.certainty import Certainty
    from synthzoo.finetuning.comparison import Comparison
    from synthzoo.finetuning.physics import Curve
    from synthzoo.training.curves import TrainingLoss

BEFORE_COLOUR = "#a9b1bb"
AFTER_COLOUR = BLUE
HOLLOW = "white"
MAX_GROUPS = 12
FEW_STRUCTURES = 4
"""The errors of groups with fewer are drawn hollow: they may be mere chance."""

LOSS_FILE = "loss.png"
PARITY_FILE = "parity.png"
GROUPS_FILE = "groups.png"
RELIABILITY_FILE = "reliability.png"
PROBES_FILE = "probes.png"


def write_loss(folder: Path, losses: Sequence[TrainingLoss]) -> Path:
    """Draw the errors on the training set over the epochs of the fit."""
    figure = Figure(figsize=(9, 3.4), dpi=120, layout="constrained")
    panels = zip(
        figure.subplots(1, 2),
        ("energy RMSE (meV/atom)", "force RMSE (eV/Å)"),
        ("energy_rmse_meV_per_atom", "force_rmse_eV_A"),
        strict=True,
    )
    for axes, quantity, field in panels:
        values = [getattr(loss, field) for loss in losses]
        axes.plot([loss.epoch for loss in losses], values, color=AFTER_COLOUR)
        axes.set(xlabel="epoch", ylabel=quantity)
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        tidy(axes)
    figure.suptitle("Training set, while the weights changed", fontsize=11)
    return save_figure(figure, folder / LOSS_FILE)


def write_parity(folder: Path, comparison: Comparison) -> Path:
    """Draw predictions over labels, before and after."""
    figure = Figure(dpi=120, layout="constrained")
    clouds = [
        Cloud(name="before", prediction=comparison.before, colour=BEFORE_COLOUR),
        Cloud(name="after", prediction=comparison.after, colour=AFTER_COLOUR),
    ]
    draw_parity(figure, comparison.labelled, clouds)
    figure.suptitle(f"{comparison.name} structures", fontsize=11)
    return save_figure(figure, folder / PARITY_FILE)


def write_groups(folder: Path, comparison: Comparison) -> Path:
    """Draw the errors of each group, before and after."""
    before = comparison.before.errors[: MAX_GROUPS + 1]
    after = comparison.after.errors[: MAX_GROUPS + 1]
    height = 1.7 + 0.36 * len(before)
    figure = Figure(figsize=(9, height), dpi=120, layout="constrained")
    draw_errors(figure.subplots(1, 2, sharey=True), before, after)
    figure.legend(handles=colour_keys(before), **BELOW)
    figure.suptitle(f"{comparison.name} structures, by group", fontsize=11)
    return save_figure(figure, folder / GROUPS_FILE)


def write_reliability(folder: Path, certainty: Certainty) -> Path:
    """Draw errors of forces over the standard deviations predicted for them."""
    figure = Figure(figsize=(9, 3.6), dpi=120, layout="constrained")
    draw_reliability(figure, certainty.forces)
    figure.suptitle(f"{certainty.calibrated_on} structures", fontsize=11)
    return save_figure(figure, folder / RELIABILITY_FILE)


def write_probes(folder: Path, curves: Sequence[Curve]) -> Path:
    """Draw energy curves of simple systems, before and after."""
    width = 3.2 * max(2, len(curves))
    figure = Figure(figsize=(width, 3.4), dpi=120, layout="constrained")
    for axes, curve in zip(
        np.ravel(figure.subplots(1, len(curves), squeeze=False)), curves, strict=True
    ):
        axes.plot(curve.x, curve.before_eV, color=BEFORE_COLOUR, label="before")
        axes.plot(curve.x, curve.after_eV, color=AFTER_COLOUR, label="after")
        axes.set(xlabel=curve.x_label, ylabel=curve.y_label)
        axes.set_title(curve.name, fontsize=10)
        tidy(axes)
        axes.legend(frameon=False, fontsize=9)
    return save_figure(figure, folder / PROBES_FILE)


def colour_keys(groups: Sequence[GroupErrors]) -> list[Patch]:
    """Return what the colours mean, and hollow bars where there are some."""
    keys = [
        Patch(color=BEFORE_COLOUR, label="before"),
        Patch(color=AFTER_COLOUR, label="after"),
    ]
    if any(group.structures < FEW_STRUCTURES for group in groups):
        label = f"hollow: fewer than {FEW_STRUCTURES} structures"
        keys.append(Patch(facecolor=HOLLOW, edgecolor=AFTER_COLOUR, label=label))
    return keys


def draw_errors(
    panels: Sequence[Axes], before: Sequence[GroupErrors], after: Sequence[GroupErrors]
) -> None:
    """Draw the errors of groups, energies in one panel and forces in another.

    ``panels``: of a row; the first names the groups.
    ``before``, ``after``: by two models, the groups in the same order.
    """
    names = [f"{group.name} ({group.structures})" for group in before]
    for axes, quantity, field in zip(
        panels,
        ("energy RMSE (meV/atom)", "force RMSE (eV/Å)"),
        ("energy_rmse_meV_per_atom", "force_rmse_eV_A"),
        strict=True,
    ):
        _draw_bars(axes, names, before, after, field)
        axes.set_xlabel(quantity)


def _draw_bars(
    axes: Axes,
    names: Sequence[str],
    before: Sequence[GroupErrors],
    after: Sequence[GroupErrors],
    field: str,
) -> None:
    places = np.arange(len(names))
    for shift, groups, colour in (
        (-0.19, before, BEFORE_COLOUR),
        (0.19, after, AFTER_COLOUR),
    ):
        values = [getattr(group, field) for group in groups]
        few = [group.structures < FEW_STRUCTURES for group in groups]
        axes.barh(
            places + shift,
            values,
            height=0.34,
            color=[HOLLOW if hollow else colour for hollow in few],
            edgecolor=colour,
        )
    axes.set_yticks(places, names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    tidy(axes)
