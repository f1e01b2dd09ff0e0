"""A second kind of network, as small as one can be: a neural pair potential."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from synthzoo.errors import CheckpointError
from synthzoo.models.interface import (
    Architecture,
    Arguments,
    Described,
    Statistics,
)

if TYPE_CHECKING:
    from torch import Tensor

NAME = "PairNetwork"


class PairArchitecture(Architecture):
    """Networks that add energies of pairs, which are functions of the distance."""

    def check_arguments(self, arguments: Arguments, elements: Sequence[str]) -> None:
        """Allow a width, and a scale of energies."""
        width = arguments.get("width")
        known = set(arguments) == {"width", "energy_scale_eV"}
        if len(elements) != 1 or not known or width not in range(1, 100):
            raise CheckpointError(f"{self.name} cannot have {arguments}.")

    def build(self, described: Described, *, dtype: str, seed: int) -> torch.nn.Module:
        """Return a network with weights of this seed."""
        torch.manual_seed(seed)
        network = PairNetwork(cutoff_A=described.cutoff_A, **described.arguments)
        return network.to(getattr(torch, dtype))

    def complete(self, arguments: Arguments, found: Statistics) -> Arguments:
        """Add a scale with which forces are of about the right size."""
        return arguments | {"energy_scale_eV": found.force_rms_eV_A}


class PairNetwork(torch.nn.Module):
    """Energy of each pair: a perceptron of the distance, smooth at the cutoff."""

    def __init__(self, *, cutoff_A: float, width: int, energy_scale_eV: float) -> None:
        super().__init__()
        self.cutoff_A, self.energy_scale_eV = cutoff_A, energy_scale_eV
        self.layer0_pair = torch.nn.Linear(1, width)
        self.readout = torch.nn.Linear(width, 1)

    def forward(self, graph: dict[str, Tensor]) -> dict[str, Tensor]:
        """Add energies, forces and stresses."""
        from synthzoo.models import graphs

        graph = graphs.add_vectors(graph)
        if not graph[graphs.VECTORS].requires_grad:
            graph[graphs.VECTORS].requires_grad_()
        vectors = graph[graphs.VECTORS]
        lengths = vectors.square().sum(1).sqrt()
        first, second = graph[graphs.EDGES]
        atoms, count = len(graph[graphs.POSITIONS]), len(graph[graphs.CELL])
        structure = graph.get(graphs.STRUCTURE, first.new_zeros(atoms))
        pairs = self._pair_energies(lengths)
        slopes = torch.autograd.grad(pairs.sum(), vectors, create_graph=self.training)[
            0
        ]
        energies = pairs.new_zeros(atoms).index_add(0, first, pairs)
        forces = torch.zeros_like(graph[graphs.POSITIONS])
        forces = forces.index_add(0, first, slopes).index_add(0, second, -slopes)
        virials = vectors[:, :, None] * slopes[:, None, :]
        virial = virials.new_zeros(count, 3, 3).index_add(0, structure[first], virials)
        volumes = torch.linalg.det(graph[graphs.CELL]).abs()
        return graph | {
            graphs.LENGTHS: lengths[:, None],
            graphs.ENERGIES: energies[:, None],
            graphs.ENERGY: energies.new_zeros(count).index_add(0, structure, energies)[
                :, None
            ],
            graphs.FORCES: forces,
            graphs.STRESS: virial / volumes[:, None, None],
        }

    def _pair_energies(self, lengths: Tensor) -> Tensor:
        inputs = (lengths[:, None] / self.cutoff_A).to(self.readout.weight.dtype)
        outputs = self.readout(torch.tanh(self.layer0_pair(inputs)))[:, 0].double()
        envelope = (1 - (lengths / self.cutoff_A).square()).clamp(min=0) ** 3
        found: Tensor = self.energy_scale_eV * envelope * outputs
        return found
