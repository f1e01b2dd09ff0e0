"""An optimizer that moves matrices as a whole, and all other weights as Adam does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from synthzoo.models.learning import Block

MOMENTUM = 0.95
ITERATIONS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of x, x³ and x⁵ in the polynomial that takes singular values towards 1."""


class Muon(torch.optim.Adam):
    """Adam, but for matrices, which move by their gradient's orthogonal factor.

    Jordan 2024, https://kellerjordan.github.io/posts/muon. nequip and torch have it,
    too, but compute in bfloat16 and each matrix alone, which is slow on a CPU.

    ``groups``: weights, each group with its rate for Adam.
    ``blocks``: the matrices in weights; those that are not in a group stay as they are.
    ``rate_ratio``: rate of matrices over that of Adam.
    ``betas``: of Adam.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        *,
        blocks: Mapping[torch.Tensor, Sequence[Block]],
        rate_ratio: float,
        betas: tuple[float, float],
    ) -> None:
        super().__init__(groups, betas=betas)
        self._blocks = blocks
        self._rate_ratio = rate_ratio

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight in self._blocks]
            self._move(weights, group["lr"] * self._rate_ratio)
            for weight in weights:
                weight.grad = None  # Adam passes over it
        super().step()
        return loss

    def _move(self, weights: Sequence[torch.Tensor], rate: float) -> None:
        """Move matrices, those of the same shape together."""
        alike: dict[torch.Size, list[tuple[torch.Tensor, torch.Tensor]]] = {}
        for weight in weights:
            ahead = self._direction(weight)
            for block in self._blocks[weight]:
                matrix, along = block.of(weight), block.of(ahead)
                alike.setdefault(along.shape, []).append((matrix, along))
        for (rows, columns), pairs in alike.items():
            step = rate * max(1.0, rows / columns) ** 0.5
            moves = orthogonal(torch.stack([along for _, along in pairs]))
            for (matrix, _), move in zip(pairs, moves, strict=True):
                matrix.add_(move, alpha=-step)

    def _direction(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the running mean of the gradient, one step ahead (Nesterov's)."""
        state, gradient = self.state[weight], weight.grad
        if gradient is None:
            gradient = torch.zeros_like(weight)
        if not state:  # with the names that Adam looks for
            state["step"] = torch.zeros(())
            state["exp_avg"] = torch.zeros_like(weight)
        mean: torch.Tensor = state["exp_avg"]
        mean.lerp_(gradient, 1 - MOMENTUM)
        return gradient.lerp(mean, MOMENTUM)


def orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """Return matrices of the same singular vectors whose singular values are about 1.

    ``matrices``: of shape ``(n, rows, columns)``.
    """
    if matrices.size(1) > matrices.size(2):
        return orthogonal(matrices.mT).mT
    first, third, fifth = COEFFICIENTS
    moved: torch.Tensor = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(ITERATIONS):
        square = moved @ moved.mT
        factor = torch.baddbmm(square, square, square, beta=third, alpha=fifth)
        moved = torch.baddbmm(moved, factor, moved, beta=first)
    return moved
