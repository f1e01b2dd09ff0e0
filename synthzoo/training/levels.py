"""A network that is fitted to several levels of theory at once.

All levels share the body. Each has a last linear layer of its own, in which the
energies of atoms are linear, and constants of its own, which the labels are freed of
before the fit. A batch may hold structures of several levels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch.func import functional_call

from synthzoo.models.architectures import architecture_of
from synthzoo.models.graphs import (
    ENERGIES,
    ENERGY,
    FORCES,
    LEVEL,
    STRESS,
    STRUCTURE,
    Graph,
    part_of,
)
from synthzoo.training.weights import AT

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from synthzoo.models.config import CheckpointConfig


class LevelledNetwork(torch.nn.Module):
    """A network with a last layer for each level of theory.

    ``network``: its last layer is that of the default level, which is number 0.
    ``readouts``: weights of the last layer of each other level, by its name; the
    numbers of the levels are in this order.
    """

    def __init__(
        self,
        network: Module,
        config: CheckpointConfig,
        readouts: Mapping[str, Tensor],
    ) -> None:
        super().__init__()
        self.network = network
        self.levels = tuple(readouts)
        self.readout = readout_name(network, config)
        self.readouts = torch.nn.ParameterList(
            [torch.nn.Parameter(weight.clone()) for weight in readouts.values()]
        )

    def forward(self, graph: Graph) -> Graph:
        """Return energies, forces and stresses, each structure at its level."""
        levels = graph[LEVEL].reshape(-1)
        present = sorted(set(levels.tolist()))
        if len(present) == 1:
            return self._at(present[0], graph)
        parts = [
            self._at(number, part_of(graph, levels == number)) for number in present
        ]
        chosen = torch.cat([torch.nonzero(levels == number) for number in present])
        structures = chosen.reshape(-1).argsort()
        owners = levels[graph[STRUCTURE]]
        atoms = torch.cat([torch.nonzero(owners == number) for number in present])
        atoms = atoms.reshape(-1).argsort()
        found = dict(graph)
        for name, order in (
            (ENERGY, structures),
            (STRESS, structures),
            (ENERGIES, atoms),
            (FORCES, atoms),
        ):
            found[name] = torch.cat([part[name] for part in parts])[order]
        return found

    def _at(self, number: int, graph: Graph) -> Graph:
        found: Graph
        if number == 0:
            found = self.network(graph)
        else:
            weights = {self.readout: self.readouts[number - 1]}
            found = functional_call(self.network, weights, (graph,))
        return found

    def weights(self) -> dict[str, Tensor]:
        """Return all weights by name; those of other levels as ``NAME@LEVEL``."""
        other = {
            f"{self.readout}{AT}{level}": weight
            for level, weight in zip(self.levels, self.readouts, strict=True)
        }
        return {**self.network.state_dict(), **other}


def readout_name(network: Module, config: CheckpointConfig) -> str:
    """Return the name of the weights in which the energies of atoms are linear."""
    readout, _ = architecture_of(config.builder).readout(network)
    weight = readout.get_parameter("weight")
    return next(name for name, value in network.named_parameters() if value is weight)
