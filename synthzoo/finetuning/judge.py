"""What a fine-tuned model is worth, beside the one that it started from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from synthzoo.data.labelled_set import join_sets
from synthzoo.evaluation.errors import shifted, shifts_eV
from synthzoo.finetuning.comparison import (
    Comparison,
    compare,
    join_predictions,
    predict_set,
)
from synthzoo.finetuning.energy_reference import with_reference
from synthzoo.finetuning.jobs import (
    ALONE,
    DIRECT,
    FIT,
    check_name,
    compared_parts,
    direct_reference,
    seed_names,
)
from synthzoo.finetuning.physics import Curve, Physics, compare_physics, probe
from synthzoo.finetuning.plan import Plan, starting_calculator
from synthzoo.models.calculator import SynthzooCalculator
from synthzoo.models.place import Place
from synthzoo.training.weights import weights_at
from synthzoo.zoo.registry import card_of

if TYPE_CHECKING:
    import torch

    from synthzoo.data.labelled_set import LabelledSet
    from synthzoo.evaluation.errors import GroupErrors, Prediction
    from synthzoo.finetuning.energy_reference import EnergyReference


TEST = "test"
"""Name of the set that the user keeps for testing."""

LEFT_OUT = "left-out"
"""Name of what further fits have not seen."""


@dataclass(frozen=True, kw_only=True)
class SeedResult:
    """What one of several fits that differ by their seed is worth.

    ``loss``: the same, weighed as in the fit.
    ``kept``: whether this fit is the one that is kept.
    """

    seed: int
    errors: GroupErrors
    loss: float
    kept: bool


@dataclass(frozen=True, kw_only=True)
class LevelErrors:
    """What the tuned model is worth at another level of theory, where it was fitted.

    ``shared``: structures that the default level labels, too.
    ``forces``: whether there are labels of forces.
    """

    name: str
    shared: int
    errors: GroupErrors
    forces: bool


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Measures the fits of a plan.

    ``weights``: of each fit, by its name.
    ``test``: structures that the user keeps for testing; may be empty.
    ``test_forces``: whether these have forces, where the data have none.
    ``synthetic``: structures labelled by the teacher of the start, not fitted to; may
    be empty.
    ``choice``: name of the weights that are kept, if they were chosen by something else
    than the loss.
    """

    plan: Plan
    weights: Mapping[str, Mapping[str, torch.Tensor]]
    test: LabelledSet
    synthetic: LabelledSet
    test_forces: bool = False
    device: str = "cpu"
    choice: str | None = None

    @cached_property
    def start(self) -> SynthzooCalculator:
        """The model before."""
        return starting_calculator(self.plan.start, device=self.device)

    @cached_property
    def tuned(self) -> SynthzooCalculator:
        """The model after."""
        return self.calculator(self.kept)

    @cached_property
    def kept(self) -> str:
        """The name of the weights that are kept."""
        if self.choice is not None:
            return self.choice
        names = seed_names(self.plan.recipe.seeds)
        flags = [found.kept for found in self.seeds]
        return names[flags.index(True)] if flags else FIT

    @property
    def candidates(self) -> list[str]:
        """The names of the weights that may be kept."""
        fits = seed_names(self.plan.recipe.seeds)
        return [name for name in self.weights if name.partition(" ")[0] in fits]

    @property
    def kept_fit(self) -> str:
        """The name of the fit in which they were found, at its end or on its way."""
        return self.kept.partition(" ")[0]

    @cached_property
    def seeds(self) -> list[SeedResult]:
        """The fits of which the best is kept; none if there is only one."""
        recipe = self.plan.recipe
        if recipe.seeds == 1 or self.choice is not None:
            return []
        errors = [self._held_out_errors(name) for name in seed_names(recipe.seeds)]
        losses = [recipe.loss(found) for found in errors]
        best = int(np.nanargmin(losses))
        return [
            SeedResult(
                seed=recipe.seed + number,
                errors=found,
                loss=loss,
                kept=number == best,
            )
            for number, (found, loss) in enumerate(zip(errors, losses, strict=True))
        ]

    @cached_property
    def training(self) -> Comparison:
        """Both models on the training set."""
        return self._judged("training", self.plan.training)

    @cached_property
    def unseen(self) -> list[Comparison]:
        """Both models on what the fit has not seen, the most telling first."""
        found = []
        if len(self.test):
            found.append(self._judged(TEST, self.test))
        if len(self.plan.held_out):
            found.append(self._judged("held-out", self.plan.held_out))
        if self.plan.checks:
            found.append(self._left_out())
        return found

    @cached_property
    def members(self) -> list[SynthzooCalculator]:
        """The models of the further fits."""
        return [
            self._calculator(check_name(number), self.plan.reference)
            for number in range(len(self.plan.checks))
        ]

    def forgotten(self) -> Comparison | None:
        """Return both models on the synthetic structures, constants taken off."""
        if not len(self.synthetic):
            return None
        offsets = self.plan.offsets_eV(self.synthetic)
        before, after = (
            shifted(self.synthetic, found, shifts_eV(self.synthetic, found))
            for found in (
                predict_set(self.synthetic, self.start),
                predict_set(self.synthetic, self.tuned, offsets_eV=-offsets),
            )
        )
        return compare("synthetic", self.synthetic, before, after)

    def direct(self) -> Comparison | None:
        """Return models from scratch (before) beside the tuned ones (after)."""
        reference = direct_reference(self.plan.config.elements, self.plan.training)
        return self._beside(DIRECT, reference)

    def alone(self) -> Comparison | None:
        """Return fits to one level of theory (before) beside those to all (after)."""
        return self._beside(ALONE, self.plan.reference)

    def level(self, name: str) -> SynthzooCalculator:
        """Return the tuned model at another level of theory."""
        (level,) = (level for level in self.plan.levels if level.name == name)
        return self._calculator(self.kept, level.reference, level=name)

    def levels(self) -> list[LevelErrors]:
        """Return the errors at the other levels, on structures that were fitted."""
        return [
            LevelErrors(
                name=level.name,
                shared=level.shared,
                errors=predict_set(level.training, self.level(level.name)).errors[0],
                forces=level.keys.forces is not None,
            )
            for level in self.plan.levels
        ]

    def _beside(self, kind: str, reference: EnergyReference) -> Comparison | None:
        """Return models of other fits (before) beside the tuned ones (after)."""
        names = list(compared_parts(kind, self.plan, tested=len(self.test) > 0))
        if names[0] not in self.weights:
            return None
        models = [self._calculator(name, reference) for name in names]
        shown = self.unseen[0] if self.unseen else self.training
        tested = [part for _, part in self.plan.checks]
        if len(models) == 1:
            tested = [shown.labelled]
        return compare(
            shown.name,
            shown.labelled,
            _predict_parts(tested, models),
            shown.after,
            forces=self._has_forces(shown.name),
            seen=shown.seen,
        )

    def curves(self) -> list[Curve]:
        """Return simple systems before and after."""
        return probe(self.start, self.tuned, self._elements)

    def physics(self) -> Physics:
        """Return crystals and the repulsion of near atoms before and after."""
        card = card_of(self.plan.config)
        reference = card.reference_values if card else None
        return compare_physics(self.start, self.tuned, self._elements, reference)

    def _has_forces(self, name: str) -> bool:
        """Return whether a set has labels of forces."""
        return not self.plan.energies_only or (name == TEST and self.test_forces)

    @property
    def _elements(self) -> list[str]:
        """The elements of the training set."""
        return sorted(
            {
                symbol
                for atoms in self.plan.training.structures
                for symbol in atoms.symbols
            }
        )

    def _held_out_errors(self, name: str) -> GroupErrors:
        return predict_set(self.plan.held_out, self.calculator(name)).errors[0]

    def _left_out(self) -> Comparison:
        """Return both models on structures that a further fit has not seen."""
        parts = [part for _, part in self.plan.checks]
        return self._compared(
            LEFT_OUT, join_sets(parts), _predict_parts(parts, self.members)
        )

    def _judged(self, name: str, labelled: LabelledSet) -> Comparison:
        return self._compared(name, labelled, predict_set(labelled, self.tuned))

    def _compared(
        self, name: str, labelled: LabelledSet, after: Prediction
    ) -> Comparison:
        offsets = self.plan.offsets_eV(labelled)
        return compare(
            name,
            labelled,
            predict_set(labelled, self.start, offsets_eV=offsets),
            after,
            forces=self._has_forces(name),
            seen=self.plan.related and name != TEST,
        )

    def calculator(self, name: str) -> SynthzooCalculator:
        """Return a model with some of the weights."""
        return self._calculator(name, self.plan.reference)

    def force_rmse_eV_A(self, name: str) -> float:
        """Return the error of some weights on what was held out, or else fitted."""
        labelled = self.plan.held_out if len(self.plan.held_out) else self.plan.training
        return predict_set(labelled, self.calculator(name)).errors[0].force_rmse_eV_A

    def _calculator(
        self, name: str, reference: EnergyReference, *, level: str | None = None
    ) -> SynthzooCalculator:
        weights = weights_at(self.weights[name], level)
        stored = with_reference(weights, self.plan.config, reference)
        return SynthzooCalculator(stored, place=Place(device=self.device))


def _predict_parts(
    parts: Sequence[LabelledSet], models: Sequence[SynthzooCalculator]
) -> Prediction:
    """Return what each model says about its part, as one prediction."""
    return join_predictions(
        [predict_set(part, model) for part, model in zip(parts, models, strict=True)]
    )
