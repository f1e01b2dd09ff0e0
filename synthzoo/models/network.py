"""The network that a description describes: built, filled with weights, made wider."""

from __future__ import annotations

import copy
import functools
import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from synthzoo.errors import CheckpointError, InputError, one_line
from synthzoo.models.architectures import architecture_of
from synthzoo.models.config import CONFIG_FILE, CheckpointConfig
from synthzoo.models.engine.not_covered import NotCovered
from synthzoo.models.isolation import MODEL_GATE, nequip_session
from synthzoo.runs.provenance import installed_versions

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module


_LOG = logging.getLogger(__name__)

DTYPES = ("float32", "float64")


def build_model(
    config: CheckpointConfig, *, dtype: str | None = None, seed: int = 0
) -> Module:
    """Return an untrained network of the described architecture, ready to train.

    The process state of the caller is kept. On a CPU the engine evaluates the
    network where that is possible; where it is not, that is logged once.

    ``dtype``: precision of the network; that of the checkpoint if not given.
    """
    architecture = architecture_of(config.builder)
    architecture.check_arguments(config.arguments, config.elements)
    from synthzoo.models.engine.module import accelerate

    described = replace(config, arguments=copy.deepcopy(config.arguments))
    dtype = checked_dtype(dtype or config.dtype)
    with nequip_session(), MODEL_GATE.building():
        warnings.simplefilter("ignore")  # advice on arguments, meant for training
        try:
            model = architecture.build(described, dtype=dtype, seed=seed)
        except (AssertionError, KeyError, RuntimeError, TypeError, ValueError) as error:
            version = installed_versions()["nequip"]
            raise CheckpointError(
                f"{config.builder} (nequip {version}) cannot build the model that "
                f"{CONFIG_FILE} describes: {one_line(error)}."
            ) from error
        try:
            accelerate(model, architecture.shape(described))
        except NotCovered as reason:
            tell_of_slowness(str(reason))
    return model


@functools.cache
def tell_of_slowness(reason: str) -> None:
    """Say it once in a process, for each reason."""
    _LOG.warning(
        "The engine cannot evaluate this network on a CPU, because %s: it is "
        "several times slower there.",
        reason,
    )


def load_weights(model: Module, weights: Mapping[str, Tensor], *, where: str) -> None:
    """Put weights into a model of just this architecture.

    ``weights``: tensors by name; nothing may be missing or left over.
    ``where``: what to call the weights in a message.
    """
    with MODEL_GATE.computing():
        for name, tensor in weights.items():
            if tensor.is_floating_point() and not tensor.isfinite().all():
                raise CheckpointError(
                    f"{where}: {name} holds numbers that are not finite."
                )
        try:
            model.load_state_dict(dict(weights), strict=True)
        except RuntimeError as error:
            raise CheckpointError(
                f"{where} does not fit the model that {CONFIG_FILE} describes: "
                f"{one_line(error)}."
            ) from error


def grow(
    network: Module, config: CheckpointConfig, features: Sequence[str], *, seed: int
) -> tuple[Module, CheckpointConfig]:
    """Return a wider network with the predictions of a given one, and its description.

    ``network``: it is not changed.
    ``features``: features of each layer but the last, such as ``64x0e+32x1o+32x1e``: at
    least those that the layer has.
    """
    architecture = architecture_of(config.builder)
    builder, arguments = architecture.widened(config.arguments, features)
    wider = replace(config, builder=builder, arguments=arguments)
    grown = build_model(wider, seed=seed)
    weights = architecture.widened_weights(
        network.state_dict(), grown.state_dict(), config, wider
    )
    grown.load_state_dict(weights)
    return grown, wider


def checked_dtype(dtype: str) -> str:
    """Return the name of a precision; refuse any other."""
    if dtype not in DTYPES:
        raise InputError(f"dtype must be one of {', '.join(DTYPES)}, not {dtype!r}.")
    return dtype
