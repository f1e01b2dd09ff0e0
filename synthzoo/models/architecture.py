"""Which nequip models a checkpoint may describe, and how large they may be."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard

from synthzoo.errors import CheckpointError

MAX_WEIGHTS = 300_000_000
"""Upper limit of the number of weights, as estimated from the arguments."""

MAX_CUTOFF_A = 20.0
MAX_NUMBER = 1e30
"""Larger numbers mean nothing and overflow in single precision."""

MAX_L = 6
MAX_LAYERS = 16
MAX_FEATURES = 1024
MAX_WIDTH = 1024
MAX_DEPTH = 8
MAX_BESSELS = 128
EXPONENTS = (2, 64)
"""Smallest and largest exponent of the polynomial cutoff."""

_IRREP = re.compile(r"(?:(\d{1,4})x)?(\d{1,2})[eo]")
_ZBL_KEYS = {"_target_", "units", "chemical_species", "polynomial_cutoff_p"}


class _Rule(NamedTuple):
    """What an argument may be, for the program and for the reader of the message."""

    accepts: Callable[[Any, Sequence[str]], bool]
    expected: str


class _Irrep(NamedTuple):
    """So many features that rotate like spherical harmonics of order ``l``."""

    channels: int
    l: int  # noqa: E741  the name that physics gives it


def check_arguments(
    builder: str, arguments: Mapping[str, Any], elements: Sequence[str]
) -> None:
    """Refuse builder arguments that are unknown, of a wrong type, or absurdly large.

    Nothing is built, and neither torch nor nequip is imported.

    Parameters
    ----------
    builder
        Name of a nequip model builder.
    arguments
        Its keyword arguments, as read from JSON.
    elements
        Chemical symbols of the model, in its order.

    Raises
    ------
    CheckpointError
        If the builder or an argument is not on the allow-list, an argument is
        missing or not as expected, or the model would have too many weights.
    """
    if builder not in BUILDERS:
        raise CheckpointError(
            f"the builder {builder!r} is not allowed; use one of {', '.join(BUILDERS)}."
        )
    rules, required = BUILDERS[builder]
    if unknown := sorted(set(arguments) - set(rules)):
        raise CheckpointError(f"{builder} is given unknown arguments {unknown}.")
    if missing := sorted(required - set(arguments)):
        raise CheckpointError(f"{builder} lacks the arguments {missing}.")
    for name, value in arguments.items():
        if not rules[name].accepts(value, elements):
            raise CheckpointError(
                f"{builder}: {name} must be {rules[name].expected}, "
                f"not {_shortened(value)}."
            )
    weights = _estimate_weights(builder, arguments)
    if weights > MAX_WEIGHTS:
        raise CheckpointError(
            f"the model would have about {weights:.1e} weights; "
            f"the limit is {MAX_WEIGHTS:.0e}."
        )


def is_number(value: Any) -> bool:
    """Return whether a JSON value is a sensible number (true and false are not).

    Parameters
    ----------
    value
        Whatever JSON holds.
    """
    is_real = is_whole(value) or isinstance(value, float)
    return is_real and abs(value) < MAX_NUMBER  # never if it is not a number


def is_whole(value: Any) -> TypeGuard[int]:
    """Return whether a JSON value is a whole number (true and false are not).

    Parameters
    ----------
    value
        Whatever JSON holds.
    """
    return isinstance(value, int) and not isinstance(value, bool)


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _between(low: int, high: int, *, optional: bool = False) -> _Rule:
    def accepts(value: Any, _elements: Sequence[str]) -> bool:
        return (optional and value is None) or (
            is_whole(value) and low <= value <= high
        )

    ending = " or null" if optional else ""
    return _Rule(accepts, f"a whole number from {low} to {high}{ending}")


def _one_of(*choices: str | None) -> _Rule:
    def accepts(value: Any, _elements: Sequence[str]) -> bool:
        return (value is None or isinstance(value, str)) and value in choices

    return _Rule(accepts, f"one of {list(choices)}")


def _list_of(item: _Rule) -> _Rule:
    def accepts(value: Any, elements: Sequence[str]) -> bool:
        return (
            isinstance(value, list)
            and 1 <= len(value) <= MAX_LAYERS
            and all(item.accepts(entry, elements) for entry in value)
        )

    return _Rule(accepts, f"a list of at most {MAX_LAYERS}, each {item.expected}")


def _accepts_features(value: Any, elements: Sequence[str]) -> bool:
    features = _between(1, MAX_FEATURES)
    return features.accepts(value, elements) or _list_of(features).accepts(
        value, elements
    )


def _accepts_per_element(value: Any, elements: Sequence[str]) -> bool:
    if value is None or is_number(value):
        return True
    return (
        isinstance(value, dict)
        and set(value) == set(elements)
        and all(is_number(number) for number in value.values())
    )


def _accepts_cutoffs(value: Any, elements: Sequence[str]) -> bool:
    """Look at cutoffs per pair of elements: {first: number or {second: number}}."""
    if value is None:
        return True
    if not isinstance(value, dict) or not set(value) <= set(elements):
        return False
    return all(
        (is_number(entry) and entry > 0)
        or (isinstance(entry, dict) and entry and _accepts_cutoffs(entry, elements))
        for entry in value.values()
    )


def _accepts_irreps(value: Any, _elements: Sequence[str]) -> bool:
    return isinstance(value, str) and _parse_irreps(value) is not None


def _accepts_pair_potential(value: Any, elements: Sequence[str]) -> bool:
    """Allow one pair potential only: nequip would call whatever `_target_` names."""
    if value is None:
        return True
    return (
        isinstance(value, dict)
        and set(value) <= _ZBL_KEYS
        and value.get("_target_") == "nequip.nn.pair_potential.ZBL"
        and value.get("units") == "metal"
        and value.get("chemical_species") == list(elements)
        and _between(*EXPONENTS).accepts(value.get("polynomial_cutoff_p", 6), elements)
    )


def _parse_irreps(text: str) -> list[_Irrep] | None:
    """Return the parts of, say, ``32x0e+16x1o``; None if it is not within limits."""
    found = []
    for part in text.replace(" ", "").split("+"):
        match = _IRREP.fullmatch(part)
        if match is None:
            return None
        found.append(_Irrep(int(match[1] or 1), int(match[2])))
    sound = all(1 <= ir.channels <= MAX_FEATURES and ir.l <= MAX_L for ir in found)
    return found if sound and len(found) <= 4 * MAX_L else None


def _estimate_weights(builder: str, arguments: Mapping[str, Any]) -> float:
    """Return an upper estimate of the number of weights of a model."""
    layers, edge_l = _hidden_layers(builder, arguments)
    embedding = arguments.get("type_embed_num_features") or layers[0][0].channels
    width = max(_as_list(arguments.get("radial_mlp_width", 128)))
    depth = max(_as_list(arguments.get("radial_mlp_depth", 1)))
    total = 0.0
    for layer in layers:
        counts = [irrep.channels for irrep in layer]
        paths = sum(counts) * (edge_l + 1) * (max(irrep.l for irrep in layer) + 1)
        total += width * (depth * width + paths) + paths * max(counts)
        total += embedding * sum(count**2 for count in counts)
    return total


def _hidden_layers(
    builder: str, arguments: Mapping[str, Any]
) -> tuple[list[list[_Irrep]], int]:
    """Return the features of each layer, and the largest order on the edges."""
    if builder != "NequIPGNNModel":
        hidden = [
            _parse_irreps(text) or [] for text in arguments["feature_irreps_hidden"]
        ]
        edges = arguments["irreps_edge_sh"]
        if isinstance(edges, str):
            edges = max(irrep.l for irrep in _parse_irreps(edges) or [])
        return hidden, int(edges)
    l_max = arguments["l_max"]
    counts = arguments["num_features"]
    counts = counts if isinstance(counts, list) else [counts] * (l_max + 1)
    parities = 2 if arguments.get("parity", True) else 1
    layer = [_Irrep(count, l) for l, count in enumerate(counts)] * parities  # noqa: E741
    return [layer] * arguments["num_layers"], l_max


def _as_list(value: Any) -> list[int]:
    return value if isinstance(value, list) else [value]


_FLAG = _Rule(lambda value, _elements: isinstance(value, bool), "true or false")
_PER_ELEMENT = _Rule(
    _accepts_per_element, "a number, null, or a number for each of the model's elements"
)
_IRREPS = _Rule(_accepts_irreps, f"irreps such as '32x0e+16x1o' with l up to {MAX_L}")
_EDGE_IRREPS = _Rule(
    lambda value, elements: (
        _between(0, MAX_L).accepts(value, elements) or _accepts_irreps(value, elements)
    ),
    f"a whole number up to {MAX_L} or irreps",
)
_WIDTH = _between(1, MAX_WIDTH)
_DEPTH = _between(0, MAX_DEPTH)
_EMBEDDING = _between(1, MAX_FEATURES)

_COMMON_RULES = {
    "readout_mlp_hidden_layers_depth": _DEPTH,
    "readout_mlp_hidden_layers_width": _between(1, MAX_WIDTH, optional=True),
    "readout_mlp_nonlinearity": _one_of("silu", "mish", "gelu", None),
    "per_edge_type_cutoff": _Rule(_accepts_cutoffs, "cutoffs per pair of elements"),
    "num_bessels": _between(1, MAX_BESSELS),
    "bessel_trainable": _FLAG,
    "polynomial_cutoff_p": _between(*EXPONENTS),
    "avg_num_neighbors": _Rule(
        lambda value, elements: (
            value is not None
            and _accepts_per_element(value, elements)
            and all(
                number > 0
                for number in (value.values() if isinstance(value, dict) else [value])
            )
        ),
        "a number above 0, or one for each of the model's elements",
    ),
    "per_type_energy_scales": _PER_ELEMENT,
    "per_type_energy_shifts": _PER_ELEMENT,
    "per_type_energy_scales_trainable": _FLAG,
    "per_type_energy_shifts_trainable": _FLAG,
    "pair_potential": _Rule(_accepts_pair_potential, "null or nequip's ZBL"),
    "convnet_sc": _FLAG,
    "convnet_resnet": _FLAG,
    "learnable_shift": _FLAG,
}
_SHORT_RULES = {
    "num_layers": _between(1, MAX_LAYERS),
    "l_max": _between(0, MAX_L),
    "parity": _FLAG,
    "num_features": _Rule(
        _accepts_features, f"a whole number from 1 to {MAX_FEATURES}, or a list of such"
    ),
    "type_embed_num_features": _between(1, MAX_FEATURES, optional=True),
    "radial_mlp_depth": _DEPTH,
    "radial_mlp_width": _WIDTH,
}
_FULL_RULES = {
    "irreps_edge_sh": _EDGE_IRREPS,
    "type_embed_num_features": _EMBEDDING,
    "feature_irreps_hidden": _list_of(_IRREPS),
    "radial_mlp_depth": _list_of(_DEPTH),
    "radial_mlp_width": _list_of(_WIDTH),
}
_LEGACY_REQUIRED = {
    *_FULL_RULES,
    "readout_mlp_hidden_layers_width",
    "avg_num_neighbors",
}
_LEGACY_RULES = {
    **_FULL_RULES,
    "irreps_edge_sh": _IRREPS,
    "readout_mlp_hidden_layers_width": _between(1, MAX_WIDTH),
    **{
        name: _COMMON_RULES[name]
        for name in (
            "avg_num_neighbors",
            "num_bessels",
            "bessel_trainable",
            "polynomial_cutoff_p",
            "per_type_energy_scales",
            "per_type_energy_shifts",
        )
    },
}

BUILDERS: dict[str, tuple[dict[str, _Rule], set[str]]] = {
    "NequIPGNNModel": (
        _SHORT_RULES | _COMMON_RULES,
        {"num_layers", "l_max", "num_features", "avg_num_neighbors"},
    ),
    "FullNequIPGNNModel": (
        _FULL_RULES | _COMMON_RULES,
        {*_FULL_RULES, "avg_num_neighbors"},
    ),
    "LegacyNequIPModel": (_LEGACY_RULES, _LEGACY_REQUIRED),
}
"""Builder: the arguments it may be given, and those it must be given."""
