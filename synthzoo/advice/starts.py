"""Starts of the zoo that know a set's elements, and short fits of them to its parts."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from synthzoo.advice.trials import Said
from synthzoo.data.frames import FrameSet, Origin
from synthzoo.evaluation.errors import judge_set, shifted, shifts_eV
from synthzoo.finetuning.checks import Examination
from synthzoo.finetuning.energy_reference import with_reference
from synthzoo.finetuning.fits import FitJob, run_fits
from synthzoo.finetuning.jobs import (
    direct_reference,
    fit_from_scratch,
    planned_fit,
    visits_from_scratch,
)
from synthzoo.finetuning.plan import make_plan, starting_calculator
from synthzoo.finetuning.recipe import FinetuneRecipe, resolve_recipe
from synthzoo.finetuning.replay import find_replay, read_synthetic
from synthzoo.inspection.findings import CheckedSet
from synthzoo.models.calculator import SynthzooCalculator
from synthzoo.models.place import Place
from synthzoo.models.predict import predict_structures
from synthzoo.potentials import find_checkpoint
from synthzoo.zoo.registry import bundled_folder, model_cards

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.advice.data import Fold, UserData
    from synthzoo.data.labelled_set import LabelledSet
    from synthzoo.evaluation.errors import GroupErrors, Prediction
    from synthzoo.finetuning.energy_reference import EnergyReference
    from synthzoo.models.checkpoint import Checkpoint


UNTUNED, TUNED = "untuned", "fine-tuned"
"""First words of the names of networks as they come, and after a fit."""


def names_that_know(elements: Sequence[str]) -> list[str]:
    """Return the models that come with synthzoo and know all of these elements."""
    return [
        card.name
        for card in model_cards()
        if set(elements) <= set(card.elements) and bundled_folder(card) is not None
    ]


@dataclass(frozen=True)
class Start:
    """A checkpoint that can be fine-tuned, and what it says of the data before.

    ``predicted``: the structures of the data, then the isolated atoms.
    ``errors``: before any fit, after one constant per element.
    """

    name: str
    checkpoint: Checkpoint
    calculator: SynthzooCalculator
    predicted: list[Atoms]
    errors: GroupErrors

    @cached_property
    def replay(self) -> LabelledSet:
        """Synthetic structures that are mixed in, computed once for all fits."""
        files = find_replay(None, self.checkpoint.config)
        return read_synthetic(files, self.calculator).mixed

    @property
    def is_potential(self) -> bool:
        """Whether it can be used as it comes, or only to start from."""
        return self.checkpoint.config.kind == "potential"

    def says(
        self, bulk: LabelledSet, training: Sequence[int], tested: Sequence[int]
    ) -> Said:
        """Return what it says of structures without a fit.

        ``training``: structures that give one constant per element.
        """
        constants = shifts_eV(bulk.part(training), self._judged(bulk, training))
        part = bulk.part(tested)
        found = shifted(part, self._judged(bulk, tested), constants)
        sizes = np.array([len(atoms) for atoms in part.structures])
        return Said(
            energies_eV=found.energies_eV_per_atom * sizes,
            forces_eV_A=found.forces_eV_A,
        )

    def _judged(self, bulk: LabelledSet, indices: Sequence[int]) -> Prediction:
        return judge_set(bulk.part(indices), [self.predicted[i] for i in indices])


def judge_start(name: str, data: UserData) -> Start:
    """Return a start with its errors on the data; refuse one that cannot be used."""
    checkpoint = find_checkpoint(name, needed_for="advise")
    calculator = starting_calculator(checkpoint)
    for atoms, origin in zip(data.bulk.structures, data.bulk.origins, strict=True):
        calculator.check(atoms, name=origin)
    predicted = list(
        predict_structures([*data.bulk.structures, *data.isolated], calculator)
    )
    found = judge_set(data.bulk, predicted[: len(data.bulk)])
    moved = shifted(data.bulk, found, shifts_eV(data.bulk, found))
    return Start(
        name=name,
        checkpoint=checkpoint,
        calculator=calculator,
        predicted=predicted,
        errors=moved.errors[0],
    )


@dataclass(frozen=True, kw_only=True)
class ShortFit:
    """A fit of a start, or of a new network of its shape, to a part of the data.

    ``size``: number of structures, the first ones of the fold.
    """

    start: Start
    fold: Fold
    size: int
    job: FitJob
    reference: EnergyReference

    @property
    def name(self) -> str:
        """The name of the kind of model."""
        return "direct training" if self.job.fresh else f"{TUNED} {self.start.name}"

    @property
    def visits(self) -> int:
        """Structures that the fit sees in all."""
        return self.job.recipe.visits or 0  # resolved: not None

    @property
    def mean_atoms(self) -> float:
        """Atoms of the structures that are fitted, on average."""
        return float(np.mean([len(atoms) for atoms, _ in self.job.training]))

    def calculator(self, folder: Path) -> SynthzooCalculator:
        """Return the fitted model, once the fit is done in a folder."""
        weights = run_fits([self.job], folder)[self.job.name]  # done: only read
        config = self.start.checkpoint.config
        stored = with_reference(weights, config, self.reference)
        return SynthzooCalculator(stored, place=Place(device="cpu"))

    def said(self, folder: Path, bulk: LabelledSet) -> Said:
        """Return what the fitted model says about the structures that test it."""
        part = bulk.part(self.fold.tested)
        predicted = list(predict_structures(part.structures, self.calculator(folder)))
        found = judge_set(part, predicted)
        sizes = np.array([len(atoms) for atoms in part.structures])
        return Said(
            energies_eV=found.energies_eV_per_atom * sizes,
            forces_eV_A=found.forces_eV_A,
        )


def recipe_for(
    sizes: Sequence[int], start: Start, *, most_atoms: int | None, seed: int
) -> FinetuneRecipe:
    """Return how a start is fitted: as `finetune` does, but no longer than allowed.

    ``sizes``: of the structures that are fitted.
    ``most_atoms``: that a fit sees in all; None for no limit.
    """
    whole = FinetuneRecipe(held_out_share=0.0, check_share=0.0, seed=seed)
    kind = start.checkpoint.config.kind
    recipe = resolve_recipe(whole, sizes, kind=kind)
    if most_atoms is None:
        return recipe
    visits = max(len(sizes), math.ceil(most_atoms * len(sizes) / sum(sizes)))
    return dataclasses.replace(recipe, visits=min(recipe.visits or visits, visits))


def fit_to_part(
    start: Start,
    data: UserData,
    fold: Fold,
    size: int,
    *,
    most_atoms: int | None,
    seed: int,
) -> ShortFit:
    """Return the fit of a start to the first structures of a fold."""
    chosen = list(fold.training[:size])
    atoms = [len(data.bulk.structures[index]) for index in chosen]
    recipe = recipe_for(atoms, start, most_atoms=most_atoms, seed=seed)
    plan = make_plan(
        start.checkpoint,
        _part(start, data, chosen),
        recipe,
        given_eV={},
        tested=True,
    )
    name = f"{file_stem(start.name)}-{size}-{fold.number}"
    job = dataclasses.replace(planned_fit(plan, start.replay), name=name)
    return ShortFit(
        start=start, fold=fold, size=size, job=job, reference=plan.reference
    )


def fit_from_nothing(
    start: Start, data: UserData, fold: Fold, size: int, *, seed: int
) -> ShortFit:
    """Return the fit of a new network of a start's shape, as long as it takes."""
    part = data.bulk.part(fold.training[:size])
    reference = direct_reference(start.checkpoint.config.elements, part)
    atoms = [len(each) for each in part.structures]
    recipe = dataclasses.replace(
        recipe_for(atoms, start, most_atoms=None, seed=seed),
        visits=visits_from_scratch(atoms),
    )
    name = f"direct-{size}-{fold.number}"
    whole = FitJob(name=name, start=start.checkpoint, recipe=recipe, training=())
    job = fit_from_scratch(whole, part, reference)
    return ShortFit(start=start, fold=fold, size=size, job=job, reference=reference)


def visits_of(fits: Sequence[ShortFit]) -> dict[str, tuple[int, int]]:
    """Return what each kind of fit saw, and what `finetune` would show it."""
    found = {}
    for fit in fits:
        sizes = [len(atoms) for atoms, _ in fit.job.training]
        whole = recipe_for(sizes, fit.start, most_atoms=None, seed=0)
        usual = fit.visits if fit.job.fresh else whole.visits or 0
        found[f"{fit.name}, {fit.size} structures"] = (fit.visits, usual)
    return found


def file_stem(name: str) -> str:
    """Return a model's name as part of a file's name, different for each model.

    That of a path is its last part, with some letters that tell folders apart.

    Examples
    --------
    >>> file_stem("carbon-ace-2k")
    'carbon-ace-2k'
    >>> file_stem("mine/potential"), file_stem("yours/potential")
    ('potential-2f6ff9', 'potential-128cb3')
    """
    last = Path(name).name
    plain = "".join(c if c.isalnum() or c in "-_" else "-" for c in last)
    if plain == name:
        return name
    return f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def _part(start: Start, data: UserData, chosen: Sequence[int]) -> Examination:
    """Return what a start says of some structures, and of all isolated atoms."""
    numbers = [*chosen, *range(len(data.bulk), len(data.bulk) + len(data.isolated))]
    everything = [*data.bulk.structures, *data.isolated]
    structures = [everything[index] for index in numbers]
    origins = [Origin(file=Path("data"), index=index) for index in numbers]
    return Examination(
        frames=FrameSet(structures=structures, origins=origins),
        data=CheckedSet(structures=structures, keys=data.keys),
        calculator=start.calculator,
        predicted=[start.predicted[index] for index in numbers],
        findings=[],
    )
