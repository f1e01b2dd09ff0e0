"""What Lightning needs to fit a network of any kind: loss, averaged weights, processes.

Both are nequip's. Import this inside `synthzoo.models.isolation.nequip_session` only.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from nequip.data import BaseModifier
from nequip.model import MuonParamGroups
from nequip.model.utils import override_model_compile_mode
from nequip.train import EMALightningModule, SimpleDDPStrategy

from synthzoo.models.graphs import (
    CELL,
    ENERGIES,
    ENERGY,
    FORCES,
    LEVEL,
    SIZES,
    STRESS,
    STRUCTURE,
    Graph,
)

if TYPE_CHECKING:
    from lightning.pytorch.strategies import Strategy


class Term(NamedTuple):
    """How errors enter the loss.

    ``limit``: larger ones enter as a straight line (Huber 1964,
    doi:10.1214/aoms/1177703732), so that a few structures far from equilibrium do not
    outweigh all others; None if all are squared.
    """

    weight: float
    limit: float | None = None


class AveragedFit(EMALightningModule):  # type: ignore[misc]  # nequip is untyped
    """A network with its loss and a moving average of its weights.

    ``network``: module to train; it maps graphs to graphs with energy and forces.
    ``energy``: errors of the energy per atom, in eV.
    ``forces``: errors of the components of forces, in eV/Å.
    ``virial``: errors of the components of `VirialPerAtom`, in eV; None to leave them
    out.
    ``atomic_energy``: errors of the energies of atoms, in eV; None to leave them out.
    ``gaps``: whether labels may be missing (NaN), and then count nothing.
    ``level_weights``: factors of the levels of theory in the loss; none for one level.
    """

    def __init__(  # noqa: PLR0913  what enters the loss
        self,
        *,
        network: torch.nn.Module,
        energy: Term,
        forces: Term,
        virial: Term | None,
        atomic_energy: Term | None = None,
        gaps: bool,
        ema_decay: float,
        level_weights: Sequence[float] = (),
    ) -> None:
        super().__init__(
            model=network,  # goes through _build_model
            num_datasets={"train": 1, "val": 1, "test": 0, "predict": 0},
            loss=loss_of(
                energy,
                forces,
                virial,
                atomic_energy,
                gaps=gaps,
                level_weights=level_weights,
            ),
            val_metrics={
                "_target_": "nequip.train.EnergyForceMetrics",
                "coeffs": {"per_atom_energy_rmse": None, "forces_rmse": 1.0},
            },
            ema_decay=ema_decay,
        )

    def save_hyperparameters(self, *args: Any, **kwargs: Any) -> None:
        """Store none: a resumed run is built anew from its recipe."""

    def _build_model(self, network: Any) -> torch.nn.Module:
        """Return the network as it is, marked as one that nequip can fit."""
        if not hasattr(network, "is_graph_model"):
            network.is_graph_model = True
            network.type_names = ()  # for losses of single elements, which we have not
        marked: torch.nn.Module = network
        return marked


class VirialPerAtom(BaseModifier):  # type: ignore[misc]  # nequip is untyped
    """Stress times volume over the number of atoms, in eV.

    That is how much the energy of an atom changes with strain. Whatever the volume, it
    is as large as changes of the energies that are fitted beside it; the stress itself
    would make dense cells count much more than others. Where a label is not known,
    prediction and label are zero, so that a batch without any has no error.
    """

    def __init__(self) -> None:
        super().__init__(STRESS)

    def __call__(self, predicted: Graph, labels: Graph) -> list[torch.Tensor]:
        """Return predictions and labels, each of shape ``(b, 3, 3)``."""
        known = ~torch.isnan(labels[STRESS])
        volumes = torch.linalg.det(labels[CELL].reshape(-1, 3, 3)).abs()
        volumes = (volumes / labels[SIZES].reshape(-1))[:, None, None]
        return [
            volumes * torch.where(known, graph[STRESS], 0.0)
            for graph in (predicted, labels)
        ]


class KnownAtomicEnergies(BaseModifier):  # type: ignore[misc]  # nequip is untyped
    """Energies of atoms in eV; prediction and label are zero where it is not known."""

    def __init__(self) -> None:
        super().__init__(ENERGIES)

    def __call__(self, predicted: Graph, labels: Graph) -> list[torch.Tensor]:
        """Return predictions and labels, each of shape ``(n, 1)``."""
        known = ~torch.isnan(labels[ENERGIES])
        return [torch.where(known, g[ENERGIES], 0.0) for g in (predicted, labels)]


class OfLevels(BaseModifier):  # type: ignore[misc]  # nequip is untyped
    """Known energies per atom, or forces, so that each level has a mean of its own.

    The mean square of the errors that come out is the sum over the levels of theory of
    a factor times the mean square over the known labels of that level. A level of which
    a batch has no label adds nothing.

    ``field``: name of energies or forces. ``weights``: factor of each level.
    """

    def __init__(self, field: str, weights: Sequence[float]) -> None:
        super().__init__(field)
        self.weights = tuple(weights)

    def __call__(self, predicted: Graph, labels: Graph) -> list[torch.Tensor]:
        """Return predictions and labels times factors, each of shape ``(n,)``."""
        levels = labels[LEVEL].reshape(-1)
        divisor = labels[SIZES].reshape(-1, 1)
        if self.field == FORCES:
            levels, divisor = levels[labels[STRUCTURE]], torch.ones(())
        label = labels[self.field]
        known = ~torch.isnan(label)
        if not known.any():
            nothing = 0.0 * predicted[self.field].sum().reshape(1)
            return [nothing, nothing.detach()]
        factors = torch.zeros_like(label)
        for number, weight in enumerate(self.weights):
            mine = known & (levels == number)[:, None]
            factors[mine] = (weight * known.sum() / mine.sum().clamp(min=1)).sqrt()
        factors = factors / divisor.to(label)
        return [(factors * graph[self.field])[known] for graph in (predicted, labels)]


def loss_of(
    energy: Term,
    forces: Term,
    virial: Term | None = None,
    atomic_energy: Term | None = None,
    *,
    gaps: bool = False,
    level_weights: Sequence[float] = (),
) -> dict[str, Any]:
    """Return what nequip makes the loss of.

    ``energy``: errors of the energy per atom, in eV.
    ``forces``: errors of the components of forces, in eV/Å.
    ``virial``: errors of the components of `VirialPerAtom`, in eV; None to leave them
    out.
    ``atomic_energy``: errors of the energies of atoms, in eV; None to leave them out.
    ``gaps``: whether labels may be missing (NaN), and then count nothing.
    ``level_weights``: factors of the levels of theory; none for one level.
    """
    of_levels: dict[str, Any] = {
        "_target_": f"{__name__}.{OfLevels.__name__}",
        "weights": list(level_weights),
    }
    of_energy = {"_target_": "nequip.data.PerAtomModifier", "field": ENERGY}
    metrics = [
        {
            "name": "per_atom_energy_mse",
            "field": of_levels | {"field": ENERGY} if level_weights else of_energy,
            "ignore_nan": gaps,
            **_metric(energy),
        },
        {
            "name": "forces_mse",
            "field": of_levels | {"field": FORCES} if level_weights else FORCES,
            "ignore_nan": gaps,
            **_metric(forces),
        },
    ]
    if virial is not None:
        field = {"_target_": f"{__name__}.{VirialPerAtom.__name__}"}
        metrics.append({"name": "virial_mse", "field": field, **_metric(virial)})
    if atomic_energy is not None:
        field = {"_target_": f"{__name__}.{KnownAtomicEnergies.__name__}"}
        name = "atomic_energies_mse"
        metrics.append({"name": name, "field": field, **_metric(atomic_energy)})
    return {"_target_": "nequip.train.MetricsManager", "metrics": metrics}


def _metric(term: Term) -> dict[str, Any]:
    if term.limit is None:
        return {
            "coeff": term.weight,
            "metric": {"_target_": "nequip.train.MeanSquaredError"},
        }
    huber = {"_target_": "nequip.train.HuberLoss", "delta": term.limit}
    return {"coeff": 2 * term.weight, "metric": huber}  # nequip's has half the square


class Block(NamedTuple):
    """A matrix in a weight, which may hold several, one after the other."""

    start: int
    stop: int
    shape: tuple[int, int]

    def of(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the matrix, a view of the weight."""
        return weight.view(-1)[self.start : self.stop].view(self.shape)


def matrices(network: torch.nn.Module) -> dict[torch.Tensor, list[Block]]:
    """Return the weights of a network that are matrices between features.

    nequip chooses them: those of the radial networks and of the linear layers.
    """
    group, _ = MuonParamGroups(network, muon={}, adam={})
    packed, found = group["e3nn_reshaping"], {}
    for number, weight in enumerate(group["params"]):
        parts = packed.get(number, [((0, weight.numel(), None), tuple(weight.shape))])
        found[weight] = [Block(start, stop, shape) for (start, stop, _), shape in parts]
    return found


def shared_gradients() -> Strategy:
    """Return the strategy by which processes fit together."""
    strategy: Strategy = SimpleDDPStrategy()
    return strategy


def self_compiling() -> AbstractContextManager[object]:
    """Return a context in which networks are built that a GPU compiles."""
    context: AbstractContextManager[object] = override_model_compile_mode("compile")
    return context
