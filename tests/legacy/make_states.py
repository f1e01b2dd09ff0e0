"""Write small states of nequip 0.5.6, and what it predicts with them, for the tests.

Not part of the tests: it needs nequip 0.5.6 and e3nn 0.4.4. Their wheels are pure
Python; unpacked into a folder that comes first in PYTHONPATH (with torch-runstats and
torch-ema), they run with the torch of today:

    TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1 PYTHONPATH=unpacked python make_states.py
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from ase.data import chemical_symbols
from nequip.data import AtomicData
from nequip.model import model_from_config
from nequip.utils import Config

sys.path.append(str(Path(__file__).parents[2]))
from synthzoo.zoo.published import small_structures

HERE = Path(__file__).parent
DEFAULTS: dict[str, Any] = {
    "model_builders": [
        "SimpleIrrepsConfig",
        "EnergyModel",
        "PerSpeciesRescale",
        "ForceOutput",
        "RescaleEnergyEtc",
    ],
    "BesselBasis_trainable": True,
    "per_species_rescale_arguments_in_dataset_units": True,
    "global_rescale_shift": None,
}
NETWORKS: dict[str, dict[str, Any]] = {
    "two-elements": {
        "type_names": ["C", "Si"],
        "r_max": 3.5,
        "num_layers": 3,
        "num_features": 4,
        "l_max": 2,
        "parity": True,
        "num_basis": 5,
        "invariant_layers": 2,
        "invariant_neurons": 6,
        "avg_num_neighbors": 12.0,
        "per_species_rescale_scales": [1.3, 0.7],
        "per_species_rescale_shifts": [-1.0, 2.0],
        "global_rescale_scale": 2.5,
    },
    "no-parity": {
        "type_names": ["C"],
        "r_max": 4.0,
        "num_layers": 2,
        "num_features": 6,
        "l_max": 1,
        "parity": False,
        "num_basis": 8,
        "invariant_layers": 1,
        "invariant_neurons": 4,
        "avg_num_neighbors": 20.0,
        "per_species_rescale_scales": [1.0],
        "per_species_rescale_shifts": [0.0],
        "global_rescale_scale": None,
    },
}


def make(name: str, options: dict[str, Any]) -> None:
    """Write a state with random weights, and energies and forces in float64."""
    types = options["type_names"]
    single = {"default_dtype": "float32", "num_types": len(types)}
    torch.manual_seed(len(types))
    network = model_from_config(
        Config(DEFAULTS | options | single | {"model_debug_mode": False}),
        initialize=True,
    )
    torch.save(network.state_dict(), HERE / f"{name}.pth")
    network = network.double().eval()
    torch.set_default_dtype(torch.float64)
    found = [
        predict(network, atoms, types, options["r_max"])
        for atoms in small_structures(types)
    ]
    torch.set_default_dtype(torch.float32)
    (HERE / f"{name}.json").write_text(json.dumps(found) + "\n")


def predict(network: Any, atoms: Any, types: list[str], r_max: float) -> dict[str, Any]:
    """Return energy (eV) and forces (eV/Å) of one structure."""
    data = AtomicData.to_AtomicDataDict(AtomicData.from_ase(atoms, r_max))
    indices = [types.index(chemical_symbols[number]) for number in atoms.numbers]
    data["atom_types"] = torch.tensor(indices).reshape(-1, 1)
    output = network(data)
    return {
        "energy": output["total_energy"].item(),
        "forces": output["forces"].detach().tolist(),
    }


if __name__ == "__main__":
    for name, options in NETWORKS.items():
        make(name, options)
