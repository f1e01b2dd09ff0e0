"""Where a fit runs: processor or GPUs, how many processes, and compiled or not."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from synthzoo.errors import InputError
from synthzoo.models.place import Kernels, check_kernels

if TYPE_CHECKING:
    import torch

    from synthzoo.models.config import CheckpointConfig


@dataclass(frozen=True, kw_only=True)
class TrainingPlace:
    """Where to train.

    Several processes share each batch, so that what is learnt does not depend on how
    many they are. Lightning starts those of the same machine by running the same
    program again; on several machines each has to be given the same command (or
    ``srun``, under Slurm).

    ``device``: ``cpu``, ``cuda``, ``cuda:1`` …, or ``auto`` for CUDA where there is
    one.
    ``devices``: GPUs of a machine, or processes on the CPU.
    ``compiled``: let torch compile the network for training, on a GPU; that takes
    minutes at the start.
    ``kernels``: other kernels for the tensor products of the network, on a GPU.
    """

    device: str = "auto"
    devices: int = 1
    nodes: int = 1
    compiled: bool = False
    kernels: Kernels | None = None

    @property
    def processes(self) -> int:
        """How many processes share each batch."""
        return self.devices * self.nodes


ON_CPU = TrainingPlace(device="cpu")


def check_place(place: TrainingPlace) -> TrainingPlace:
    """Return a place with its device found out."""
    from synthzoo.models.devices import find_device

    if place.devices < 1 or place.nodes < 1:
        raise InputError(
            f"devices and nodes must be at least 1, not {place.devices} and "
            f"{place.nodes}."
        )
    device = find_device(place.device)
    _check_count(place, device)
    if place.compiled and device == "cpu":
        raise InputError(
            "Compiling is for GPUs; on the CPU the network has fast loops already."
        )
    if place.kernels is not None:
        check_kernels(place.kernels, device)
    return replace(place, device=device)


def _check_count(place: TrainingPlace, device: str) -> None:
    if device == "cpu" or place.devices == 1:
        return
    import torch

    count = torch.cuda.device_count()
    if ":" in device:
        raise InputError(
            f"{device} is one GPU, but {place.devices} devices are asked for: give "
            "`cuda`."
        )
    if place.devices > count:
        raise InputError(
            f"{place.devices} GPUs are asked for, but this machine has {count}."
        )


def trainer_arguments(place: TrainingPlace) -> dict[str, Any]:
    """Return what Lightning's trainer has to know."""
    from synthzoo.models.learning import shared_gradients

    kind, _, index = place.device.partition(":")
    return {
        "accelerator": kind,
        "devices": [int(index)] if index else place.devices,
        "num_nodes": place.nodes,
        "strategy": shared_gradients() if place.processes > 1 else "auto",
        "use_distributed_sampler": False,  # the batches are shared here already
    }


def leave_processes(place: TrainingPlace) -> None:
    """Leave the group of processes that a fit has formed, if it has."""
    import torch.distributed as group

    if place.processes > 1 and group.is_initialized():
        group.destroy_process_group()


def opens_run(place: TrainingPlace) -> bool:
    """Return whether this process opens the run, of those that fit together."""
    machine = os.environ.get("NODE_RANK", os.environ.get("GROUP_RANK", "0"))
    return place.processes == 1 or (is_first_process() and machine == "0")


def is_first_process() -> bool:
    """Return whether this is the process that writes, of those that fit together."""
    from lightning.pytorch.utilities import rank_zero_only

    return int(getattr(rank_zero_only, "rank", 0)) == 0


def prepared(
    network: torch.nn.Module, config: CheckpointConfig, place: TrainingPlace
) -> torch.nn.Module:
    """Return a network, to train, that compiles itself or has kernels, as a place asks.

    ``network``: it may be changed in place; its weights keep their names.
    """
    if place.compiled:
        from synthzoo.models.learning import self_compiling

        with self_compiling():
            network = _copy(network, config)
    if place.kernels is not None:
        from synthzoo.models.architectures import architecture_of

        network = architecture_of(config.builder).with_kernels(network, place.kernels)
    return network.train()


def plain_copy(network: torch.nn.Module, config: CheckpointConfig) -> torch.nn.Module:
    """Return a network with the same weights that is neither compiled nor on a GPU."""
    return _copy(network, config).eval()


def _copy(network: torch.nn.Module, config: CheckpointConfig) -> torch.nn.Module:
    from synthzoo.models.network import build_model, load_weights

    copy = build_model(config)
    weights = {name: value.cpu() for name, value in network.state_dict().items()}
    load_weights(copy, weights, where="The network")
    return copy
