"""Networks of nequip, among them those of 2023, as synthzoo sees them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from synthzoo.errors import CheckpointError, InputError
from synthzoo.models import nequip_arguments
from synthzoo.models.interface import (
    Architecture,
    Arguments,
    Described,
    EnergyTerms,
    Scaling,
    Statistics,
    Weights,
)

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor
    from torch.nn import Module

    from synthzoo.models.engine.shape import NetworkShape
    from synthzoo.models.graphs import Graph

LEGACY = "LegacyNequIPModel"
"""The network of nequip 0.5.6, which `legacy_network` puts together."""

SCALES, SHIFTS = "per_type_energy_scales", "per_type_energy_shifts"
CUTOFFS, NEIGHBOURS = "per_edge_type_cutoff", "avg_num_neighbors"
SCALE_SHIFT = "per_type_energy_scale_shift"
"""Name of the module that turns what the last layer gives into energies."""

TERMS = (f"{SCALE_SHIFT}.scales", f"{SCALE_SHIFT}.shifts")
"""How the names of the buffers end that hold both; nequip keeps them in float64."""

RECIPROCAL_CUTOFF = "edge_norm._rmax_recip"
"""How the name of the buffer ends that holds it."""

FIRST_RADIAL = ".edge_mlp.mlp.0.weight"
"""How the name of the first layer of a radial network ends."""

MODIFIERS = {
    "openequivariance": "enable_OpenEquivariance",
    "cuequivariance": "enable_CuEquivariance",
}
"""Name of nequip's model modifier for each package of kernels."""


class NequIP(Architecture):
    """Networks of one of nequip's builders; the name is the builder's."""

    def check_arguments(self, arguments: Arguments, elements: Sequence[str]) -> None:
        """Refuse arguments that the builder does not take, or that are absurd."""
        nequip_arguments.check_arguments(self.name, arguments, elements)

    def build(self, described: Described, *, dtype: str, seed: int) -> Module:
        """Return a new network from nequip's builder."""
        network: Module = self._builder()(
            seed=seed,
            model_dtype=dtype,
            type_names=list(described.elements),
            r_max=described.cutoff_A,
            **described.arguments,
        )
        return network

    def shape(self, described: Described) -> NetworkShape:
        """Return what nequip's builder would build."""
        from synthzoo.models.engine.shape import network_shape

        return network_shape(
            self.name, described.arguments, described.elements, described.cutoff_A
        )

    def complete(self, arguments: Arguments, found: Statistics) -> Arguments:
        """Return arguments with scales, shifts and the number of neighbours."""
        return arguments | {
            NEIGHBOURS: found.neighbours,
            SCALES: found.force_rms_eV_A,
            SHIFTS: dict.fromkeys(found.elements, 0.0),
        }

    def energy_terms(self, weights: Weights, elements: Sequence[str]) -> EnergyTerms:
        """Return scales and shifts as they are among the weights, after a fit, too."""
        found = []
        for ending, default in zip(TERMS, (1.0, 0.0), strict=True):
            values = [weights[name] for name in weights if name.endswith(ending)]
            if len(values) != 1:
                raise CheckpointError(
                    f"{self.name} has no energy shifts ({ending}): it cannot give "
                    "total energies."
                )
            numbers = values[0].reshape(-1).double().tolist() or [default]
            found.append(tuple(numbers * (len(elements) // len(numbers))))
        return EnergyTerms(*found)

    def shifted(self, arguments: Arguments, shifts_eV: dict[str, float]) -> Arguments:
        """Return arguments with other constants of the energies of atoms."""
        return arguments | {SHIFTS: shifts_eV}

    def shifts_in(self, arguments: Arguments) -> dict[str, float]:
        """Return the constants of the energies of atoms."""
        shifts: dict[str, float] = arguments[SHIFTS]
        return shifts

    def shifted_weights(
        self, old: Weights, shifts_eV: Sequence[float]
    ) -> dict[str, Tensor]:
        """Return the old weights with the new shifts, which nequip keeps in float64."""
        import torch

        shifts = torch.tensor(shifts_eV, dtype=torch.float64).reshape(-1, 1)
        return {
            name: shifts if name.endswith(TERMS[1]) else value
            for name, value in old.items()
        }

    def scaled(self, arguments: Arguments, scaling: Scaling) -> Arguments:
        """Return arguments for the other elements, cutoffs for pairs scaled, too."""
        if arguments.get("pair_potential") is not None:
            raise InputError(
                "The model has a pair potential of its elements, which does not scale "
                "with lengths; choose a model without one."
            )
        found = dict(arguments)
        new = scaling.elements.values()
        for key, values in zip((SCALES, SHIFTS), scaling.energy_terms, strict=True):
            found[key] = dict(zip(new, values, strict=True))
        for key, factor in ((CUTOFFS, scaling.lengths), (NEIGHBOURS, 1.0)):
            if found.get(key) is not None:
                found[key] = _renamed(found[key], scaling.elements, factor)
        return found

    def scaled_weights(
        self, old: Weights, new: Module, scaling: Scaling
    ) -> dict[str, Tensor]:
        """Return the old weights with what follows from the new description.

        nequip divides the radial functions, which depend on lengths over the cutoff, by
        the square of the cutoff; the layer that comes next takes that back.
        """
        radial = {
            name: scaling.lengths**2 * value
            for name, value in old.items()
            if name.endswith(FIRST_RADIAL)
        }
        return _carried(old, new.state_dict(), (RECIPROCAL_CUTOFF, *TERMS)) | radial

    def widened(
        self, arguments: Arguments, features: Sequence[str]
    ) -> tuple[str, Arguments]:
        """Return the long builder's arguments; those of 2023 cannot be widened."""
        if self.name == LEGACY:
            raise self.cannot("be made wider")
        from synthzoo.models.growth import widened_arguments

        return widened_arguments(self.name, arguments, features)

    def widened_weights(
        self, old: Weights, new: Weights, before: Described, after: Described
    ) -> dict[str, Tensor]:
        """Return old weights in new places; old features take no part of new ones."""
        from synthzoo.models.engine.shape import layer_shapes
        from synthzoo.models.growth import widened_weights

        narrow, wide = (
            layer_shapes(found.builder, found.arguments, found.elements)
            for found in (before, after)
        )
        return widened_weights(old, new, narrow, wide)

    def readout(self, network: Module) -> tuple[Module, Tensor]:
        """Return the last layer with weights before energies are scaled and shifted."""
        names = [name for name, _ in network.named_modules()]
        end = next(n for n, name in enumerate(names) if name.endswith(SCALE_SHIFT))
        layers = [network.get_submodule(name) for name in names[:end]]
        (scales,) = (
            buffer.double().reshape(-1)
            for name, buffer in network.named_buffers()
            if name.endswith(TERMS[0])
        )
        return [layer for layer in layers if _has_weights(layer)][-1], scales

    def with_kernels(self, network: Module, kernels: str) -> Module:
        """Return a network with the kernels for nequip's tensor products."""
        from nequip.model import modify

        try:
            changed: Module = modify(network, [{"modifier": MODIFIERS[kernels]}])
        except (ImportError, RuntimeError) as error:
            raise CheckpointError(
                f"nequip cannot use the kernels of {kernels} here: {error}"
            ) from error
        return changed

    def compile_network(
        self, network: Module, sample: Graph, outputs: Sequence[str], path: Path
    ) -> None:
        """Let nequip trace the network, and torch compile what it finds."""
        import torch
        from nequip.utils.aot import aot_export_model

        from synthzoo.models.engine.module import undo

        undo(network)
        counts = {
            kind: torch.export.Dim(f"{kind}s", min=2)
            for kind in ("graph", "node", "edge")
        }
        aot_export_model(
            model=network,
            device=torch.device(next(network.parameters()).device.type),
            input_fields=list(sample),
            output_fields=list(outputs),
            data=sample,
            batch_map=counts,
            output_path=str(path),
            # The number of threads is not that of now: it may change, and has to be one
            # in a forked process.
            inductor_configs={"cpp.dynamic_threads": True},
        )

    def export_network(
        self,
        network: Module,
        target: str,
        sample: Graph,
        path: Path,
        notes: Mapping[str, str],
    ) -> None:
        """Do what `nequip-compile` does, without a checkpoint of Lightning."""
        import torch
        from nequip.scripts._compile_utils import COMPILE_TARGET_DICT
        from nequip.utils.aot import aot_export_model
        from nequip.utils.aoti_metadata import (
            NEQUIP_AOTI_INPUTS_KEY,
            NEQUIP_AOTI_OUTPUTS_KEY,
            serialize_aoti_keys,
        )
        from nequip.utils.global_state import get_latest_global_state

        from synthzoo.models.engine.module import undo

        undo(network)
        wanted: Any = COMPILE_TARGET_DICT[target]
        counts = {
            kind: torch.export.Dim(f"{kind}s", min=2)
            for kind in ("graph", "node", "edge")
        }
        state = get_latest_global_state(only_metadata_related=True)
        known: Any = network
        facts = known.metadata | {key: str(int(on)) for key, on in state.items()}
        facts[NEQUIP_AOTI_INPUTS_KEY] = serialize_aoti_keys(wanted["input"])
        facts[NEQUIP_AOTI_OUTPUTS_KEY] = serialize_aoti_keys(wanted["output"])
        aot_export_model(
            model=network,
            device=torch.device(next(network.parameters()).device.type),
            input_fields=wanted["input"],
            output_fields=wanted["output"],
            data=wanted["data_settings"](dict(sample)),
            batch_map=wanted["batch_map_settings"](counts),
            output_path=str(path),
            inductor_configs={
                "cpp.dynamic_threads": True,
                "aot_inductor.metadata": facts | dict(notes),
            },
        )

    def _builder(self) -> Callable[..., Module]:
        """Return a function of nequip, or ours for the networks of 2023."""
        builder: Callable[..., Module]
        if self.name == LEGACY:
            from synthzoo.models.legacy_network import legacy_nequip_model as builder
        else:
            import nequip.model

            builder = getattr(nequip.model, self.name)
        return builder


def _carried(old: Weights, new: Weights, endings: tuple[str, ...]) -> dict[str, Tensor]:
    """Return old weights, but new ones where the names end so."""
    return {
        name: new[name] if name.endswith(endings) else value
        for name, value in old.items()
    }


def _renamed(value: Any, elements: Mapping[str, str], factor: float) -> Any:
    """Return a number, or a table by elements, times a factor."""
    if isinstance(value, dict):
        return {
            elements[old]: _renamed(entry, elements, factor)
            for old, entry in value.items()
        }
    return factor * value


def _has_weights(layer: Module) -> bool:
    own = dict(layer.named_parameters(recurse=False))
    return "weight" in own and own["weight"].numel() > 0
