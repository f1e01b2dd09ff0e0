"""States of a fit on disk: when they are kept, written whole, damaged ones skipped."""

from __future__ import annotations

import io
import logging
import zipfile
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint

from synthzoo.errors import CheckpointError, one_line
from synthzoo.runs.files import new_file

if TYPE_CHECKING:
    import lightning
    from lightning.fabric.utilities.types import _PATH
    from lightning.pytorch.utilities.types import STEP_OUTPUT

_LOG = logging.getLogger(__name__)

LAST, BEST, BEFORE = "last", "best", "before-last"
"""At the ends of epochs."""

WITHIN = "within-epoch"
INTERVAL = timedelta(minutes=10)
"""Of the states within an epoch."""


class WholeStates(TorchCheckpointIO):
    """Writes a state beside its target and renames it; the last one is kept, too.

    The last one at the end of an epoch replaces that within the epoch.

    Lightning's own way writes into the folder for temporary files. Where that is
    another file system, moving is copying, and a kill leaves half a file.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: _PATH, storage_options: Any = None
    ) -> None:
        """Write a state."""
        del storage_options
        target = Path(path)
        content = io.BytesIO()
        torch.save(checkpoint, content)  # to a file, it hides the reason of a failure
        with new_file(target) as partial:
            partial.write_bytes(content.getbuffer())
            if target.stem == LAST and target.exists():
                target.replace(state_file(target.parent, BEFORE))
        if target.stem == LAST:
            state_file(target.parent, WITHIN).unlink(missing_ok=True)


class WithinEpoch(ModelCheckpoint):
    """Keeps a state in time intervals, so that a kill in a long epoch costs no more.

    None is kept after the last batch, since the state of the whole epoch follows, nor
    between the steps of Reptile on a task, whose start is not in a state.

    ``row``: number of batches after which a state can be kept.
    """

    def __init__(self, folder: Path, *, row: int = 1) -> None:
        super().__init__(
            folder,
            filename=WITHIN,
            train_time_interval=INTERVAL,
            enable_version_counter=False,
        )
        self._row = row

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: STEP_OUTPUT,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Keep a state if it is time."""
        if (batch_idx + 1) % self._row == 0 and not trainer.is_last_batch:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)


def state_file(folder: Path, name: str) -> Path:
    """Return where a state of a fit is kept."""
    return folder / f"{name}.ckpt"


def find_state(folder: Path) -> Path | None:
    """Return the last sound state of a fit; None if there is none."""
    states = (state_file(folder, name) for name in (WITHIN, LAST, BEFORE))
    return next((path for path in states if _is_sound(path)), None)


def read_state(path: Path) -> dict[str, Any]:
    """Return a state of a fit; nothing in it is executed."""
    content = io.BytesIO(path.read_bytes())
    try:
        with zipfile.ZipFile(content) as archive:
            broken = archive.testzip()
        content.seek(0)
        state: dict[str, Any] = torch.load(content, "cpu", weights_only=True)
    except Exception as error:  # readers of damaged bytes raise whatever they like
        raise CheckpointError(_damaged(path, one_line(error))) from error
    if broken is not None:  # torch does not look at the checksums
        raise CheckpointError(_damaged(path, broken))
    return state


def _damaged(path: Path, what: str) -> str:
    return f"The state of a fit in {path} is damaged ({what})."


def _is_sound(path: Path) -> bool:
    """Return whether a state can be read; remove one that is damaged."""
    if not path.is_file():
        return False
    try:
        read_state(path)
    except CheckpointError as error:
        _LOG.warning("%s It is removed; the fit goes on from an earlier one.", error)
        path.unlink(missing_ok=True)
        return False
    return True
