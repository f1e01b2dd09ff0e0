"""A model before and after its fine-tuning on the same structures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import stats

from synthzoo.data.structures import group_of
from synthzoo.evaluation.errors import Prediction, judge_set
from synthzoo.models.predict import predict_structures

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.data.labelled_set import LabelledSet
    from synthzoo.models.calculator import SynthzooCalculator

DRAWS = 1000
CONFIDENCE = 0.95
"""Of the sign of a change, by bootstrap; related frames are drawn together, since they
err together."""

LEAST_GROUPS = 5
"""So many groups must be compared: the signs of four agree by chance in one of 16."""

Change = Literal["better", "worse", "unclear"]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two models on one labelled set.

    ``before``, ``after``: what the start, with shifted energies, and the tuned model
    say.
    ``energy``, ``forces``: whether the errors of the second are smaller, beyond what
    the choice of structures explains; None for forces that have no labels.
    ``groups``: number of groups of related frames in the set.
    ``seen``: whether frames much like those of the set were fitted, so that the errors
    say nothing of other structures.
    """

    name: str
    labelled: LabelledSet
    before: Prediction
    after: Prediction
    energy: Change
    forces: Change | None
    groups: int
    seen: bool


def predict_set(
    labelled: LabelledSet,
    calculator: SynthzooCalculator,
    *,
    offsets_eV: NDArray[np.float64] | None = None,
) -> Prediction:
    """Return what a model says about a labelled set.

    ``offsets_eV``: added to the energy of each structure, of shape ``(n_structures,)``.
    """
    predicted = list(predict_structures(labelled.structures, calculator))
    if offsets_eV is not None:
        for atoms, offset in zip(predicted, offsets_eV, strict=True):
            atoms.calc.results["energy"] += float(offset)
    return judge_set(labelled, predicted)


def compare(
    name: str,
    labelled: LabelledSet,
    before: Prediction,
    after: Prediction,
    *,
    forces: bool = True,
    seen: bool = False,
) -> Comparison:
    """Return two predictions of one set, with what changed.

    ``forces``: whether the forces are labels to be judged by.
    ``seen``: whether frames much like these were fitted: then no change is clear.
    """
    groups = [group_of(atoms) for atoms in labelled.structures]

    def change(errors: Callable[[Prediction], NDArray[np.float64]]) -> Change:
        return "unclear" if seen else _change(errors(after) - errors(before), groups)

    return Comparison(
        name=name,
        labelled=labelled,
        before=before,
        after=after,
        energy=change(_squared_energies),
        forces=change(_squared_forces) if forces else None,
        groups=len(set(groups)),
        seen=seen,
    )


def join_predictions(parts: Sequence[Prediction]) -> Prediction:
    """Return predictions for several sets as those for their union."""
    return Prediction(
        energies_eV_per_atom=np.concatenate(
            [part.energies_eV_per_atom for part in parts]
        ),
        forces_eV_A=np.concatenate([part.forces_eV_A for part in parts]),
        stresses_eV_A3=np.concatenate([part.stresses_eV_A3 for part in parts]),
        residuals=[residual for part in parts for residual in part.residuals],
    )


def _squared_energies(prediction: Prediction) -> NDArray[np.float64]:
    return np.array(
        [residual.energy_eV_per_atom**2 for residual in prediction.residuals]
    )


def _squared_forces(prediction: Prediction) -> NDArray[np.float64]:
    return np.array(
        [np.square(residual.forces_eV_A).sum() for residual in prediction.residuals]
    )


def _change(differences: NDArray[np.float64], groups: Sequence[str]) -> Change:
    """Return the sign of the sum of differences, by bootstrap of groups.

    Percentiles of draws from few groups promise too much. These are wider, as far as
    Student's distribution is wider than the normal one (the "expanded percentile
    interval" of Hesterberg, doi:10.1080/00031305.2015.1089789): where nothing has
    changed, about one comparison in ten is called clear, however few the groups are.
    """
    names, places = np.unique(groups, return_inverse=True)
    count = len(names)
    if count < LEAST_GROUPS:
        return "unclear"
    sums = np.bincount(places, weights=differences)
    rng = np.random.default_rng(0)
    drawn = sums[rng.integers(count, size=(DRAWS, count))].sum(axis=1)
    width = math.sqrt(count / (count - 1)) * stats.t.ppf(CONFIDENCE, count - 1)
    needed = stats.norm.cdf(width)
    if (drawn < 0).mean() >= needed:
        return "better"
    return "worse" if (drawn > 0).mean() >= needed else "unclear"
