"""Put an energy reference into a model, so that it gives the user's total energies."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from synthzoo.checkpoint import build_model, load_weights
from synthzoo.errors import CheckpointError

if TYPE_CHECKING:
    import torch

    from synthzoo.config import CheckpointConfig
    from synthzoo.tuning.energy_reference import EnergyReference

SHIFTS = "per_type_energy_shifts"
SHIFT_BUFFER = "per_type_energy_scale_shift.shifts"
"""How the name of the buffer ends in which nequip keeps them, in float64."""


def with_reference(
    weights: Mapping[str, torch.Tensor],
    config: CheckpointConfig,
    reference: EnergyReference,
) -> tuple[torch.nn.Module, CheckpointConfig]:
    """Return a model whose energies are the user's, and its description.

    The shifts are kept and added in float64, whatever the precision of the weights: a
    total energy of a million eV keeps its meV.

    Parameters
    ----------
    weights
        Of the fitted model, on the scale of the checkpoint it started from.
    config
        Description of that checkpoint.
    reference
        What to add to its energies.

    Raises
    ------
    CheckpointError
        If the model has no place for energy shifts.
    """
    import torch

    names = [name for name in weights if name.endswith(SHIFT_BUFFER)]
    if len(names) != 1:
        raise CheckpointError(
            f"{config.builder} has no energy shifts ({SHIFT_BUFFER}): it cannot give "
            "total energies."
        )
    old = weights[names[0]].reshape(-1).to(torch.float64)
    added = torch.tensor(
        [reference.shifts_eV[name] for name in config.elements], dtype=torch.float64
    )
    shifts = added + (old if old.numel() else 0.0)
    values = dict(zip(config.elements, shifts.tolist(), strict=True))
    arguments: dict[str, Any] = copy.deepcopy(config.arguments) | {SHIFTS: values}
    moved = dataclasses.replace(
        config,
        arguments=arguments,
        isolated_atom_energies_eV=reference.isolated_atom_energies_eV,
    )
    model = build_model(moved)
    load_weights(
        model,
        {**weights, names[0]: shifts.reshape(-1, 1)},
        where="The fitted model",
    )
    return model.eval(), moved
