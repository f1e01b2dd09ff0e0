"""The course of a fit, read from its logs and drawn."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from synthzoo.reports.style import save_figure

CURVES_FILE, ERRORS_FILE = "curves.png", "errors.csv"
EPOCH = "epoch"
COLUMNS = {
    "force_rmse_eV_A": "val0_epoch/forces_rmse",
    "energy_rmse_eV_per_atom": "val0_epoch/per_atom_energy_rmse",
    "training_force_mse": "train_loss_epoch/forces_mse",
    "training_energy_mse": "train_loss_epoch/per_atom_energy_mse",
}


MINOR_TICKS = (2, 3, 5, 7)
"""Times a power of ten."""

PANELS = {
    "energy RMSE (meV/atom)": "energy_rmse_meV_per_atom",
    "force RMSE (eV/Å)": "force_rmse_eV_A",
}


@dataclass(frozen=True, kw_only=True)
class EpochErrors:
    """Errors of one epoch.

    ``force_rmse_eV_A``, ``energy_rmse_meV_per_atom``: on the validation set, with the
    averaged weights.
    ``training_force_rmse_eV_A``, ``training_energy_rmse_meV_per_atom``: on the training
    set, while the weights changed.
    """

    epoch: int
    force_rmse_eV_A: float
    energy_rmse_meV_per_atom: float
    training_force_rmse_eV_A: float
    training_energy_rmse_meV_per_atom: float


def read_errors(folder: Path) -> list[EpochErrors]:
    """Return the errors of all epochs that a fit finished, interruptions included."""
    names = COLUMNS.values()
    return [_errors(row) for row in _rows(folder) if all(row[name] for name in names)]


@dataclass(frozen=True, kw_only=True)
class TrainingLoss:
    """Errors on the training set of one epoch, while the weights changed.

    ``energy_rmse_meV_per_atom``, ``force_rmse_eV_A``: from the mean squared errors in
    the loss.
    """

    epoch: int
    energy_rmse_meV_per_atom: float
    force_rmse_eV_A: float


def read_losses(folder: Path) -> list[TrainingLoss]:
    """Return the training errors of all epochs that a fit finished."""
    names = COLUMNS["training_energy_mse"], COLUMNS["training_force_mse"]
    losses = []
    for row in _rows(folder):
        energy, force = (float(row[name]) ** 0.5 for name in names)
        losses.append(
            TrainingLoss(
                epoch=int(row[EPOCH]) + 1,
                energy_rmse_meV_per_atom=1000 * energy,
                force_rmse_eV_A=force,
            )
        )
    return losses


def draw_curves(folder: Path) -> Path:
    """Draw the errors of a fit over its epochs and return the path of the figure."""
    errors = read_errors(folder)
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    panels = zip(figure.subplots(1, 2), PANELS.items(), strict=True)
    for axes, (quantity, field) in panels:
        for name, prefix in (("training", "training_"), ("validation", "")):
            values = [getattr(row, prefix + field) for row in errors]
            axes.plot([row.epoch for row in errors], values, label=name)
        axes.set(xlabel="epoch", ylabel=quantity, yscale="log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(LogLocator(subs=MINOR_TICKS))
        axes.yaxis.set_minor_formatter("{x:g}")
        axes.grid(which="both", alpha=0.3)
        axes.legend(frameon=False)
    return save_figure(figure, folder / CURVES_FILE, dpi=150)


def _rows(folder: Path) -> list[dict[str, str]]:
    """Return the rows that `synthzoo.training.logs.History` has written."""
    path = folder / ERRORS_FILE
    if not path.is_file():  # a run may be killed before its first epoch ends
        return []
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def _errors(row: dict[str, str]) -> EpochErrors:
    values = {key: float(row[name]) for key, name in COLUMNS.items()}
    return EpochErrors(
        epoch=int(row[EPOCH]) + 1,
        force_rmse_eV_A=values["force_rmse_eV_A"],
        energy_rmse_meV_per_atom=1000 * values["energy_rmse_eV_per_atom"],
        training_force_rmse_eV_A=values["training_force_mse"] ** 0.5,
        training_energy_rmse_meV_per_atom=1000 * values["training_energy_mse"] ** 0.5,
    )
