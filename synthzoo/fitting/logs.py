"""What a fit tells while it runs: a bar, and the files of its errors."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tqdm import tqdm

from synthzoo.errors import MissingExtraError

if TYPE_CHECKING:
    import lightning
    from lightning.pytorch.loggers import Logger

FORCES_ERROR = "val0_epoch/forces_rmse"
ENERGY_ERROR = "val0_epoch/per_atom_energy_rmse"
TENSORBOARD_FOLDER = "tensorboard"


def make_loggers(folder: Path, *, tensorboard: bool) -> list[Logger]:
    """Return what writes the errors of each epoch: as CSV, and for TensorBoard.

    Parameters
    ----------
    folder
        Of the fit.
    tensorboard
        Whether to write for TensorBoard, too.

    Raises
    ------
    MissingExtraError
        If TensorBoard is asked for and not installed.
    """
    # Each row at once: what a killed run has learnt stays on record.
    loggers: list[Logger] = [CSVLogger(folder, name="logs", flush_logs_every_n_steps=1)]
    if tensorboard:
        check_tensorboard()
        loggers.append(TensorBoardLogger(folder, name=TENSORBOARD_FOLDER))
    return loggers


def check_tensorboard() -> None:
    """Raise `MissingExtraError` if TensorBoard is not installed."""
    if find_spec("tensorboard") is None:
        raise MissingExtraError(
            "Logs for TensorBoard need its package: "
            'pip install "synthzoo[tensorboard]".'
        )


class Progress(Callback):
    """A bar over all steps of all epochs, so that it tells the time that is left."""

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Open the bar where the run stands."""
        self.bar = tqdm(
            desc="train",
            total=int(pl_module.total_steps),  # type: ignore[arg-type]
            initial=trainer.global_step,
            unit="step",
            mininterval=1.0,
            disable=None,  # in log files
        )

    def on_train_batch_end(self, *_args: Any, **_kwargs: Any) -> None:
        """Move the bar by one step."""
        self.bar.update()

    def on_validation_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Show the errors of the epoch."""
        del pl_module
        found = trainer.callback_metrics
        if FORCES_ERROR in found and hasattr(self, "bar"):
            self.bar.set_postfix_str(
                f"epoch {trainer.current_epoch + 1}: "
                f"{1000 * float(found[ENERGY_ERROR]):.0f} meV/atom, "
                f"{float(found[FORCES_ERROR]):.3f} eV/Å"
            )

    def on_train_end(self, *_args: Any, **_kwargs: Any) -> None:
        """Close the bar."""
        self.bar.close()

    def on_exception(self, *_args: Any, **_kwargs: Any) -> None:
        """Close the bar."""
        if hasattr(self, "bar"):
            self.bar.close()
