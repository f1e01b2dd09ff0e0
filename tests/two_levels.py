"""A small checkpoint of two levels of theory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from synthzoo.models.architectures import architecture_of
from synthzoo.models.checkpoint import as_checkpoint, load_model, write_checkpoint
from synthzoo.models.levels import NewLevels
from synthzoo.models.stored import StoredNetwork

READOUT = "model.func.per_atom_energy_readout.mlp_module.mlp.0.weight"
FREE_EV, LOW_FREE_EV = -7.0, -3.0
"""Energies of a free atom at the two levels."""
STIFFER = 1.5


def write_two_levels(folder: Path, checkpoint: Path) -> None:
    """Write a checkpoint with a second level, which binds half as much again.

    The default level, ``rpa``, is that of the checkpoint; the other one is ``pbe``.
    """
    stored = as_checkpoint(checkpoint).stored
    architecture = architecture_of(stored.config.builder)
    weights = dict(stored.weights)
    weights[READOUT] = np.float32(STIFFER) * weights[READOUT]
    shifts = next(name for name in weights if name.endswith("shifts"))
    weights[shifts] = np.full_like(weights[shifts], LOW_FREE_EV)
    config = replace(
        stored.config,
        arguments=architecture.shifted(stored.config.arguments, {"C": LOW_FREE_EV}),
        isolated_atom_energies_eV={"C": LOW_FREE_EV},
        labels={"source": "a cheap one"},
    )
    low = StoredNetwork(config, weights, "float32")
    model, config = load_model(checkpoint)
    write_checkpoint(
        folder,
        model=model,
        config=config,
        golden=as_checkpoint(checkpoint).golden,
        card="---\nlicense: mit\n---\n# mine\n",
        levels=NewLevels(default="rpa", others={"pbe": low}),
    )
