"""Radial networks read from tables: they are functions of one distance.

nequip evaluates the radial network of each layer for each edge. With one kind of atom
it is a function of the distance alone, so that it is enough to know it, and its slope,
at the points of a grid; `radial_kernels` reads between them. A grid for training is
made anew in each step, and is differentiated like everything else; a network whose
weights stay is tabulated once, on a finer grid.

A grid is its embedding and the slopes of that per interval, stacked: an array
``(2, points, functions)`` in the place of the embedding of the edges.
"""

# mypy: disable-error-code="no-untyped-def"
# ruff: noqa: ANN001, ANN205  torch's contexts, and the gradients it wants, have no type

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import torch
from nequip.nn.embedding import BesselEdgeLengthEncoding
from nequip.nn.mlp import ScalarLinearLayer
from torch import Tensor
from torch.autograd.function import once_differentiable

from synthzoo.models.acceleration import radial_kernels as kernels
from synthzoo.models.acceleration.arrays import arrays, for_loops

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nequip.nn.mlp import ScalarMLPFunction
    from torch.nn import Module

INTERVALS_IN_TRAINING = 256
"""Forces of `carbon-ace-8k` agree with double precision to 1.4e-4 eV/Å at most."""

INTERVALS_AT_REST = 1024
"""Where weights stay; the same forces agree to 3e-6 eV/Å."""

CLOSEST = 1e-4
"""First point of a grid, over the cutoff: at zero the functions are 0 / 0."""

FRACTION_KEY = "synthzoo_fraction"
INTERVAL_KEY = "synthzoo_interval"
ORDER_KEY = "synthzoo_order"
"""Where the layers of one evaluation share the places of edges on the grid."""


class Place(NamedTuple):
    """Where edges lie on a grid.

    ``order``: edges by interval, of shape ``(edges,)``.
    ``fraction``: place of each edge in its interval, from 0 to 1.
    """

    order: Tensor
    interval: Tensor
    fraction: Tensor


class FastEncoding(BesselEdgeLengthEncoding):  # type: ignore[misc]  # untyped
    """Bessel functions of distances: of a grid where that is less work.

    ``at_rest``: whether the layers have tables that stay.
    ``points``: of the grids that were used, by their number of intervals.
    """

    at_rest: bool
    points: dict[int, tuple[Tensor, Tensor, Tensor]]

    def forward(self, data: dict[str, Tensor]) -> dict[str, Tensor]:
        """Add the embedding of the edges, or the grid and their places on it.

        ``data``: distances over the cutoff, as for nequip's own module.
        """
        lengths = data[self.norm_length_field]
        usable = for_loops(data) and self._output_dtype == torch.float32
        if usable and self.at_rest:
            data[self.edge_invariant_field] = lengths.new_empty(0, self.num_bessels)
            _add_place(data, lengths, INTERVALS_AT_REST)
        elif usable and len(lengths) > 3 * INTERVALS_IN_TRAINING:
            data[self.edge_invariant_field] = self.grid(INTERVALS_IN_TRAINING).float()
            _add_place(data, lengths, INTERVALS_IN_TRAINING)
        else:
            return cast("dict[str, Tensor]", super().forward(data))
        return data

    def can_rest(self) -> bool:
        """Return whether tables would serve: in evaluation, single, on the CPU."""
        on_cpu = self.bessel_weights.device.type == "cpu"
        return on_cpu and self._output_dtype == torch.float32 and not self.training

    def train(self, mode: bool = True) -> FastEncoding:  # noqa: FBT001, FBT002  torch's
        """Set whether weights are fitted; tables that stay are left if they are."""
        self.at_rest = self.at_rest and not mode
        return cast("FastEncoding", super().train(mode))

    def _load_from_state_dict(self, *arguments: Any, **options: Any) -> None:
        self.at_rest = False
        super()._load_from_state_dict(*arguments, **options)

    def grid(self, intervals: int) -> Tensor:
        """Return a grid of even distances, ``(2, intervals + 1, functions)``."""
        x, cutoff, cutoff_slope = self._points(intervals)
        phase = torch.pi * x * self.bessel_weights
        bessel = phase.sin() / (torch.pi * x)
        slopes = (self.bessel_weights * phase.cos() - bessel) / x
        slopes = slopes * cutoff + bessel * cutoff_slope
        return torch.stack((bessel * cutoff, slopes / intervals))

    def _points(self, intervals: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the points of a grid, and there the cutoff function and its slope."""
        if intervals not in self.points:
            x = torch.linspace(0, 1, intervals + 1, dtype=torch.float64).unsqueeze(1)
            x.clamp_(min=CLOSEST).requires_grad_()
            with torch.enable_grad():
                cutoff = self.cutoff(x)
                (slope,) = torch.autograd.grad(cutoff.sum(), x)
            self.points[intervals] = x.detach(), cutoff.detach(), slope
        return self.points[intervals]


def quicken(encoding: BesselEdgeLengthEncoding) -> None:
    """Let a module of nequip embed a grid instead of edges where that is less work.

    ``encoding``: changed in place.
    """
    encoding.__class__ = FastEncoding
    encoding.at_rest = False
    encoding.points = {}


def fits(encoding: Module, networks: Iterable[ScalarMLPFunction]) -> bool:
    """Return whether tables can replace radial networks."""
    return type(encoding) is BesselEdgeLengthEncoding and all(
        isinstance(part, torch.nn.SiLU)
        or (isinstance(part, ScalarLinearLayer) and part.bias is None)
        for network in networks
        for part in network.mlp
    )


def place_of(data: dict[str, Tensor]) -> Place | None:
    """Return where the edges lie on the grid, if `FastEncoding` put them there."""
    if FRACTION_KEY not in data:
        return None
    return Place(data[ORDER_KEY], data[INTERVAL_KEY], data[FRACTION_KEY])


def tabulate(network: ScalarMLPFunction, grid: Tensor) -> Tensor:
    """Return the table of a radial network, ``(4, intervals, channels)``."""
    values, slopes = grid
    for part in network.mlp:
        if isinstance(part, ScalarLinearLayer):
            matrix = (part.weight * part.alpha).to(grid.dtype)
            values, slopes = values @ matrix, slopes @ matrix
        else:
            gate = torch.sigmoid(values)
            slopes = slopes * gate * (1 + values * (1 - gate))
            values = values * gate
    starts, ends = values[:-1], values[1:]
    return torch.stack((starts, ends - starts, slopes[:-1], slopes[1:]))


def interpolate(table: Tensor, place: Place) -> Tensor:
    """Return the radial functions of all edges, ``(edges, channels)``."""
    values = cast("Any", _Values).apply(table, place)
    found: Tensor = cast("Any", _Slopes).apply(values, table, place.fraction, place)
    return found


def _add_place(data: dict[str, Tensor], lengths: Tensor, intervals: int) -> None:
    scaled = (lengths * intervals).flatten()
    interval = scaled.detach().long().clamp_(0, intervals - 1)
    data[INTERVAL_KEY] = interval
    data[FRACTION_KEY] = (scaled - interval).clamp(max=1.0).float()
    data[ORDER_KEY] = torch.from_numpy(np.argsort(interval.numpy(), kind="stable"))


class _Values(torch.autograd.Function):
    """Interpolated values, differentiated with respect to the table.

    Apart from `_Slopes`: forces do not need the gradient of the table, and the place,
    which is not an argument in autograd's eyes, does not lead them here.
    """

    @staticmethod
    def forward(ctx, table: Tensor, place: Place) -> Tensor:
        ctx.place, ctx.shape = place, table.shape
        w = table.new_empty(len(place.fraction), table.shape[2])
        kernels.values(*arrays(*place, *table, w))
        return w

    @staticmethod
    def backward(ctx, g: Tensor):
        spread = cast("Any", _Spread).apply(g, ctx.place.fraction, ctx.place, ctx.shape)
        return spread, None


class _Spread(torch.autograd.Function):
    """Gradient of the table, as `radial_kernels.spread` defines it."""

    @staticmethod
    def forward(
        ctx, g: Tensor, fraction: Tensor, place: Place, shape: torch.Size
    ) -> Tensor:
        ctx.save_for_backward(g, fraction)
        ctx.place = place
        slopes = g.new_zeros(shape)
        kernels.spread(*arrays(*place, g, *slopes))
        return slopes

    @staticmethod
    @once_differentiable
    def backward(ctx, a: Tensor):
        g, fraction = ctx.saved_tensors
        dg, dt = torch.empty_like(g), torch.empty_like(fraction)
        kernels.values(*arrays(*ctx.place, *a, dg))
        kernels.slope(*arrays(*ctx.place, *a[1:], g, dt))
        return dg, dt, None, None


class _Slopes(torch.autograd.Function):
    """Values as they are, differentiated with respect to the distance as well."""

    @staticmethod
    def forward(
        ctx, w: Tensor, table: Tensor, fraction: Tensor, place: Place
    ) -> Tensor:
        ctx.save_for_backward(table, fraction)
        ctx.place = place
        return w

    @staticmethod
    def backward(ctx, g: Tensor):
        table, fraction = ctx.saved_tensors
        slope = cast("Any", _SlopesBackward).apply(table, fraction, g, ctx.place)
        return g, None, slope, None


class _SlopesBackward(torch.autograd.Function):
    """Gradient of the distance, as `radial_kernels.slope` defines it."""

    @staticmethod
    def forward(
        ctx, table: Tensor, fraction: Tensor, g: Tensor, place: Place
    ) -> Tensor:
        ctx.save_for_backward(table, fraction, g)
        ctx.place = place
        dt = torch.empty_like(fraction)
        kernels.slope(*arrays(*place, *table[1:], g, dt))
        return dt

    @staticmethod
    @once_differentiable
    def backward(ctx, a: Tensor):
        table, fraction, g = ctx.saved_tensors
        dt, dg = torch.empty_like(fraction), torch.empty_like(g)
        slopes = torch.zeros_like(table)
        inputs = arrays(*ctx.place, *table[1:], g, a)
        kernels.second(*inputs, *arrays(dt, *slopes[1:], dg))
        return slopes, dt, dg, None
