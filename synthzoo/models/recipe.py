"""The shape of a network, as a recipe gives it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from synthzoo.models.architecture import (
    EXPONENTS,
    MAX_BESSELS,
    MAX_CUTOFF_A,
    MAX_DEPTH,
    MAX_FEATURES,
    MAX_L,
    MAX_LAYERS,
    MAX_WIDTH,
)
from synthzoo.recipes.schema import (
    Checked,
    above_0,
    whole,
)


@dataclass(frozen=True, kw_only=True)
class ModelRecipe(Checked):
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

    cutoff_A: Annotated[float, above_0(MAX_CUTOFF_A)] = 4.0
    num_layers: Annotated[int, whole(1, MAX_LAYERS)] = 4
    l_max: Annotated[int, whole(0, MAX_L)] = 1
    parity: bool = False
    num_features: tuple[Annotated[int, whole(1, MAX_FEATURES)], ...] = (32, 16)
    type_embed_num_features: Annotated[int, whole(1, MAX_FEATURES)] = 8
    radial_mlp_depth: Annotated[int, whole(0, MAX_DEPTH)] = 1
    radial_mlp_width: Annotated[int, whole(1, MAX_WIDTH)] = 32
    num_bessels: Annotated[int, whole(1, MAX_BESSELS)] = 8
    bessel_trainable: bool = True
    polynomial_cutoff_p: Annotated[int, whole(*EXPONENTS)] = 6
