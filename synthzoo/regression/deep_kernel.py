"""Deep kernel learning: a Gaussian process on features that a network finds for it.

Both are fitted together, with stochastic variational inference (arXiv:1611.00336), by
gpytorch.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from synthzoo.regression.fitting import (
    NetworkChoice,
    fit_modules,
    predict_in_parts,
    seeded,
    tensors,
)
from synthzoo.regression.network import LEAST_SPREAD, Hidden

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.regression.environments import Environments

KERNEL_FEATURES = 16
"""Features of the network on which the kernel, one of distances, works."""
INDUCING_POINTS = 200

PROCESS_RATE = 10.0
"""Learning rate of the process over that of the network."""


def _gpytorch() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it uses TorchScript
        import gpytorch
    return gpytorch


@dataclass(frozen=True, kw_only=True)
class DeepKernel:
    """A fitted deep kernel; it cannot be kept as a file.

    ``process``: gpytorch's model, from features to a distribution.
    """

    kind: ClassVar = "dkl"

    hidden: Hidden
    projection: torch.nn.Module
    process: Any
    spread_eV: float

    def predict(self, environments: Environments) -> NDArray[np.float64]:
        """Return mean energies in eV, ``(n,)``."""

        def mean(spectra: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
            features = self.projection(self.hidden.features(spectra, numbers))
            found: torch.Tensor = self.process(features).mean
            return found

        return predict_in_parts(mean, environments) * self.spread_eV


def fit_deep_kernel(
    environments: Environments, energies_eV: NDArray[np.float64], choice: NetworkChoice
) -> DeepKernel:
    """Return a deep kernel that is fitted to energies, ``(n,)``."""
    gpytorch = _gpytorch()
    spread = max(float(energies_eV.std()), LEAST_SPREAD)
    with seeded(choice.seed):
        hidden = Hidden.of(environments, choice)
        projection = torch.nn.Sequential(
            torch.nn.Linear(choice.width, KERNEL_FEATURES),
            gpytorch.utils.grid.ScaleToBounds(-1.0, 1.0),
        )
        first = environments.take(np.arange(min(INDUCING_POINTS, len(environments))))
        with torch.no_grad():
            points = projection(hidden.features(*tensors(first)))
        process = _process(gpytorch, points)
        likelihood = gpytorch.likelihoods.GaussianLikelihood()
        bound = gpytorch.mlls.VariationalELBO(
            likelihood, process, num_data=len(environments)
        )

        def loss(
            spectra: torch.Tensor, numbers: torch.Tensor, wanted: torch.Tensor
        ) -> torch.Tensor:
            features = projection(hidden.features(spectra, numbers))
            return -bound(process(features), wanted)  # type: ignore[no-any-return]

        rate = choice.learning_rate
        rates = [(hidden, rate), (projection, rate)]
        rates += [(each, rate * PROCESS_RATE) for each in (process, likelihood)]
        fit_modules(rates, loss, environments, energies_eV / spread, choice)
    return DeepKernel(
        hidden=hidden, projection=projection, process=process, spread_eV=spread
    )


def _process(gpytorch: Any, points: torch.Tensor) -> Any:
    """Return a sparse variational Gaussian process with these inducing points."""

    class Process(gpytorch.models.ApproximateGP):  # type: ignore[misc]
        def __init__(self) -> None:
            strategy = gpytorch.variational.VariationalStrategy(
                self,
                points,
                gpytorch.variational.CholeskyVariationalDistribution(len(points)),
                learn_inducing_locations=True,
            )
            super().__init__(strategy)
            self.mean = gpytorch.means.ConstantMean()
            self.kernel = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel())

        def forward(self, features: torch.Tensor) -> Any:
            return gpytorch.distributions.MultivariateNormal(
                self.mean(features), self.kernel(features)
            )

    return Process()
