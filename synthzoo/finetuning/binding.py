"""Make a network bind all atoms more or less strongly, and leave free atoms alone.

Two methods may agree on how structures differ and yet bind each atom more or less
strongly: LDA binds carbon by almost 1 eV/atom more than PBE does. An energy that is
added for each atom would move free atoms, too. Instead the last weights of the network
change, in which all energies are linear: only in those directions that leave the energy
of a free atom as it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.linalg import null_space
from torch.func import functional_call

from synthzoo.models.architectures import architecture_of
from synthzoo.models.graphs import TYPES, Graph

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.models.config import CheckpointConfig

MOST_STRUCTURES = 100
"""So many suffice for some dozens of weights."""

DAMPING = 1e-4
"""Of the least squares, over the mean square of a feature: weights stay small."""


def bind_atoms(
    network: torch.nn.Module,
    config: CheckpointConfig,
    graphs: Sequence[Graph],
    energies_eV: Sequence[float],
    *,
    free: Sequence[Graph],
) -> None:
    """Add a constant to the energy of each atom with neighbours, as nearly as it goes.

    The last weights of the network change, by least squares over the atoms of some
    structures. The energies of free atoms do not.

    ``network``: changed in place.
    ``graphs``: structures such as those that the network will be used for.
    ``energies_eV``: what to add to the energy of an atom of each type.
    """
    readout, factors = architecture_of(config.builder).readout(network)
    one = torch.ones(len(energies_eV), 1, dtype=torch.float64)
    scales = one * factors.reshape(-1, 1) if factors.numel() else one
    added = torch.tensor(energies_eV, dtype=torch.float64)
    some = graphs[:: math.ceil(len(graphs) / MOST_STRUCTURES)]
    columns, types = _all_columns(network, readout, some)
    fixed, _ = _all_columns(network, readout, free)
    change = _least_squares(
        (columns * scales[types]).numpy(), added[types].numpy(), fixed.numpy()
    )
    weight = readout.get_parameter("weight")
    with torch.no_grad():
        weight.add_(torch.from_numpy(change).to(weight.dtype).reshape(weight.shape))


def _all_columns(
    network: torch.nn.Module, readout: torch.nn.Module, graphs: Sequence[Graph]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return `_columns` for the atoms of some structures, and their types."""
    seen: list[torch.Tensor] = []
    hook = readout.register_forward_pre_hook(
        lambda _module, inputs: seen.append(inputs[0].detach())
    )
    columns, types = [], []
    try:
        for graph in graphs:
            found = network(dict(graph))[TYPES]
            columns.append(_columns(readout, seen.pop()))
            types.append(found.reshape(-1))
    finally:
        hook.remove()
    return torch.cat(columns), torch.cat(types)


def _columns(readout: torch.nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Return what each weight gives at 1 alone, of shape ``(n_atoms, n_weights)``."""
    weight = readout.get_parameter("weight").detach()
    ones = torch.eye(weight.numel(), dtype=weight.dtype)
    outputs = [
        functional_call(readout, {"weight": one.reshape(weight.shape)}, (inputs,))
        for one in ones
    ]
    return torch.stack([output.reshape(-1) for output in outputs], dim=1).double()


def _least_squares(
    columns: NDArray[np.float64],
    wanted: NDArray[np.float64],
    fixed: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return weights that give what is wanted, and nothing for the rows of `fixed`."""
    free = null_space(fixed)
    columns = columns @ free
    atoms, weights = columns.shape
    damping = DAMPING * np.mean(columns**2) * atoms
    matrix = columns.T @ columns + damping * np.eye(weights)
    return np.asarray(free @ np.linalg.solve(matrix, columns.T @ wanted))
