"""What a fine-tuning gave: for the report, and for programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synthzoo.recipes import recipe_values
from synthzoo.tuning.verdict import verdict

if TYPE_CHECKING:
    from synthzoo.curves import TrainingLoss
    from synthzoo.tuning.comparison import Comparison
    from synthzoo.tuning.judge import SeedResult
    from synthzoo.tuning.physics import Physics
    from synthzoo.tuning.plan import Plan
    from synthzoo.tuning.probes import Curve
    from synthzoo.tuning.replay import Synthetic
    from synthzoo.tuning.selection import Candidate


@dataclass(frozen=True, kw_only=True)
class DirectTraining:
    """What training from scratch on the same structures gave.

    Attributes
    ----------
    comparison
        From scratch (before) and fine-tuned (after).
    visits, epochs
        Structures that a fit saw in all, and how often it saw each.
    energy_rmse_meV_per_atom, force_rmse_eV_A
        In the last epoch, on the structures that were fitted: mean over the fits.
    """

    comparison: Comparison
    visits: int
    epochs: int
    energy_rmse_meV_per_atom: float
    force_rmse_eV_A: float


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
        Training from scratch, if asked for.
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
    direct: DirectTraining | None
    curves: Sequence[Curve]
    physics: Physics
    provenance: dict[str, Any]
    seconds: float

    @property
    def verdict(self) -> str:
        """Whether it helped and kept known physics, in words."""
        shown = self.unseen[0] if self.unseen else None
        return verdict(
            shown, also=[self.physics.summary], replayed=len(self.replay.mixed) > 0
        )


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
        "direct": _direct_values(results.direct) if results.direct else None,
        "physics": dataclasses.asdict(results.physics),
        "probes": [dataclasses.asdict(curve) for curve in results.curves],
        "seeds": [dataclasses.asdict(found) for found in results.seeds],
        "selection": [dataclasses.asdict(found) for found in results.selection],
        "losses": [dataclasses.asdict(loss) for loss in results.losses],
        "recipe": recipe_values(plan.recipe),
        "provenance": results.provenance,
        "seconds": round(results.seconds, 1),
    }


def _direct_values(direct: DirectTraining) -> dict[str, Any]:
    values = {
        field.name: getattr(direct, field.name)
        for field in dataclasses.fields(direct)
        if field.name != "comparison"
    }
    return _values(direct.comparison) | values


def _values(comparison: Comparison) -> dict[str, Any]:
    return {
        "name": comparison.name,
        "energy": comparison.energy,
        "forces": comparison.forces,
        "groups": comparison.groups,
        "seen": comparison.seen,
        "before": [dataclasses.asdict(group) for group in comparison.before.errors],
        "after": [dataclasses.asdict(group) for group in comparison.after.errors],
    }
