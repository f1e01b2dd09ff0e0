"""Structures through a network of torch, on any device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from synthzoo.models import graphs
from synthzoo.models.engine.evaluator import Result
from synthzoo.models.isolation import MODEL_GATE

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    from synthzoo.models.config import CheckpointConfig

Graph = graphs.Graph
Evaluate = Callable[[Graph], Graph]


class TorchPass:
    """Computes structures with a network of torch.

    Parameters
    ----------
    network
        In evaluation mode; it is moved to the device.
    config
        Its description.
    device
        As torch calls it.
    evaluate
        What evaluates graphs on the device, if not the network itself.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        config: CheckpointConfig,
        device: str,
        evaluate: Evaluate | None = None,
    ) -> None:
        self._device = torch.device(device)
        with MODEL_GATE.computing():
            self.network = network.to(self._device)
            self.transforms = graphs.transforms_for(
                network, config.elements, config.cutoff_A
            )
        self._evaluate = evaluate or self.network

    def compute(self, structures: Sequence[Atoms]) -> list[Result]:
        """Return what the network computes for sound structures, all at once."""
        return _results(structures, self.evaluate(self.joined(structures)))

    def evaluate(self, graph: Graph) -> Graph:
        """Return a graph on the device with what the network computes."""
        with MODEL_GATE.computing():
            return self._evaluate(graph)

    def joined(self, structures: Sequence[Atoms]) -> Graph:
        """Return structures as one graph on the device."""
        with MODEL_GATE.computing():
            graph = graphs.join([self.graph(atoms) for atoms in structures])
            return {name: value.to(self._device) for name, value in graph.items()}

    def graph(self, atoms: Atoms) -> Graph:
        """Return the network's input; it is float64, whatever torch's default is."""
        graph = {
            graphs.POSITIONS: _on_cpu(atoms.positions),
            graphs.CELL: _on_cpu(atoms.cell.array).reshape(1, 3, 3),
            graphs.PERIODIC: _on_cpu(atoms.pbc).reshape(1, 3),
            graphs.NUMBERS: _on_cpu(atoms.numbers),
        }
        for transform in self.transforms:
            graph = transform(graph)
        return graph


def _results(structures: Sequence[Atoms], output: Graph) -> list[Result]:
    lengths = output[graphs.LENGTHS]
    closest = float(lengths.detach().min()) if len(lengths) else np.inf
    ends = np.cumsum([len(atoms) for atoms in structures])[:-1]
    return [
        Result(energies, forces, _virial(stress, atoms), closest)
        for atoms, energies, forces, stress in zip(
            structures,
            np.split(_numpy(output[graphs.ENERGIES]).reshape(-1), ends),
            np.split(_numpy(output[graphs.FORCES]), ends),
            _numpy(output[graphs.STRESS]).reshape(-1, 3, 3),
            strict=True,
        )
    ]


def _virial(stress: NDArray[Any], atoms: Atoms) -> NDArray[Any]:
    """Return the virial; zeros where the cell has no volume, and there is no stress."""
    volume = atoms.cell.volume
    return stress * volume if volume else np.zeros((3, 3))


def _numpy(tensor: torch.Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().cpu().numpy()
    return array


def _on_cpu(array: Any) -> torch.Tensor:
    return torch.tensor(array, device="cpu")  # whatever torch's default device is
