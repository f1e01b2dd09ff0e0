"""The dynamics of a protocol, cut into parts between which states are saved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from synthzoo.stability.protocols import Conservation

if TYPE_CHECKING:
    from synthzoo.stability.protocols import MdRecipe, MovingStage


@dataclass(frozen=True, kw_only=True)
class Part:
    """Some steps of one stage.

    Attributes
    ----------
    stage
        Number among the stages in which atoms move.
    begin, steps, total
        Steps done before in this stage (at this time step), in this part, and in all.
    factor
        Time step over that of the protocol.
    aside
        Whether the run comes back to where the stage began: at all but one of the time
        steps of a conservation stage.
    """

    stage: int
    begin: int
    steps: int
    total: int
    factor: float = 1.0
    aside: bool = False

    @property
    def ends(self) -> bool:
        """Whether it is the last of its stage (at this time step)."""
        return self.begin + self.steps == self.total


def plan_parts(recipe: MdRecipe, timestep_fs: float) -> tuple[Part, ...]:
    """Return the parts of a replica's run, in order.

    Parameters
    ----------
    recipe
        Protocol.
    timestep_fs
        Step of the integrator.
    """
    return tuple(
        part
        for number, stage in enumerate(recipe.moving)
        for factor in _factors(stage)
        for part in _parts(recipe, number, timestep_fs, factor)
    )


def planned_fs(recipe: MdRecipe) -> float:
    """Return the time to simulate, without what a conservation stage does aside.

    Parameters
    ----------
    recipe
        Protocol.
    """
    return sum(stage.duration_fs for stage in recipe.moving)


def _factors(stage: MovingStage) -> tuple[float, ...]:
    """Return the time steps of a stage, that of the protocol last."""
    if not isinstance(stage, Conservation):
        return (1.0,)
    return (*(factor for factor in stage.factors if factor != 1.0), 1.0)


def _parts(
    recipe: MdRecipe, number: int, timestep_fs: float, factor: float
) -> Iterator[Part]:
    step_fs = timestep_fs * factor
    total = max(1, round(recipe.moving[number].duration_fs / step_fs))
    checks = max(1, round(recipe.save_fs / step_fs / recipe.check_steps))
    most = checks * recipe.check_steps
    for begin in range(0, total, most):
        yield Part(
            stage=number,
            begin=begin,
            steps=min(most, total - begin),
            total=total,
            factor=factor,
            aside=factor != 1.0,
        )
