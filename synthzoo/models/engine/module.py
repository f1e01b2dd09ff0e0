"""Networks of nequip that the engine evaluates, wherever they are on a CPU.

They stay modules of nequip, with their weights and names; what reads them, trains them
or hands them on need not know.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from nequip.data import AtomicDataDict
from nequip.nn import GraphModel, with_edge_vectors_
from torch import Tensor

from synthzoo.models.engine.fitting.compute import compute
from synthzoo.models.engine.fitting.task import Task
from synthzoo.models.engine.links import by_first, link
from synthzoo.models.engine.memory import Buffers, Who
from synthzoo.models.engine.network import check_cutoffs
from synthzoo.models.engine.pack import reciprocal_cutoffs
from synthzoo.models.engine.precision import PRECISIONS

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch.nn import Module

    from synthzoo.models.engine.shape import NetworkShape

Data = dict[str, Tensor]


class EngineModel(GraphModel):  # type: ignore[misc]  # nequip is untyped
    """A network of nequip that the engine evaluates on the CPU.

    Where somebody looks into its layers by hooks, nequip evaluates them.
    """

    shape: NetworkShape

    def forward(self, data: Data) -> Data:
        """Return energies, forces, stress and virial, as nequip's model does."""
        if not self._can_use(data):
            return cast("Data", super().forward(data))
        found = {key: data[key] for key in self.model_input_fields if key in data}
        if not torch.is_grad_enabled() or not self.training:
            with torch.no_grad():
                return _evaluated(self, with_edge_vectors_(found, with_lengths=True))
        return _evaluated(self, found)

    def _can_use(self, data: Data) -> bool:
        return (
            data[AtomicDataDict.POSITIONS_KEY].device.type == "cpu"
            and AtomicDataDict.EDGE_CELL_SHIFT_KEY in data
            and not {
                AtomicDataDict.EDGE_VECTORS_KEY,
                AtomicDataDict.LMP_MLIAP_DATA_KEY,
            }
            & data.keys()
            and not any(
                part._forward_hooks or part._forward_pre_hooks
                for part in self.modules()
                if part is not self
            )
        )


def accelerate(network: Module, shape: NetworkShape) -> None:
    """Let the engine evaluate a network; it is changed in place.

    ``network``: model of nequip. ``shape``: what it computes.

    Raises `NotCovered` if its weights are such that the engine cannot evaluate it.
    """
    if type(network) is not GraphModel:  # such as one that torch is to compile
        return
    state = {name: _numpy(value) for name, value in network.state_dict().items()}
    check_cutoffs(reciprocal_cutoffs(state, shape))
    changed: Any = network
    changed.__class__ = EngineModel
    changed.shape = shape


def undo(network: Module) -> None:
    """Let nequip evaluate a network again, as another program would."""
    if isinstance(network, EngineModel):
        changed: Any = network
        changed.__class__ = GraphModel
        del changed.shape


def _evaluated(network: EngineModel, data: Data) -> Data:
    state = network.state_dict(keep_vars=True)
    real = str(next(network.parameters()).dtype).removeprefix("torch.")
    task, order = _task(network.shape, real, list(state), data)
    energies, forces, virials = compute(task, list(state.values()))
    back = torch.from_numpy(np.argsort(order))
    energies, forces = energies[back], forces[back]
    structures = len(task.cells)
    dtype = data[AtomicDataDict.POSITIONS_KEY].dtype
    owner = torch.from_numpy(task.who.owners)[back]
    total = energies.new_zeros(structures).index_add(0, owner, energies)
    lost = ~np.isfinite(task.positions).all(axis=1)
    total[torch.from_numpy(task.who.owners[lost])] = torch.nan
    found = dict(data)
    found[AtomicDataDict.PER_ATOM_ENERGY_KEY] = energies[:, None].to(dtype)
    found[AtomicDataDict.TOTAL_ENERGY_KEY] = total[:, None].to(dtype)
    found[AtomicDataDict.FORCE_KEY] = forces.to(dtype)
    virials = (virials + virials.mT) / 2
    found[AtomicDataDict.VIRIAL_KEY] = -virials.to(dtype)
    found[AtomicDataDict.STRESS_KEY] = _stress(virials, task.cells).to(dtype)
    return found


def _stress(virials: Tensor, cells: NDArray[np.float64]) -> Tensor:
    """Return stresses; they are no numbers where a cell has no volume."""
    volumes = torch.from_numpy(np.abs(np.linalg.det(cells)))[:, None, None]
    known = volumes > 0
    divided = virials / torch.where(known, volumes, 1.0)
    return torch.where(known, divided, torch.nan)


def _task(
    shape: NetworkShape, real: str, names: Sequence[str], data: Data
) -> tuple[Task, NDArray[np.int64]]:
    """Return what to compute for a graph, and the order of its atoms in there."""
    types = _numpy(data[AtomicDataDict.ATOM_TYPE_KEY]).reshape(-1).astype(np.int32)
    positions = _numpy(data[AtomicDataDict.POSITIONS_KEY]).astype(np.float64)
    owners = np.zeros(len(types), dtype=np.int64)
    if AtomicDataDict.BATCH_KEY in data:
        owners = _numpy(data[AtomicDataDict.BATCH_KEY])
    structures = int(AtomicDataDict.num_frames(data))
    cells = np.zeros((structures, 3, 3))
    if AtomicDataDict.CELL_KEY in data:
        cells[:] = _numpy(data[AtomicDataDict.CELL_KEY]).reshape(-1, 3, 3)
    order = np.argsort(types, kind="stable")
    places = np.argsort(order)
    first, second = places[_numpy(data[AtomicDataDict.EDGE_INDEX_KEY])]
    shifts = _numpy(data[AtomicDataDict.EDGE_CELL_SHIFT_KEY])
    task = Task(
        shape=shape,
        precision=PRECISIONS[real],
        names=names,
        who=Who(types[order], owners[order], structures),
        links=link(by_first(first, second, shifts), len(types), PRECISIONS[real].width),
        positions=positions[order],
        cells=cells,
        buffers=Buffers(),
    )
    return task, order


def _numpy(tensor: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().numpy()
    return array
