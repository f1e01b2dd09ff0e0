"""The structures of a pre-training: their source, their split, and what is learnt."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synthzoo.data.labels import CALCULATOR, LabelKeys
from synthzoo.data.structures import choose_groups, split_groups
from synthzoo.data.transmute import HISTORY_KEY
from synthzoo.errors import InputError
from synthzoo.inspection.findings import CheckedSet
from synthzoo.inspection.theory_checks import mixed_theory
from synthzoo.models.interface import Statistics
from synthzoo.training.place import is_first_process
from synthzoo.training.stored_sets import RECIPE_KEY, SOURCE_KEYS, UNKNOWN, name_of

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.data.stored_set import StoredSet
    from synthzoo.training.recipe import PretrainRecipe
    from synthzoo.training.stored_graphs import StoredGraphs

_LOG = logging.getLogger(__name__)

GOLDEN_STRUCTURES = 5
GOLDEN_ATOMS = 40
"""Golden predictions are kept for structures up to this size, if there are such."""

FEW_VALIDATION_GROUPS = 5
"""Errors on fewer groups of related structures are uncertain by a third or more."""

MAX_ALONE_EV_PER_ATOM = 0.5
"""More is not the energy of atoms without neighbours relative to isolated atoms."""

MOST_HELD_OUT = 0.5
"""A validation set with a larger share of the structures is none that was asked for."""

ATOMS_COMPARED = 100_000
"""Labels of two methods are looked for among structures of so many atoms: their pairs
take up 3 kB for each atom."""


@dataclass(frozen=True, kw_only=True)
class PretrainSets:
    """What is fitted, what judges, and what is remembered.

    ``golden``: small validation structures, for a checkpoint's golden predictions.
    """

    stored: StoredSet
    training: StoredGraphs
    validation: StoredGraphs
    golden: list[Atoms]

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols of all structures, in alphabetical order."""
        return self.stored.elements

    @property
    def keys(self) -> LabelKeys:
        """Where the labels were."""
        return self.stored.record.keys

    @property
    def sizes(self) -> dict[str, int]:
        """How much is fitted, and how much judges."""
        return {
            "training_structures": len(self.training),
            "training_atoms": sum(self.training.sizes),
            "validation_structures": len(self.validation),
        }

    def statistics(self) -> Statistics:
        """Return what a new network is told of the training set."""
        return Statistics(
            elements=self.elements,
            neighbours=self.training.mean_neighbours(),
            force_rms_eV_A=self.training.force_rms_eV_A(),
        )

    def name(self, number: int) -> str:
        """Return what to call a training structure in messages."""
        index = int(self.training.indices[number])
        return f"{name_of(index)} ({self.stored.group(index)})"


def find_provenance(
    stored: StoredSet, *, teacher_sha256: str | None = None
) -> dict[str, str]:
    """Return where the labels come from; one teacher must have made them all.

    ``teacher_sha256``: SHA-256 that the teacher's file must have had; any if not given.
    """
    found = {}
    info = stored.record.info
    for key in SOURCE_KEYS:
        values = info[key]
        if len(values) > 1:
            raise InputError(
                f"The structures come from several sources ({key}: "
                f"{', '.join(values)}); train on the labels of one teacher at a time."
            )
        found[key] = values[0]
    if teacher_sha256 not in (None, found["teacher_sha256"]):
        raise InputError(
            f"{_labelled_by(found)}, but the recipe names a teacher with the SHA-256 "
            f"{teacher_sha256}. Label the structures with that teacher, or take "
            "`teacher_sha256` out of the recipe."
        )
    if found["teacher"] == UNKNOWN:
        _refuse_mixture(stored)
    if info[HISTORY_KEY] != [UNKNOWN]:
        found[HISTORY_KEY] = " or ".join(info[HISTORY_KEY])
    return found | {RECIPE_KEY: ", ".join(info[RECIPE_KEY])}


def _labelled_by(found: Mapping[str, str]) -> str:
    """Return which teacher made the labels, as far as the structures say it."""
    if found["teacher"] == UNKNOWN:
        return "The structures do not say which teacher labelled them"
    if found["teacher_sha256"] == UNKNOWN:
        return (
            f"The structures were labelled by {found['teacher']} and do not say with "
            "which file of it"
        )
    return (
        f"The structures were labelled by {found['teacher']} with the SHA-256 "
        f"{found['teacher_sha256']}"
    )


def _refuse_mixture(stored: StoredSet) -> None:
    order = np.random.default_rng(0).permutation(len(stored))
    ends = np.cumsum(stored.sizes[order])
    count = max(1, np.searchsorted(ends, ATOMS_COMPARED, side="right"))
    structures = [stored.atoms(int(index)) for index in np.sort(order[:count])]
    keys = LabelKeys(energy=CALCULATOR, forces=CALCULATOR)
    for finding in mixed_theory(CheckedSet(structures=structures, keys=keys)):
        raise InputError(
            f"{finding.message} If they do come from one source, name it in "
            'info["teacher"] of each structure.'
        )


def make_sets(
    stored: StoredSet, recipe: PretrainRecipe, cutoff_A: float
) -> PretrainSets:
    """Return the sets of a fit.

    ``recipe``: with the share of the validation set and the number of training
    structures.
    """
    from synthzoo.training.stored_graphs import StoredGraphs

    _refuse_total_energies(stored, cutoff_A)
    _refuse_missing_stress(stored, recipe)
    _refuse_missing_atomic_energies(stored, recipe)
    training, validation = _split(stored, recipe)
    _warn_of_few(stored, validation)
    elements = stored.elements
    return PretrainSets(
        stored=stored,
        training=StoredGraphs(stored, training, elements=elements, cutoff_A=cutoff_A),
        validation=StoredGraphs(
            stored, validation, elements=elements, cutoff_A=cutoff_A
        ),
        golden=[stored.atoms(index) for index in _golden(stored, validation)],
    )


def _golden(stored: StoredSet, validation: Sequence[int]) -> list[int]:
    """Return a few small structures; the smallest one if none is small."""
    small = [index for index in validation if stored.sizes[index] <= GOLDEN_ATOMS]
    if not small:
        return [min(validation, key=stored.sizes.__getitem__)]
    return small[:: max(1, len(small) // GOLDEN_STRUCTURES)][:GOLDEN_STRUCTURES]


def _warn_of_few(stored: StoredSet, validation: Sequence[int]) -> None:
    """Say so if the errors will rest on a few structures."""
    groups = len(set(map(stored.group, validation)))
    if groups < FEW_VALIDATION_GROUPS and is_first_process():
        _LOG.warning(
            "The validation set holds %d structure(s) in %d unrelated group(s): errors "
            "on it say little of other structures. Set a larger `validation_share`, or "
            "give more structures.",
            len(validation),
            groups,
        )


def _refuse_total_energies(stored: StoredSet, cutoff_A: float) -> None:
    """Refuse energies of atoms without neighbours that are not about zero."""
    alone = stored.edges(cutoff_A) == 0
    bound = np.abs(stored.energies_eV) > MAX_ALONE_EV_PER_ATOM * stored.sizes
    for index in np.flatnonzero(alone & bound).tolist():
        raise InputError(
            f"{name_of(index)}: no atom has a neighbour within {cutoff_A:g} Å, and its "
            f"energy is {stored.energies_eV[index]:.3f} eV. Energies must be relative "
            "to isolated atoms, as `relabel` writes them."
        )


def _refuse_missing_stress(stored: StoredSet, recipe: PretrainRecipe) -> None:
    if recipe.fit.stress_weight and not np.isfinite(stored.stresses_eV_A3).any():
        raise InputError(
            f"The recipe fits stress (`stress_weight: {recipe.fit.stress_weight:g}`), "
            "but no structure that is periodic in all directions has a stress label. "
            "Label the structures with a teacher that gives stress, or take "
            "`stress_weight` out of the recipe."
        )


def _refuse_missing_atomic_energies(stored: StoredSet, recipe: PretrainRecipe) -> None:
    weight = recipe.fit.atomic_energy_weight
    if weight and not np.isfinite(stored.atomic_energies_eV).any():
        raise InputError(
            f"The recipe fits energies of atoms (`atomic_energy_weight: {weight:g}`), "
            "but no structure has them. Label the structures with a teacher that gives "
            "them, such as `ace:`, `gap:` or `nep:`, or take `atomic_energy_weight` "
            "out of the recipe."
        )


def _split(stored: StoredSet, recipe: PretrainRecipe) -> tuple[list[int], list[int]]:
    """Return the indices of both sets; the second is the same for any number."""
    share, seed = recipe.fit.validation_share, recipe.fit.seed
    if not 0 < share < 1:
        raise InputError(
            f"validation_share must be between 0 and 1, not {share:g}: without a "
            "validation set nobody would know what the model is worth."
        )
    groups = [stored.group(index) for index in range(len(stored))]
    training, validation = split_groups(groups, share, seed=seed)
    held_out = len(validation) / len(groups)
    if share < MOST_HELD_OUT <= held_out:
        raise InputError(
            f"The groups of related structures are too few or too large: "
            f"{held_out:.0%} of the structures would be held out, while "
            f"validation_share is {share:.0%}."
        )
    if recipe.structures is not None:
        training = choose_groups(groups, training, recipe.structures, seed=seed)
    return training, validation
