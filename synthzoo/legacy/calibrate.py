"""The number of neighbours that a network divides by, found from labels.

NequIP divides the messages to an atom by the square root of the average number of
neighbours in its training set. Where that number is lost, the one at which the network
agrees best with its teacher is a good stand-in: only the right one fits the weights.
Agreement is measured as the networks of 2023 were trained: 4 times the squared error of
the energy per atom, plus the squared error of a force component.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from synthzoo.data import unconstrained
from synthzoo.data.label_choice import find_label_keys
from synthzoo.data.labelled_set import rms
from synthzoo.data.labels import labels_of
from synthzoo.data.structures import read_structures
from synthzoo.errors import InputError
from synthzoo.runs.progress import progress_bar

if TYPE_CHECKING:
    from ase import Atoms
    from torch.nn import Module

    from synthzoo.data.labels import LabelKeys
    from synthzoo.models.config import CheckpointConfig


RANGE = (5.0, 200.0)
"""Where the number is looked for: a few bonds, or the dozens of a large cutoff."""

PRECISION = 5e-4
"""Of its logarithm: a tenth of the differences between well-trained networks."""

ENERGY_WEIGHT = 4.0
"""Of the squared error of the energy per atom against that of a force component."""

_GOLDEN_RATIO = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The number of neighbours at which a network agrees best with labels.

    Attributes
    ----------
    avg_num_neighbors
        Messages to an atom are divided by its square root.
    data
        Name of the file of labelled structures.
    labels
        Where energies and forces were read.
    structures
        How many it holds.
    energy_rmse_meV_per_atom, force_rmse_eV_A
        What is left between network and labels there.
    """

    avg_num_neighbors: float
    data: str
    labels: str
    structures: int
    energy_rmse_meV_per_atom: float
    force_rmse_eV_A: float


def calibrate(
    model: Module,
    config: CheckpointConfig,
    source: str | Path,
    *,
    energy_key: str | None = None,
    forces_key: str | None = None,
    format: str | None = None,
) -> Calibration:
    """Return the number of neighbours at which a network agrees best with labels.

    ``model``: the network; its own number plays no part.
    ``source``: structures that the network's teacher has labelled, in any format.
    """
    structures = read_structures(source, format=format)
    keys = find_label_keys(structures, energy_key=energy_key, forces_key=forces_key)
    measure = _errors(model, config, structures, keys)
    low, high = map(math.log, RANGE)
    steps = math.ceil(math.log(PRECISION / (high - low), _GOLDEN_RATIO))
    with progress_bar(desc="calibrate", unit="step", total=steps) as progress:

        def loss(logarithm: float) -> float:
            progress.update()
            energy_error, force_error = measure(math.exp(logarithm))
            return ENERGY_WEIGHT * energy_error**2 + force_error**2

        best = _minimum(loss, low, high, steps)
    if min(best - low, high - best) < 10 * PRECISION:
        raise InputError(
            f"The labels in {source} agree best with the network for an absurd number "
            f"of neighbours ({math.exp(best):.1f}). Were they made by its teacher, and "
            "is the cutoff right?"
        )
    found = round(math.exp(best), 2)
    energy_error, force_error = measure(found)
    return Calibration(
        avg_num_neighbors=found,
        data=Path(source).name,
        labels=str(keys),
        structures=len(structures),
        energy_rmse_meV_per_atom=1000 * energy_error,
        force_rmse_eV_A=force_error,
    )


def with_neighbours(config: CheckpointConfig, number: float) -> CheckpointConfig:
    """Return the description of a network with another number of neighbours."""
    arguments = config.arguments | {"avg_num_neighbors": number}
    return replace(config, arguments=arguments)


def _errors(
    model: Module,
    config: CheckpointConfig,
    structures: Sequence[Atoms],
    keys: LabelKeys,
) -> Callable[[float], tuple[float, float]]:
    """Return a function of the number of neighbours: errors in eV/atom and eV/Å."""
    from synthzoo.models.calculator import calculator_of
    from synthzoo.models.predict import predict_structures

    labels = [labels_of(atoms, keys) for atoms in structures]

    def measure(neighbours: float) -> tuple[float, float]:
        calculator = calculator_of(model, with_neighbours(config, neighbours))
        energies, forces = [], []
        predicted = predict_structures(structures, calculator)
        for atoms, label in zip(predicted, labels, strict=True):
            difference = unconstrained.energy_eV(atoms) - label.energy_eV
            energies.append(difference / len(atoms))
            forces.append(unconstrained.forces_eV_A(atoms) - label.forces_eV_A)
        return rms(np.array(energies)), rms(np.concatenate(forces))

    return measure


def _minimum(
    function: Callable[[float], float], low: float, high: float, steps: int
) -> float:
    """Return where a function with one minimum has it (golden-section search)."""
    left = high - _GOLDEN_RATIO * (high - low)
    right = low + _GOLDEN_RATIO * (high - low)
    at_left, at_right = function(left), function(right)
    for _ in range(steps - 2):
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN_RATIO * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN_RATIO * (high - low)
            at_right = function(right)
    return (low + high) / 2
