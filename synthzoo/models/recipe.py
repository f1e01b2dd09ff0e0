"""The shape of a network, as a recipe gives it."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec

from synthzoo.models.interface import Cutoff
from synthzoo.models.nequip_arguments import (
    Bessels,
    Depth,
    Exponent,
    Features,
    Layers,
    Order,
    Width,
)
from synthzoo.recipes.schema import Checked


class NetworkRecipe(Checked, frozen=True, kw_only=True):
    """A network of any architecture, by arguments of its own.

    Attributes
    ----------
    architecture
        One of `synthzoo.models.architectures`, such as ``FullNequIPGNNModel``.
    cutoff_A
        Radius within which atoms are neighbours.
    arguments
        What else the architecture has to know; what follows from the training set is
        added.
    """

    architecture: str
    cutoff_A: Cutoff
    arguments: dict[str, Any] = msgspec.field(default_factory=dict)


class ModelRecipe(Checked, frozen=True, kw_only=True):
    """The shape of the network: the arguments of `nequip.model.NequIPGNNModel`.

    Attributes
    ----------
    cutoff_A
        Radius within which atoms are neighbours.
    num_layers
        Number of interaction blocks.
    l_max
        Largest rotation order of the features.
    parity
        Whether features of odd mirror parity are kept.
    num_features
        Features for each rotation order from 0 to ``l_max``.
    type_embed_num_features
        Features that tell the elements apart.
    radial_mlp_depth
        Hidden layers of the radial network.
    radial_mlp_width
        Neurons of each of them.
    num_bessels
        Bessel functions that describe a distance.
    bessel_trainable
        Whether their frequencies are trained.
    polynomial_cutoff_p
        Exponent of the polynomial cutoff.
    """

    cutoff_A: Cutoff = 4.0
    num_layers: Layers = 4
    l_max: Order = 1
    parity: bool = False
    num_features: tuple[Features, ...] = (32, 16)
    type_embed_num_features: Features = 8
    radial_mlp_depth: Depth = 1
    radial_mlp_width: Width = 32
    num_bessels: Bessels = 8
    bessel_trainable: bool = True
    polynomial_cutoff_p: Exponent = 6

    def network(self) -> NetworkRecipe:
        """Return the same as a network of its architecture."""
        arguments = dataclasses.asdict(self)
        cutoff_A = arguments.pop("cutoff_A")
        arguments["num_features"] = list(self.num_features)
        return NetworkRecipe(
            architecture="NequIPGNNModel", cutoff_A=cutoff_A, arguments=arguments
        )
