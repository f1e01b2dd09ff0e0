"""What Lightning trains: nequip's module with our network, learning rate and guard."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.callbacks import EarlyStopping
from nequip.train import EMALightningModule
from torch.optim.lr_scheduler import LambdaLR

from synthzoo.errors import DivergedError
from synthzoo.fitting.guard import explain
from synthzoo.fitting.loss import loss_of
from synthzoo.fitting.schedule import parameter_groups, rate_factor

if TYPE_CHECKING:
    import lightning

    from synthzoo.graphs import Graph
    from synthzoo.recipes import FitRecipe

ADAM_BETA1 = 0.9


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
    training
        All structures that are fitted, with what to call them.
    gaps
        Whether some have no energy.
    """

    def __init__(
        self,
        *,
        network: torch.nn.Module,
        recipe: FitRecipe,
        total_steps: int,
        training: tuple[Sequence[Graph], Sequence[str]],
        gaps: bool = False,
    ) -> None:
        monitored = {"per_atom_energy_rmse": None, "forces_rmse": 1.0}
        super().__init__(
            model=network,  # goes through _build_model
            num_datasets={"train": 1, "val": 1, "test": 0, "predict": 0},
            loss=loss_of(recipe, gaps=gaps),
            val_metrics={
                "_target_": "nequip.train.EnergyForceMetrics",
                "coeffs": monitored,
            },
            ema_decay=recipe.ema_decay,
        )
        self.recipe = recipe
        self.total_steps = total_steps
        self._training = training
        self._batch: tuple[int, Graph] = (0, {})
        self._start = [value.detach().clone() for value in self.model.parameters()]

    def save_hyperparameters(self, *args: Any, **kwargs: Any) -> None:
        """Store none: a resumed run is built anew from its recipe."""

    def _build_model(self, model_config: torch.nn.Module) -> torch.nn.Module:
        """Return the network as it is: it was built by synthzoo.checkpoint."""
        return model_config

    def configure_optimizers(self) -> dict[str, Any]:
        """Return Adam and the learning rate's schedule, which moves at every step."""
        optimizer = torch.optim.Adam(
            parameter_groups(self.model, self.recipe),
            betas=(ADAM_BETA1, self.recipe.adam_beta2),
        )
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
        self._batch = batch_idx, dict(batch)
        loss: torch.Tensor = super().training_step(batch, batch_idx, dataloader_idx)
        if not torch.isfinite(loss):
            raise self._diverged("loss")
        return loss

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradient; stop if it is not finite, before it spoils the weights."""
        del gradient_clip_algorithm  # by norm
        values = [
            value for group in optimizer.param_groups for value in group["params"]
        ]
        norm = torch.nn.utils.clip_grad_norm_(values, gradient_clip_val or math.inf)
        if not torch.isfinite(norm):
            raise self._diverged("gradient")

    def _diverged(self, what: str) -> DivergedError:
        number, batch = self._batch
        (network,) = self.model.values()
        return DivergedError(
            f"The {what} is not a finite number at epoch {self.current_epoch}, batch "
            f"{number}. {explain(network, batch, *self._training)}. Lower the learning "
            "rate, or look for absurd labels and atoms that almost touch."
        )


class Patience(EarlyStopping):
    """Early stopping that a resumed run does not forget."""

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Stop at once a run that was killed after it had run out of patience."""
        del pl_module
        if self.wait_count >= self.patience:
            trainer.should_stop = True
