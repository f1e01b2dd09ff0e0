"""Networks of torch as machine code, compiled once for a device and kept on disk.

The code is written by AOTInductor. It is loaded only from files that were written here,
which carry their hash.
"""

from __future__ import annotations

import io
import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from synthzoo.errors import SynthzooError, one_line
from synthzoo.models import graphs
from synthzoo.models.architectures import architecture_of
from synthzoo.models.engine.jit import processor
from synthzoo.models.isolation import MODEL_GATE, nequip_session
from synthzoo.models.place import PACKAGES
from synthzoo.runs.caches import kept_or_made
from synthzoo.runs.files import hash_content, hash_values
from synthzoo.runs.provenance import installed_versions

if TYPE_CHECKING:
    from synthzoo.models.graphs import Graph
    from synthzoo.models.place import Place
    from synthzoo.models.stored import StoredNetwork

_LOG = logging.getLogger(__name__)

FORM = 1
"""Counts the forms of what compiled networks take and give."""

INPUTS = (
    graphs.POSITIONS,
    graphs.CELL,
    graphs.TYPES,
    graphs.EDGES,
    graphs.SHIFTS,
    graphs.STRUCTURE,
    graphs.SIZES,
)
OF_STRUCTURES = (graphs.ENERGY, graphs.STRESS)
OF_ATOMS = (graphs.ENERGIES, graphs.FORCES)
OF_EDGES = (graphs.LENGTHS,)
OUTPUTS = (*OF_STRUCTURES, *OF_ATOMS, *OF_EDGES)


class CompiledNetwork:
    """Machine code of a network, for any number of structures, atoms and edges.

    The code holds for numbers above one, since torch compiles 0 and 1 apart from all
    others: given a single structure it would end the process. A companion therefore
    goes along with what is computed.

    Parameters
    ----------
    code
        What `machine_code` returns.
    device
        As torch calls it.
    companion
        Graph of a structure with two atoms, on the device.
    """

    def __init__(self, code: bytes, device: str, companion: Graph) -> None:
        index = torch.device(device).index
        with MODEL_GATE.building():
            self._run = torch._inductor.aoti_load_package(
                io.BytesIO(code), device_index=-1 if index is None else index
            )
        self._companion = inputs_of(companion)

    def __call__(self, graph: Graph) -> Graph:
        """Return a graph with energies, forces, stresses and lengths of edges."""
        whole = graphs.join([inputs_of(graph), self._companion])
        with torch.no_grad():
            found = self._run([whole[name] for name in INPUTS])
        wanted = {
            **dict.fromkeys(OF_STRUCTURES, len(graph[graphs.SIZES])),
            **dict.fromkeys(OF_ATOMS, len(graph[graphs.POSITIONS])),
            **dict.fromkeys(OF_EDGES, graph[graphs.EDGES].shape[1]),
        }
        outputs = zip(OUTPUTS, found, strict=True)
        return graph | {name: value[: wanted[name]] for name, value in outputs}


def inputs_of(graph: Graph) -> Graph:
    """Return the part of a graph that compiled networks take."""
    return {name: graph[name] for name in INPUTS}


def machine_code(
    stored: StoredNetwork,
    build: Callable[[], torch.nn.Module],
    place: Place,
    sample: Graph,
) -> bytes:
    """Return the code of a network, from the disk if it was compiled before.

    ``build``: returns the network, on the device, with the kernels of the place.
    ``sample``: several structures on the device, with more than two atoms and edges.
    """
    return kept_or_made(
        "compiled",
        f"{_key(stored, place)}.pt2",
        lambda: _compiled(stored, build(), place, sample),
    )


def _key(stored: StoredNetwork, place: Place) -> str:
    """Return a hash of all that decides the code."""
    config = stored.config
    weights = [
        (name, str(value.dtype), value.shape, hash_content(value.tobytes()))
        for name, value in sorted(stored.weights.items())
    ]
    versions: dict[str, Any] = installed_versions()
    if place.kernels is not None:
        versions[place.kernels] = version(PACKAGES[place.kernels])
    network = [config.builder, config.arguments, config.elements, config.cutoff_A]
    return hash_values(
        [FORM, network, stored.dtype, weights, versions, _machine(place.device)]
    )


def _machine(device: str) -> Sequence[Any]:
    """Return what the code depends on: the processor, and the GPU."""
    if device == "cpu":
        return processor()
    cuda = torch.version.cuda or torch.version.hip
    name = torch.cuda.get_device_name(device)
    return (*processor(), name, torch.cuda.get_device_capability(device), cuda)


def _compiled(
    stored: StoredNetwork, network: torch.nn.Module, place: Place, sample: Graph
) -> bytes:
    architecture = architecture_of(stored.config.builder)
    _LOG.warning(
        "Compiling the network for %s, which takes minutes. The result is kept in the "
        "cache.",
        place.device,
    )
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as folder,
        nequip_session(),
        MODEL_GATE.building(),
        _current(place.device),
    ):
        warnings.simplefilter("ignore")  # torch's, about itself
        path = Path(folder) / "network.pt2"
        try:
            architecture.compile_network(network, inputs_of(sample), OUTPUTS, path)
        except SynthzooError:
            raise
        except Exception as error:  # torch and compilers raise what they like
            raise SynthzooError(
                f"torch {torch.__version__} cannot compile this network for "
                f"{place.device} ({type(error).__name__}: {one_line(error)}). It needs "
                "a C++ compiler, and Triton on a GPU. Without `compile` the network "
                "computes the same, only slower."
            ) from error
        code = path.read_bytes()
    _LOG.warning("Compiled in %.0f s.", time.monotonic() - started)
    return code


def _current(device: str) -> AbstractContextManager[object]:
    """Return a context in which ``cuda`` means this GPU."""
    if device == "cpu":
        return nullcontext()
    context: AbstractContextManager[object] = torch.cuda.device(device)
    return context
