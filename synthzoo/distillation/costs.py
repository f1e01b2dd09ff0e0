"""What teaching and learning cost on this machine, measured on a few structures."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from synthzoo.models.interface import Statistics
from synthzoo.models.isolation import nequip_session
from synthzoo.teachers import cached_teacher
from synthzoo.teachers.loading import called_apart, reference_sha256
from synthzoo.training.pretrain import new_description

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.data.labelled_set import LabelledSet
    from synthzoo.models.graphs import Graph
    from synthzoo.models.recipe import ModelRecipe

TIMED_STRUCTURES, TIMED_LABELS = 3, 2
TIMED_ATOMS = 96
"""Of a batch: as many as a recipe takes by default."""

TIMED_STEPS = 3


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Processor time on one core.

    Attributes
    ----------
    label_s_per_atom
        A label of the teacher.
    visit_s_per_atom
        A step of training, forwards and backwards.
    """

    label_s_per_atom: float
    visit_s_per_atom: float


def seconds_of(work: Callable[[], object], times: int) -> float:
    """Return the processor time of one call, after a first one that does not count."""
    work()
    start = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - start) / times


def label_seconds(teacher: str, structures: Sequence[Atoms]) -> float:
    """Return what a teacher takes for each atom, measured in a process of its own.

    Structures are moved a little from label to label, as in dynamics and relaxations.
    The time for each atom is larger in small ones: those of about the mean size count.
    """
    chosen = _mean_sized(structures)
    return called_apart(partial(_label_seconds, teacher, chosen), teacher)


def _label_seconds(teacher: str, structures: Sequence[Atoms]) -> float:
    loaded = cached_teacher(teacher, reference_sha256(teacher))
    rng = np.random.default_rng(0)

    def step(atoms: Atoms) -> None:
        atoms.rattle(1e-3, rng=rng)  # no calculator knows the result already
        loaded.label(atoms)

    found = [seconds_of(partial(step, a.copy()), TIMED_LABELS) for a in structures]
    return sum(found) / sum(map(len, structures))


def _mean_sized(structures: Sequence[Atoms]) -> list[Atoms]:
    sizes = np.array([len(atoms) for atoms in structures])
    order = np.argsort(np.abs(sizes - sizes.mean()), kind="stable")
    return [structures[index] for index in order[:TIMED_STRUCTURES]]


def visit_seconds(model: ModelRecipe, data: LabelledSet) -> float:
    """Return what a network takes for each atom in a step of training.

    ``data``: structures with labels of any scale, of which one batch is made.
    """
    import torch

    from synthzoo.models.graphs import ENERGY, FORCES, join, to_graph
    from synthzoo.models.network import build_model

    statistics = Statistics(elements=data.elements, neighbours=1.0, force_rms_eV_A=1.0)
    config = new_description(model.network(), statistics)
    with nequip_session():
        network = build_model(config).train()
        graphs: list[Graph] = []
        atoms = 0
        for frame, labels in zip(data.structures, data.labels, strict=True):
            if graphs and atoms + len(frame) > TIMED_ATOMS:
                break
            graphs.append(
                to_graph(
                    frame, labels, elements=config.elements, cutoff_A=config.cutoff_A
                )
            )
            atoms += len(frame)
        batch = join(graphs)

        def step() -> None:
            network.zero_grad()
            found = network(batch.copy())
            loss = found[FORCES].square().mean() + found[ENERGY].square().sum()
            loss.backward()

        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return seconds_of(step, TIMED_STEPS) / atoms
        finally:
            torch.set_num_threads(threads)
