"""What a network knows of each atom: the features that its energy is read from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from synthzoo.models.architectures import architecture_of
from synthzoo.models.engine.evaluator import Evaluator

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray
    from torch import Tensor
    from torch.nn import Module

    from synthzoo.models.calculator import SynthzooCalculator


class _Reached(Exception):  # noqa: N818  no error
    """The readout was called: what comes behind it need not be computed."""


def hidden_features(
    calculator: SynthzooCalculator, structures: Sequence[Atoms]
) -> list[NDArray[np.float32]]:
    """Return the features of the atoms of each structure, ``(n_atoms, n_features)``.

    They are invariant under rotations. The structures, which have to be sound, are
    computed together: by the engine, or by torch where the engine does not know the
    network.
    """
    network = calculator.stored.compiled
    if network is None:
        return _by_torch(calculator, structures)
    found = Evaluator(network, threads=calculator.threads).compute_all(structures)
    return [np.asarray(each.features, dtype=np.float32) for each in found]


def _by_torch(
    calculator: SynthzooCalculator, structures: Sequence[Atoms]
) -> list[NDArray[np.float32]]:
    torch_pass = calculator.torch_pass
    architecture = architecture_of(calculator.config.builder)
    readout, _ = architecture.readout(torch_pass.network)
    with inputs_of(readout) as seen:
        try:
            torch_pass.evaluate(torch_pass.joined(structures))
        except _Reached:
            (found,) = seen
    ends = np.cumsum([len(atoms) for atoms in structures])[:-1]
    return np.split(found.cpu().numpy().astype(np.float32), ends)


@contextmanager
def inputs_of(layer: Module) -> Iterator[list[Tensor]]:
    """Collect what a layer of a network is called with, and stop the network there."""
    seen: list[Tensor] = []

    def stop(_: Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(inputs[0].detach())
        raise _Reached

    hook = layer.register_forward_pre_hook(stop)
    try:
        yield seen
    finally:
        hook.remove()
