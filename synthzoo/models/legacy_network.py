"""NequIP as it was in 2023, put together from the modules of today's nequip.

The network of nequip 0.5.6 differs from the one that `nequip.model.FullNequIPGNNModel`
makes in four places that no argument reaches: the radial networks use a shifted
softplus, the self-connections see the one-hot type of an atom and not its embedding,
the first layer has one without the other changes that come with it today, and two
linear layers without anything between them read the energy out. No module of its own is
needed for that. Import this inside `synthzoo.models.isolation.nequip_session` only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from e3nn.math import normalize2mom
from e3nn.o3 import Irreps
from nequip.data import AtomicDataDict
from nequip.model import model_builder
from nequip.nn import (
    ApplyFactor,
    AtomwiseLinear,
    AtomwiseReduce,
    ConvNetLayer,
    ForceStressOutput,
    InteractionBlock,
    PerTypeScaleShift,
    ScalarMLPFunction,
    SequentialGraphNetwork,
    ShiftedSoftplus,
)
from nequip.nn.embedding import (
    BesselEdgeLengthEncoding,
    EdgeLengthNormalizer,
    NodeTypeEmbed,
    PolynomialCutoff,
    SphericalHarmonicEdgeAttrs,
)

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

NONLINEARITY = "ssp"
"""Shifted softplus: the default of 2023, in gates and radial networks."""

Modules = dict[str, Any]
"""Modules of the energy model by name, in the order in which they run."""


@model_builder  # type: ignore[untyped-decorator]  # nequip is untyped
def legacy_nequip_model(  # noqa: PLR0913  a builder takes keywords, as nequip's do
    *,
    r_max: float,
    type_names: Sequence[str],
    irreps_edge_sh: str,
    type_embed_num_features: int,
    feature_irreps_hidden: Sequence[str],
    radial_mlp_depth: Sequence[int],
    radial_mlp_width: Sequence[int],
    readout_mlp_hidden_layers_width: int,
    avg_num_neighbors: float,
    num_bessels: int = 8,
    bessel_trainable: bool = True,
    polynomial_cutoff_p: int = 6,
    per_type_energy_scales: float | Mapping[str, float] = 1.0,
    per_type_energy_shifts: float | Mapping[str, float] = 0.0,
) -> Module:
    """Return the network of nequip 0.5.6 with its default nonlinearities.

    Arguments of the same name mean the same as in `nequip.model.FullNequIPGNNModel`.

    ``r_max``: cutoff in Å.
    ``radial_mlp_depth``, ``radial_mlp_width``: hidden layers of the radial network of
    each layer, and their width.
    ``readout_mlp_hidden_layers_width``: width between the two linear layers that read
    the energy out.
    ``avg_num_neighbors``: messages to an atom are divided by its square root.
    ``num_bessels``, ``bessel_trainable``: number of radial functions, and whether their
    roots are fitted.
    ``per_type_energy_scales``, ``per_type_energy_shifts``: factor and constant (eV) of
    the energy of each atom.
    """
    modules = _embedding(type_names, type_embed_num_features)
    _append(modules, "spharm", SphericalHarmonicEdgeAttrs, irreps_edge_sh)
    _append(modules, "edge_norm", EdgeLengthNormalizer, r_max, list(type_names))
    _append(
        modules,
        "bessel_encode",
        BesselEdgeLengthEncoding,
        cutoff=PolynomialCutoff(polynomial_cutoff_p),
        num_bessels=num_bessels,
        trainable=bessel_trainable,
    )
    factor = 2 * math.pi / r_max**2  # nequip's own, see its FullNequIPGNNModel
    _append(modules, "factor", ApplyFactor, AtomicDataDict.EDGE_EMBEDDING_KEY, factor)
    for index, (irreps, depth, width) in enumerate(
        zip(feature_irreps_hidden, radial_mlp_depth, radial_mlp_width, strict=True)
    ):
        layer = _layer(irreps, depth, width, index, avg_num_neighbors, type_names)
        _append(modules, f"layer{index}_convnet", ConvNetLayer, **layer)
    _append_readout(modules, readout_mlp_hidden_layers_width)
    _append(
        modules,
        "per_type_energy_scale_shift",
        PerTypeScaleShift,
        list(type_names),
        field=AtomicDataDict.PER_ATOM_ENERGY_KEY,
        scales=per_type_energy_scales,
        shifts=per_type_energy_shifts,
    )
    _append(
        modules,
        "total_energy_sum",
        AtomwiseReduce,
        AtomicDataDict.PER_ATOM_ENERGY_KEY,
        out_field=AtomicDataDict.TOTAL_ENERGY_KEY,
    )
    network = SequentialGraphNetwork(modules)
    _use_softplus(network)
    with_forces: Module = ForceStressOutput(network)
    return with_forces


def _append(modules: Modules, name: str, kind: Any, *args: Any, **options: Any) -> None:
    """Add a module that takes what the last one gives."""
    last = list(modules.values())[-1]
    modules[name] = kind(*args, **options, irreps_in=last.irreps_out)


def _embedding(type_names: Sequence[str], features: int) -> Modules:
    """Return a fixed one-hot encoding and the linear layer behind it."""
    one_hot = NodeTypeEmbed(list(type_names), num_features=len(type_names))
    weight = one_hot.embed_module.weight
    weight.requires_grad_(requires_grad=False)
    weight.copy_(torch.eye(len(type_names)))
    modules: Modules = {"type_embed": one_hot}
    _append(modules, "chemical_embedding", AtomwiseLinear, irreps_out=f"{features}x0e")
    return modules


def _layer(
    irreps: str,
    depth: int,
    width: int,
    index: int,
    avg_num_neighbors: float,
    type_names: Sequence[str],
) -> dict[str, Any]:
    nonlinearities = {"e": NONLINEARITY, "o": "tanh"}
    return {
        "feature_irreps_hidden": irreps,
        "nonlinearity_scalars": nonlinearities,
        "nonlinearity_gates": nonlinearities,
        "convolution_kwargs": {
            "radial_mlp_depth": depth,
            "radial_mlp_width": width,
            "use_sc": True,
            "is_first_layer": index == 0,
            "avg_num_neighbors": avg_num_neighbors,
            "type_names": list(type_names),
        },
    }


def _append_readout(modules: Modules, width: int) -> None:
    hidden, energy = Irreps(f"{width}x0e"), Irreps("1x0e")
    _append(modules, "conv_to_output_hidden", AtomwiseLinear, irreps_out=hidden)
    _append(
        modules,
        "output_hidden_to_scalar",
        AtomwiseLinear,
        out_field=AtomicDataDict.PER_ATOM_ENERGY_KEY,
        irreps_out=energy,
    )


def _use_softplus(network: Module) -> None:
    """Replace the radial networks, in which nequip knows only one nonlinearity."""
    for block in network.modules():
        if isinstance(block, InteractionBlock):
            first, *hidden, last = block.edge_mlp.dims
            block.edge_mlp = ScalarMLPFunction(
                input_dim=first,
                output_dim=last,
                hidden_layers_depth=len(hidden),
                hidden_layers_width=hidden[0] if hidden else None,
                nonlinearity=NONLINEARITY,
            )


def weight_factors(
    network: Module, renamed: Mapping[str, Tensor]
) -> dict[str, float | Tensor]:
    """Return the factors between tensors of nequip 0.5.6 and of today that are not 1.

    ``renamed``: tensors of nequip 0.5.6, by their names of today.
    """
    normalisation = normalize2mom(ShiftedSoftplus()).cst
    factors: dict[str, float | Tensor] = {
        "model.func.bessel_encode.bessel_weights": 1 / math.pi
    }
    for name, block in network.named_modules():
        if not isinstance(block, InteractionBlock):
            continue
        for index, layer in enumerate(block.edge_mlp.mlp):
            if index % 2 == 0:  # between them are the activations
                then = (normalisation if index else 1.0) / math.sqrt(layer.in_features)
                last = f"{name}.edge_mlp.mlp.{index}.weight"
                factors[last] = then / layer.alpha.item()
        signs, columns = _signs(f"{name}.tp_scatter.tp", block.tp_scatter.tp, renamed)
        factors |= signs
        factors[last] = factors[last] * columns
    return factors


def _signs(
    name: str, product: Any, renamed: Mapping[str, Tensor]
) -> tuple[dict[str, float | Tensor], Tensor]:
    """Return how Wigner symbols changed sign since 2023, and the weights with them."""
    today = product.state_dict()
    signs: dict[str, float | Tensor] = {}
    columns = []
    for step in product.instructions:
        orders = (
            product.irreps_in1[step.i_in1].ir.l,
            product.irreps_in2[step.i_in2].ir.l,
            product.irreps_out[step.i_out].ir.l,
        )
        symbol = "_compiled_main_left_right._w3j_{}_{}_{}".format(*orders)
        sign = 1.0
        if symbol in today:  # products with scalars need none
            overlap = (today[symbol] * renamed[f"{name}.{symbol}"]).sum().item()
            sign = signs[f"{name}.{symbol}"] = math.copysign(1.0, overlap)
        columns += [sign] * math.prod(step.path_shape)
    return signs, torch.tensor(columns, dtype=torch.float64)
