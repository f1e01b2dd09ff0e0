"""Sums of messages by compiled loops, as a function of torch."""

# mypy: disable-error-code="no-untyped-def"
# ruff: noqa: ANN001, ANN205  torch's contexts, and the gradients it wants, have no type

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from synthzoo.models.engine import duals
from synthzoo.models.engine.geometry import LINKS
from synthzoo.models.engine.jit import Library, vector_bytes
from synthzoo.models.engine.layout import padded
from synthzoo.models.engine.program import program_of, sources

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.models.engine.fitting.task import Pull, Task
    from synthzoo.models.engine.layout import LayerLayout
    from synthzoo.models.engine.precision import Precision
    from synthzoo.models.engine.shape import Layer, NetworkShape


def message_sums(features: Tensor, table: Tensor, loops: Loops, number: int) -> Tensor:
    """Return sums of messages, and of their derivatives, of a layer."""
    found = cast("Any", _Messages).apply(features, table, loops, number)
    return cast("Tensor", found)


class _Messages(torch.autograd.Function):
    """Sums of messages and of their derivatives, as `duals` defines them."""

    @staticmethod
    def forward(ctx, features: Tensor, table: Tensor, loops: Loops, number: int):
        features, table = features.contiguous(), table.contiguous()
        width = loops.layouts[number].summed.width
        sums = features.new_zeros(len(features), width)
        loops.call("forward", number, (features, table, sums))
        ctx.save_for_backward(features, table)
        ctx.loops, ctx.number = loops, number
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx, slopes: Tensor):
        features, table = ctx.saved_tensors
        found = torch.zeros_like(features), torch.zeros_like(table)
        ctx.loops.call(
            "backward", ctx.number, (features, table, slopes.contiguous(), *found)
        )
        return *found, None, None


@dataclass(frozen=True)
class Loops:
    """The compiled loops, and how the edges move."""

    library: Any
    layouts: Sequence[LayerLayout]
    layers: Sequence[Layer]
    edges: list[int]
    capacity: int
    precision: Precision
    atoms: int
    held: tuple[NDArray[Any], ...]

    @classmethod
    def of(cls, task: Task, edges: Mapping[str, NDArray[Any]], pull: Pull) -> Loops:
        """Return the loops for edges that move as they are pulled."""
        atoms = len(task.who)
        moves = _moves(task, edges, pull)
        arrays = (*(edges[name] for name in LINKS), *moves)
        most = int(edges["counts"].max(initial=0))
        return cls(
            library=_library(task.shape, task.precision),
            layouts=program_of(task.shape, task.precision).layouts,
            layers=task.shape.layers,
            edges=[array.ctypes.data for array in arrays],
            capacity=padded(most + 1, task.precision.width),
            precision=task.precision,
            atoms=atoms,
            held=arrays,
        )

    def call(self, name: str, number: int, tensors: Sequence[Tensor]) -> None:
        """Call a function for all atoms."""
        size = duals.scratch_size(self.layers[number], self.precision)
        scratch = torch.empty(size * self.capacity, dtype=tensors[0].dtype)
        offsets = torch.empty(self.capacity, dtype=torch.int32)
        getattr(self.library, f"{name}{number}")(
            0,
            self.atoms,
            *self.edges,
            *(tensor.data_ptr() for tensor in tensors),
            self.atoms,
            scratch.data_ptr(),
            offsets.data_ptr(),
            self.capacity,
        )


def _moves(
    task: Task, edges: Mapping[str, NDArray[Any]], pull: Pull
) -> list[NDArray[Any]]:
    """Return how the vector of each edge moves, for each axis.

    Forces are less the derivative of the energy, so that atoms move against their
    pull; a virial is the derivative with respect to strain.
    """
    starts, others = edges["starts"], edges["others"]
    near = np.repeat(np.arange(len(task.who)), np.diff(starts))
    vectors = np.stack([edges[axis] for axis in "xyz"], axis=1)[: len(near)]
    found = pull.forces[near] - pull.forces[others[: len(near)]]
    if pull.virials.any():
        strains = pull.virials[task.who.owners[near]]
        found = found + np.einsum("eab,eb->ea", strains, vectors)
    moves = np.zeros((3, len(others)), dtype=task.precision.dtype)
    moves[:, : len(near)] = found.T
    return list(moves)


@cache
def _library(shape: NetworkShape, precision: Precision) -> Any:
    """Return the compiled loops of a network for training."""
    layouts = program_of(shape, precision).layouts
    signatures = {}
    for number in range(len(layouts)):
        signatures[f"forward{number}"] = tuple(duals.FORWARD.values())
        signatures[f"backward{number}"] = tuple(duals.BACKWARD.values())

    def write() -> str:
        from llvmlite import ir

        module = ir.Module("fitting")
        for number, (layer, layout) in enumerate(
            zip(shape.layers, layouts, strict=True)
        ):
            options: dict[str, Any] = {
                "precision": precision,
                "first_layer": number == 0,
            }
            duals.write_forward(
                module, layer, layout, name=f"forward{number}", **options
            )
            duals.write_backward(
                module, layer, layout, name=f"backward{number}", **options
            )
        return str(module)

    key = f"fitting {sources()} {precision} {vector_bytes()} {shape.layers}"
    return Library(key, write, signatures)
