"""Networks of nequip of every kind that the engine evaluates, with random weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from synthzoo.models.architectures import architecture_of
from tests.conftest import tiny_config

CUTOFF_A = 3.0

SHORT = {
    "num_layers": 3,
    "l_max": 1,
    "num_features": 4,
    "radial_mlp_width": 5,
    "avg_num_neighbors": 20.0,
    "per_type_energy_scales": 2.0,
    "per_type_energy_shifts": {"C": -1.0, "H": 0.5},
}
FULL = {
    "irreps_edge_sh": 1,
    "type_embed_num_features": 3,
    "feature_irreps_hidden": ["4x0e+3x1o", "4x0e+3x1o+2x1e", "4x0e+3x1o", "4x0e"],
    "radial_mlp_depth": [1, 0, 2, 1],
    "radial_mlp_width": [5, 4, 3, 6],
    "avg_num_neighbors": {"C": 20.0, "H": 9.0},
    "bessel_trainable": True,
}
LEGACY = {
    "irreps_edge_sh": "1x0e+1x1o",
    "type_embed_num_features": 3,
    "feature_irreps_hidden": ["4x0o+4x0e+3x1o+3x1e"] * 2 + ["4x0o+4x0e"],
    "radial_mlp_depth": [2, 1, 0],
    "radial_mlp_width": [5, 4, 3],
    "readout_mlp_hidden_layers_width": 3,
    "avg_num_neighbors": 20.0,
    "per_type_energy_scales": 2.0,
}
NEQUIP, WIDE, OLD = "NequIPGNNModel", "FullNequIPGNNModel", "LegacyNequIPModel"

QUICK: dict[str, tuple[str, dict[str, Any]]] = {
    "vectors": (NEQUIP, SHORT | {"parity": False}),
    "parity": (NEQUIP, SHORT),
    "widened": (WIDE, FULL),
    "legacy": (OLD, LEGACY),
}
THOROUGH: dict[str, tuple[str, dict[str, Any]]] = {
    "scalars": (NEQUIP, SHORT | {"l_max": 0}),
    "order-2": (NEQUIP, SHORT | {"l_max": 2, "parity": False}),
    "order-2-parity": (NEQUIP, SHORT | {"l_max": 2, "num_features": [4, 3, 2]}),
    "order-3": (NEQUIP, SHORT | {"l_max": 3, "parity": False, "num_layers": 2}),
    "one-layer": (NEQUIP, SHORT | {"num_layers": 1}),
    "other-embedding": (NEQUIP, SHORT | {"type_embed_num_features": 7}),
    "linear-radial-network": (NEQUIP, SHORT | {"radial_mlp_depth": 0}),
    "deep-radial-network": (NEQUIP, SHORT | {"radial_mlp_depth": 2}),
    "learnable-shift": (NEQUIP, SHORT | {"learnable_shift": True}),
    "no-self-connection": (NEQUIP, SHORT | {"convnet_sc": False}),
    "cutoffs": (NEQUIP, SHORT | {"per_edge_type_cutoff": {"H": {"C": 2.2}, "C": 2.6}}),
    "cutoff-power": (NEQUIP, SHORT | {"polynomial_cutoff_p": 3, "num_bessels": 5}),
    "neighbours": (NEQUIP, SHORT | {"avg_num_neighbors": {"H": 3.0, "C": 25.0}}),
    "no-energy-terms": (
        NEQUIP,
        SHORT | {"per_type_energy_scales": None, "per_type_energy_shifts": None},
    ),
    "trained-energy-terms": (
        NEQUIP,
        SHORT | {"per_type_energy_scales_trainable": True},
    ),
    "readout": (NEQUIP, SHORT | {"readout_mlp_hidden_layers_depth": 1}),
    "linear-readout": (
        NEQUIP,
        SHORT
        | {
            "readout_mlp_hidden_layers_depth": 2,
            "readout_mlp_hidden_layers_width": 3,
            "readout_mlp_nonlinearity": None,
        },
    ),
    "unsorted": (
        WIDE,
        FULL
        | {
            "irreps_edge_sh": "1x0e + 1x1o + 1x2e + 1o",
            "feature_irreps_hidden": [
                "2x1o+3x0e+1x1o+0e",
                "2x0o+3x2o+2x1e+4x0e+1x2o",
                "3x1o+2x0e+2x1e",
                "4x0e",
            ],
        },
    ),
    "odd-gates": (
        WIDE,
        FULL
        | {
            "feature_irreps_hidden": ["3x1o", "2x1e", "2x0o+3x1e+2x1o", "4x0e"],
            "avg_num_neighbors": 0.01,  # such features are small
        },
    ),
    "legacy-order-2": (
        OLD,
        LEGACY
        | {
            "irreps_edge_sh": "1x0e+1x1o+1x2e",
            "feature_irreps_hidden": ["4x0e+3x1o+2x2e"] * 2 + ["4x0e"],
        },
    ),
}


def build(builder: str, arguments: dict[str, Any], elements: tuple[str, ...]):
    """Return a network of nequip as it evaluates it itself."""
    config = replace(
        tiny_config(elements),
        builder=builder,
        arguments=arguments,
        cutoff_A=CUTOFF_A,
        dtype="float64",
    )
    architecture_of(builder).check_arguments(arguments, elements)
    return architecture_of(builder).build(config, dtype="float64", seed=3)


def for_elements(
    arguments: dict[str, Any], elements: tuple[str, ...]
) -> dict[str, Any]:
    """Return arguments with a number for each of certain elements."""
    return {
        name: {key: value.get(key, 1.5) for key in elements}
        if isinstance(value, dict) and name != "per_edge_type_cutoff"
        else value
        for name, value in arguments.items()
    }
