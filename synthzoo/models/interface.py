"""What synthzoo asks of a kind of network.

All the rest of synthzoo sees networks through this file and through graphs (see
`synthzoo.models.graphs`). A new kind of network is one file with a subclass of
`Architecture`, and one line in `synthzoo.models.architectures`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Protocol

from synthzoo.errors import CheckpointError, InputError
from synthzoo.models.engine.not_covered import NotCovered
from synthzoo.recipes.schema import above_0

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor
    from torch.nn import Module

    from synthzoo.models.engine.shape import NetworkShape
    from synthzoo.models.graphs import Graph

MAX_CUTOFF_A = 20.0
Cutoff = Annotated[float, above_0(MAX_CUTOFF_A)]

Arguments = dict[str, Any]
"""What describes a network besides elements and cutoff: plain values, as in JSON."""

Weights = Mapping[str, "Tensor"]
"""Tensors by name."""


class Described(Protocol):
    """A description of a network, such as a `CheckpointConfig`."""

    @property
    def builder(self) -> str:
        """Name of the architecture."""

    @property
    def arguments(self) -> Arguments:
        """What else the architecture has to know."""

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols, in the order of the network's types."""

    @property
    def cutoff_A(self) -> float:
        """Radius within which atoms are neighbours."""


class Statistics(NamedTuple):
    """What a new network is told of its training set."""

    elements: tuple[str, ...]
    """Chemical symbols, in the order of the network's types."""
    neighbours: float
    """Neighbours of an atom, on average."""
    force_rms_eV_A: float
    """Root mean square of the force components."""


class EnergyTerms(NamedTuple):
    """What the network's own energy of an atom is multiplied by, and what is added."""

    scales: tuple[float, ...]
    """For each element, in the order of the network's types."""
    shifts_eV: tuple[float, ...]


class Scaling(NamedTuple):
    """How a network of some elements becomes one of others."""

    elements: Mapping[str, str]
    """New chemical symbol of each element, in the order of the types."""
    lengths: float
    """Factor of all lengths, the cutoff among them."""
    energy_terms: EnergyTerms
    """Of the new network."""


class Architecture:
    """A kind of network.

    A network is a module of torch. It takes a graph of one structure or of several and
    returns it with energies, forces, stresses and the lengths of its edges, under the
    names and in the units of `synthzoo.models.graphs`. Its forces have to be
    differentiable themselves, for training. Its description decides the names and
    shapes of its weights. A recipe freezes ``layer0``, ``layer1`` … by the names of
    weights that hold ``layer0_``, ``layer1_`` …, and ``readout``; the rest is
    ``embedding``.

    An architecture has to check arguments and to build. What else it does not define
    is refused in its name, or is nothing where that is right for any network. Methods
    in pairs first give the description of a changed network, and then its weights; for
    some of them the network is built in between.

    Parameters
    ----------
    name
        The `builder` of a checkpoint's description.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def check_arguments(self, arguments: Arguments, elements: Sequence[str]) -> None:
        """Raise `CheckpointError` for arguments that are unknown, wrong or absurd.

        They may come from a stranger's file. Neither torch nor another large package
        may be imported for this.
        """
        raise NotImplementedError

    def build(self, described: Described, *, dtype: str, seed: int) -> Module:
        """Return a new network; `synthzoo.models.network.build_model` calls this.

        The arguments are checked, and a copy; ``dtype`` is float32 or float64.
        """
        raise NotImplementedError

    def complete(self, arguments: Arguments, found: Statistics) -> Arguments:
        """Return the arguments of a new network from those in a recipe."""
        return arguments

    def shape(self, described: Described) -> NetworkShape:
        """Return what the engine has to know to compute with such a network.

        Raise `NotCovered` if it cannot. Neither torch nor another large package may be
        imported for this.
        """
        raise NotCovered(f"it does not know networks of {self.name}")

    def energy_terms(self, weights: Weights, elements: Sequence[str]) -> EnergyTerms:
        """Return factor and constant of the energies of atoms."""
        raise CheckpointError(
            f"{self.name} has no energy shifts: it cannot give total energies."
        )

    def shifted(self, arguments: Arguments, shifts_eV: dict[str, float]) -> Arguments:
        """Return arguments with other constants of the energies of atoms."""
        raise self.cannot("be given energies of atoms")

    def shifts_in(self, arguments: Arguments) -> dict[str, float]:
        """Return the constants of the energies of atoms that `shifted` has set."""
        raise self.cannot("be given energies of atoms")

    def shifted_weights(
        self, old: Weights, shifts_eV: Sequence[float]
    ) -> dict[str, Tensor]:
        """Return the weights for a network of `shifted` arguments."""
        raise NotImplementedError

    def scaled(self, arguments: Arguments, scaling: Scaling) -> Arguments:
        """Return the arguments of a network of other elements, with other lengths.

        Raise `InputError` if a part of the network does not scale.
        """
        raise self.cannot("be scaled")

    def scaled_weights(
        self, old: Weights, new: Module, scaling: Scaling
    ) -> dict[str, Tensor]:
        """Return the weights for a network of `scaled` arguments."""
        raise NotImplementedError

    def widened(
        self, arguments: Arguments, features: Sequence[str]
    ) -> tuple[str, Arguments]:
        """Return architecture and arguments of a wider network.

        ``features`` are those of each layer but the last, such as ``64x0e+32x1o``.
        """
        raise self.cannot("be made wider")

    def widened_weights(
        self, old: Weights, new: Weights, before: Described, after: Described
    ) -> dict[str, Tensor]:
        """Return weights with which a wider network predicts what the old one does.

        ``new`` are those that it was built with.
        """
        raise NotImplementedError

    def readout(self, network: Module) -> tuple[Module, Tensor]:
        """Return the layer in whose ``weight`` all energies of atoms are linear.

        It is called with the features of atoms alone. The second value is what its
        results are multiplied by: one number, or one for each type.
        """
        raise self.cannot("be made to bind more strongly")

    def with_kernels(self, network: Module, kernels: str) -> Module:
        """Return a network with the kernels of another package, for a GPU.

        Its weights keep their names. Raise `CheckpointError` if that fails here.
        """
        raise self.cannot(f"use the kernels of {kernels}")

    def compile_network(
        self, network: Module, sample: Graph, outputs: Sequence[str], path: Path
    ) -> None:
        """Write a package of AOTInductor with machine code of a network.

        The code takes a list of tensors, those of the ``sample`` in its order, and
        returns a list of ``outputs``, which are names in `synthzoo.models.graphs`. It
        must serve any number above one of structures, atoms and edges. Network and
        sample are on the device, whose ``cuda`` is the current one; the network may be
        changed.
        """
        raise self.cannot("be compiled")

    def export_network(
        self,
        network: Module,
        target: str,
        sample: Graph,
        path: Path,
        notes: Mapping[str, str],
    ) -> None:
        """Write a package of AOTInductor for programs that know this kind of networks.

        ``target``: the program; see `synthzoo.models.portable`. ``sample``: one
        structure with more than two atoms and edges. ``notes``: to be written into the
        package. The network may be changed.
        """
        raise self.cannot("be exported")

    def cannot(self, what: str) -> InputError:
        """Return the error that networks of this kind cannot do something."""
        return InputError(f"Networks of {self.name} cannot {what}.")
