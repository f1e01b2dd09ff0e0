"""What a user gives to fine-tuning: labelled structures, and what is in them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase.data import atomic_numbers
from ase.neighborlist import neighbor_list

from synthzoo.errors import InputError
from synthzoo.frames import read_frames
from synthzoo.labels import LabelKeys, Labels, find_label_keys, labels_of
from synthzoo.structures import check_structure

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class LabelledSet:
    """Structures with their labels.

    Attributes
    ----------
    structures
        As read.
    labels
        As many, on the scale of the files.
    origins
        File and number of each frame, for messages.
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

    def counts(self, elements: Sequence[str]) -> NDArray[np.int64]:
        """Return the atoms of each element, of shape ``(n_structures, n_elements)``.

        Parameters
        ----------
        elements
            Chemical symbols, in the order of the columns.
        """
        return np.array(
            [
                [(atoms.numbers == atomic_numbers[name]).sum() for name in elements]
                for atoms in self.structures
            ]
        )

    def alone(self, cutoff_A: float) -> NDArray[np.bool_]:
        """Return which structures are a single atom without neighbours.

        Parameters
        ----------
        cutoff_A
            Radius within which atoms are neighbours.
        """
        return np.array(
            [
                len(atoms) == 1 and not len(neighbor_list("i", atoms, cutoff_A))
                for atoms in self.structures
            ]
        )

    def part(self, indices: Sequence[int]) -> LabelledSet:
        """Return some of the structures.

        Parameters
        ----------
        indices
            Which, in order.
        """
        return LabelledSet(
            structures=[self.structures[index] for index in indices],
            labels=[self.labels[index] for index in indices],
            origins=[self.origins[index] for index in indices],
        )


def read_labelled(
    files: Sequence[Path],
    *,
    energy_key: str | None = None,
    forces_key: str | None = None,
) -> tuple[LabelledSet, LabelKeys]:
    """Return all structures of some files with their labels, and where these were.

    Parameters
    ----------
    files
        In any format that ASE reads.
    energy_key, forces_key
        Where the labels are; found among the usual names if not given.

    Raises
    ------
    InputError
        If a file is missing or cannot be read, or labels are missing, ambiguous or not
        finite; the message names file and frame.
    """
    frames = read_frames(files)
    structures = frames.structures
    keys = find_label_keys(structures, energy_key=energy_key, forces_key=forces_key)
    labels = []
    for atoms, origin in zip(structures, frames.origins, strict=True):
        check_structure(atoms, name=str(origin))
        labels.append(labels_of(atoms, keys, name=str(origin)))
    origins = [str(origin) for origin in frames.origins]
    return LabelledSet(structures=structures, labels=labels, origins=origins), keys


def hash_files(files: Sequence[Path]) -> str:
    """Return the SHA-256 of some files, one after the other.

    Parameters
    ----------
    files
        Files to read.

    Raises
    ------
    InputError
        If one is missing.
    """
    digest = hashlib.sha256()
    for file in files:
        if not file.is_file():
            raise InputError(f"There is no file {file}.")
        digest.update(file.read_bytes())
    return digest.hexdigest()
