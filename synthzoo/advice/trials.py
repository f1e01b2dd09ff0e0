"""What a fitted model says about structures that it has not seen, kept in a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from synthzoo.data.labelled_set import join_sets
from synthzoo.data.structures import label
from synthzoo.evaluation.errors import judge_set
from synthzoo.finetuning.comparison import join_predictions
from synthzoo.runs.files import new_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.data.labelled_set import LabelledSet
    from synthzoo.evaluation.errors import GroupErrors, Prediction


@dataclass(frozen=True, kw_only=True)
class Said:
    """Energies and forces that a model gave for a set.

    ``energies_eV``: of the cells, ``(n_structures,)``.
    ``forces_eV_A``: of all atoms, ``(n_atoms, 3)``.
    """

    energies_eV: NDArray[np.float64]
    forces_eV_A: NDArray[np.float64]

    def judged(self, labelled: LabelledSet) -> Prediction:
        """Return them beside the labels of the set."""
        ends = np.cumsum([len(atoms) for atoms in labelled.structures])[:-1]
        parts = np.split(self.forces_eV_A, ends)
        return judge_set(
            labelled,
            (
                label(atoms, energy_eV=float(energy), forces_eV_A=forces)
                for atoms, energy, forces in zip(
                    labelled.structures, self.energies_eV, parts, strict=True
                )
            ),
        )


def keep(path: Path, said: Said) -> None:
    """Write what a model said; the file is there only when it is whole."""
    with new_file(path) as partial, partial.open("wb") as stream:
        np.savez(stream, energies=said.energies_eV, forces=said.forces_eV_A)


def kept(path: Path) -> Said:
    """Return what `keep` has written."""
    with np.load(path) as found:
        return Said(energies_eV=found["energies"], forces_eV_A=found["forces"])


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A kind of model, fitted to so many structures of each fold and tested.

    ``name``: of the kind of model.
    ``errors``: on each fold.
    ``tested``: the structures of all folds, one after the other.
    ``prediction``: what the models said about them.
    """

    name: str
    size: int
    errors: tuple[GroupErrors, ...]
    tested: LabelledSet
    prediction: Prediction

    def values(self, quantity: str) -> NDArray[np.float64]:
        """Return an error of each fold, by the name of its field."""
        return np.array([getattr(each, quantity) for each in self.errors])


def trial(
    name: str, size: int, parts: Sequence[LabelledSet], said: Sequence[Said]
) -> Trial:
    """Return what models of one kind are worth.

    ``parts``: the structures that each fold tests.
    """
    predictions = [each.judged(part) for each, part in zip(said, parts, strict=True)]
    return Trial(
        name=name,
        size=size,
        errors=tuple(each.errors[0] for each in predictions),
        tested=join_sets(parts),
        prediction=join_predictions(predictions),
    )
