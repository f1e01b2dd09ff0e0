"""The structures of a pre-training: checked, split, chosen, as graphs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from synthzoo.data.label_choice import choose_label_keys, find_label_keys
from synthzoo.data.labels import LabelKeys, labels_of
from synthzoo.data.sound import check_structure
from synthzoo.data.structures import (
    choose_by_group,
    group_of,
    read_structures,
    split_by_group,
)
from synthzoo.data.transmute import HISTORY_KEY
from synthzoo.errors import InputError
from synthzoo.inspection.findings import CheckedSet
from synthzoo.inspection.theory_checks import mixed_theory
from synthzoo.training.place import is_first_process

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.models.graphs import Graph
    from synthzoo.training.recipe import PretrainRecipe

_LOG = logging.getLogger(__name__)

GOLDEN_STRUCTURES = 5
GOLDEN_ATOMS = 40
"""Golden predictions are kept for structures up to this size."""

FEW_VALIDATION_GROUPS = 5
"""Errors on fewer groups of related structures are uncertain by a third or more."""

UNKNOWN = "unknown"

MAX_ALONE_EV_PER_ATOM = 0.5
"""More is not the energy of atoms without neighbours relative to isolated atoms."""

MAX_LABEL = 1e4
"""Larger energies per atom (eV) and forces (eV/Å) are faults of their source."""

MOST_HELD_OUT = 0.5
"""A validation set with a larger share of the structures is none that was asked for."""


@dataclass(frozen=True, kw_only=True)
class PretrainSets:
    """What is fitted, what judges, and what is remembered.

    ``names``: what to call the training structures in messages.
    ``golden``: small validation structures, for a checkpoint's golden predictions.
    """

    elements: tuple[str, ...]
    training: list[Graph]
    validation: list[Graph]
    names: list[str]
    golden: list[Atoms]
    keys: LabelKeys

    @property
    def sizes(self) -> dict[str, int]:
        """How much is fitted, and how much judges."""
        return {
            "training_structures": len(self.training),
            "training_atoms": sum(len(graph["pos"]) for graph in self.training),
            "validation_structures": len(self.validation),
        }


def read_files(
    files: Sequence[Path], *, format: str | None = None
) -> tuple[list[Atoms], list[str]]:
    """Return all structures of some files, and what to call each."""
    structures, names = [], []
    for file in files:
        for atoms in read_structures(file, format=format):
            structures.append(atoms)
            names.append(f"structure number {len(structures)}")
    return structures, names


def find_provenance(
    structures: Sequence[Atoms], *, teacher_sha256: str | None = None
) -> dict[str, str]:
    """Return where the labels come from; one teacher must have made them all.

    ``teacher_sha256``: SHA-256 that the teacher's file must have had; any if not given.
    """
    found = {}
    for key in ("teacher", "teacher_sha256", "teacher_software"):
        values = _values(structures, key)
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
        _refuse_mixture(structures)
    if any(HISTORY_KEY in atoms.info for atoms in structures):
        found[HISTORY_KEY] = " or ".join(_values(structures, HISTORY_KEY))
    recipes = ", ".join(_values(structures, "generate_recipe"))
    return found | {"generate_recipe": recipes}


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


def _values(structures: Sequence[Atoms], key: str) -> list[str]:
    return sorted({str(atoms.info.get(key, UNKNOWN)) for atoms in structures})


def _refuse_mixture(structures: Sequence[Atoms]) -> None:
    keys = choose_label_keys(structures).keys
    for finding in mixed_theory(CheckedSet(structures=structures, keys=keys)):
        raise InputError(
            f"{finding.message} If they do come from one source, name it in "
            'info["teacher"] of each structure.'
        )


def make_sets(
    structures: Sequence[Atoms],
    names: Sequence[str],
    recipe: PretrainRecipe,
    cutoff_A: float,
) -> PretrainSets:
    """Return the sets of a fit.

    ``recipe``: with the share of the validation set and the number of training
    structures.
    """
    elements = tuple(
        sorted({symbol for atoms in structures for symbol in atoms.symbols})
    )
    keys = find_label_keys(structures)
    graphs = [
        _graph(atoms, name, keys, elements=elements, cutoff_A=cutoff_A)
        for atoms, name in zip(structures, names, strict=True)
    ]
    training, validation = _split(structures, recipe)
    _warn_of_few([structures[index] for index in validation])
    small = [index for index in validation if len(structures[index]) <= GOLDEN_ATOMS]
    golden = small[:: max(1, len(small) // GOLDEN_STRUCTURES)][:GOLDEN_STRUCTURES]
    return PretrainSets(
        elements=elements,
        training=[graphs[index] for index in training],
        validation=[graphs[index] for index in validation],
        names=[f"{names[index]} ({group_of(structures[index])})" for index in training],
        golden=[structures[index] for index in golden],
        keys=keys,
    )


def _warn_of_few(validation: Sequence[Atoms]) -> None:
    """Say so if the errors will rest on a few structures."""
    groups = len(set(map(group_of, validation)))
    if groups < FEW_VALIDATION_GROUPS and is_first_process():
        _LOG.warning(
            "The validation set holds %d structure(s) in %d unrelated group(s): errors "
            "on it say little of other structures. Set a larger `validation_share`, or "
            "give more structures.",
            len(validation),
            groups,
        )


def _graph(
    atoms: Atoms,
    name: str,
    keys: LabelKeys,
    *,
    elements: Sequence[str],
    cutoff_A: float,
) -> Graph:
    from synthzoo.models.graphs import EDGES, to_graph

    check_structure(atoms, name=name)
    labels = labels_of(atoms, keys, name=name)
    largest = max(abs(labels.energy_eV) / len(atoms), abs(labels.forces_eV_A).max())
    if largest > MAX_LABEL:
        raise InputError(
            f"{name} has a label of {largest:.3g} (eV per atom, or eV/Å), more than "
            "any sound structure. Leave it out, for example with `max_force_eV_A` of "
            "`relabel`."
        )
    graph = to_graph(atoms, labels, elements=elements, cutoff_A=cutoff_A)
    alone = graph[EDGES].shape[1] == 0
    if alone and abs(labels.energy_eV) > MAX_ALONE_EV_PER_ATOM * len(atoms):
        raise InputError(
            f"{name}: no atom has a neighbour within {cutoff_A:g} Å, and its energy is "
            f"{labels.energy_eV:.3f} eV. Energies must be relative to isolated atoms, "
            "as `relabel` writes them."
        )
    return graph


def _split(
    structures: Sequence[Atoms], recipe: PretrainRecipe
) -> tuple[list[int], list[int]]:
    """Return the indices of both sets; the second is the same for any number."""
    share, seed = recipe.fit.validation_share, recipe.fit.seed
    if not 0 < share < 1:
        raise InputError(
            f"validation_share must be between 0 and 1, not {share:g}: without a "
            "validation set nobody would know what the model is worth."
        )
    training, validation = split_by_group(structures, share, seed=seed)
    held_out = len(validation) / len(structures)
    if share < MOST_HELD_OUT <= held_out:
        raise InputError(
            f"The groups of related structures are too few or too large: "
            f"{held_out:.0%} of the structures would be held out, while "
            f"validation_share is {share:.0%}."
        )
    if recipe.structures is not None:
        training = choose_by_group(structures, training, recipe.structures, seed=seed)
    return training, validation
