"""What a user gives to fine-tuning: labelled structures, and what is in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase.data import atomic_numbers

from synthzoo.data.flat import stack_stresses
from synthzoo.data.frames import FrameSet, read_frames
from synthzoo.data.label_choice import find_label_keys
from synthzoo.data.labels import LabelKeys, Labels, labels_of
from synthzoo.data.sound import check_structure
from synthzoo.data.structures import is_isolated_atom

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class LabelledSet:
    """Structures with their labels.

    ``labels``: as many, on the scale of the files.
    ``origins``: file and number of each frame, for messages.
    """

    structures: list[Atoms]
    labels: list[Labels]
    origins: list[str]

    def __len__(self) -> int:
        """Return the number of structures."""
        return len(self.structures)

    @property
    def atoms(self) -> int:
        """The number of atoms of all structures."""
        return sum(map(len, self.structures))

    @cached_property
    def energies_eV(self) -> NDArray[np.float64]:
        """Total energies, of shape ``(n_structures,)``."""
        return np.array([label.energy_eV for label in self.labels])

    @cached_property
    def forces_eV_A(self) -> NDArray[np.float64]:
        """All forces, one structure after the other, of shape ``(n_atoms, 3)``."""
        return np.concatenate([label.forces_eV_A for label in self.labels])

    @cached_property
    def stresses_eV_A3(self) -> NDArray[np.float64]:
        """Stresses, of shape ``(n_structures, 6)``; NaN where they are not known."""
        return stack_stresses(self.labels)

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols of all structures, in alphabetical order."""
        names = set[str]().union(*(atoms.symbols for atoms in self.structures))
        return tuple(sorted(names))

    def counts(self, elements: Sequence[str]) -> NDArray[np.int64]:
        """Return the atoms of each element, of shape ``(n_structures, n_elements)``.

        ``elements``: chemical symbols, in the order of the columns.
        """
        return np.array(
            [
                [(atoms.numbers == atomic_numbers[name]).sum() for name in elements]
                for atoms in self.structures
            ]
        )

    def isolated(self, cutoff_A: float) -> NDArray[np.bool_]:
        """Return which structures are a single atom without neighbours."""
        return np.array(
            [is_isolated_atom(atoms, cutoff_A) for atoms in self.structures]
        )

    def part(self, indices: Sequence[int]) -> LabelledSet:
        """Return some of the structures."""
        return LabelledSet(
            structures=[self.structures[index] for index in indices],
            labels=[self.labels[index] for index in indices],
            origins=[self.origins[index] for index in indices],
        )


def join_sets(parts: Sequence[LabelledSet]) -> LabelledSet:
    """Return several sets as one, one after the other."""
    return LabelledSet(
        structures=[atoms for part in parts for atoms in part.structures],
        labels=[label for part in parts for label in part.labels],
        origins=[origin for part in parts for origin in part.origins],
    )


def read_labelled(
    files: Sequence[Path],
    *,
    energy_key: str | None = None,
    forces_key: str | None = None,
    energies_only: bool = False,
    format: str | None = None,
) -> tuple[FrameSet, LabelKeys]:
    """Return all structures of some files, and where their labels are.

    ``energies_only``: whether forces are not needed, and not looked for.
    """
    frames = read_frames(files, format=format)
    keys = find_keys(
        frames,
        energy_key=energy_key,
        forces_key=forces_key,
        energies_only=energies_only,
    )
    return frames, keys


def find_keys(
    frames: FrameSet,
    *,
    energy_key: str | None = None,
    forces_key: str | None = None,
    energies_only: bool = False,
) -> LabelKeys:
    """Return where the labels of structures to be fitted are."""
    return find_label_keys(
        frames.structures,
        energy_key=energy_key,
        forces_key=forces_key,
        energies_only=energies_only,
        advice=_ADVICE,
    )


_ADVICE = {
    "energy": "Forces alone cannot be fine-tuned on: the energies would be left open.",
    "forces": "With energies alone, add --energies-only: the forces of the pre-trained "
    "model then keep the slopes right. If you have forces of a cheaper method, add "
    "--with FILE instead.",
}


def as_labelled(frames: FrameSet, keys: LabelKeys) -> LabelledSet:
    """Return structures with their labels, each of which must be sound."""
    labels, origins = [], [str(origin) for origin in frames.origins]
    for atoms, origin in zip(frames.structures, origins, strict=True):
        check_structure(atoms, name=origin)
        labels.append(labels_of(atoms, keys, name=origin))
    return LabelledSet(structures=frames.structures, labels=labels, origins=origins)


def rms(values: NDArray[np.float64]) -> float:
    """Return the root of the mean square of some numbers.

    ``values``: numbers of any shape, at least one.
    """
    return float(np.sqrt(np.mean(np.square(values))))
