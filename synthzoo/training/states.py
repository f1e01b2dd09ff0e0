"""States of a fit on disk: written whole, two of them kept, damaged ones skipped."""

from __future__ import annotations

import io
import logging
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from synthzoo.errors import CheckpointError, one_line
from synthzoo.runs.files import new_file

if TYPE_CHECKING:
    from lightning.fabric.utilities.types import _PATH

_LOG = logging.getLogger(__name__)

LAST, BEST, BEFORE = "last", "best", "before-last"


class WholeStates(TorchCheckpointIO):
    """Writes a state beside its target and renames it; the last one is kept, too.

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


def state_file(folder: Path, name: str) -> Path:
    """Return where a state of a fit is kept."""
    return folder / f"{name}.ckpt"


def find_state(folder: Path) -> Path | None:
    """Return the last sound state of a fit; None if there is none."""
    states = (state_file(folder, name) for name in (LAST, BEFORE))
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
