"""One fit for pre-training and fine-tuning."""

from __future__ import annotations

import logging
import math
import signal
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import lightning
from lightning.pytorch.callbacks import Callback, LearningRateMonitor, ModelCheckpoint

from synthzoo.errors import DivergedError
from synthzoo.training.batches import (
    AtomBatches,
    Graphs,
    Loader,
    Mixed,
    MixedBatches,
    SharedBatches,
    atoms_of,
    have_stress,
    joined,
)
from synthzoo.training.logs import (
    ENERGY_ERROR,
    FORCES_ERROR,
    History,
    Progress,
    tensorboard_logger,
)
from synthzoo.training.module import FitModule, Patience
from synthzoo.training.place import (
    ON_CPU,
    TrainingPlace,
    is_first_process,
    leave_processes,
    trainer_arguments,
)
from synthzoo.training.reptile import ReptileModule, TaskBatches
from synthzoo.training.states import (
    BEST,
    LAST,
    WholeStates,
    WithinEpoch,
    find_state,
    read_state,
    state_file,
)

if TYPE_CHECKING:
    import torch

    from synthzoo.training.recipe import FitRecipe


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """The weights that were found, and what they are worth.

    ``model``: with the averaged weights of the best epoch, in evaluation mode.
    ``epochs``, ``steps``: how long the fit ran, interruptions left out.
    ``energy_rmse_meV_per_atom``, ``force_rmse_eV_A``: validation errors of that epoch;
    NaN without a validation set.
    """

    model: torch.nn.Module
    epochs: int
    steps: int
    kept_epoch: int
    energy_rmse_meV_per_atom: float
    force_rmse_eV_A: float


def fit(  # noqa: PLR0913  the sets, and how
    network: torch.nn.Module,
    recipe: FitRecipe,
    *,
    training: Graphs,
    validation: Graphs,
    folder: Path,
    name: Callable[[int], str] | None = None,
    mixed: Sequence[Mixed] = (),
    level_weights: Sequence[float] = (),
    place: TrainingPlace = ON_CPU,
    callbacks: Sequence[Callback] = (),
    tensorboard: bool = False,
    progress: bool = True,
) -> FitResult:
    """Fit a network to labelled structures; go on where an earlier run was killed.

    The caller runs this inside `synthzoo.models.isolation.nequip_session`.

    ``network``: untrained, or with the weights to start from; it is trained in place.
    ``training``, ``validation``: graphs in memory, from `models.graphs.to_graph`, or on
    disk. Without a validation set the weights of the last epoch must be kept.
    ``name``: returns what to call a training structure in messages, by its index.
    ``mixed``: other sets, of which every batch gets their share; labels that are NaN
    are not fitted.
    ``level_weights``: factors of the levels of theory in the loss, where the graphs
    have one each, and the network a last layer for each.
    ``place``: where to fit; from `synthzoo.training.place.check_place`.
    ``callbacks``: what else is done on the way, before states are saved.
    ``progress``: whether to show a bar, on a terminal.
    Raises `DivergedError` if the loss stops being a number; it holds the last good
    weights.
    """
    mixed = [part for part in mixed if part.graphs]
    graphs = joined([training, *(part.graphs for part in mixed)])
    batches = _batches(training, mixed, recipe, place.processes)
    kind = (
        FitModule if recipe.meta is None else partial(ReptileModule, meta=recipe.meta)
    )
    module = kind(
        network=network,
        recipe=recipe,
        total_steps=recipe.max_epochs * len(batches),
        names=partial(_names, batches, len(training), name),
        gaps=bool(mixed),
        stress=have_stress(graphs),
        level_weights=level_weights,
    )
    held_out = _held_out(validation, recipe, place.processes)
    first = [*callbacks, Progress()] if progress and is_first_process() else callbacks
    with _quiet():
        trainer = _trainer(
            recipe,
            folder,
            place,
            first=first,
            tensorboard=tensorboard,
            validated=held_out is not None,
        )
        module.world_size = trainer.world_size
        try:
            with _interruptible():
                trainer.fit(
                    module,
                    Loader(graphs, batches),
                    held_out,
                    ckpt_path=find_state(folder),
                )
                return _kept(module, recipe, folder, trainer, held_out)
        except DivergedError as error:
            leave_processes(place)  # the first one measures what is kept alone
            error.kept = _last_good(module, recipe, folder, validation)
            raise
        finally:
            leave_processes(place)


def _names(
    batches: Iterable[list[int]],
    count: int,
    name: Callable[[int], str] | None,
    number: int,
) -> list[str]:
    """Return what to call the structures of a batch of the epoch.

    ``count``: number of the structures before those that are mixed in.
    """
    name = name or (lambda index: f"structure number {index + 1}")
    batch = next(islice(batches, number, None))
    return [name(n) if n < count else "a structure that is mixed in" for n in batch]


def _kept(
    module: FitModule,
    recipe: FitRecipe,
    folder: Path,
    trainer: lightning.Trainer,
    held_out: Loader | None,
) -> FitResult:
    """Return the weights that are kept, measured once more."""
    epochs, steps = trainer.current_epoch, trainer.global_step
    state = read_state(state_file(folder, recipe.keep))
    module.load_state_dict(state["state_dict"])
    errors: Mapping[str, float] = {ENERGY_ERROR: math.nan, FORCES_ERROR: math.nan}
    if held_out is not None:
        trainer.loggers = []  # these errors are on record already
        (errors,) = trainer.validate(module, held_out, verbose=False)
    (model,) = module.evaluation_model.values()
    return FitResult(
        model=model.eval(),
        epochs=max(epochs, int(state["epoch"]) + 1),
        steps=max(steps, int(state["global_step"])),
        kept_epoch=int(state["epoch"]) + 1,
        energy_rmse_meV_per_atom=1000 * errors[ENERGY_ERROR],
        force_rmse_eV_A=errors[FORCES_ERROR],
    )


def _last_good(
    module: FitModule,
    recipe: FitRecipe,
    folder: Path,
    validation: Graphs,
) -> FitResult | None:
    """Return what was kept before the fit diverged, if anything was."""
    if not is_first_process() or not state_file(folder, recipe.keep).is_file():
        return None
    measuring = lightning.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        inference_mode=False,
    )
    held_out = _held_out(validation, recipe, processes=1)
    return _kept(module, recipe, folder, measuring, held_out)


def _batches(
    training: Graphs,
    mixed: Sequence[Mixed],
    recipe: FitRecipe,
    processes: int,
) -> AtomBatches | SharedBatches | TaskBatches:
    atoms, seed = recipe.batch_atoms, recipe.seed
    sizes = [atoms_of(part) for part in (training, *(part.graphs for part in mixed))]
    if recipe.meta is not None:
        return TaskBatches(sizes, atoms, seed, inner_steps=recipe.meta.inner_steps)
    together = list(chain.from_iterable(sizes))
    shares = [part.share for part in mixed if part.share is not None]
    if not shares:
        batches = AtomBatches(together, atoms, seed, shares=processes)
    else:
        others = list(zip(sizes[1:], shares, strict=True))
        batches = MixedBatches(sizes[0], atoms, seed, mixed=others)
    return _shared(batches, together, processes)


def _held_out(validation: Graphs, recipe: FitRecipe, processes: int) -> Loader | None:
    if not validation:
        return None
    sizes = atoms_of(validation)
    batches = AtomBatches(sizes, 4 * recipe.batch_atoms, seed=0, shares=processes)
    return Loader(validation, _shared(batches, sizes, processes))


def _shared(
    batches: AtomBatches, sizes: Sequence[int], processes: int
) -> AtomBatches | SharedBatches:
    return batches if processes == 1 else SharedBatches(batches, sizes)


def _trainer(
    recipe: FitRecipe,
    folder: Path,
    place: TrainingPlace,
    *,
    first: Sequence[Callback],
    tensorboard: bool,
    validated: bool,
) -> lightning.Trainer:
    callbacks: list[Callback] = [*first, History(folder)]
    if tensorboard:
        callbacks.append(LearningRateMonitor(logging_interval="epoch"))
    if recipe.patience is not None:
        callbacks.append(Patience(FORCES_ERROR, patience=recipe.patience))
    if validated:  # before the last state, which records what is the best so far
        callbacks.append(_store(folder, BEST, monitor=FORCES_ERROR))
    callbacks.append(_store(folder, LAST, monitor=None))
    row = recipe.meta.inner_steps if recipe.meta else 1
    callbacks.append(WithinEpoch(folder, row=row))
    return lightning.Trainer(
        **trainer_arguments(place),
        max_epochs=recipe.max_epochs,
        gradient_clip_val=recipe.gradient_clip,
        callbacks=callbacks,
        logger=tensorboard_logger(folder) if tensorboard else False,
        plugins=[WholeStates()],
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
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C pass: Lightning ends the program, and takes no further signals."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from error


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
