"""Which networks of nequip a checkpoint may describe, and how large they may be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Annotated, Any, Literal, NamedTuple

from msgspec import Meta

from synthzoo.errors import CheckpointError, InputError
from synthzoo.recipes.schema import Checked, above_0, from_values, matching, whole

MAX_WEIGHTS = 300_000_000
"""Upper limit of the number of weights, as estimated from the arguments."""

MAX_NUMBER = 1e30
"""Larger numbers mean nothing and overflow in single precision."""

MAX_L = 6
MAX_LAYERS = 16
MAX_FEATURES = 1024

_IRREP = r"(?:([1-9]\d{0,2}|10[01]\d|102[0-4])x)?([0-6])[eo]"
_IRREPS = rf"{_IRREP}(?: ?\+ ?{_IRREP}){{0,{4 * MAX_L - 1}}}"

Layers = Annotated[int, whole(1, MAX_LAYERS)]
Order = Annotated[int, whole(0, MAX_L)]
Features = Annotated[int, whole(1, MAX_FEATURES)]
Width = Annotated[int, whole(1, 1024)]
Depth = Annotated[int, whole(0, 8)]
Bessels = Annotated[int, whole(1, 128)]
Exponent = Annotated[int, whole(2, 64)]
"""Of the polynomial cutoff."""

_SOME = Meta(
    min_length=1, max_length=MAX_LAYERS, description=f"1 to {MAX_LAYERS} entries"
)
_Irreps = Annotated[str, matching(_IRREPS, f"irreps as '32x0e+16x1o', l up to {MAX_L}")]
_Sensible = Annotated[
    float, Meta(ge=-MAX_NUMBER, le=MAX_NUMBER, description="a number")
]
_Above0 = Annotated[float, above_0(MAX_NUMBER)]
_PerElement = Annotated[
    _Sensible | dict[str, _Sensible] | None,
    Meta(description="a number, null, or a number for each of the model's elements"),
]


class _ZBL(Checked, frozen=True, kw_only=True):
    """The one pair potential: nequip would call whatever `_target_` names."""

    _target_: Literal["nequip.nn.pair_potential.ZBL"]
    units: Literal["metal"]
    chemical_species: tuple[str, ...]
    polynomial_cutoff_p: Exponent = 6


class _Arguments(Checked, frozen=True, kw_only=True):
    """What every builder may be given; a default marks what may be left out."""

    avg_num_neighbors: Annotated[
        _Above0 | dict[str, _Above0],
        Meta(description="a number above 0, or one for each of the model's elements"),
    ]
    num_bessels: Bessels = 8
    bessel_trainable: bool = True
    polynomial_cutoff_p: Exponent = 6
    per_type_energy_scales: _PerElement = None
    per_type_energy_shifts: _PerElement = None


class _Current(_Arguments, frozen=True, kw_only=True):
    """What nequip's own builders may be given."""

    readout_mlp_hidden_layers_depth: Depth = 0
    readout_mlp_hidden_layers_width: Width | None = None
    readout_mlp_nonlinearity: Literal["silu", "mish", "gelu"] | None = "silu"
    per_edge_type_cutoff: Annotated[
        dict[str, _Above0 | Annotated[dict[str, _Above0], Meta(min_length=1)]] | None,
        Meta(description="cutoffs per pair of elements"),
    ] = None
    per_type_energy_scales_trainable: bool = False
    per_type_energy_shifts_trainable: bool = False
    pair_potential: _ZBL | None = None
    convnet_sc: bool = True
    convnet_resnet: bool = False
    learnable_shift: bool = False


class _Short(_Current, frozen=True, kw_only=True):
    """One shape for all layers."""

    num_layers: Layers
    l_max: Order
    num_features: Annotated[
        Features | Annotated[tuple[Features, ...], _SOME],
        Meta(description=f"a whole number from 1 to {MAX_FEATURES}, or a list of such"),
    ]
    parity: bool = True
    type_embed_num_features: Features | None = None
    radial_mlp_depth: Depth = 1
    radial_mlp_width: Width = 128


class _Full(_Current, frozen=True, kw_only=True):
    """A shape for each layer."""

    irreps_edge_sh: Order | _Irreps
    type_embed_num_features: Features
    feature_irreps_hidden: Annotated[tuple[_Irreps, ...], _SOME]
    radial_mlp_depth: Annotated[tuple[Depth, ...], _SOME]
    radial_mlp_width: Annotated[tuple[Width, ...], _SOME]


class _Legacy(_Arguments, frozen=True, kw_only=True):
    """A shape for each layer of the network of 2023."""

    irreps_edge_sh: _Irreps
    type_embed_num_features: Features
    feature_irreps_hidden: Annotated[tuple[_Irreps, ...], _SOME]
    radial_mlp_depth: Annotated[tuple[Depth, ...], _SOME]
    radial_mlp_width: Annotated[tuple[Width, ...], _SOME]
    readout_mlp_hidden_layers_width: Width


BUILDERS: dict[str, type[_Short | _Full | _Legacy]] = {
    "NequIPGNNModel": _Short,
    "FullNequIPGNNModel": _Full,
    "LegacyNequIPModel": _Legacy,
}
"""Builder: the arguments that it is given."""

_PER_ELEMENT = ("avg_num_neighbors", "per_type_energy_scales", "per_type_energy_shifts")


class _Irrep(NamedTuple):
    """So many features that rotate like spherical harmonics of order ``l``."""

    channels: int
    l: int  # noqa: E741  the name that physics gives it


def check_arguments(
    builder: str, arguments: Mapping[str, Any], elements: Sequence[str]
) -> None:
    """Refuse builder arguments that are unknown, of a wrong type, or absurdly large.

    Nothing is built, and neither torch nor nequip is imported.

    ``elements``: chemical symbols of the model, in its order.
    """
    try:
        given = from_values(BUILDERS[builder], arguments, source=builder)
    except InputError as error:
        raise CheckpointError(str(error)) from error
    for name, expected, found in _not_for(given, elements):
        raise CheckpointError(
            f"{builder}: {name}: expected {expected} {[*elements]}, found {found}."
        )
    weights = _estimate_weights(given)
    if weights > MAX_WEIGHTS:
        raise CheckpointError(
            f"the model would have about {weights:.1e} weights; "
            f"the limit is {MAX_WEIGHTS:.0e}."
        )


def _not_for(
    given: _Short | _Full | _Legacy, elements: Sequence[str]
) -> Iterator[tuple[str, str, list[str]]]:
    """Yield what is said about other elements than those of the model."""
    for name in _PER_ELEMENT:
        value = getattr(given, name)
        if isinstance(value, Mapping) and set(value) != set(elements):
            yield name, "a number for each of the elements", [*value]
    if isinstance(given, _Legacy):
        return
    cutoffs = given.per_edge_type_cutoff or {}
    seconds = (entry for entry in cutoffs.values() if isinstance(entry, Mapping))
    if others := {*cutoffs, *chain.from_iterable(seconds)} - {*elements}:
        yield "per_edge_type_cutoff", "pairs of the elements", sorted(others)
    zbl = given.pair_potential
    if zbl is not None and zbl.chemical_species != tuple(elements):
        found = [*zbl.chemical_species]
        yield "pair_potential.chemical_species", "the elements", found


def _estimate_weights(given: _Short | _Full | _Legacy) -> float:
    """Return an upper estimate of the number of weights of a model."""
    layers, edge_l = _hidden_layers(given)
    embedding = given.type_embed_num_features or layers[0][0].channels
    width, depth = _largest(given.radial_mlp_width), _largest(given.radial_mlp_depth)
    total = 0.0
    for layer in layers:
        counts = [irrep.channels for irrep in layer]
        paths = sum(counts) * (edge_l + 1) * (max(irrep.l for irrep in layer) + 1)
        total += width * (depth * width + paths) + paths * max(counts)
        total += embedding * sum(count**2 for count in counts)
    return total


def _hidden_layers(given: _Short | _Full | _Legacy) -> tuple[list[list[_Irrep]], int]:
    """Return the features of each layer, and the largest order on the edges."""
    if not isinstance(given, _Short):
        hidden, edges = given.feature_irreps_hidden, given.irreps_edge_sh
        edge_l = edges if isinstance(edges, int) else max(ir.l for ir in _irreps(edges))
        return [_irreps(text) for text in hidden], edge_l
    counts = given.num_features
    if isinstance(counts, int):
        counts = (counts,) * (given.l_max + 1)
    layer = [_Irrep(count, l) for l, count in enumerate(counts)]  # noqa: E741
    return [layer * (2 if given.parity else 1)] * given.num_layers, given.l_max


def _largest(value: int | tuple[int, ...]) -> int:
    return max(value) if isinstance(value, tuple) else value


def _irreps(text: str) -> list[_Irrep]:
    found = re.finditer(_IRREP, text)
    return [_Irrep(int(match[1] or 1), int(match[2])) for match in found]
