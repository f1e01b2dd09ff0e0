"""A network that reads the energy of an atom from its SOAP power spectrum."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from synthzoo.regression.fitting import (
    NetworkChoice,
    fit_modules,
    predict_in_parts,
    seeded,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.regression.environments import Environments

LEAST_SPREAD = 1e-6
"""Of a feature, or of energies, that are not the same everywhere."""
LAYERS = 3


class Hidden(torch.nn.Sequential):
    """From spectra to features: three layers with CELU, after doi 10.1039/d2dd00137c.

    Each number of a spectrum counts by its spread, and the element in the centre is
    told beside it.
    """

    mean: torch.Tensor
    scale: torch.Tensor
    elements: torch.Tensor

    def __init__(self, features: int, elements: int, choice: NetworkChoice) -> None:
        layers: list[torch.nn.Module] = []
        for number in range(LAYERS):
            layers += [
                torch.nn.Linear(
                    choice.width if number else features + elements, choice.width
                ),
                torch.nn.CELU(),
                torch.nn.Dropout(choice.dropout),
            ]
        super().__init__(*layers)
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.register_buffer("elements", torch.zeros(elements, dtype=torch.int64))

    @classmethod
    def of(cls, environments: Environments, choice: NetworkChoice) -> Hidden:
        """Return new layers for a training set."""
        spectra = environments.spectra
        elements = np.unique(environments.numbers)
        made = cls(spectra.shape[1], len(elements), choice)
        spread = np.maximum(spectra.std(axis=0), LEAST_SPREAD)
        made.mean.copy_(torch.from_numpy(spectra.mean(axis=0)))
        made.scale.copy_(torch.from_numpy(1 / spread))
        made.elements.copy_(torch.from_numpy(elements))
        return made

    def features(self, spectra: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """Return the features of the last layer, ``(n, width)``."""
        centre = (numbers[:, None] == self.elements).to(spectra.dtype)
        scaled = (spectra - self.mean) * self.scale
        found: torch.Tensor = self(torch.cat([scaled, centre], dim=1))
        return found


class EnergyNetwork(torch.nn.Module):
    """Hidden layers, and a linear one that gives the energy over its spread."""

    spread_eV: torch.Tensor

    def __init__(self, hidden: Hidden, width: int, spread_eV: float = 1.0) -> None:
        super().__init__()
        self.hidden = hidden
        self.readout = torch.nn.Linear(width, 1)
        self.register_buffer("spread_eV", torch.tensor(spread_eV))

    def forward(self, spectra: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """Return energies over their spread, ``(n,)``."""
        found: torch.Tensor = self.readout(self.hidden.features(spectra, numbers))
        return found[:, 0]


@dataclass(frozen=True, kw_only=True)
class FittedNetwork:
    """A fitted network."""

    kind: ClassVar = "network"

    module: EnergyNetwork
    choice: NetworkChoice

    def predict(self, environments: Environments) -> NDArray[np.float64]:
        """Return energies in eV, ``(n,)``."""
        found = predict_in_parts(self.module, environments)
        return found * float(self.module.spread_eV)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what is to be kept as arrays."""
        state = self.module.state_dict()
        return {name: tensor.numpy() for name, tensor in state.items()}

    def facts(self) -> dict[str, Any]:
        """Return what else is to be kept."""
        return asdict(self.choice)


def network_of(arrays: dict[str, NDArray[Any]], facts: dict[str, Any]) -> FittedNetwork:
    """Return a network from what `FittedNetwork` has kept."""
    choice = NetworkChoice(**facts)
    features, elements = (
        len(arrays[f"hidden.{name}"]) for name in ("mean", "elements")
    )
    module = EnergyNetwork(Hidden(features, elements, choice), choice.width)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    module.load_state_dict(tensors)
    module.eval()
    return FittedNetwork(module=module, choice=choice)


def fit_network(
    environments: Environments, energies_eV: NDArray[np.float64], choice: NetworkChoice
) -> FittedNetwork:
    """Return a network that is fitted to energies, ``(n,)``."""
    spread = max(float(energies_eV.std()), LEAST_SPREAD)
    with seeded(choice.seed):
        hidden = Hidden.of(environments, choice)
        module = EnergyNetwork(hidden, choice.width, spread)

        def loss(
            spectra: torch.Tensor, numbers: torch.Tensor, wanted: torch.Tensor
        ) -> torch.Tensor:
            error: torch.Tensor = module(spectra, numbers) - wanted
            return error.square().mean()

        rates = [(module, choice.learning_rate)]
        fit_modules(rates, loss, environments, energies_eV / spread, choice)
    return FittedNetwork(module=module, choice=choice)
