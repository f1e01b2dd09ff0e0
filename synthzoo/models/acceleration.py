"""Networks of torch, compiled or with other kernels, once they are seen to agree."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms

from synthzoo.errors import SynthzooError
from synthzoo.models.architectures import architecture_of
from synthzoo.models.isolation import nequip_session
from synthzoo.models.machine_code import CompiledNetwork, machine_code
from synthzoo.models.place import PACKAGES
from synthzoo.models.torch_pass import TorchPass

if TYPE_CHECKING:
    from torch.nn import Module

    from synthzoo.models.config import CheckpointConfig
    from synthzoo.models.place import Place
    from synthzoo.models.stored import StoredNetwork
    from synthzoo.models.torch_pass import Evaluate

TOLERANCES = {"float32": 1e-4, "float64": 1e-9}
"""Of energies, forces and virials, relative to the largest of each, or to 1."""

NARROW_A, WIDE_A = 1.0, 20.0
"""Distance of the two atoms of the companion, and its cell."""


def torch_pass_of(stored: StoredNetwork, place: Place) -> TorchPass:
    """Return what computes with a network of torch as a place asks for.

    ``place``: from `find_place`.
    """
    network = _network(stored)
    plain = TorchPass(network, stored.config, place.device)
    if not place.compiled and place.kernels is None:
        return plain
    if place.kernels is not None:
        importlib.import_module(PACKAGES[place.kernels])  # before code that calls it
    evaluate = _evaluate(stored, plain, place)
    found = TorchPass(network, stored.config, place.device, evaluate)
    _check(found, plain, stored)
    return found


def _evaluate(stored: StoredNetwork, plain: TorchPass, place: Place) -> Evaluate:
    def build() -> Module:
        network = _network(stored)
        if place.kernels is not None:
            architecture = architecture_of(stored.config.builder)
            with nequip_session():
                network = architecture.with_kernels(network, place.kernels)
        return network.to(place.device)

    if not place.compiled:
        return build()
    companion = plain.joined([companion_of(stored.config)])
    sample = plain.joined([crystal_of(stored.config, 0), companion_of(stored.config)])
    code = machine_code(stored, build, place, sample)
    return CompiledNetwork(code, place.device, companion)


def _network(stored: StoredNetwork) -> Module:
    return stored.network().requires_grad_(requires_grad=False)


def _check(found: TorchPass, plain: TorchPass, stored: StoredNetwork) -> None:
    """Refuse a network that computes otherwise than the plain one."""
    config = stored.config
    for structures in (
        [crystal_of(config, 1)],
        [companion_of(config), crystal_of(config, 0), _alone(config)],
    ):
        worst = _difference(found, plain, structures)
        if not worst <= TOLERANCES[stored.dtype]:
            raise SynthzooError(
                "The network computes otherwise when it is compiled, or by other "
                f"kernels: its results differ by {worst:.2g} of the largest. Leave out "
                "`compile` and `kernels`, or install other versions of torch and the "
                "kernels."
            )


def _difference(
    found: TorchPass, plain: TorchPass, structures: Sequence[Atoms]
) -> float:
    """Return the largest difference of a result from what it should be."""
    pairs = [
        (getattr(here, name), getattr(there, name))
        for here, there in zip(
            found.compute(structures), plain.compute(structures), strict=True
        )
        for name in ("energies", "forces", "virial")
    ]
    differences = [abs(a - b).max() / max(1.0, abs(b).max()) for a, b in pairs]
    return float(np.max(differences))  # NaN, if there is one


def crystal_of(config: CheckpointConfig, more: int) -> Atoms:
    """Return a rattled cubic crystal with all elements and many edges.

    ``more``: atoms along each vector, beyond as many as needed.
    """
    side = max(2, math.ceil(len(config.elements) ** (1 / 3))) + more
    spacing_A = config.cutoff_A / 2
    symbols = [config.elements[n % len(config.elements)] for n in range(side**3)]
    grid = np.indices((side,) * 3).reshape(3, -1).T
    crystal = Atoms(symbols, grid * spacing_A, cell=[side * spacing_A] * 3, pbc=True)
    crystal.rattle(0.05 * spacing_A, seed=more)
    return crystal


def companion_of(config: CheckpointConfig) -> Atoms:
    """Return two atoms near each other in a large cell."""
    return Atoms(
        [config.elements[0]] * 2, [[0, 0, 0], [NARROW_A, 0, 0]], cell=[WIDE_A] * 3
    )


def _alone(config: CheckpointConfig) -> Atoms:
    return Atoms([config.elements[-1]])
