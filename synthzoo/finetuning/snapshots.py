"""The averaged weights of a fit on its way, kept as candidates to choose from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors.torch
from lightning.pytorch.callbacks import Callback

from synthzoo.runs.files import new_file
from synthzoo.training.levels import LevelledNetwork

if TYPE_CHECKING:
    import lightning
    import torch


class Snapshots(Callback):
    """Writes the averaged weights after some epochs, before the state of the epoch.

    A run that is killed and resumed writes the same files as an undisturbed one.

    ``files``: where to write, by the number of epochs that are over.
    """

    def __init__(self, files: dict[int, Path]) -> None:
        self._files = files

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Write the averaged weights if it is time."""
        path = self._files.get(trainer.current_epoch + 1)
        if path is None:
            return
        module: Any = pl_module  # ours: it has averaged weights
        (model,) = module.evaluation_model.values()
        weights = copied_weights(model)
        module.ema.swap_parameters(module.model)
        with new_file(path) as partial:
            partial.write_bytes(safetensors.torch.save(weights))


def copied_weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return the weights of a model as they are now, on the CPU.

    Those of several levels of theory are named as `LevelledNetwork.weights` does.
    """
    weights = model.state_dict()
    if isinstance(model, LevelledNetwork):
        weights = model.weights()
    return {
        name: value.detach().cpu().clone().contiguous()
        for name, value in weights.items()
    }


def snapshot_files(
    folder: Path, shares: Sequence[float], epochs: int
) -> dict[int, Path]:
    """Return where the weights go that are kept on the way, by number of epochs.

    ``shares``: of all epochs, after which weights are kept; below 1.

    Examples
    --------
    >>> [path.name for path in snapshot_files(Path(), (0.6, 0.8), 10).values()]
    ['epoch-6.safetensors', 'epoch-8.safetensors']
    >>> snapshot_files(Path(), (0.6, 0.8), 1)
    {}
    """
    whole = sorted({math.ceil(share * epochs) for share in shares} - {epochs})
    return {number: folder / f"epoch-{number}.safetensors" for number in whole}
