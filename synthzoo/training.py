"""One fit for pre-training and fine-tuning, with nequip's losses and EMA."""

from __future__ import annotations

import logging
import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning
import torch
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    LearningRateMonitor,
    ModelCheckpoint,
)
from lightning.pytorch.loggers import CSVLogger
from nequip.data import AtomicDataDict
from nequip.train import EMALightningModule
from torch.optim.lr_scheduler import LambdaLR
from tqdm import tqdm

from synthzoo.errors import InputError, SynthzooError
from synthzoo.graphs import AtomBatches, Graph, ReplayBatches, loader

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

    from synthzoo.recipes import FitRecipe

FORCES_ERROR = "val0_epoch/forces_rmse"
ENERGY_ERROR = "val0_epoch/per_atom_energy_rmse"
LAST = "last"
BEST = "best"
WARMUP_START = 0.01


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """The weights that were found, and what they are worth.

    Attributes
    ----------
    model
        With the averaged weights of the best epoch, in evaluation mode.
    epochs, steps
        How long the fit ran, interruptions left out.
    kept_epoch
        Epoch whose weights these are.
    energy_rmse_meV_per_atom, force_rmse_eV_A
        Validation errors of that epoch; NaN without a validation set.
    """

    model: torch.nn.Module
    epochs: int
    steps: int
    kept_epoch: int
    energy_rmse_meV_per_atom: float
    force_rmse_eV_A: float


class FitModule(EMALightningModule):  # type: ignore[misc]  # nequip is untyped
    """Our network, learning rate and guard on nequip's training module.

    Parameters
    ----------
    network
        Module to train.
    recipe
        How.
    total_steps
        Length of the whole fit, for the learning rate.
    """

    def __init__(
        self,
        *,
        network: torch.nn.Module,
        recipe: FitRecipe,
        total_steps: int,
    ) -> None:
        coefficients = {
            AtomicDataDict.TOTAL_ENERGY_KEY: recipe.energy_weight,
            AtomicDataDict.FORCE_KEY: recipe.forces_weight,
        }
        monitored = {"per_atom_energy_rmse": None, "forces_rmse": 1.0}
        super().__init__(
            model=network,  # goes through _build_model
            num_datasets={"train": 1, "val": 1, "test": 0, "predict": 0},
            loss={"_target_": "nequip.train.EnergyForceLoss", "coeffs": coefficients},
            val_metrics={
                "_target_": "nequip.train.EnergyForceMetrics",
                "coeffs": monitored,
            },
            ema_decay=recipe.ema_decay,
        )
        self.recipe = recipe
        self.total_steps = total_steps
        self._start = [value.detach().clone() for value in self.model.parameters()]

    def save_hyperparameters(self, *args: Any, **kwargs: Any) -> None:
        """Store none: a resumed run is built anew from its recipe."""

    def _build_model(self, model_config: torch.nn.Module) -> torch.nn.Module:
        """Return the network as it is: it was built by synthzoo.checkpoint."""
        return model_config

    def configure_optimizers(self) -> dict[str, Any]:
        """Return Adam and the learning rate's schedule, which moves at every step."""
        optimizer = torch.optim.Adam(parameter_groups(self.model, self.recipe))
        schedule = LambdaLR(
            optimizer, lambda step: rate_factor(step, self.total_steps, self.recipe)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Take a step, then let the start pull, before the average is updated."""
        if self.recipe.pull:
            optimizer = self.optimizers()
            share = self.recipe.pull * optimizer.param_groups[-1]["lr"]
            with torch.no_grad():
                for value, start in zip(
                    self.model.parameters(), self._start, strict=True
                ):
                    value.lerp_(start.to(value.device), share)
        super().optimizer_step(*args, **kwargs)

    def training_step(
        self, batch: Graph, batch_idx: int, dataloader_idx: int = 0
    ) -> torch.Tensor:
        """Return the loss of a batch; stop if it is not a finite number."""
        loss: torch.Tensor = super().training_step(batch, batch_idx, dataloader_idx)
        if not torch.isfinite(loss):
            raise SynthzooError(
                f"The loss is not a finite number at epoch {self.current_epoch}, batch "
                f"{batch_idx}. The weights of the last whole epoch are kept; lower the "
                "learning rate, or look for absurd labels in the data."
            )
        return loss


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


def rate_factor(step: int, total_steps: int, recipe: FitRecipe) -> float:
    """Return the learning rate at a step, as a share of its largest value.

    Linear warm-up, constant, then half a cosine down to zero.

    Parameters
    ----------
    step
        Steps taken so far.
    total_steps
        Steps of the whole fit.
    recipe
        Length of the warm-up and start of the decay.
    """
    warmup = min(1.0, WARMUP_START + step / max(1, recipe.warmup_steps))
    start = recipe.decay_start * total_steps
    if step <= start:
        return warmup
    done = min(1.0, (step - start) / max(1.0, total_steps - start))
    return warmup * (1 + math.cos(math.pi * done)) / 2


def parameter_groups(
    network: torch.nn.Module, recipe: FitRecipe
) -> list[dict[str, Any]]:
    """Return the weights to train, by part of the network, each with its rate.

    Parameters
    ----------
    network
        Module to train; frozen weights are marked as such.
    recipe
        With the frozen parts and the rates.

    Raises
    ------
    InputError
        If a frozen part is not one of the network's, or nothing is left to train.
    """
    if not recipe.frozen and recipe.layer_rate_factor == 1:
        return [{"params": list(network.parameters()), "lr": recipe.learning_rate}]
    parts: dict[str, list[torch.nn.Parameter]] = {}
    for name, value in network.named_parameters():
        parts.setdefault(_part_of(name), []).append(value)
    names = sorted(parts, key=_depth)
    if unknown := sorted(set(recipe.frozen) - set(names)):
        raise InputError(
            f"{', '.join(unknown)} cannot be frozen: the parts of this network are "
            f"{', '.join(names)}."
        )
    groups = []
    for above, name in enumerate(reversed(names)):
        if name in recipe.frozen:
            for value in parts[name]:
                value.requires_grad = False
            continue
        rate = recipe.learning_rate * recipe.layer_rate_factor**above
        groups.append({"params": parts[name], "lr": rate})
    if not groups:
        raise InputError("Every part of the network is frozen: nothing can be fitted.")
    return groups[::-1]


def _part_of(name: str) -> str:
    """Return the part of the network that a weight belongs to."""
    if match := re.search(r"\blayer(\d+)_", name):
        return f"layer{match[1]}"
    return "readout" if "readout" in name else "embedding"


def _depth(part: str) -> int:
    return {"embedding": -1, "readout": 10**6}.get(part) or int(
        part.removeprefix("layer")
    )


def fit(  # noqa: PLR0913  the sets, and how
    network: torch.nn.Module,
    recipe: FitRecipe,
    *,
    training: Sequence[Graph],
    validation: Sequence[Graph],
    folder: Path,
    replay: Sequence[Graph] = (),
    device: str = "cpu",
    progress: bool = True,
) -> FitResult:
    """Fit a network to labelled structures; go on where an earlier run was killed.

    The caller runs this inside `synthzoo.isolation.nequip_session`.

    Parameters
    ----------
    network
        Untrained, or with the weights to start from; it is trained in place.
    recipe
        How its weights are found.
    training, validation
        Graphs from `synthzoo.graphs.to_graph`. Without a validation set the weights of
        the last epoch must be kept.
    folder
        Where states and logs are kept.
    replay
        Other graphs, of which every batch gets the recipe's share.
    device
        Where to fit: ``cpu``, ``cuda``, ``cuda:1`` and so on.
    progress
        Whether to show a bar, on a terminal.

    Raises
    ------
    SynthzooError
        If the loss stops being a number.
    """
    batches = _batches(training, replay, recipe)
    module = FitModule(
        network=network,
        recipe=recipe,
        total_steps=recipe.max_epochs * len(batches),
    )
    last = folder / f"{LAST}.ckpt"
    held_out = _held_out(validation, recipe)
    with _quiet():
        trainer = _trainer(recipe, folder, device, validated=held_out is not None)
        if progress:
            trainer.callbacks.insert(0, Progress())  # type: ignore[attr-defined]
        trainer.fit(
            module,
            loader([*training, *replay], batches),
            held_out,
            ckpt_path=last if last.is_file() else None,
        )
        epochs, steps = trainer.current_epoch, trainer.global_step
        kept = torch.load(
            folder / f"{recipe.keep}.ckpt", map_location="cpu", weights_only=True
        )
        module.load_state_dict(kept["state_dict"])
        errors: Mapping[str, float] = {ENERGY_ERROR: math.nan, FORCES_ERROR: math.nan}
        if held_out is not None:
            (errors,) = trainer.validate(module, held_out, verbose=False)
    (model,) = module.evaluation_model.values()
    return FitResult(
        model=model.eval(),
        epochs=epochs,
        steps=steps,
        kept_epoch=int(kept["epoch"]) + 1,
        energy_rmse_meV_per_atom=1000 * errors[ENERGY_ERROR],
        force_rmse_eV_A=errors[FORCES_ERROR],
    )


def sizes_of(graphs: Sequence[Graph]) -> list[int]:
    """Return the number of atoms of each graph.

    Parameters
    ----------
    graphs
        Structures.
    """
    return [AtomicDataDict.num_nodes(graph) for graph in graphs]


def _batches(
    training: Sequence[Graph], replay: Sequence[Graph], recipe: FitRecipe
) -> AtomBatches:
    sizes = sizes_of(training)
    if not replay:
        return AtomBatches(sizes, recipe.batch_atoms, recipe.seed)
    return ReplayBatches(
        sizes,
        recipe.batch_atoms,
        recipe.seed,
        replay_sizes=sizes_of(replay),
        share=recipe.replay_share,
    )


def _held_out(validation: Sequence[Graph], recipe: FitRecipe) -> DataLoader[Any] | None:
    if not validation:
        return None
    sizes = sizes_of(validation)
    return loader(validation, AtomBatches(sizes, 4 * recipe.batch_atoms, seed=0))


def _trainer(
    recipe: FitRecipe, folder: Path, device: str, *, validated: bool
) -> lightning.Trainer:
    callbacks: list[Callback] = [
        LearningRateMonitor(logging_interval="epoch"),
    ]
    if validated:  # before the last state, which records what is the best so far
        callbacks.append(_store(folder, BEST, monitor=FORCES_ERROR))
    callbacks.append(_store(folder, LAST, monitor=None))
    if recipe.patience is not None:
        callbacks.append(EarlyStopping(FORCES_ERROR, patience=recipe.patience))
    kind, _, index = device.partition(":")
    return lightning.Trainer(
        accelerator=kind,
        devices=1 if kind == "cpu" else [int(index or 0)],
        max_epochs=recipe.max_epochs,
        gradient_clip_val=recipe.gradient_clip,
        callbacks=callbacks,
        logger=CSVLogger(folder, name="logs"),
        log_every_n_steps=1_000_000,  # whole epochs only
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        inference_mode=False,  # forces are a derivative in validation, too
    )


def _store(folder: Path, name: str, *, monitor: str | None) -> ModelCheckpoint:
    return ModelCheckpoint(
        folder, filename=name, monitor=monitor, enable_version_counter=False
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's advice, which is for people who call it themselves, away."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
