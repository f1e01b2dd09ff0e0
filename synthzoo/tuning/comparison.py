"""A model before and after its fine-tuning on the same structures, and a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from synthzoo.evaluate import Prediction, judge_set
from synthzoo.predict import predict_structures
from synthzoo.structures import group_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.calculator import SynthzooCalculator
    from synthzoo.labelled_sets import LabelledSet

DRAWS = 1000
CONFIDENCE = 0.95
"""A change counts if so many of the draws agree on its sign; related frames are drawn
together, since they err together."""

Change = Literal["better", "worse", "unclear"]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two models on one labelled set.

    Attributes
    ----------
    name
        Of the set.
    labelled
        The set.
    before, after
        What the start, with shifted energies, and the tuned model say.
    energy, forces
        Whether the errors of the second are smaller, beyond what the choice of
        structures explains; None for forces that have no labels.
    """

    name: str
    labelled: LabelledSet
    before: Prediction
    after: Prediction
    energy: Change
    forces: Change | None


def predict_set(
    labelled: LabelledSet,
    calculator: SynthzooCalculator,
    *,
    offsets_eV: NDArray[np.float64] | None = None,
) -> Prediction:
    """Return what a model says about a labelled set.

    Parameters
    ----------
    labelled
        Structures and labels.
    calculator
        The model.
    offsets_eV
        Added to the energy of each structure, of shape ``(n_structures,)``.
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
) -> Comparison:
    """Return two predictions of one set, with what changed.

    Parameters
    ----------
    name
        Of the set.
    labelled
        Structures and labels.
    before, after
        From `predict_set`.
    forces
        Whether the forces are labels to be judged by.
    """
    groups = [group_of(atoms) for atoms in labelled.structures]
    return Comparison(
        name=name,
        labelled=labelled,
        before=before,
        after=after,
        energy=_change(_squared_energies(before), _squared_energies(after), groups),
        forces=_change(_squared_forces(before), _squared_forces(after), groups)
        if forces
        else None,
    )


def join_predictions(parts: Sequence[Prediction]) -> Prediction:
    """Return predictions for several sets as those for their union.

    Parameters
    ----------
    parts
        At least one.
    """
    return Prediction(
        energies_eV_per_atom=np.concatenate(
            [part.energies_eV_per_atom for part in parts]
        ),
        forces_eV_A=np.concatenate([part.forces_eV_A for part in parts]),
        residuals=[found for part in parts for found in part.residuals],
    )


def verdict(comparison: Comparison, *, replayed: bool = False) -> str:
    """Return in words whether fine-tuning helped on a set that it has not seen.

    Parameters
    ----------
    comparison
        Of that set.
    replayed
        Whether synthetic structures were mixed in; if not, that is advised where
        something got worse.
    """
    old, new = comparison.before.errors[0], comparison.after.errors[0]
    parts = [
        f"energies {_TEXT[comparison.energy]} ({old.energy_rmse_meV_per_atom:.1f} → "
        f"{new.energy_rmse_meV_per_atom:.1f} meV/atom)"
    ]
    if comparison.forces is not None:
        parts.append(
            f"forces {_TEXT[comparison.forces]} ({old.force_rmse_eV_A:.3f} → "
            f"{new.force_rmse_eV_A:.3f} eV/Å)"
        )
    changes = {comparison.energy, comparison.forces} - {None}
    if "better" in changes and "worse" not in changes:
        start = "Fine-tuning helped"
    elif "better" in changes:
        start = "Fine-tuning helped in one respect and did harm in another"
    elif "worse" in changes:
        start = "Fine-tuning did not help: it made the model worse"
    else:
        start = "Whether fine-tuning helped cannot be told from so few structures"
    told = (
        f"{start}: on {new.structures} {comparison.name} structures, "
        f"{', '.join(parts)}."
    )
    return f"{told} {_ADVICE}" if "worse" in changes and not replayed else told


_ADVICE = (
    "More structures like these help most; `--replay` holds a fit to few of them "
    "nearer to its start."
)

_TEXT: dict[Change, str] = {
    "better": "are better",
    "worse": "are worse",
    "unclear": "did not clearly change",
}


def _squared_energies(prediction: Prediction) -> NDArray[np.float64]:
    return np.array([found.energy_eV_per_atom**2 for found in prediction.residuals])


def _squared_forces(prediction: Prediction) -> NDArray[np.float64]:
    return np.array(
        [np.square(found.forces_eV_A).sum() for found in prediction.residuals]
    )


def _change(
    before: NDArray[np.float64], after: NDArray[np.float64], groups: Sequence[str]
) -> Change:
    """Return the sign of the change of a sum over structures, by bootstrap of groups.

    One group alone says nothing of others.
    """
    names, places = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        return "unclear"
    differences = np.bincount(places, weights=after - before)
    rng = np.random.default_rng(0)
    draws = rng.integers(len(names), size=(DRAWS, len(names)))
    sums = differences[draws].sum(axis=1)
    if float((sums < 0).mean()) >= CONFIDENCE:
        return "better"
    return "worse" if float((sums > 0).mean()) >= CONFIDENCE else "unclear"
