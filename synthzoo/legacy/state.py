"""States of nequip 0.5.6 (2023): read safely, and turned into weights of today.

Every tensor of such a state is used, compared with a constant of today's network, or
refused. What becomes of each:

=============================  ====================================================
2023                           today
=============================  ====================================================
``bessel_weights``             divided by pi: nequip's ``sinc`` multiplies by it
``fc.layer0.weight``           the same, up to nequip's own ``alpha``
``fc.layer1.weight``, …        times the constant by which e3nn had normalised the
                               activation before it, up to ``alpha``
last layer of ``fc``           columns change sign where e3nn has changed the sign of
                               the Wigner 3j symbol that they go with (from l = 2 on)
other ``weight``               the same: e3nn has kept its normalisations
last layer, odd and vector     left out: the linear layer behind it takes even
channels and their gates       scalars only
``per_species_rescale``        arguments of the network, times ``scale_by``
``output_mask``, ``_w3j_…``    constants that follow from the shape; compared
=============================  ====================================================
"""

from __future__ import annotations

import math
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, NamedTuple

from synthzoo.errors import CheckpointError
from synthzoo.models.config import FORMAT_VERSION, CheckpointConfig
from synthzoo.models.isolation import nequip_session
from synthzoo.models.network import build_model, load_weights

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

BUILDER = "LegacyNequIPModel"
MAX_BYTES = 2**28
CONSTANT_TOLERANCE = 1e-5

_LAYER = re.compile(r"model\.func\.layer\d+_convnet\.")

_FAMILY = "the energy model of nequip 0.5.6 with one width for all features"
_PREFIX = "model.func."
_NEW = {
    "model._empty",
    f"{_PREFIX}type_embed.embed_module.weight",
    f"{_PREFIX}edge_norm._rmax_recip",
    f"{_PREFIX}per_type_energy_scale_shift.scales",
    f"{_PREFIX}per_type_energy_scale_shift.shifts",
}
"""What today's network has and 2023's had not, or had elsewhere."""

_RESCALING = {"scale_by", "shift_by"}
"""Factor and constant of the total energy; empty where there was none."""

_RENAMED = (
    (r"radial_basis\.basis\.bessel_weights", "bessel_encode.bessel_weights"),
    (r"(layer\d+_convnet\.conv)\.tp\.", r"\1.tp_scatter.tp."),
    (r"(layer\d+_convnet\.conv)\.fc\.layer(\d+)\.", r"\1.edge_mlp.mlp.\2."),
)

State = dict[str, "Tensor"]
"""Tensors by name."""


class Assumptions(NamedTuple):
    """What a state of 2023 does not say.

    ``elements``: chemical symbols, in the order of the model's types.
    ``cutoff_A``: radial cutoff in Å.
    ``avg_num_neighbors``: messages to an atom are divided by its square root.
    """

    elements: tuple[str, ...]
    cutoff_A: float
    avg_num_neighbors: float


def read_state(path: Path) -> State:
    """Return the tensors of a file that `torch.save` wrote; nothing is executed."""
    import torch

    _check_archive(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds more than tensors, which could run code; it was not opened."
        ) from error
    except Exception as error:  # whatever a broken pickle makes torch raise
        raise CheckpointError(
            f"{path} cannot be read ({type(error).__name__}): it is damaged."
        ) from error
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor)
        for name, value in state.items()
    ):
        raise CheckpointError(f"{path} is not a table of tensors by name.")
    for name, value in state.items():
        # A tensor that repeats few numbers could seem to have any size.
        there = value.untyped_storage().nbytes() // value.element_size()
        sound = value.is_floating_point() and value.numel() <= there
        if not sound or not value.isfinite().all():
            raise CheckpointError(
                f"{path}: {name} is no plain table of finite numbers."
            )
    return dict(state)


def convert_state(
    state: Mapping[str, Tensor], assumptions: Assumptions, *, where: str
) -> tuple[Module, CheckpointConfig]:
    """Return today's network that computes what a state of 2023 did."""
    try:
        shapes = [
            _config(state, assumptions, parity=parity) for parity in (True, False)
        ]
    except KeyError as error:
        raise CheckpointError(f"{where} is not {_FAMILY}: no {error}.") from error
    except (RuntimeError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(
            f"{where} is not {_FAMILY}: its tensors have impossible sizes."
        ) from error
    renamed = {
        _today(name): value
        for name, value in state.items()
        if name not in _RESCALING and ".per_species_rescale." not in name
    }
    complaints = []
    for config in shapes:
        whole = build_model(config)
        found = _complaints(renamed, whole.state_dict())
        if not found:
            _fill(whole, renamed, where=where)
            return _without_unused(whole, config, where=where)
        complaints.append(found)
    nearest = min(complaints, key=len)
    raise CheckpointError(f"{where} is not {_FAMILY}: {nearest[0]}.")


def _check_archive(path: Path) -> None:
    """Refuse what is no sound, moderately large zip file of `torch.save`."""
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}.")
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            size = sum(entry.file_size for entry in archive.infolist())
            damaged = archive.testzip() if size <= MAX_BYTES else None
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise CheckpointError(
            f"{path} is not a file of torch.save, or it is damaged ({error})."
        ) from error
    if size > MAX_BYTES:
        raise CheckpointError(f"{path} holds {size} bytes; the limit is {MAX_BYTES}.")
    if damaged is not None:
        raise CheckpointError(f"{path} is damaged: {damaged} fails its checksum.")
    if any("/code/" in name for name in names):
        raise CheckpointError(
            f"{path} is a deployed model with code in it, which is not opened. Import "
            "the state that was saved during training (best_model.pth)."
        )


def _config(
    state: Mapping[str, Tensor], assumptions: Assumptions, *, parity: bool
) -> CheckpointConfig:
    """Return the description of a network, read off the shapes of its tensors."""
    elements = assumptions.elements
    scale = _energy_scale(state, elements)
    features = _size(state, "chemical_embedding.linear.weight") // len(elements)
    edges = _size(state, "layer0_convnet.conv.tp.output_mask") // features
    layers = len({name.split(".")[2] for name in state if _LAYER.match(name)})
    *hidden, _ = _radial_widths(state)
    orders = range(math.isqrt(edges))
    parities = "eo" if parity else "e"
    irreps = [f"{features}x{order}{p}" for p in parities for order in orders]
    harmonics = [f"1x{order}{parities[order % len(parities)]}" for order in orders]
    arguments = {
        "irreps_edge_sh": "+".join(harmonics),
        "type_embed_num_features": features,
        "feature_irreps_hidden": ["+".join(irreps)] * layers,
        "radial_mlp_depth": [len(hidden)] * layers,
        "radial_mlp_width": [hidden[0] if hidden else 1] * layers,
        "readout_mlp_hidden_layers_width": _size(
            state, "output_hidden_to_scalar.linear.weight"
        ),
        "num_bessels": _size(state, "radial_basis.basis.bessel_weights"),
        "bessel_trainable": True,
        "polynomial_cutoff_p": 6,
        "avg_num_neighbors": assumptions.avg_num_neighbors,
        **scale,
    }
    return CheckpointConfig(
        format_version=FORMAT_VERSION,
        builder=BUILDER,
        arguments=arguments,
        elements=elements,
        cutoff_A=assumptions.cutoff_A,
        dtype="float32",
        isolated_atom_energies_eV=dict.fromkeys(elements, 0.0),
        labels={},
        kind="potential",
        provenance={},
    )


def _size(state: Mapping[str, Tensor], name: str) -> int:
    """Return how many numbers a tensor has; none at all is as bad as no tensor."""
    size = state[_PREFIX + name].numel()
    if size == 0:
        raise KeyError(_PREFIX + name)
    return size


def _radial_widths(state: Mapping[str, Tensor]) -> list[int]:
    """Return the output widths of the layers of the first radial network."""
    pattern = re.compile(r"model\.func\.layer0_convnet\.conv\.fc\.layer(\d+)\.weight")
    found = {
        int(match[1]): tensor.shape[-1]
        for name, tensor in state.items()
        if (match := pattern.fullmatch(name)) and tensor.ndim == 2
    }
    if not found:
        raise KeyError(f"{_PREFIX}layer0_convnet.conv.fc.layer0.weight")
    return [found[index] for index in sorted(found)]


def _energy_scale(
    state: Mapping[str, Tensor], elements: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Return factor and constant of each element's energy, as arguments."""
    values = {}
    total = state["scale_by"].item() if state["scale_by"].numel() else 1.0
    if state["shift_by"].numel() and state["shift_by"].item() != 0.0:
        raise CheckpointError(
            "The state adds a constant to the energy of a structure, whatever its "
            "size. Models of synthzoo cannot do that."
        )
    for name in ("scales", "shifts"):
        numbers = state[f"{_PREFIX}per_species_rescale.{name}"].flatten().tolist()
        if len(numbers) != len(elements):
            raise CheckpointError(
                f"The state knows {len(numbers)} element(s), but "
                f"{', '.join(elements)} was given."
            )
        values[f"per_type_energy_{name}"] = {
            element: total * number
            for element, number in zip(elements, numbers, strict=True)
        }
    return values


def _today(name: str) -> str:
    """Return what today's network calls a tensor."""
    for pattern, replacement in _RENAMED:
        name = re.sub(pattern, replacement, name)
    # Activations are modules of their own: 0, 1, 2 became 0, 2, 4.
    return re.sub(
        r"(?<=edge_mlp\.mlp\.)\d+", lambda match: str(2 * int(match[0])), name
    )


def _complaints(
    renamed: Mapping[str, Tensor], today: Mapping[str, Tensor]
) -> list[str]:
    """Return what does not fit the network."""
    wanted = set(today) - _NEW
    found = [f"it has an unknown tensor {name}" for name in set(renamed) - wanted]
    found += [f"it lacks the tensor {name}" for name in wanted - set(renamed)]
    found += [
        f"{name} has the shape {tuple(renamed[name].shape)}, expected "
        f"{tuple(today[name].shape)}"
        for name in wanted & set(renamed)
        if renamed[name].squeeze().shape != today[name].squeeze().shape
    ]
    return sorted(found)


def _fill(model: Module, renamed: Mapping[str, Tensor], *, where: str) -> None:
    """Put the weights of 2023 into today's network; its constants must be the same."""
    weights = model.state_dict()
    with nequip_session():
        from synthzoo.models.legacy_network import weight_factors

        factors = weight_factors(model, renamed)
    trained = dict(model.named_parameters())
    for name, value in renamed.items():
        converted = value.double() * factors.get(name, 1.0)
        converted = converted.reshape(weights[name].shape)
        if name not in trained and not converted.allclose(
            weights[name].double(), atol=CONSTANT_TOLERANCE
        ):
            raise CheckpointError(
                f"{where} is not {_FAMILY}: {name} is not the usual constant."
            )
        weights[name] = converted.to(weights[name].dtype)
    load_weights(model, weights, where=where)


def _without_unused(
    whole: Module, config: CheckpointConfig, *, where: str
) -> tuple[Module, CheckpointConfig]:
    """Return the network without what its last layer computes and nobody uses."""
    *hidden, last = config.arguments["feature_irreps_hidden"]
    scalars = last.split("+")[0]
    config = replace(
        config,
        arguments=config.arguments | {"feature_irreps_hidden": [*hidden, scalars]},
    )
    slim = build_model(config)
    found = whole.state_dict()
    weights = slim.state_dict() | {
        name: found[name] for name, _ in slim.named_parameters()
    }
    layer = f"{_PREFIX}layer{len(hidden)}_convnet.conv"
    weights |= {
        f"{layer}.{name}": value
        for name, value in _scalar_part(
            whole.get_submodule(layer), slim.get_submodule(layer)
        ).items()
    }
    load_weights(slim, weights, where=where)
    return slim.eval(), config


def _scalar_part(whole: Any, slim: Any) -> State:
    """Return the weights of a layer that lead to its even scalars.

    Those scalars are the first of the even ones: behind them come the gates.
    """
    paths = [
        whole.tp_scatter.tp.irreps_out[step.i_out].ir.is_scalar()
        for step in whole.tp_scatter.tp.instructions
        for _ in range(math.prod(step.path_shape))
    ]
    *_, radial = whole.edge_mlp.mlp
    last = len(whole.edge_mlp.mlp) - 1
    return {
        f"edge_mlp.mlp.{last}.weight": radial.weight[:, paths],
        "linear_2.weight": _scalar_block(whole.linear_2, slim.linear_2),
        "sc.weight": _scalar_block(whole.sc, slim.sc),
    }


def _scalar_block(whole: Any, slim: Any) -> Tensor:
    """Return the weights between even scalars, as many outputs as the slim one has."""
    (block,) = (
        weight
        for _, step, weight in whole.weight_views(yield_instruction=True)
        if whole.irreps_out[step.i_out].ir.is_scalar()
    )
    wanted: Tensor = block[..., : slim.irreps_out.dim].flatten()
    return wanted.detach()
