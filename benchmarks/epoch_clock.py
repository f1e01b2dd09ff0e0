"""A callback of Lightning that notes time, memory and error of each epoch."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import Callback

FORCES_ERROR = "val0_epoch/forces_rmse"
PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20


class EpochClock(Callback):
    """Writes a JSON line for each epoch.

    Parameters
    ----------
    path
        File to write.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._path.unlink(missing_ok=True)

    def on_train_start(self, *_: Any) -> None:
        """Start the clock: reading and building are over."""
        self._started = time.perf_counter()

    def on_train_epoch_start(self, *_: Any) -> None:
        """Note when the epoch begins."""
        self._epoch_started = time.perf_counter()

    def on_validation_start(self, *_: Any) -> None:
        """Note when the steps of the epoch are done."""
        self._trained = time.perf_counter()

    def on_validation_end(self, trainer: Any, *_: Any) -> None:
        """Write what is known of the epoch."""
        if trainer.state.fn != "fit":
            return
        now = time.perf_counter()
        line = {
            "epoch": trainer.current_epoch + 1,
            "train_s": self._trained - self._epoch_started,
            "validation_s": now - self._trained,
            "elapsed_s": now - self._started,
            "force_rmse_eV_A": float(trainer.callback_metrics[FORCES_ERROR]),
            "memory_MB": _memory_in_use(),
        }
        with self._path.open("a") as stream:
            stream.write(json.dumps(line) + "\n")


def _memory_in_use() -> float:
    """Return what this process holds in memory, on Linux."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * PAGE_MB
