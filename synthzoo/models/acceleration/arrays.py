"""Tensors as the compiled loops take them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nequip.data import AtomicDataDict

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


def arrays(*tensors: Tensor) -> list[NDArray[Any]]:
    """Return tensors as contiguous arrays, which share their memory if they can."""
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


def for_loops(data: dict[str, Tensor]) -> bool:
    """Return whether an evaluation is on the CPU, and not driven by LAMMPS."""
    on_cpu = data[AtomicDataDict.POSITIONS_KEY].device.type == "cpu"
    return on_cpu and AtomicDataDict.LMP_MLIAP_DATA_KEY not in data
