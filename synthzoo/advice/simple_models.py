"""Models without a network: constants, a pair potential, invariants and a ridge."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from synthzoo.advice.invariants import (
    LONGEST_A,
    NEIGHBOURS,
    SHORTEST_A,
    Invariants,
)
from synthzoo.advice.linear import LinearModel, fit_linear
from synthzoo.advice.pair_functions import PairFunctions
from synthzoo.advice.trials import Said
from synthzoo.data.pairs import find_pairs
from synthzoo.inspection.energy_models import element_energies
from synthzoo.runs.progress import progress_bar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ase import Atoms

    from synthzoo.advice.rows import Basis, Rows
    from synthzoo.data.labelled_set import LabelledSet

CONSTANT, PAIRS, LINEAR = "constants", "pair potential", "linear model"

ACE_INSTALLED = importlib.util.find_spec("pyace") is not None


class Kind(Protocol):
    """A kind of model."""

    def fit_and_say(
        self,
        bulk: LabelledSet,
        training: Sequence[int],
        tested: Sequence[int],
        seed: int,
    ) -> Said:
        """Fit to some structures of a set and return what is said about others."""


@dataclass(frozen=True)
class LinearKind:
    """A kind of linear model.

    ``rows``: what its functions are for each structure of a set.
    """

    rows: Sequence[Rows]

    def fit_and_say(
        self,
        bulk: LabelledSet,
        training: Sequence[int],
        tested: Sequence[int],
        seed: int,
    ) -> Said:
        """Fit to some structures of a set and return what is said about others."""
        model = self.fit(bulk, training, seed)
        counts = bulk.counts(bulk.elements)
        said = [model.predict(self.rows[index], counts[index]) for index in tested]
        return Said(
            energies_eV=np.array([energy for energy, _ in said]),
            forces_eV_A=np.concatenate([forces for _, forces in said]),
        )

    def fit(self, bulk: LabelledSet, training: Sequence[int], seed: int) -> LinearModel:
        """Fit to some structures of a set."""
        rows = [self.rows[index] for index in training]
        return fit_linear(bulk.part(training), rows, bulk.elements, seed)


@dataclass(frozen=True)
class AceKind(LinearKind):
    """Linear models of invariants, which other programs can read.

    ``invariants``: what the rows are of.
    """

    invariants: Invariants

    def write(
        self, path: Path, bulk: LabelledSet, training: Sequence[int], seed: int
    ) -> None:
        """Fit to some structures of a set, and write the potential."""
        model = self.fit(bulk, training, seed)
        constants = dict(zip(bulk.elements, model.constants_eV.tolist(), strict=True))
        self.invariants.write(path, model.coefficients, constants)


class Constants:
    """One energy for each element, and no forces."""

    def fit_and_say(
        self,
        bulk: LabelledSet,
        training: Sequence[int],
        tested: Sequence[int],
        seed: int,  # noqa: ARG002  nothing is random
    ) -> Said:
        """Fit to some structures of a set and return what is said about others."""
        energies = constants_of(bulk, training)
        counts = bulk.part(tested).counts(list(energies))
        return Said(
            energies_eV=counts @ np.array(list(energies.values())),
            forces_eV_A=np.zeros((int(counts.sum()), 3)),
        )


def constants_of(bulk: LabelledSet, training: Sequence[int]) -> dict[str, float]:
    """Return an energy for each element of a set, by some of its structures (eV)."""
    part = bulk.part(training)
    counts = part.counts(bulk.elements)
    sizes = counts.sum(axis=1)
    found = element_energies(part.energies_eV / sizes, counts / sizes[:, None])
    return dict(zip(bulk.elements, found.tolist(), strict=True))


def simple_kinds(bulk: LabelledSet) -> Mapping[str, Callable[[], Kind]]:
    """Return the models without a network that can be fitted here, simplest first."""
    found: dict[str, Callable[[], Kind]] = {
        CONSTANT: Constants,
        PAIRS: lambda: LinearKind(_rows(bulk, pair_functions(bulk), PAIRS)),
    }
    if ACE_INSTALLED:
        found[LINEAR] = lambda: ace_kind(bulk)
    return found


def ace_kind(bulk: LabelledSet) -> AceKind:
    """Return the linear models of invariants of a set."""
    invariants = invariants_of(bulk)
    return AceKind(_rows(bulk, invariants, LINEAR), invariants)


def _rows(bulk: LabelledSet, basis: Basis, name: str) -> list[Rows]:
    bar = progress_bar(bulk.structures, desc=name, unit="structure", total=len(bulk))
    return [basis.rows(atoms) for atoms in bar]


def pair_functions(bulk: LabelledSet) -> PairFunctions:
    """Return functions of pairs for a set."""
    cutoff_A = cutoff_of(bulk.structures)
    shortest = [
        find_pairs(atoms, cutoff_A).distances_A.min(initial=cutoff_A)
        for atoms in bulk.structures
    ]
    return PairFunctions(bulk.elements, cutoff_A, float(min(shortest)))


def invariants_of(bulk: LabelledSet) -> Invariants:
    """Return invariants for a set."""
    return Invariants(bulk.elements, cutoff_of(bulk.structures))


def cutoff_of(structures: Sequence[Atoms]) -> float:
    """Return the distance within which atoms have `NEIGHBOURS` neighbours, in Å.

    The median atom is meant: surfaces and single bonds do not decide.
    """
    distances = np.concatenate([_far_neighbours(atoms) for atoms in structures])
    return float(np.clip(round(float(np.median(distances)), 1), SHORTEST_A, LONGEST_A))


def _far_neighbours(atoms: Atoms) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return how far the neighbour of that number is, or `LONGEST_A`."""
    pairs = find_pairs(atoms, LONGEST_A)
    order = np.lexsort((pairs.distances_A, pairs.first))
    starts = np.searchsorted(pairs.first[order], np.arange(len(atoms)))
    counts = np.bincount(pairs.first, minlength=len(atoms))
    found = np.full(len(atoms), LONGEST_A)
    many = counts >= NEIGHBOURS
    found[many] = pairs.distances_A[order][starts[many] + NEIGHBOURS - 1]
    return found
