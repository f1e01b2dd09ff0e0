"""Networks as machine code for other programs, compared before they are kept.

Unlike what `synthzoo.models.machine_code` keeps, these files have the form that
nequip's own programs read: its calculator of ASE, torch-sim, and `pair_nequip` of
LAMMPS. A file holds for the kind of machine on which it was made.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from synthzoo.errors import InputError, SynthzooError, one_line
from synthzoo.models.engine.jit import processor
from synthzoo.runs.files import new_output
from synthzoo.runs.provenance import installed_versions

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.models.config import CheckpointConfig
    from synthzoo.models.graphs import Graph
    from synthzoo.models.stored import StoredNetwork
    from synthzoo.models.torch_pass import TorchPass

Target = Literal["ase", "batch", "pair_nequip"]
TARGETS: tuple[Target, ...] = get_args(Target)

ENDING = ".nequip.pt2"
MACHINE, VERSIONS = "synthzoo_machine", "synthzoo_versions"
"""Notes in a file: for which processor, and with which versions it was made."""

LARGEST_DIFFERENCE = {"float32": 1e-4, "float64": 1e-9}
"""Of a result, relative to the largest of its kind, or to 1."""


def write_portable(
    stored: StoredNetwork, target: Target, device: str, path: Path
) -> float:
    """Write a network as machine code, and return by how much it differs.

    ``device``: ``cpu`` or ``cuda``. The file appears only if it computes what the
    network computes.
    """
    if target not in TARGETS:
        raise InputError(f"target is {target!r}, but must be {', '.join(TARGETS)}.")
    if not path.name.endswith(ENDING):
        raise InputError(f"nequip reads such files only if they end in {ENDING}.")
    with new_output(path):
        return _write(stored, target, device, path)


def _write(stored: StoredNetwork, target: Target, device: str, path: Path) -> float:
    import tempfile
    import warnings

    import torch

    from synthzoo.models.acceleration import crystal_of
    from synthzoo.models.architectures import architecture_of
    from synthzoo.models.isolation import MODEL_GATE, nequip_session
    from synthzoo.models.torch_pass import TorchPass

    network = stored.network().requires_grad_(requires_grad=False)
    plain = TorchPass(network, stored.config, device)
    sample = plain.joined([crystal_of(stored.config, 0)])
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / path.name
        with nequip_session(), MODEL_GATE.building():
            warnings.simplefilter("ignore")  # torch's, about itself
            architecture = architecture_of(stored.config.builder)
            own = stored.network().requires_grad_(requires_grad=False).to(device)
            try:
                architecture.export_network(own, target, sample, made, notes())
            except SynthzooError:
                raise
            except Exception as error:  # torch and compilers raise what they like
                raise SynthzooError(
                    f"torch {torch.__version__} cannot compile this network for "
                    f"{device} ({type(error).__name__}: {one_line(error)}). It needs a "
                    "C++ compiler, and Triton on a GPU."
                ) from error
        worst = _worst_difference(made, plain, target, device, stored.config)
        if not worst <= LARGEST_DIFFERENCE[stored.dtype]:
            raise SynthzooError(
                f"The compiled network computes otherwise: its results differ by "
                f"{worst:.2g} of the largest, so it was not kept. Try other versions "
                "of torch."
            )
        made.replace(path)
    return worst


def notes() -> dict[str, str]:
    """Return what is written into a file about where it was made."""
    return {
        MACHINE: " ".join(processor()),
        VERSIONS: json.dumps(installed_versions()),
    }


def refuse_other_machine(path: Path) -> None:
    """Refuse a file of `write_portable` that was made for another processor."""
    written = notes_in(path).get(MACHINE)
    if written is not None and written != " ".join(processor()):
        raise InputError(
            f"{path} is machine code for another processor ({written.split()[0]}; this "
            f"is {processor()[0]}): export it again on this machine."
        )


def notes_in(path: Path) -> Mapping[str, str]:
    """Return what stands in a package of AOTInductor about itself; nothing is run."""
    try:
        with zipfile.ZipFile(path) as package:
            names = [n for n in package.namelist() if n.endswith("_metadata.json")]
            found = [json.loads(package.read(name)) for name in names]
    except (OSError, ValueError, zipfile.BadZipFile):
        return {}
    return {key: value for notes in found for key, value in notes.items()}


def _worst_difference(
    made: Path, plain: TorchPass, target: Target, device: str, config: CheckpointConfig
) -> float:
    """Return the largest difference of what a file and the network compute."""
    from nequip.model.inference_models.aotinductor import load_aotinductor_model

    from synthzoo.models.isolation import MODEL_GATE, nequip_session

    with nequip_session(), MODEL_GATE.building():
        loaded, _ = load_aotinductor_model(str(made), device)
    worst = [
        difference
        for structures in _samples(config, target)
        for difference in _differences(loaded, plain, structures)
    ]
    return float(np.max(worst))  # NaN, if there is one


def _samples(config: CheckpointConfig, target: Target) -> list[list[Atoms]]:
    from synthzoo.models.acceleration import companion_of, crystal_of

    alone = [[crystal_of(config, more)] for more in (0, 1)] + [[companion_of(config)]]
    if target != "batch":
        return alone
    return [[atom for (atom,) in alone], [atom for (atom,) in alone[:2]]]


def _differences(
    loaded: Any, plain: TorchPass, structures: Sequence[Atoms]
) -> Iterator[float]:
    graph = plain.joined(structures)
    expected = plain.evaluate(dict(graph))
    found: Graph = loaded(dict(graph))
    for name, value in found.items():
        if name not in graph and name in expected:
            there = expected[name].detach().cpu().double().numpy()
            here = value.detach().cpu().double().numpy().reshape(there.shape)
            yield float(abs(here - there).max() / max(1.0, abs(there).max()))
