"""What a fit tells while it runs: a bar, and the file of its errors."""

from __future__ import annotations

import csv
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch.callbacks import Callback, Checkpoint
from lightning.pytorch.loggers import TensorBoardLogger

from synthzoo.errors import MissingExtraError
from synthzoo.runs.files import new_file
from synthzoo.runs.progress import progress_bar
from synthzoo.training.curves import COLUMNS, EPOCH, ERRORS_FILE
from synthzoo.training.place import is_first_process

if TYPE_CHECKING:
    import lightning

FORCES_ERROR = COLUMNS["force_rmse_eV_A"]
ENERGY_ERROR = COLUMNS["energy_rmse_eV_per_atom"]
TENSORBOARD_FOLDER = "tensorboard"


def tensorboard_logger(folder: Path) -> TensorBoardLogger:
    """Return what writes the errors of each epoch for TensorBoard."""
    check_tensorboard()
    return TensorBoardLogger(folder, name=TENSORBOARD_FOLDER)


def check_tensorboard() -> None:
    """Raise `MissingExtraError` if TensorBoard is not installed."""
    if find_spec("tensorboard") is None:
        raise MissingExtraError(
            "Logs for TensorBoard need its package: "
            'pip install "synthzoo[tensorboard]".'
        )


class History(Checkpoint):
    """The errors of all epochs: in a file after each epoch, and in the fit's state.

    A resumed fit has those of its state, so that its file ends like that of an
    undisturbed one. It is a `Checkpoint` since Lightning calls those when all errors of
    the epoch are known.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / ERRORS_FILE
        self._rows: list[dict[str, float]] = []

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Add the errors of the epoch, before its state is saved."""
        del pl_module
        metrics = trainer.callback_metrics
        row: dict[str, float] = {EPOCH: trainer.current_epoch}
        row |= {
            name: float(metrics[name]) for name in COLUMNS.values() if name in metrics
        }
        self._rows.append(row)
        if is_first_process():
            with new_file(self._path) as partial, partial.open("w") as stream:
                writer = csv.DictWriter(stream, [EPOCH, *COLUMNS.values()])
                writer.writeheader()
                writer.writerows(self._rows)

    def state_dict(self) -> dict[str, Any]:
        """Return what is kept with the state of the fit."""
        return {"rows": self._rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what was kept."""
        self._rows = state_dict["rows"]


class Progress(Callback):
    """A bar over all steps of all epochs, so that it tells the time that is left."""

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Open the bar where the run stands."""
        self.bar = progress_bar(
            desc="train",
            unit="step",
            total=int(pl_module.total_steps),  # type: ignore[arg-type]
            initial=trainer.global_step,
        )

    def on_train_batch_end(self, *_args: Any, **_kwargs: Any) -> None:
        """Move the bar by one step."""
        self.bar.update()

    def on_validation_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Show the errors of the epoch."""
        del pl_module
        metrics = trainer.callback_metrics
        if FORCES_ERROR in metrics and hasattr(self, "bar"):
            self.bar.set_postfix_str(
                f"epoch {trainer.current_epoch + 1}: "
                f"{1000 * float(metrics[ENERGY_ERROR]):.0f} meV/atom, "
                f"{float(metrics[FORCES_ERROR]):.3f} eV/Å",
                refresh=False,
            )

    def on_train_end(self, *_args: Any, **_kwargs: Any) -> None:
        """Close the bar."""
        self.bar.close()

    def on_exception(self, *_args: Any, **_kwargs: Any) -> None:
        """Close the bar."""
        if hasattr(self, "bar"):
            self.bar.close()
