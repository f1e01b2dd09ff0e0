"""What Lightning trains: a network with its loss, learning rate and guard."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch.optim.lr_scheduler import LambdaLR

from synthzoo.errors import DivergedError, InputError
from synthzoo.models.graphs import ENERGY, FORCES, STRESS, Graph, split
from synthzoo.models.learning import AveragedFit, Term, matrices
from synthzoo.training.muon import Muon

if TYPE_CHECKING:
    import lightning

    from synthzoo.training.recipe import FitRecipe


MAX_NAMED = 5


def explain(network: torch.nn.Module, batch: Graph, names: Sequence[str]) -> str:
    """Return in words which structures of a batch give no finite loss or gradient.

    ``network``: as it is at the fault; its gradients are lost.
    ``names``: what to call the structures of the batch.
    """
    frames = split(batch)
    bad = [
        name
        for frame, name in zip(frames, names, strict=True)
        if not _is_sound(network, frame)
    ]
    if not bad:
        return "No structure does that alone: the weights have probably diverged"
    if len(bad) == len(frames) > 1:
        return f"None of its {len(frames)} structures is: the weights have diverged"
    more = f" and {len(bad) - MAX_NAMED} more" if len(bad) > MAX_NAMED else ""
    return f"It comes from {', '.join(bad[:MAX_NAMED])}{more}"


def _is_sound(network: torch.nn.Module, frame: Graph) -> bool:
    """Return whether loss and gradient of a structure alone are finite."""
    network.zero_grad()
    output = network(frame.copy())
    loss = torch.zeros(())
    for key in (ENERGY, FORCES, STRESS):
        known = ~torch.isnan(frame[key])  # replayed structures have no energy
        error = output[key][known] - frame[key][known]
        loss = loss.to(error.device) + error.square().sum()
    if not torch.isfinite(loss):
        return False
    loss.backward()  # type: ignore[no-untyped-call]
    norm = torch.nn.utils.clip_grad_norm_(network.parameters(), math.inf)
    return bool(torch.isfinite(norm))


WARMUP_START = 0.01


def rate_factor(step: int, total_steps: int, recipe: FitRecipe) -> float:
    """Return the learning rate at a step, as a share of its largest value.

    ``recipe``: length of the warm-up and start of the decay.
    """
    return warmup_factor(step, recipe) * decay_factor(step, total_steps, recipe)


def warmup_factor(step: int, recipe: FitRecipe) -> float:
    """Return a factor that grows linearly to 1."""
    return min(1.0, WARMUP_START + step / max(1, recipe.warmup_steps))


def decay_factor(step: int, total_steps: int, recipe: FitRecipe) -> float:
    """Return a factor that is 1, then falls to zero along half a cosine."""
    start = recipe.decay_start * total_steps
    if step <= start:
        return 1.0
    done = min(1.0, (step - start) / max(1.0, total_steps - start))
    return (1 + math.cos(math.pi * done)) / 2


def parameter_groups(
    network: torch.nn.Module, recipe: FitRecipe
) -> list[dict[str, Any]]:
    """Return the weights to train, by part of the network, each with its rate.

    ``network``: module to train; frozen weights are marked as such.
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


ADAM_BETA1 = 0.9

SUMS = "sums_of_losses"
"""In a state: a row for each process."""


def make_optimizer(
    network: torch.nn.Module, recipe: FitRecipe
) -> torch.optim.Optimizer:
    """Return what moves the weights.

    ``network``: module to train.
    """
    groups = parameter_groups(network, recipe)
    betas = (0.0 if recipe.meta else ADAM_BETA1, recipe.adam_beta2)
    if recipe.optimizer == "adam":
        return torch.optim.Adam(groups, betas=betas)
    blocks = matrices(network)
    if not blocks:
        raise InputError(
            "Muon finds no matrices in this network: set `optimizer: adam`."
        )
    ratio = recipe.muon_rate / recipe.learning_rate
    return Muon(groups, blocks=blocks, rate_ratio=ratio, betas=betas)


class FitModule(AveragedFit):
    """A network with the learning rate of a recipe, and a guard.

    ``total_steps``: length of the whole fit, for the learning rate.
    ``names``: returns what to call the structures of a batch of the epoch, by number.
    ``gaps``: whether energies or forces may be missing (NaN).
    ``stress``: whether there are stress labels, and the recipe's weight applies.
    ``level_weights``: factors of the levels of theory in the loss; none for one level.
    """

    def __init__(  # noqa: PLR0913  what is fitted, and how
        self,
        *,
        network: torch.nn.Module,
        recipe: FitRecipe,
        total_steps: int,
        names: Callable[[int], Sequence[str]],
        gaps: bool = False,
        stress: bool = False,
        level_weights: Sequence[float] = (),
    ) -> None:
        super().__init__(
            network=network,
            energy=Term(recipe.energy_weight, recipe.energy_huber_eV),
            forces=Term(recipe.forces_weight, recipe.forces_huber_eV_A),
            virial=Term(recipe.stress_weight, recipe.stress_huber_eV)
            if stress and recipe.stress_weight
            else None,
            atomic_energy=Term(recipe.atomic_energy_weight)
            if recipe.atomic_energy_weight
            else None,
            gaps=gaps,
            ema_decay=recipe.ema_decay,
            level_weights=level_weights,
        )
        self.recipe = recipe
        self.total_steps = total_steps
        self._names = names
        self._batch: tuple[int, Graph] = (0, {})
        self._start = [value.detach().clone() for value in self.model.parameters()]

    def configure_optimizers(self) -> dict[str, Any]:
        """Return the optimizer and the rate's schedule, which moves at every step."""
        optimizer = make_optimizer(self.model, self.recipe)
        schedule = LambdaLR(optimizer, self.rate_at)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def rate_at(self, step: int) -> float:
        """Return the learning rate at a step, as a share of its largest value."""
        return rate_factor(step, self.total_steps, self.recipe)

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

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the errors of the epoch so far, as each process has summed them up."""
        sums = [
            value.double()  # as nequip sums: no bit is lost
            for metric in self.loss.values()
            for value in metric.metric_state.values()
        ]
        checkpoint[SUMS] = self.all_gather(torch.stack(sums)).reshape(-1, len(sums))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the errors of the epoch so far; earlier versions have kept none."""
        if SUMS not in checkpoint:
            return
        mine = checkpoint[SUMS][self.global_rank :: self.world_size].sum(dim=0)
        values = iter(mine.to(self.device))
        for metric in self.loss.values():
            for name in metric.metric_state:
                setattr(metric, name, next(values))

    def _diverged(self, what: str) -> DivergedError:
        number, batch = self._batch
        (network,) = self.model.values()
        cause = explain(network, batch, self._names(number))
        return DivergedError(
            f"The {what} is not a finite number at epoch {self.current_epoch}, batch "
            f"{number}. {cause}. Lower the learning rate, or look for absurd labels "
            "and atoms that almost touch."
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
