"""Everything about a fine-tuning that is known before its fit."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms

from synthzoo.data import unconstrained
from synthzoo.data.structures import content_hash, group_of
from synthzoo.errors import InputError
from synthzoo.finetuning.checks import Examination, Examined, describe, fit_for_use
from synthzoo.finetuning.energy_reference import (
    EnergyReference,
    Source,
    check_spread,
    find_isolated,
    find_reference,
)
from synthzoo.finetuning.recipe import FinetuneRecipe, resolve_recipe
from synthzoo.models.calculator import SynthzooCalculator
from synthzoo.models.place import Place
from synthzoo.models.predict import predict_structures
from synthzoo.zoo.load import models_that_know

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.data.labelled_set import LabelledSet
    from synthzoo.data.labels import LabelKeys, Labels
    from synthzoo.models.checkpoint import Checkpoint
    from synthzoo.models.config import CheckpointConfig


Parts = tuple[list[int], list[int]]
"""Indices of the structures that a fit sees, and of those that test it."""


def are_related(structures: Sequence[Atoms]) -> bool:
    """Return whether one group of related frames is more than half of a set.

    A fit without that group would say little about a fit to everything, and a fit that
    sees part of it is tested on frames much like those that it has seen.
    """
    sizes = Counter(map(group_of, structures))
    return 2 * max(sizes.values(), default=0) > len(structures) > 1


def split_set(structures: Sequence[Atoms], share: float, seed: int) -> Parts:
    """Return a division of a set into a part to fit and a part to hold out.

    Related frames stay together, unless most of the set is related.

    ``share``: of the structures that are held out, about, since whole groups are.
    """
    names = _names(structures)
    groups = _shuffled(names, seed)
    if len(groups) < 2:
        raise InputError(
            f"{len(names)} structure(s) that are all the same cannot be split into a "
            "part to fit and a part to test: give a test set (--test)."
        )
    sizes = Counter(names)
    wanted = min(max(1, round(share * len(names))), len(names) - 1)
    most = min(2 * wanted, len(names) - 1)
    held_out, count = set[str](), 0
    for name in groups:
        if count < wanted and count + sizes[name] <= most:
            held_out.add(name)
            count += sizes[name]
    return _parts(names, held_out or {min(groups, key=sizes.__getitem__)})


def fold_set(structures: Sequence[Atoms], count: int, seed: int) -> list[Parts]:
    """Return divisions of a set in which each structure is left out once.

    Related frames stay together, unless most of the set is related; about as many
    structures are left out each time.

    ``count``: number of divisions; fewer if there are fewer groups, none for a single
    one.
    """
    names = _names(structures)
    sizes = Counter(names)
    groups = sorted(_shuffled(names, seed), key=lambda name: -sizes[name])
    if len(groups) < 2:
        return []
    folds: list[set[str]] = [set() for _ in range(min(count, len(groups)))]
    for name in groups:
        min(folds, key=lambda fold: sum(sizes[other] for other in fold)).add(name)
    return [_parts(names, fold) for fold in folds]


def check_parts(structures: Sequence[Atoms], recipe: FinetuneRecipe) -> list[Parts]:
    """Return what further fits to a training set see, and what tests them."""
    if recipe.committee:
        parts = fold_set(structures, recipe.committee, recipe.seed)
        if len(parts) < max(2, recipe.committee):
            raise InputError(
                f"A committee of {recipe.committee} needs as many unrelated groups of "
                f"structures; there are {len(set(_names(structures)))}."
            )
        return parts
    if recipe.held_out_share or not recipe.check_share:
        return []
    return fold_set(structures, max(2, round(1 / recipe.check_share)), recipe.seed)


def _names(structures: Sequence[Atoms]) -> list[str]:
    """Return what must not be parted: groups, or copies where most are one group."""
    name = content_hash if are_related(structures) else group_of
    return [name(atoms) for atoms in structures]


def _shuffled(names: Sequence[str], seed: int) -> list[str]:
    groups = sorted(set(names))
    np.random.default_rng(seed).shuffle(groups)
    return groups


def _parts(names: Sequence[str], left_out: set[str]) -> Parts:
    return (
        [index for index, name in enumerate(names) if name not in left_out],
        [index for index, name in enumerate(names) if name in left_out],
    )


@dataclass(frozen=True, kw_only=True)
class PlannedLevel:
    """Another level of theory that a fit learns, too.

    ``reference``: how its energies relate to the start's.
    ``training``: its structures, on the scale of its labels.
    ``shared``: how many of them the default level labels as well.
    ``notes``: what the checks found, in words.
    """

    name: str
    keys: LabelKeys
    reference: EnergyReference
    training: LabelledSet
    shared: int
    notes: tuple[str, ...]

    def on_model_scale(self) -> list[tuple[Atoms, Labels]]:
        """Return its structures with energies on the scale of the start."""
        labelled = take_off(self.training, self.reference.shifts_eV)
        return labelled if self.keys.forces else without_forces(labelled)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What will be fitted to what, and from where.

    ``start``: checkpoint whose weights the fit starts from.
    ``recipe``: how to fit, with nothing left open.
    ``reference``: how the labels' energies relate to the checkpoint's.
    ``training``, ``held_out``: the two sets, on the scale of the labels; isolated atoms
    are in neither.
    ``checks``: parts of the training set to fit to once more, each with the rest, on
    which that fit is tested: where nothing is held out, or for the members of a
    committee. Each structure is in one of the rests.
    ``related``: whether most of the structures are of one group, so that those that
    test a fit are much like some that it has seen.
    ``isolated``: number of isolated atoms that were found.
    ``notes``: what the checks of the set found, in words.
    ``energies_only``: whether the data have no forces. Those of the start then stand in
    for them, unless there are other levels.
    ``level``: what the level of theory is called, if there are others.
    ``levels``: other levels of theory that are fitted as well.
    ``alone_recipe``: how to fit to the one level alone, where there are others.
    """

    start: Checkpoint
    recipe: FinetuneRecipe
    keys: LabelKeys
    reference: EnergyReference
    training: LabelledSet
    held_out: LabelledSet
    checks: list[tuple[LabelledSet, LabelledSet]]
    related: bool
    isolated: int
    notes: tuple[str, ...]
    energies_only: bool
    level: str | None = None
    levels: tuple[PlannedLevel, ...] = ()
    alone_recipe: FinetuneRecipe | None = None

    @property
    def alone(self) -> Plan:
        """The same plan without other levels of theory."""
        recipe = self.alone_recipe or self.recipe
        return dataclasses.replace(self, recipe=recipe, level=None, levels=())

    @property
    def config(self) -> CheckpointConfig:
        """Description of the start."""
        return self.start.config

    def offsets_eV(self, labelled: LabelledSet) -> NDArray[np.float64]:
        """Return what brings the start's energy of each structure nearest to labels.

        ``labelled``: set of ``n`` structures; the result has the shape ``(n,)``.
        """
        return _offsets_eV(labelled, self.reference.aligned_eV)

    def on_model_scale(self, labelled: LabelledSet) -> list[tuple[Atoms, Labels]]:
        """Return structures with energies on the scale of the start."""
        found = take_off(labelled, self.reference.shifts_eV)
        return without_forces(found) if self.levels and self.energies_only else found

    def replayed(self, synthetic: LabelledSet) -> list[tuple[Atoms, Labels]]:
        """Return synthetic structures, bound as strongly as the data bind atoms.

        ``synthetic``: structures with labels on the scale of the start.
        """
        loosened = {name: -value for name, value in self.reference.binding_eV.items()}
        return take_off(synthetic, loosened)


def take_off(
    labelled: LabelledSet, energies_eV: Mapping[str, float]
) -> list[tuple[Atoms, Labels]]:
    """Return structures with labels from which an energy per atom is taken off.

    ``energies_eV``: what is taken off for each atom, by element.
    """
    offsets = _offsets_eV(labelled, energies_eV)
    moved = [
        dataclasses.replace(label, energy_eV=label.energy_eV - float(offset))
        for label, offset in zip(labelled.labels, offsets, strict=True)
    ]
    return list(zip(labelled.structures, moved, strict=True))


def without_forces(
    labelled: Sequence[tuple[Atoms, Labels]],
) -> list[tuple[Atoms, Labels]]:
    """Return structures of which only the energies are known: no forces, no stress."""
    return [
        (
            atoms,
            dataclasses.replace(
                labels,
                forces_eV_A=np.full((len(atoms), 3), np.nan),
                stress_eV_A3=None,
            ),
        )
        for atoms, labels in labelled
    ]


def _offsets_eV(
    labelled: LabelledSet, energies_eV: Mapping[str, float]
) -> NDArray[np.float64]:
    if not len(labelled):
        return np.zeros(0)
    offsets: NDArray[np.float64] = labelled.counts(list(energies_eV)) @ np.array(
        list(energies_eV.values())
    )
    return offsets


def make_plan(  # noqa: PLR0913  what a set is, and how to fit it
    start: Checkpoint,
    examination: Examination,
    recipe: FinetuneRecipe,
    *,
    given_eV: Mapping[str, float],
    drop: bool = False,
    tested: bool = False,
    levelled: bool = False,
) -> Plan:
    """Return the plan for a set: checks, energy reference, split, open settings.

    ``examination``: what it says about the structures; see
    `synthzoo.finetuning.checks.examine`.
    ``given_eV``: isolated-atom energies on the scale of the labels, where known.
    ``tested``: whether a test set is given, so that nothing need be held out.
    ``levelled``: whether other levels of theory will be fitted as well.
    """
    calculator, keys = examination.calculator, examination.keys
    examined = fit_for_use(examination, drop=drop)
    found = bulk_of(examined, start.config)
    bulk = found.labelled
    kind = "levels" if levelled else start.config.kind
    resolved = _resolved(recipe, bulk, kind=kind, tested=tested)
    fitted, kept = _held_out(bulk, resolved)
    training = bulk.part(fitted)
    known = {name: (energy, _GIVEN) for name, energy in given_eV.items()}
    return Plan(
        start=start,
        recipe=resolved,
        keys=keys,
        reference=find_shifts(
            calculator,
            training,
            [found.predicted[index] for index in fitted],
            found.known_eV | known,
        ),
        training=training,
        held_out=bulk.part(kept),
        checks=[
            (training.part(one), training.part(other))
            for one, other in check_parts(training.structures, resolved)
        ],
        related=are_related(bulk.structures),
        isolated=found.isolated,
        notes=_notes(examined, [str(o) for o in examination.frames.origins]),
        energies_only=keys.forces is None,
        alone_recipe=_resolved(recipe, bulk, kind=start.config.kind, tested=tested)
        if levelled
        else None,
    )


@dataclass(frozen=True, kw_only=True)
class Bulk:
    """The structures of a set that are no isolated atoms, and what those say.

    ``predicted``: the start's prediction for each structure.
    ``known_eV``: energies of isolated atoms that were found.
    ``isolated``: number of isolated atoms.
    """

    labelled: LabelledSet
    predicted: list[Atoms]
    known_eV: dict[str, tuple[float, Source]]
    isolated: int


def bulk_of(examined: Examined, config: CheckpointConfig) -> Bulk:
    """Return the structures of a set without its isolated atoms."""
    labelled = examined.labelled
    alone = labelled.isolated(config.cutoff_A)
    indices = np.flatnonzero(~alone).tolist()
    if not indices:
        raise InputError(
            f"The data hold {len(labelled)} structure(s), all of them single atoms: "
            "there is nothing to fit."
        )
    counts = labelled.counts(config.elements)
    found = find_isolated(counts, labelled.energies_eV, config.elements, alone)
    return Bulk(
        labelled=labelled.part(indices),
        predicted=[examined.predicted[index] for index in indices],
        known_eV={name: (energy, _FOUND) for name, energy in found.items()},
        isolated=int(alone.sum()),
    )


def _held_out(
    bulk: LabelledSet, resolved: FinetuneRecipe
) -> tuple[list[int], list[int]]:
    if not resolved.held_out_share:
        return list(range(len(bulk))), []
    return split_set(bulk.structures, resolved.held_out_share, resolved.seed)


def _resolved(
    recipe: FinetuneRecipe, bulk: LabelledSet, *, kind: str, tested: bool
) -> FinetuneRecipe:
    resolved = resolve_recipe(recipe, list(map(len, bulk.structures)), kind=kind)
    if tested and recipe.held_out_share is None and recipe.seeds == 1:
        return dataclasses.replace(resolved, held_out_share=0.0, check_share=0.0)
    if recipe.seeds > 1 and not resolved.held_out_share:
        raise InputError(
            f"The best of {recipe.seeds} seeds is chosen by held-out structures: give "
            "--held-out-share."
        )
    return resolved


_FOUND: Source = "found"
_GIVEN: Source = "given"


def starting_calculator(
    start: Checkpoint, *, device: str = "cpu"
) -> SynthzooCalculator:
    """Return a calculator of the checkpoint that is to be fine-tuned.

    ``start``: that it may be no potential yet is no reason to warn.
    """
    return SynthzooCalculator(
        start.stored, place=Place(device=device), advise=models_that_know
    )


def find_shifts(
    calculator: SynthzooCalculator,
    training: LabelledSet,
    predicted: Sequence[Atoms],
    known_eV: Mapping[str, tuple[float, Source]],
) -> EnergyReference:
    """Return how the labels' energies relate to those of a start.

    ``calculator``: of the start. ``predicted``: its predictions.
    ``known_eV``: isolated-atom energies on the scale of the labels, where known.
    """
    config = calculator.config
    atoms = [Atoms(name) for name in config.elements]
    alone = predict_structures(atoms, calculator)
    reference = find_reference(
        config.elements,
        training.counts(config.elements),
        training.energies_eV,
        np.array([unconstrained.energy_eV(found) for found in predicted]),
        known_eV=known_eV,
        model_isolated_eV={
            name: unconstrained.energy_eV(found)
            for name, found in zip(config.elements, alone, strict=True)
        },
    )
    if config.kind == "potential":
        check_spread(reference)
    return reference


def _notes(examined: Examined, origins: Sequence[str]) -> tuple[str, ...]:
    found = [describe(finding, origins) for finding in examined.findings]
    if examined.dropped:
        found.append(f"Left out: {', '.join(examined.dropped)}.")
    return tuple(found)
