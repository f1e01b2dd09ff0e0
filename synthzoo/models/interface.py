"""What synthzoo asks of a kind of network.

All the rest of synthzoo sees networks through this file and through graphs (see
`synthzoo.models.graphs`). A new kind of network is one file with a subclass of
`Architecture`, and one line in `synthzoo.models.architectures`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from synthzoo.errors import CheckpointError, InputError

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

Arguments = dict[str, Any]
"""What describes a network besides elements and cutoff: plain values, as in JSON."""


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
        """The chemical symbols, in the order of the network's types."""

    @property
    def cutoff_A(self) -> float:
        """The radius within which atoms are neighbours, in Å."""


class Statistics(NamedTuple):
    """What a new network is told of its training set.

    Attributes
    ----------
    elements
        Chemical symbols, in the order of the network's types.
    neighbours
        Neighbours of an atom, on average.
    force_rms_eV_A
        Root mean square of the force components, in eV/Å.
    """

    elements: tuple[str, ...]
    neighbours: float
    force_rms_eV_A: float


class EnergyTerms(NamedTuple):
    """What the network's own energy of an atom is multiplied by, and what is added.

    Attributes
    ----------
    scales
        Factor for each element, in the order of the network's types.
    shifts_eV
        Constant for each element, in eV.
    """

    scales: tuple[float, ...]
    shifts_eV: tuple[float, ...]


class Scaling(NamedTuple):
    """How a network of one element becomes one of another; energies keep their form.

    Attributes
    ----------
    element
        Chemical symbol of the new network.
    lengths
        Factor of all lengths.
    energy_terms
        Of the new network, for its one element.
    """

    element: str
    lengths: float
    energy_terms: EnergyTerms


class Architecture:
    """A kind of network.

    A network is a module of torch. It takes a graph of one structure or of several and
    returns it with energies (eV), forces (eV/Å), stresses (eV/Å³) and the lengths of
    its edges, under the names in `synthzoo.models.graphs`. Its forces have to be
    differentiable themselves, for training. Its description decides the names and
    shapes of its weights. A recipe freezes ``layer0``, ``layer1`` … by the names of
    weights that hold ``layer0_``, ``layer1_`` …, and ``readout``; the rest is
    ``embedding``.

    An architecture has to check and build. The other methods say that its networks
    cannot do the thing, or do nothing where that is right for any network.

    Parameters
    ----------
    name
        The `builder` of a checkpoint's description.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def check_arguments(self, arguments: Arguments, elements: Sequence[str]) -> None:
        """Refuse arguments that are unknown, of a wrong type, or absurdly large.

        They may come from a stranger's file. Neither torch nor another large package
        may be imported for this.

        Parameters
        ----------
        arguments
            As read from JSON.
        elements
            Chemical symbols of the network, in its order.

        Raises
        ------
        CheckpointError
            If an argument is not allowed.
        """
        raise NotImplementedError

    def build(self, described: Described, *, dtype: str, seed: int) -> Module:
        """Return a new network; called by `synthzoo.models.network.build_model` only.

        Parameters
        ----------
        described
            What to build; its arguments are checked, and a copy.
        dtype
            Precision: ``float32`` or ``float64``.
        seed
            Of the initial weights.
        """
        raise NotImplementedError

    def accelerate(self, network: Module) -> str | None:
        """Let compiled loops evaluate a network on the CPU, where that is possible.

        Parameters
        ----------
        network
            Changed in place; its weights keep their names.

        Returns
        -------
        str | None
            Why it is not possible, to follow "because".
        """
        return f"there are none for networks of {self.name}"

    def settle(self, network: Module) -> None:
        """Prepare a network for evaluations with the weights that it has.

        Parameters
        ----------
        network
            In evaluation mode, on its device; changed in place.
        """

    def complete(self, arguments: Arguments, found: Statistics) -> Arguments:
        """Return the arguments of a new network.

        Parameters
        ----------
        arguments
            Those in a recipe; not changed.
        found
            What the training set adds to them.
        """
        return arguments

    def energy_terms(
        self, weights: Mapping[str, Tensor], elements: Sequence[str]
    ) -> EnergyTerms:
        """Return factor and constant of the energies of atoms.

        Parameters
        ----------
        weights
            Of a network, by name.
        elements
            Chemical symbols of the network, in its order.

        Raises
        ------
        CheckpointError
            If networks of this kind have no such terms.
        """
        raise CheckpointError(
            f"{self.name} has no energy shifts: it cannot give total energies."
        )

    def shifted(self, arguments: Arguments, shifts_eV: dict[str, float]) -> Arguments:
        """Return arguments with other constants of the energies of atoms.

        Parameters
        ----------
        arguments
            Not changed.
        shifts_eV
            Constant for each element, in eV.
        """
        raise self.cannot("be given energies of atoms")

    def shifted_weights(
        self, old: Mapping[str, Tensor], new: Module
    ) -> dict[str, Tensor]:
        """Return the weights of a network for one that is described as shifted.

        Parameters
        ----------
        old
            Weights of a network.
        new
            Network of the `shifted` arguments.
        """
        raise NotImplementedError

    def scaled(self, arguments: Arguments, scaling: Scaling) -> Arguments:
        """Return the arguments of a network of another element, with other lengths.

        Parameters
        ----------
        arguments
            Of a network of one element; not changed.
        scaling
            What changes.

        Raises
        ------
        InputError
            If a part of the network does not scale with lengths.
        """
        raise self.cannot("be scaled")

    def scaled_weights(
        self, old: Mapping[str, Tensor], new: Module, scaling: Scaling
    ) -> dict[str, Tensor]:
        """Return the weights of a network for one that is described as scaled.

        Parameters
        ----------
        old
            Weights of a network.
        new
            Network of the `scaled` arguments.
        scaling
            What has changed.
        """
        raise NotImplementedError

    def widened(
        self, arguments: Arguments, features: Sequence[str]
    ) -> tuple[str, Arguments]:
        """Return architecture and arguments of a wider network.

        Parameters
        ----------
        arguments
            Not changed.
        features
            Features of each layer but the last, such as ``64x0e+32x1o``.

        Raises
        ------
        InputError
            If the features do not go with the network.
        """
        raise self.cannot("be made wider")

    def widened_weights(self, old: Module, new: Module) -> dict[str, Tensor]:
        """Return weights with which a wider network predicts what a given one does.

        Parameters
        ----------
        old
            Network to start from.
        new
            Wider one, with random weights.
        """
        raise NotImplementedError

    def readout(self, network: Module) -> tuple[Module, Tensor]:
        """Return the layer in whose ``weight`` all energies of atoms are linear.

        Parameters
        ----------
        network
            Of this kind.

        Returns
        -------
        tuple[Module, Tensor]
            The layer, called with the features of atoms as its only argument, and what
            its results are multiplied by: one number, or one for each type.
        """
        raise self.cannot("be made to bind more strongly")

    def set_neighbours(self, network: Module, number: float) -> None:
        """Set the number of neighbours by which a network divides.

        Parameters
        ----------
        network
            Changed in place.
        number
            Neighbours of an atom, on average.
        """
        raise self.cannot("be calibrated")

    def with_kernels(self, network: Module, kernels: str) -> Module:
        """Return a network that uses other kernels, on a GPU.

        Parameters
        ----------
        network
            May be changed in place; its weights keep their names.
        kernels
            ``openequivariance`` or ``cuequivariance``.

        Raises
        ------
        CheckpointError
            If the kernels cannot be used here.
        """
        raise self.cannot(f"use the kernels of {kernels}")

    def cannot(self, what: str) -> InputError:
        """Return the error that networks of this kind cannot do something.

        Parameters
        ----------
        what
            A verb and its object.
        """
        return InputError(f"Networks of {self.name} cannot {what}.")
