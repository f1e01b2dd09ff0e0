"""A checkpoint as an ASE calculator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from synthzoo.checkpoint import CheckpointConfig, load_model
from synthzoo.isolation import nequip_session

with nequip_session():
    from nequip.data import AtomicDataDict
    from nequip.integrations.ase import NequIPCalculator
    from nequip.integrations.utils import basic_transforms


class SynthzooCalculator(NequIPCalculator):  # type: ignore[misc]
    """A model of the zoo as an ASE calculator."""

    def __init__(
        self, model: torch.nn.Module, config: CheckpointConfig, *, device: str = "auto"
    ) -> None:
        elements = list(config.elements)
        super().__init__(
            model=model,
            device="cpu" if device == "auto" else device,
            transforms=basic_transforms(
                model.metadata, config.cutoff_A, elements, {e: e for e in elements}
            ),
        )
        self.config = config

    def atoms_to_data(self, atoms: Any) -> dict[str, torch.Tensor]:
        """Return nequip's input, in float64 whatever torch's default dtype is."""
        data = {
            AtomicDataDict.POSITIONS_KEY: torch.tensor(atoms.positions),
            AtomicDataDict.CELL_KEY: torch.tensor(atoms.cell.array).reshape(1, 3, 3),
            AtomicDataDict.PBC_KEY: torch.tensor(atoms.pbc).reshape(1, 3),
            AtomicDataDict.ATOMIC_NUMBERS_KEY: torch.tensor(atoms.numbers),
        }
        for transform in self.transforms:
            data = transform(data)
        return data


def load_calculator(
    model: str | Path, *, device: str = "auto", dtype: str = "float32"
) -> SynthzooCalculator:
    """Return the calculator of a checkpoint."""
    loaded, config = load_model(Path(model), dtype=dtype)
    return SynthzooCalculator(loaded, config, device=device)
