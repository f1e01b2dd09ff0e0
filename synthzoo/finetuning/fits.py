"""The fits of a fine-tuning: each in a folder of its own, resumed where it was."""

from __future__ import annotations

import dataclasses
import logging
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from synthzoo.errors import SynthzooError
from synthzoo.models.isolation import nequip_session
from synthzoo.models.network import build_model
from synthzoo.runs.child import Lost
from synthzoo.runs.files import new_file
from synthzoo.runs.jobs import run_jobs
from synthzoo.runs.progress import progress_bar
from synthzoo.runs.workers import InProcess, call_guarded, worker_threads
from synthzoo.training.place import ON_CPU, TrainingPlace, prepared
from synthzoo.training.recipe import FitRecipe

if TYPE_CHECKING:
    from concurrent.futures import Executor

    import torch
    from ase import Atoms

    from synthzoo.data.labels import Labels
    from synthzoo.finetuning.recipe import FinetuneRecipe
    from synthzoo.models.checkpoint import Checkpoint
    from synthzoo.models.config import CheckpointConfig
    from synthzoo.models.graphs import Graph
    from synthzoo.training.fit import FitResult


_LOG = logging.getLogger(__name__)

SIGNS = ("not enough memory", "can't allocate memory", "out of memory")
"""In torch's messages, on the CPU and on a GPU."""


def with_smaller_batches(
    attempt: Callable[[int], Result], batch_atoms: int, *, largest: int
) -> Result:
    """Return what an attempt gives; where memory is short, halve the batch and say so.

    ``attempt``: takes the number of atoms in a batch.
    ``largest``: number of atoms of the largest structure: no batch can be smaller.
    """
    try:
        return attempt(batch_atoms)
    except (MemoryError, RuntimeError) as error:
        if not _is_memory(error):
            raise
        if batch_atoms <= largest:
            raise SynthzooError(
                "There is not enough memory for a batch of one structure with "
                f"{largest} atoms. Leave out the largest structures, or use a machine "
                "with more memory."
            ) from error
    smaller = max(largest, batch_atoms // 2)
    _LOG.warning(
        "Batches of %d atoms do not fit into the memory: starting again with %d.",
        batch_atoms,
        smaller,
    )
    return with_smaller_batches(attempt, smaller, largest=largest)


def _is_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in SIGNS)


Result = TypeVar("Result")

WEIGHTS_FILE = "weights.safetensors"
"""In the folder of a fit that has ended."""

BATCH_FILE = "batch_atoms"
"""In the folder of a fit: the size of its batches, smaller where memory is short."""

FRESH_LEARNING_RATE = 0.01
"""Of a network that starts from nothing: the paper's, for direct training."""


@dataclass(frozen=True, kw_only=True)
class LevelPart:
    """What a fit sees of another level of theory.

    ``training``: structures with labels on the checkpoint's scale; those that are not
    known are NaN.
    ``share``: of its atoms in a batch, on average.
    ``weight``: factor of its terms in the loss.
    ``binding_eV``: as in `FitJob`.
    """

    name: str
    training: Sequence[tuple[Atoms, Labels]]
    share: float
    weight: float = 1.0
    binding_eV: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class FitJob:
    """One fit.

    ``start``: checkpoint whose weights it starts from.
    ``recipe``: how to fit, with nothing left open.
    ``training``: structures with labels on the checkpoint's scale.
    ``replay``: synthetic structures with their labels that are mixed into the batches.
    ``levels``: other levels of theory that are fitted as well.
    ``binding_eV``: what the start adds to the energy of each atom with neighbours, by
    element, before it is fitted; see `synthzoo.finetuning.binding`.
    ``fresh``: whether the network starts from random weights of the checkpoint's shape
    instead.
    ``place``: where to fit, and what makes it faster there; checked.
    ``snapshots``: shares of the epochs after which weights are kept on the way; see
    `read_snapshots`.
    """

    name: str
    start: Checkpoint
    recipe: FinetuneRecipe
    training: Sequence[tuple[Atoms, Labels]]
    replay: Sequence[tuple[Atoms, Labels]] = ()
    levels: Sequence[LevelPart] = ()
    binding_eV: Mapping[str, float] = field(default_factory=dict)
    fresh: bool = False
    place: TrainingPlace = ON_CPU
    snapshots: tuple[float, ...] = ()


@dataclass(frozen=True)
class _Fit:
    """A fit in the working folder of a run; see `_run`."""

    job: FitJob
    folder: Path
    alone: bool
    progress: bool

    def is_done(self) -> bool:
        return _weights(self.job, self.folder).is_file()

    def __call__(self) -> None:
        run = partial(
            _run, self.job, self.folder, alone=self.alone, progress=self.progress
        )
        fit_in_child(run, name=f"The fit `{self.job.name}`")


def run_fits(
    jobs: Sequence[FitJob],
    folder: Path,
    *,
    workers: int = 1,
    executor: Executor | None = None,
) -> dict[str, dict[str, torch.Tensor]]:
    """Return the weights that each fit ends with; go on where they were killed before.

    ``workers``: how many run at a time, each in a child process. One at a time, as
    always on a GPU, runs in this process and shows how far it is.
    ``executor``: where fits run instead of on this machine; its workers must see the
    working folder and the checkpoint.
    """
    import safetensors.torch

    one_by_one = executor is None and (workers == 1 or jobs[0].place.device != "cpu")
    alone = one_by_one or len(jobs) == 1
    left = sum(not _weights(job, folder).is_file() for job in jobs)
    here = executor is None and (alone or left <= 1)
    place = folder.absolute()  # workers of a cluster are in another folder
    fits = [_Fit(job, place, alone, progress=here) for job in jobs]
    if here:
        run_jobs(fits, place, executor=InProcess())
    else:
        threads = (
            nullcontext(executor) if executor else worker_threads(min(workers, left))
        )
        with (
            threads as where,
            progress_bar(desc="fits", unit="fit", total=len(fits)) as bar,
        ):
            run_jobs(fits, place, executor=where, on_done=lambda _: bar.update())
    return {
        job.name: safetensors.torch.load_file(_weights(job, folder)) for job in jobs
    }


def read_snapshots(
    jobs: Sequence[FitJob], folder: Path
) -> dict[str, dict[str, torch.Tensor]]:
    """Return the weights that fits which have ended had on their way."""
    import safetensors.torch

    return {
        f"{job.name} after {epoch} epochs": safetensors.torch.load_file(path)
        for job in jobs
        for epoch, path in _snapshot_files(job, folder / job.name).items()
    }


def _snapshot_files(job: FitJob, folder: Path) -> dict[int, Path]:
    from synthzoo.finetuning.snapshots import snapshot_files

    return snapshot_files(folder, job.snapshots, fit_recipe(job).max_epochs)


def fit_recipe(job: FitJob) -> FitRecipe:
    """Return the fit that a resolved recipe means for a job.

    ``job``: what to fit; nothing is left open in its recipe.
    """
    recipe = job.recipe
    if recipe.visits is None or recipe.learning_rate is None:
        raise ValueError("The recipe is not resolved.")
    names = {field.name for field in dataclasses.fields(FitRecipe)}
    same = {
        name: value
        for name, value in dataclasses.asdict(recipe).items()
        if name in names
    }
    if all(labels.stress_eV_A3 is None for _, labels in job.training):
        same["stress_weight"] = recipe.replay_stress_weight
    same["max_epochs"] = math.ceil(recipe.visits / len(job.training))
    if job.fresh:
        same |= {"learning_rate": FRESH_LEARNING_RATE, "frozen": (), "pull": 0.0}
    return FitRecipe(**same, keep="last")


def _weights(job: FitJob, folder: Path) -> Path:
    return folder / job.name / WEIGHTS_FILE


def fit_in_child(function: Callable[[], Result], *, name: str) -> Result:
    """Return what a function gives in a child process, or here for `InProcess`.

    ``function``: picklable; what it has finished is on disk, and it goes on from there.
    """
    found = call_guarded(function, limit_s=None)
    if isinstance(found, Lost):
        raise SynthzooError(
            f"{name} {found.reason}. What was finished is kept: give the same command "
            "again, with --workers 1 if memory is short."
        )
    return found


def _run(job: FitJob, folder: Path, *, alone: bool, progress: bool) -> None:
    import safetensors.torch

    place = folder / job.name
    place.mkdir(exist_ok=True)
    with nequip_session():
        weights = _fitted(job, place, alone=alone, progress=progress)
    with new_file(_weights(job, folder)) as partial_file:
        partial_file.write_bytes(safetensors.torch.save(weights))


def _fitted(
    job: FitJob, folder: Path, *, alone: bool, progress: bool
) -> dict[str, torch.Tensor]:
    import torch

    from synthzoo.finetuning.snapshots import Snapshots, copied_weights
    from synthzoo.models.graphs import sizes_of
    from synthzoo.training.batches import Mixed
    from synthzoo.training.fit import fit

    threads = job.recipe.threads if alone else 1
    if threads is not None:
        torch.set_num_threads(threads)
    training = _graphs(job, job.training, level=0)
    replay = _graphs(job, job.replay, level=0)
    others = [
        _graphs(job, part.training, level=number)
        for number, part in enumerate(job.levels, start=1)
    ]
    mixed = [Mixed(replay, job.recipe.replay_share)]
    mixed += [Mixed(g, part.share) for g, part in zip(others, job.levels, strict=True)]
    graphs = [graph for part in (training, replay, *others) for graph in part]

    def attempt(batch_atoms: int) -> FitResult:
        _prepare(folder, batch_atoms)
        return fit(
            _network(job, training, others),
            replace(fit_recipe(job), batch_atoms=batch_atoms),
            training=training,
            validation=[],
            mixed=mixed,
            level_weights=_level_weights(job),
            folder=folder,
            place=job.place,
            callbacks=[Snapshots(_snapshot_files(job, folder))],
            progress=progress,
        )

    first = read_batch_atoms(folder) or job.recipe.batch_atoms
    result = with_smaller_batches(attempt, first, largest=max(sizes_of(graphs)))
    return copied_weights(result.model)


def _level_weights(job: FitJob) -> tuple[float, ...]:
    return (1.0, *(part.weight for part in job.levels)) if job.levels else ()


def _network(
    job: FitJob, graphs: Sequence[Graph], others: Sequence[Sequence[Graph]]
) -> torch.nn.Module:
    """Return the network to fit, in training mode.

    ``graphs``: of the default level. ``others``: of the other levels.
    """
    from synthzoo.training.levels import LevelledNetwork, readout_name

    config = job.start.config
    network = _bound(job, job.binding_eV, graphs)
    if not job.levels:
        return prepared(network, config, job.place)
    name = readout_name(network, config)
    readouts = {
        part.name: _bound(job, part.binding_eV, other).get_parameter(name)
        for part, other in zip(job.levels, others, strict=True)
    }
    return LevelledNetwork(prepared(network, config, job.place), config, readouts)


def _bound(
    job: FitJob, binding_eV: Mapping[str, float], graphs: Sequence[Graph]
) -> torch.nn.Module:
    """Return the network that a fit starts from, as strongly bound as the data."""
    from synthzoo.finetuning.binding import bind_atoms

    config = job.start.config
    if job.fresh:
        network = build_model(config, seed=job.recipe.seed)
    else:
        network = job.start.network()
    if any(binding_eV.values()):
        energies_eV = [binding_eV[name] for name in config.elements]
        bind_atoms(network, config, graphs, energies_eV, free=_free_atoms(config))
    return network


def _free_atoms(config: CheckpointConfig) -> list[Graph]:
    import numpy as np
    from ase import Atoms

    from synthzoo.data.labels import Labels
    from synthzoo.models.graphs import to_graph

    nothing = Labels(energy_eV=0.0, forces_eV_A=np.zeros((1, 3)))
    return [
        to_graph(
            Atoms(name), nothing, elements=config.elements, cutoff_A=config.cutoff_A
        )
        for name in config.elements
    ]


def read_batch_atoms(folder: Path) -> int | None:
    """Return the size of batches that a fit has come to, None if it has not begun."""
    record = folder / BATCH_FILE
    return int(record.read_text()) if record.is_file() else None


def _prepare(folder: Path, batch_atoms: int) -> None:
    """Remove the states of a fit with other batches, and note the size of these."""
    if read_batch_atoms(folder) not in (None, batch_atoms):
        shutil.rmtree(folder)
        folder.mkdir()
    with new_file(folder / BATCH_FILE) as partial_file:
        partial_file.write_text(str(batch_atoms))


def _graphs(
    job: FitJob, labelled: Sequence[tuple[Atoms, Labels]], *, level: int
) -> list[Graph]:
    """Return structures as graphs, of a level of theory where there are several."""
    import torch

    from synthzoo.models.graphs import LEVEL, to_graph

    config = job.start.config
    graphs = [
        to_graph(atoms, labels, elements=config.elements, cutoff_A=config.cutoff_A)
        for atoms, labels in labelled
    ]
    if job.levels:
        for graph in graphs:
            graph[LEVEL] = torch.tensor([[level]])
    return graphs
