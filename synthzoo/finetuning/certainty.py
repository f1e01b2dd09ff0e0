"""How sure a fine-tuned model is: its posterior, brought to the size of its errors."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synthzoo.evaluation.calibration import Calibration, Spread, calibration, spreads
from synthzoo.finetuning.judge import LEFT_OUT, Judge
from synthzoo.models.hidden import features_of_each
from synthzoo.models.uncertainty import (
    Uncertainty,
    distances,
    mean_features,
)

if TYPE_CHECKING:
    from synthzoo.data.labelled_set import LabelledSet
    from synthzoo.evaluation.errors import Residual
    from synthzoo.models.calculator import SynthzooCalculator

FAR = 3.0
"""So many times the usual deviation are a reason to stop a run."""

LEAST_ATOMS = 100
"""With fewer to compare, nothing is said about how sure a model is."""


@dataclass(frozen=True, kw_only=True)
class Certainty:
    """What is known of a model's errors before they are made.

    ``calibrated_on``: name of the set of structures.
    ``forces``: errors of that set, with the deviations that are predicted for them.
    """

    uncertainty: Uncertainty
    calibrated_on: str
    forces: Spread
    calibration: Calibration

    @property
    def usual_eV_A(self) -> float:
        """Deviation of forces that only one atom of a hundred exceeds in that set."""
        return float(np.quantile(self.forces.deviations, 0.99))


def find_certainty(judge: Judge) -> Certainty | None:
    """Return how sure the tuned model is; None where too little was kept from the fit.

    Distances from the data come from the features of what was fitted. Their factors
    come from the errors on structures that a fit has not seen: those of a test set, or
    of each part that was left out, by the model that was fitted to the others.
    """
    if not judge.unseen or judge.plan.energies_only:
        return None
    shown = judge.unseen[0]
    atoms = sum(len(atoms) for atoms in shown.labelled.structures)
    if atoms < LEAST_ATOMS:
        return None
    known = _known(judge.tuned, judge.plan.training)
    parts = [(judge.tuned, known, shown.labelled)]
    if shown.name == LEFT_OUT:
        parts = [
            (member, _known(member, fitted), left_out)
            for member, (fitted, left_out) in zip(
                judge.members, judge.plan.checks, strict=True
            )
        ]
    forces, energies = _spreads(parts, shown.after.residuals)
    factors = (energies.factor(), forces.factor())
    if not np.isfinite(factors).all():
        return None  # of atoms without neighbours there is nothing to compare
    found = dataclasses.replace(
        known, energy_eV_per_atom=factors[0], forces_eV_A=factors[1]
    )
    forces = forces.scaled(found.forces_eV_A)
    energies = energies.scaled(found.energy_eV_per_atom)
    return Certainty(
        uncertainty=found,
        calibrated_on=shown.name,
        forces=forces,
        calibration=calibration(forces, energies),
    )


def _known(model: SynthzooCalculator, fitted: LabelledSet) -> Uncertainty:
    """Return how far the data pin a model down, before its errors are known."""
    return Uncertainty.of(list(features_of_each(model, fitted.structures)))


def _spreads(
    parts: Iterable[tuple[SynthzooCalculator, Uncertainty, LabelledSet]],
    residuals: Sequence[Residual],
) -> tuple[Spread, Spread]:
    """Return errors of forces, and of energies per atom, with distances from the data.

    ``parts``: a model, what it knows, and what it was tested on.
    ``residuals``: of all that was tested, in order.
    """
    far, far_in_mean = [], []
    for model, known, tested in parts:
        for features in features_of_each(model, tested.structures):
            far.append(distances(features, known.root))
            far_in_mean.append(distances(mean_features(features), known.root))
    return spreads(residuals, far, np.concatenate(far_in_mean))
