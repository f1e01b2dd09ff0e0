"""The network that a description describes: the only builder of nequip's networks."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from synthzoo.errors import CheckpointError, InputError, one_line
from synthzoo.models.architecture import check_arguments
from synthzoo.models.config import (
    CONFIG_FILE,
    CheckpointConfig,
)
from synthzoo.models.isolation import MODEL_GATE, nequip_session
from synthzoo.runs.provenance import installed_versions

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module


DTYPES = ("float32", "float64")


def build_model(
    config: CheckpointConfig, *, dtype: str | None = None, seed: int = 0
) -> Module:
    """Return an untrained nequip model of the described architecture, ready to train.

    The process state of the caller is kept. On a CPU the model is evaluated by
    `synthzoo.models.acceleration` where that is possible.

    Parameters
    ----------
    config
        Description of the model.
    dtype
        Precision of the model; that of the checkpoint if not given.
    seed
        Seed of the initial weights.

    Raises
    ------
    CheckpointError
        If the installed nequip refuses the description.
    """
    check_arguments(config.builder, config.arguments, config.elements)
    with nequip_session(), MODEL_GATE.building():
        warnings.simplefilter("ignore")  # advice on arguments, meant for training
        try:
            model: Module = _builder(config.builder)(
                seed=seed,
                model_dtype=_checked_dtype(dtype or config.dtype),
                type_names=list(config.elements),
                r_max=config.cutoff_A,
                **copy.deepcopy(config.arguments),
            )
        except (AssertionError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"nequip {installed_versions()['nequip']} cannot build the model that "
                f"{CONFIG_FILE} describes: {one_line(error)}."
            ) from error
        from synthzoo.models.acceleration import (
            accelerate,  # imports what changes the process
        )

        accelerate(model)
    return model


def load_weights(model: Module, weights: Mapping[str, Tensor], *, where: str) -> None:
    """Put weights into a model of just this architecture.

    Parameters
    ----------
    model
        Model to change.
    weights
        Tensors by name; nothing may be missing or left over.
    where
        What to call the weights in a message.

    Raises
    ------
    CheckpointError
        If names or shapes differ, or a number is not finite.
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


def _builder(name: str) -> Callable[..., Module]:
    """Return a function of nequip, or ours for the networks of 2023."""
    builder: Callable[..., Module]
    if name == "LegacyNequIPModel":
        from synthzoo.models.legacy_network import legacy_nequip_model as builder
    else:
        import nequip.model

        builder = getattr(nequip.model, name)
    return builder


def _checked_dtype(dtype: str) -> str:
    if dtype not in DTYPES:
        raise InputError(f"dtype must be one of {', '.join(DTYPES)}, not {dtype!r}.")
    return dtype
