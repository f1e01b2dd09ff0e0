"""NequIP's convolution on the CPU in few operations; network and weights stay nequip's.

nequip evaluates a layer in several hundred small operations, and keeps every product of
every edge in memory until forces have been differentiated. Here a layer takes a few
dozen, and the loops over edges are compiled (`synthzoo.message_kernels`). Results agree
to the precision of the arithmetic.
"""

# mypy: disable-error-code="no-untyped-def"
# ruff: noqa: ANN001, ANN205  torch's contexts, and the gradients it wants, have no type

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import torch
from e3nn.o3 import Irreps, Linear, wigner_3j
from nequip.data import AtomicDataDict
from nequip.nn import ConvNetLayer
from torch import Tensor
from torch.autograd.function import once_differentiable

from synthzoo import message_kernels as kernels

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from e3nn.o3 import FullyConnectedTensorProduct
    from numpy.typing import NDArray
    from torch.nn import Module

EDGE_SCALAR_AND_VECTOR = Irreps("1x0e+1x1o")
UNIT_VECTORS_KEY = "synthzoo_unit_vectors"
"""Where the layers of one evaluation share the directions of the edges."""


class Block(NamedTuple):
    """Channels of one irreducible representation.

    Attributes
    ----------
    channels
        How many.
    width
        Components of each: 1 for scalars, 3 for vectors.
    """

    channels: int
    width: int


class Mixing(NamedTuple):
    """A matrix between the channels of two blocks, inside a flat array of weights.

    Attributes
    ----------
    source, target
        Indices of the blocks.
    start, stop
        Of the matrix in the array.
    shape
        Channels in, channels of the atom's type if those take part, channels out.
    factor
        Of nequip's normalisation.
    """

    source: int
    target: int
    start: int
    stop: int
    shape: tuple[int, ...]
    factor: float


class Columns(NamedTuple):
    """Some channels of a block."""

    block: int
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What of a layer follows from its shape alone.

    Attributes
    ----------
    incoming, summed, mixed
        Blocks of features: of the layer's input, of the summed messages, and of what
        goes into the gate.
    first, second, self_connection
        Matrices before the messages and after them, and from the layer's input past
        the messages.
    paths, factors
        Of the messages, as `synthzoo.message_kernels` wants them.
    scalars
        Channels of the gate's scalars.
    gated
        Channels of vectors, each with those of the scalars that gate them.
    """

    incoming: tuple[Block, ...]
    summed: tuple[Block, ...]
    mixed: tuple[Block, ...]
    first: tuple[Mixing, ...]
    second: tuple[Mixing, ...]
    self_connection: tuple[Mixing, ...]
    paths: NDArray[np.int64]
    factors: NDArray[np.float64]
    scalars: tuple[Columns, ...]
    gated: tuple[tuple[Columns, Columns], ...]


def accelerate(network: Module) -> bool:
    """Evaluate the layers of a network in few operations wherever it is on a CPU.

    Parameters
    ----------
    network
        Model of nequip; it keeps its weights and their names, and is changed in place.

    Returns
    -------
    bool
        Whether that is possible: all features are scalars and vectors (``l_max`` 0 or
        1), and all atoms are of one type.
    """
    layers = [part for part in network.modules() if isinstance(part, ConvNetLayer)]
    if len(getattr(network, "type_names", ())) != 1 or not all(map(_fits, layers)):
        return False
    for layer in layers:
        layer.plan = _plan(layer)
        layer.__class__ = FastLayer  # the same module, evaluated in another way
    return bool(layers)


def undo(network: Module) -> None:
    """Let nequip evaluate the layers again, as another program would.

    Parameters
    ----------
    network
        Model that `accelerate` changed, or not.
    """
    for layer in network.modules():
        if isinstance(layer, FastLayer):
            layer.__class__ = ConvNetLayer


class FastLayer(ConvNetLayer):  # type: ignore[misc]  # nequip is untyped
    """A layer of nequip that is evaluated by its plan.

    Between two layers the components of vectors lie behind one another, as the loops
    over edges want them; what comes into the first layer and out of the last one are
    scalars, which lie as in nequip.
    """

    plan: Plan

    def forward(self, data: dict[str, Tensor]) -> dict[str, Tensor]:
        """Update the features of the atoms.

        Parameters
        ----------
        data
            Features, edges and their embedding, as for nequip's own layer.
        """
        features = data[AtomicDataDict.NODE_FEATURES_KEY]
        if features.device.type != "cpu" or AtomicDataDict.LMP_MLIAP_DATA_KEY in data:
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
        weights = self.conv.edge_mlp(data[AtomicDataDict.EDGE_EMBEDDING_KEY])
        summed: Tensor = cast("Any", _Messages).apply(
            features,
            weights,
            data[UNIT_VECTORS_KEY],
            sender.contiguous(),
            receiver.contiguous(),
            self.plan,
        )
        return summed

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
            *_arrays(x, w, y, sender, receiver), *_table(plan, x), out.numpy()
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
        inputs = _arrays(x, w, y, g, sender, receiver)
        kernels.backward(*inputs, *_table(plan, x), *_arrays(*slopes))
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
        inputs = _arrays(x, w, y, g, a, b, c, sender, receiver)
        kernels.second(*inputs, *_table(ctx.plan, x), *_arrays(*slopes))
        return *slopes, None, None, None


def _arrays(*tensors: Tensor) -> list[NDArray[Any]]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


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


def _fits(layer: ConvNetLayer) -> bool:
    """Return whether a layer knows scalars and vectors only, and a gate."""
    conv = layer.conv
    product = conv.tp_scatter.tp
    edges = product.irreps_in2
    return (
        type(layer) is ConvNetLayer
        and not layer.resnet
        and hasattr(layer.equivariant_nonlin, "act_gates")
        and edges in (EDGE_SCALAR_AND_VECTOR, EDGE_SCALAR_AND_VECTOR[:1])
        and conv.linear_1.bias_numel == conv.linear_2.bias_numel == 0
        and conv.avg_num_neighbors_norm.norm_shortcut
    )


def _plan(layer: ConvNetLayer) -> Plan:
    conv = layer.conv
    summed = conv.linear_2.irreps_in
    paths, factors = _paths(conv.tp_scatter.tp, summed)
    scalars, gated = _gate_columns(layer.equivariant_nonlin, conv.linear_2.irreps_out)
    return Plan(
        incoming=_blocks(conv.linear_1.irreps_in),
        summed=_blocks(summed),
        mixed=_blocks(conv.linear_2.irreps_out),
        first=_mixings(conv.linear_1),
        second=_mixings(conv.linear_2),
        self_connection=_mixings(conv.sc) if conv.sc is not None else (),
        paths=paths,
        factors=factors,
        scalars=scalars,
        gated=gated,
    )


def _blocks(irreps: Irreps) -> tuple[Block, ...]:
    return tuple(Block(mul, irrep.dim) for mul, irrep in irreps)


def _mixings(module: Linear | FullyConnectedTensorProduct) -> tuple[Mixing, ...]:
    """Return the maps of channels of a linear layer, or of a product with scalars."""
    found = []
    start = 0
    for entry in module.instructions:
        stop = start + int(np.prod(entry.path_shape))
        factor = float(entry.path_weight)
        if isinstance(module, Linear):
            source = entry.i_in
        else:  # e3nn's coupling with a scalar
            source = entry.i_in1
            factor /= module.irreps_out[entry.i_out].ir.dim ** 0.5
        found.append(Mixing(source, entry.i_out, start, stop, entry.path_shape, factor))
        start = stop
    return tuple(found)


def _paths(
    product: Any, summed: Irreps
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the table of the messages' paths, and the factor of each."""
    x_starts = [part.start for part in product.irreps_in1.slices()]
    places = _places(product.irreps_out, summed)
    rows, factors, weight = [], [], 0
    for entry in product.instructions:
        (channels, before), (_, edge), (_, after) = (
            product.irreps_in1[entry.i_in1],
            product.irreps_in2[entry.i_in2],
            product.irreps_out[entry.i_out],
        )
        kind, corner = _kind(before.l, edge.l, after.l)
        start, stride = places[entry.i_out]
        rows.append((kind, channels, weight, x_starts[entry.i_in1], start, stride))
        coupling = wigner_3j(before.l, edge.l, after.l, dtype=torch.float64)
        factors.append(float(coupling[corner]) * float(entry.path_weight))
        weight += channels
    return np.array(rows, dtype=np.int64), np.array(factors)


def _kind(before: int, edge: int, after: int) -> tuple[int, tuple[int, int, int]]:
    """Return the kind of a path by its orders, and a component of its coupling."""
    if edge == 0:
        return (kernels.VECTOR if before else kernels.SCALAR), (0, 0, 0)
    if before == 0:
        return kernels.RISING, (0, 0, 0)
    return (kernels.CROSS, (0, 1, 2)) if after else (kernels.DOT, (0, 0, 0))


def _places(separate: Irreps, joined: Irreps) -> list[tuple[int, int]]:
    """Return where each part's first component begins, and how far the next one is.

    Parameters
    ----------
    separate
        Sorted parts, of which several may be of one kind.
    joined
        The same, with those of one kind as one block, whose components lie behind one
        another.
    """
    starts = [part.start for part in joined.slices()]
    found = []
    block, used = 0, 0
    for channels, irrep in separate:
        if used == joined[block].mul or irrep != joined[block].ir:
            block, used = block + 1, 0
        found.append((starts[block] + used, joined[block].mul))
        used += channels
    return found


def _gate_columns(
    gate: Any, mixed: Irreps
) -> tuple[tuple[Columns, ...], tuple[tuple[Columns, Columns], ...]]:
    """Return the channels of scalars, and of gated vectors with their gates."""
    named = [
        (name, part)
        for name, irreps in zip(
            ("scalars", "gates", "gated"), gate.sc.irreps_outs, strict=True
        )
        for part in irreps
    ]
    order = Irreps([part for _, part in named]).sort().inv
    block_of = {irrep: block for block, (_, irrep) in enumerate(mixed)}
    used = dict.fromkeys(block_of.values(), 0)
    found: dict[str, dict[int, Columns]] = {"scalars": {}, "gates": {}, "gated": {}}
    for index in order:
        name, (channels, irrep) = named[index]
        block = block_of[irrep]
        stop = used[block] + channels
        found[name][index] = Columns(block, used[block], stop)
        used[block] = stop
    scalars, gates, gated = (
        tuple(columns for _, columns in sorted(found[name].items()))
        for name in ("scalars", "gates", "gated")
    )
    return scalars, _pair(gated, gates)


def _pair(
    gated: Sequence[Columns], gates: Sequence[Columns]
) -> tuple[tuple[Columns, Columns], ...]:
    """Return each block of vectors with the columns of the scalars that gate it."""
    spare = [
        Columns(columns.block, start, start + 1)
        for columns in gates
        for start in range(columns.start, columns.stop)
    ]
    found = []
    for columns in gated:
        count = columns.stop - columns.start
        mine, spare = spare[:count], spare[count:]
        found.append((columns, Columns(mine[0].block, mine[0].start, mine[-1].stop)))
    return tuple(found)
