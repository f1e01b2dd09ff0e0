"""A network as it is stored: its description and its weights, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from synthzoo.errors import CheckpointError
from synthzoo.models.architectures import architecture_of
from synthzoo.models.config import CONFIG_FILE
from synthzoo.models.engine.network import network_of
from synthzoo.models.engine.not_covered import NotCovered
from synthzoo.models.engine.precision import PRECISIONS
from synthzoo.models.network import checked_dtype, tell_of_slowness

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch.nn import Module

    from synthzoo.models.config import CheckpointConfig
    from synthzoo.models.engine.network import Network
    from synthzoo.models.uncertainty import Uncertainty

Weights = Mapping[str, "NDArray[Any]"]
"""Arrays by name; nobody changes them."""


@dataclass(frozen=True, eq=False)
class StoredNetwork:
    """Description and weights, from which both engine and torch make what they need.

    ``dtype``: precision in which to compute: ``float32`` or ``float64``.
    ``where``: what to call the weights in a message.
    ``uncertainty``: of what the network predicts, where it is known.
    """

    config: CheckpointConfig
    weights: Weights
    dtype: str
    where: str = "The network"
    uncertainty: Uncertainty | None = None

    def __post_init__(self) -> None:
        checked_dtype(self.dtype)

    @classmethod
    def of(cls, network: Module, config: CheckpointConfig) -> StoredNetwork:
        """Return what a network of torch is now.

        ``network``: of the described architecture, on any device.
        """
        dtype = str(next(network.parameters()).dtype).removeprefix("torch.")
        weights = {
            name: value.detach().cpu().numpy().copy()
            for name, value in network.state_dict().items()
        }
        return cls(config, weights, dtype)

    def network(self) -> Module:
        """Return a network of torch of the caller's own, in evaluation mode."""
        import torch

        from synthzoo.models.network import build_model, load_weights

        network = build_model(self.config, dtype=self.dtype)
        weights = {name: torch.tensor(value) for name, value in self.weights.items()}
        load_weights(network, weights, where=self.where)
        return network.eval()

    @cached_property
    def compiled(self) -> Network | None:
        """The network for the engine; None, and logged why, if the engine cannot.

        Raises `CheckpointError` if the weights do not fit the description.
        """
        try:
            self._check_finite()
            shape = architecture_of(self.config.builder).shape(self.config)
            return network_of(shape, self.weights, PRECISIONS[self.dtype])
        except NotCovered as reason:
            tell_of_slowness(str(reason))
            return None
        except (KeyError, ValueError) as error:
            raise CheckpointError(
                f"{self.where} does not fit the model that {CONFIG_FILE} describes: "
                f"{error}."
            ) from error

    def _check_finite(self) -> None:
        for name, values in self.weights.items():
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise CheckpointError(
                    f"{self.where}: {name} holds numbers that are not finite."
                )

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what the engine has made of the weights, and where they lay."""
        left = {"compiled", "where"}
        return {name: value for name, value in vars(self).items() if name not in left}
