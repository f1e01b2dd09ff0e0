"""What checks of a set look at, and what they find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
from ase.data import covalent_radii

from synthzoo.data.labels import LabelKeys, partial_labels
from synthzoo.data.pairs import Pairs, find_pairs, longest_bond_A
from synthzoo.data.sound import check_structure
from synthzoo.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    from synthzoo.data.labels import PartialLabels

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""The worst first."""

REACH = 2.7
MOST_REACH_A = 6.0
"""Pairs are found up to `REACH` times the sum of two covalent radii, or to this."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something in a set that its owner should know.

    Attributes
    ----------
    kind
        Short name that programs can ask for, such as ``"force_units"``.
    severity
        ``"error"``: training on this set gives a wrong model. ``"warning"``: look at
        it. ``"note"``: worth knowing.
    message
        One or two sentences: what was found, and what to do.
    frames
        Structures that it is about, counted from zero; empty for the whole set.
    """

    kind: str
    severity: Severity
    message: str
    frames: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What a model says about the structures of a set: makes checks sharper.

    ``energies_eV``: of the whole cells, of shape ``(n,)``.
    ``forces_eV_A``: for each structure, of shape ``(n_atoms, 3)``.
    ``stresses_eV_A3``: for each structure, of shape ``(6,)``; None if the model gives
    none.
    """

    energies_eV: NDArray[np.float64]
    forces_eV_A: Sequence[NDArray[np.float64]]
    stresses_eV_A3: Sequence[NDArray[np.float64]] | None = None


@dataclass(frozen=True, kw_only=True)
class CheckedSet:
    """Structures and labels as the checks see them.

    ``structures``: all ``n`` of the set.
    ``reference``: what a model says, or None.
    ``sources``: file that each structure comes from, or None.
    """

    structures: Sequence[Atoms]
    keys: LabelKeys
    reference: Reference | None = None
    sources: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.structures)

    @cached_property
    def faults(self) -> dict[int, str]:
        """The structures for which no energy is defined, and why."""
        by_index = {index: _fault(atoms) for index, atoms in enumerate(self.structures)}
        return {index: fault for index, fault in by_index.items() if fault is not None}

    @cached_property
    def labels(self) -> list[PartialLabels]:
        """The labels of each structure."""
        return [partial_labels(atoms, self.keys) for atoms in self.structures]

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """The numbers of atoms, of shape ``(n,)``."""
        return np.array([len(atoms) for atoms in self.structures])

    @cached_property
    def energies_eV(self) -> NDArray[np.float64]:
        """The energies of the cells, of shape ``(n,)``; NaN where there is none."""
        energies = np.array([labels.energy_eV for labels in self.labels], dtype=float)
        energies[~np.isfinite(energies)] = np.nan
        energies[list(self.faults)] = np.nan
        return energies

    @cached_property
    def forces_eV_A(self) -> dict[int, NDArray[np.float64]]:
        """The forces of the structures that have them, whole and finite."""
        return {
            index: labels.forces_eV_A
            for index, labels in enumerate(self.labels)
            if index not in self.faults
            and labels.forces_eV_A is not None
            and labels.forces_eV_A.shape == (self.sizes[index], 3)
            and np.isfinite(labels.forces_eV_A).all()
        }

    @cached_property
    def stresses_eV_A3(self) -> dict[int, NDArray[np.float64]]:
        """The stresses of the structures that have them."""
        return {
            index: labels.stress_eV_A3
            for index, labels in enumerate(self.labels)
            if index not in self.faults
            and labels.stress_eV_A3 is not None
            and np.isfinite(labels.stress_eV_A3).all()
        }

    @cached_property
    def reaches_A(self) -> list[float]:
        """How far the pairs of each structure were looked for."""
        return [_reach_A(atoms) for atoms in self.structures]

    @cached_property
    def pairs(self) -> list[Pairs]:
        """The pairs of atoms of each structure; none for one with a fault."""
        return [
            _NO_PAIRS if index in self.faults else find_pairs(atoms, reach_A)
            for index, (atoms, reach_A) in enumerate(
                zip(self.structures, self.reaches_A, strict=True)
            )
        ]

    @cached_property
    def isolated(self) -> NDArray[np.bool_]:
        """Which structures are one atom without a neighbour, of shape ``(n,)``."""
        return np.array(
            [
                size == 1 and not len(pairs)
                for size, pairs in zip(self.sizes, self.pairs, strict=True)
            ]
        )

    @cached_property
    def fragments(self) -> NDArray[np.bool_]:
        """Which structures are isolated atoms or pairs of atoms, of shape ``(n,)``.

        Models and fits say little about them that holds for other structures.
        """
        return np.array(
            [
                size <= 2 and len(pairs) <= size * (size - 1)
                for size, pairs in zip(self.sizes, self.pairs, strict=True)
            ]
        )

    @cached_property
    def comparable(self) -> NDArray[np.bool_]:
        """Which structures have energies that a model or a fit can judge, of ``(n,)``.

        Isolated atoms and pairs of atoms are not among them.
        """
        known = np.isfinite(self.energies_eV) & ~self.fragments
        if self.reference is not None:
            known &= np.isfinite(self.reference.energies_eV)
        return known

    @cached_property
    def elements(self) -> list[int]:
        """Atomic numbers that occur, in ascending order."""
        return sorted({int(z) for atoms in self.structures for z in set(atoms.numbers)})

    @cached_property
    def shares(self) -> NDArray[np.float64]:
        """Share of each element in each structure, of shape ``(n, n_elements)``."""
        counts = [
            [np.count_nonzero(atoms.numbers == element) for element in self.elements]
            for atoms in self.structures
        ]
        shares: NDArray[np.float64] = np.array(counts) / np.maximum(
            self.sizes, 1
        ).reshape(-1, 1)
        return shares


def _fault(atoms: Atoms) -> str | None:
    try:
        check_structure(atoms, name="it", overlaps=False)
    except InputError as error:
        return str(error)
    return None


_NO_PAIRS = Pairs(
    first=np.zeros(0, dtype=np.int32),
    second=np.zeros(0, dtype=np.int32),
    shifts=np.zeros((0, 3), dtype=np.int32),
    distances_A=np.zeros(0),
    vectors_A=np.zeros((0, 3)),
)


def _reach_A(atoms: Atoms) -> float:
    if len(atoms) == 0:
        return MOST_REACH_A
    largest = 2 * float(covalent_radii[np.unique(atoms.numbers)].max())
    return max(min(REACH * largest, MOST_REACH_A), longest_bond_A(atoms))


def worst(findings: Sequence[Finding]) -> list[Finding]:
    """Return findings with errors first and notes last, otherwise in their order."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))
