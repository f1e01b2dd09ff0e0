"""What a fine-tuning gave: for the report, and for programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synthzoo.recipes import recipe_values
from synthzoo.tuning.comparison import verdict

if TYPE_CHECKING:
    from synthzoo.curves import TrainingLoss
    from synthzoo.tuning.comparison import Comparison
    from synthzoo.tuning.judge import SeedResult
    from synthzoo.tuning.physics import Physics
    from synthzoo.tuning.plan import Plan
    from synthzoo.tuning.probes import Curve
    from synthzoo.tuning.replay import Synthetic
    from synthzoo.tuning.selection import Candidate

UNJUDGED = (
    "No structure was kept from the fit, so that nothing here says whether fine-tuning "
    "helps. Give labelled structures of your own with `--test`, or `--held-out-share`."
)


@dataclass(frozen=True, kw_only=True)
class Results:
    """What a fine-tuning gave.

    Attributes
    ----------
    model
        Name of the start.
    plan
        What was fitted to what.
    batch_atoms
        Size of the batches that the fit has come to.
    losses
        Training errors of each epoch.
    seeds
        What the fits are worth of which the best is kept; empty for one fit.
    selection
        What weights are worth that were put through dynamics, the best first; empty
        if none were.
    replay
        Synthetic structures that were mixed in, and those to measure with.
    training
        Before and after on the training set.
    unseen
        The same on sets that the fit has not seen, the most telling one first.
    synthetic
        The same on the synthetic structures to measure with, if there are any.
    direct
        From scratch (before) and fine-tuned (after), if asked for.
    curves
        Simple systems, before and after.
    physics
        Crystals and the repulsion of near atoms, before and after.
    provenance
        What made the checkpoint.
    seconds
        Time that it took, up to the report.
    """

    model: str
    plan: Plan
    batch_atoms: int
    losses: Sequence[TrainingLoss]
    seeds: Sequence[SeedResult]
    selection: Sequence[Candidate]
    replay: Synthetic
    training: Comparison
    unseen: Sequence[Comparison]
    synthetic: Comparison | None
    direct: Comparison | None
    curves: Sequence[Curve]
    physics: Physics
    provenance: dict[str, Any]
    seconds: float

    @property
    def verdict(self) -> str:
        """Whether it helped and kept known physics, in words."""
        replayed = len(self.replay.mixed) > 0
        errors = verdict(self.unseen[0], replayed=replayed) if self.unseen else UNJUDGED
        return f"{errors} {self.physics.summary}"


def metrics(results: Results) -> dict[str, Any]:
    """Return everything that was measured, for programs.

    Parameters
    ----------
    results
        What the fine-tuning gave.
    """
    plan = results.plan
    return {
        "verdict": results.verdict,
        "reference": dataclasses.asdict(plan.reference),
        "findings": list(plan.notes),
        "training": _values(results.training),
        "unseen": [_values(found) for found in results.unseen],
        "synthetic": _values(results.synthetic) if results.synthetic else None,
        "direct": _values(results.direct) if results.direct else None,
        "physics": dataclasses.asdict(results.physics),
        "probes": [dataclasses.asdict(curve) for curve in results.curves],
        "seeds": [dataclasses.asdict(found) for found in results.seeds],
        "selection": [dataclasses.asdict(found) for found in results.selection],
        "losses": [dataclasses.asdict(loss) for loss in results.losses],
        "recipe": recipe_values(plan.recipe),
        "provenance": results.provenance,
        "seconds": round(results.seconds, 1),
    }


def _values(comparison: Comparison) -> dict[str, Any]:
    return {
        "name": comparison.name,
        "energy": comparison.energy,
        "forces": comparison.forces,
        "before": [dataclasses.asdict(group) for group in comparison.before.errors],
        "after": [dataclasses.asdict(group) for group in comparison.after.errors],
    }
