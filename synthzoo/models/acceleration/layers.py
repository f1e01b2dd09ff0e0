"""NequIP's convolution on the CPU in few operations.

nequip evaluates a layer in several hundred small operations, and keeps every product of
every edge in memory until forces have been differentiated. Here a layer takes a few
dozen, and the loops over edges are compiled (`message_kernels`). Results agree to the
precision of the arithmetic.
"""

# mypy: disable-error-code="no-untyped-def"
# ruff: noqa: ANN001, ANN205  torch's contexts, and the gradients it wants, have no type

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from e3nn.o3 import Irreps
from nequip.data import AtomicDataDict
from nequip.nn import ApplyFactor, ConvNetLayer
from nequip.nn.embedding import BesselEdgeLengthEncoding
from torch import Tensor
from torch.autograd.function import once_differentiable

from synthzoo.models.acceleration import message_kernels as kernels
from synthzoo.models.acceleration.arrays import arrays, for_loops
from synthzoo.models.acceleration.plan import Block, Mixing, Plan, make_plan
from synthzoo.models.acceleration.radial_tables import (
    INTERVALS_AT_REST,
    FastEncoding,
    fits,
    interpolate,
    place_of,
    quicken,
    tabulate,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch.nn import Module

EDGE_SCALAR_AND_VECTOR = Irreps("1x0e+1x1o")
UNIT_VECTORS_KEY = "synthzoo_unit_vectors"
"""Where the layers of one evaluation share the directions of the edges."""


def accelerate(network: Module) -> str | None:
    """Evaluate the layers of a network in few operations wherever it is on a CPU.

    ``network``: model of nequip; it keeps its weights and their names, and is changed
    in place.
    Returns why that is not possible, if it is not.
    """
    layers = [part for part in network.modules() if isinstance(part, ConvNetLayer)]
    if len(cast("Any", network).type_names) != 1:
        return "it has several elements"
    reasons = [reason for layer in layers if (reason := _misfit(layer))]
    if reasons:
        return reasons[0]
    for layer in layers:
        layer.plan = make_plan(layer)
        layer.__class__ = FastLayer  # the same module, evaluated in another way
    networks = [layer.conv.edge_mlp for layer in layers]
    for part in network.modules():
        if fits(part, networks):
            quicken(part)
    return None


def settle(network: Module) -> None:
    """Tabulate the radial networks of a network whose weights will not change.

    That is done in single precision on the CPU only. Loading other weights, or
    training, leaves the tables.
    """
    for encoding in network.modules():
        if isinstance(encoding, FastEncoding) and encoding.can_rest():
            encoding.at_rest = True
            _tabulate_all(network, encoding)


@torch.no_grad()
def _tabulate_all(network: Module, encoding: FastEncoding) -> None:
    key = AtomicDataDict.EDGE_EMBEDDING_KEY
    data = {key: encoding.grid(INTERVALS_AT_REST)}
    for part in network.modules():
        if isinstance(part, ApplyFactor) and part.in_field == key:
            data = part(data)
        elif isinstance(part, FastLayer):  # they come later
            part.table = tabulate(part.conv.edge_mlp, data[key]).float()


def undo(network: Module) -> None:
    """Let nequip evaluate the layers again, as another program would."""
    for part in network.modules():
        if isinstance(part, FastLayer):
            part.__class__ = ConvNetLayer
        elif isinstance(part, FastEncoding):
            part.__class__ = BesselEdgeLengthEncoding


class FastLayer(ConvNetLayer):  # type: ignore[misc]  # nequip is untyped
    """A layer of nequip that is evaluated by its plan.

    Between two layers the components of vectors lie behind one another, as the loops
    over edges want them; what comes into the first layer and out of the last one are
    scalars, which lie as in nequip.
    """

    plan: Plan
    table: Tensor
    """Of the radial network, where its weights stay."""

    def forward(self, data: dict[str, Tensor]) -> dict[str, Tensor]:
        """Update the features of the atoms.

        ``data``: features, edges and their embedding, as for nequip's own layer.
        """
        features = data[AtomicDataDict.NODE_FEATURES_KEY]
        if not for_loops(data):
            return cast("dict[str, Tensor]", super().forward(data))
        plan = self.plan
        incoming = _split(features, plan.incoming)
        before = _mix(incoming, plan.first, self.conv.linear_1.weight)
        scaled = _join(before) * self.conv.avg_num_neighbors_norm.norm_const
        summed = self._sum_messages(scaled, data)
        mixed = _mix(
            _split(summed, plan.summed), plan.second, self.conv.linear_2.weight
        )
        if plan.self_connection:
            attributes = data[AtomicDataDict.NODE_ATTRS_KEY][0]  # all of one type
            past = _mix(incoming, plan.self_connection, self.conv.sc.weight, attributes)
            mixed |= {key: mixed[key] + past[key] for key in past}
        data[AtomicDataDict.NODE_FEATURES_KEY] = self._gate(mixed)
        return data

    def _sum_messages(self, features: Tensor, data: dict[str, Tensor]) -> Tensor:
        receiver, sender = data[AtomicDataDict.EDGE_INDEX_KEY]
        if UNIT_VECTORS_KEY not in data:
            vectors = data[AtomicDataDict.EDGE_ATTRS_KEY][:, 1:]
            data[UNIT_VECTORS_KEY] = vectors.contiguous()
        summed: Tensor = cast("Any", _Messages).apply(
            features,
            self._radial(data),
            data[UNIT_VECTORS_KEY],
            sender.contiguous(),
            receiver.contiguous(),
            self.plan,
        )
        return summed

    def _radial(self, data: dict[str, Tensor]) -> Tensor:
        network = self.conv.edge_mlp
        embedding = data[AtomicDataDict.EDGE_EMBEDDING_KEY]
        place = place_of(data)
        if place is None:
            return cast("Tensor", network(embedding))
        at_rest = len(embedding) == 0
        return interpolate(
            self.table if at_rest else tabulate(network, embedding), place
        )

    def _gate(self, mixed: dict[int, Tensor]) -> Tensor:
        nonlinearity = self.equivariant_nonlin
        parts = [
            act(mixed[columns.block][:, columns.start : columns.stop])
            for act, columns in zip(
                nonlinearity.act_scalars.acts, self.plan.scalars, strict=True
            )
        ]
        for act, (vectors, gates) in zip(
            nonlinearity.act_gates.acts, self.plan.gated, strict=True
        ):
            gate = act(mixed[gates.block][:, gates.start : gates.stop])
            gated = mixed[vectors.block][..., vectors.start : vectors.stop]
            parts.append((gated * gate[:, None]).flatten(1))
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


class _Messages(torch.autograd.Function):
    """Sum of the messages, as `message_kernels.forward` defines it."""

    @staticmethod
    def forward(  # noqa: PLR0913  what the loop needs
        ctx,
        x: Tensor,
        w: Tensor,
        y: Tensor,
        sender: Tensor,
        receiver: Tensor,
        plan: Plan,
    ) -> Tensor:
        ctx.save_for_backward(x, w, y, sender, receiver)
        ctx.plan = plan
        width = sum(block.channels * block.width for block in plan.summed)
        out = x.new_zeros(len(x), width)
        kernels.forward(
            *arrays(x, w, y, sender, receiver), *_table(plan, x), out.numpy()
        )
        return out

    @staticmethod
    def backward(ctx, g: Tensor):
        x, w, y, sender, receiver = ctx.saved_tensors
        slopes = cast("Any", _MessagesBackward).apply(
            x, w, y, g, sender, receiver, ctx.plan
        )
        return *slopes, None, None, None


class _MessagesBackward(torch.autograd.Function):
    """Gradient of the sum, as `message_kernels.backward` defines it."""

    @staticmethod
    def forward(  # noqa: PLR0913  what the loop needs
        ctx,
        x: Tensor,
        w: Tensor,
        y: Tensor,
        g: Tensor,
        sender: Tensor,
        receiver: Tensor,
        plan: Plan,
    ):
        ctx.save_for_backward(x, w, y, g, sender, receiver)
        ctx.plan = plan
        slopes = torch.zeros_like(x), torch.empty_like(w), torch.empty_like(y)
        inputs = arrays(x, w, y, g, sender, receiver)
        kernels.backward(*inputs, *_table(plan, x), *arrays(*slopes))
        return slopes

    @staticmethod
    @once_differentiable
    def backward(ctx, a: Tensor, b: Tensor, c: Tensor):
        x, w, y, g, sender, receiver = ctx.saved_tensors
        slopes = (
            torch.zeros_like(x),
            torch.empty_like(w),
            torch.empty_like(y),
            torch.zeros_like(g),
        )
        inputs = arrays(x, w, y, g, a, b, c, sender, receiver)
        kernels.second(*inputs, *_table(ctx.plan, x), *arrays(*slopes))
        return *slopes, None, None, None


def _table(plan: Plan, like: Tensor) -> tuple[NDArray[Any], NDArray[Any]]:
    single = like.dtype == torch.float32
    return plan.paths, plan.factors.astype(np.float32) if single else plan.factors


def _split(features: Tensor, blocks: Sequence[Block]) -> list[Tensor]:
    """Return the blocks of features: (atoms, channels) or (atoms, 3, channels)."""
    sizes = [block.channels * block.width for block in blocks]
    parts = torch.split(features, sizes, 1) if len(sizes) > 1 else [features]
    return [
        part if block.width == 1 else part.reshape(-1, block.width, block.channels)
        for part, block in zip(parts, blocks, strict=True)
    ]


def _join(parts: dict[int, Tensor]) -> Tensor:
    flat = [parts[key].flatten(1) for key in sorted(parts)]
    return flat[0] if len(flat) == 1 else torch.cat(flat, 1)


def _mix(
    parts: Sequence[Tensor],
    mixings: Iterable[Mixing],
    weights: Tensor,
    attributes: Tensor | None = None,
) -> dict[int, Tensor]:
    """Return the blocks that linear maps of channels make, by their index."""
    found: dict[int, Tensor] = {}
    for source, target, start, stop, shape, factor in mixings:
        matrix = weights[start:stop].view(shape)
        if attributes is not None:
            matrix = torch.einsum("uav,a->uv", matrix, attributes)
        mixed = parts[source] @ (factor * matrix)
        found[target] = found[target] + mixed if target in found else mixed
    return found


def _misfit(layer: ConvNetLayer) -> str | None:
    """Return why a layer has no plan, if it has none."""
    conv = layer.conv
    edges = conv.tp_scatter.tp.irreps_in2
    if edges not in (EDGE_SCALAR_AND_VECTOR, EDGE_SCALAR_AND_VECTOR[:1]):
        return f"its edges carry {edges}, not scalars and vectors (l_max 1)"
    for wanted, reason in (
        (type(layer) is ConvNetLayer, f"its layers are {type(layer).__name__}"),
        (not layer.resnet, "its layers are added to what comes into them"),
        (hasattr(layer.equivariant_nonlin, "act_gates"), "its layers have no gate"),
        (conv.linear_1.bias_numel == conv.linear_2.bias_numel == 0, "it has biases"),
        (
            conv.avg_num_neighbors_norm.norm_shortcut,
            "each element has a number of neighbours of its own",
        ),
    ):
        if not wanted:
            return reason
    return None
