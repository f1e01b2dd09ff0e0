"""What a network knows of each atom: the features that its energy is read from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from synthzoo.models.architectures import architecture_of
from synthzoo.models.predict import BATCH_ATOMS, checked_batches

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray
    from torch import Tensor
    from torch.nn import Module

    from synthzoo.models.calculator import SynthzooCalculator
    from synthzoo.models.engine.evaluator import Result


def with_features(
    calculator: SynthzooCalculator, structures: Sequence[Atoms]
) -> list[Result]:
    """Return what a network computes for each structure, with features of the atoms.

    They are invariant under rotations, ``(n_atoms, n_features)``. The structures, which
    have to be sound, are computed together: by the engine, or by torch where the engine
    does not know the network.
    """
    if calculator.engine_computes:
        return calculator.evaluate(structures)
    architecture = architecture_of(calculator.config.builder)
    readout, _ = architecture.readout(calculator.model)
    with inputs_of(readout) as seen:
        found = calculator.evaluate(structures)
    (features,) = seen
    ends = np.cumsum([len(atoms) for atoms in structures])[:-1]
    parts = np.split(features.cpu().numpy(), ends)
    return [
        result._replace(features=part)
        for result, part in zip(found, parts, strict=True)
    ]


def features_of_each(
    calculator: SynthzooCalculator, structures: Iterable[Atoms]
) -> Iterator[NDArray[np.floating]]:
    """Yield the features of the atoms of each structure, a batch at a time."""
    for found in results_of_each(calculator, structures):
        yield np.asarray(found.features)


def results_of_each(
    calculator: SynthzooCalculator, structures: Iterable[Atoms]
) -> Iterator[Result]:
    """Yield what `with_features` returns for each structure, a batch at a time."""
    for batch in checked_batches(structures, calculator, BATCH_ATOMS):
        yield from with_features(calculator, [atoms for _, atoms in batch])


@contextmanager
def inputs_of(layer: Module) -> Iterator[list[Tensor]]:
    """Collect what a layer of a network is called with."""
    seen: list[Tensor] = []

    def collect(_: Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(inputs[0].detach())

    hook = layer.register_forward_pre_hook(collect)
    try:
        yield seen
    finally:
        hook.remove()
