"""Environments with the energies of their atoms: described and labelled once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthzoo.data.labels import CALCULATOR, LabelKeys, labels_of, own_labels
from synthzoo.data.structures import group_of
from synthzoo.environments.descriptors import soap_features, soap_for
from synthzoo.errors import InputError, one_line
from synthzoo.potentials import load_potential, model_name
from synthzoo.runs.files import write_arrays
from synthzoo.runs.progress import progress_bar

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    from synthzoo.environments.sample import Sample
    from synthzoo.potentials import Model, Potential

OWN = LabelKeys(energy=CALCULATOR, forces=CALCULATOR)
MADE_BY = "teacher_sha256"
"""Tells whose labels a structure has, and what a teacher is."""
FORMAT = "environments"
ARRAYS = ("spectra", "numbers", "energies_eV", "groups")


@dataclass(frozen=True, kw_only=True)
class Environments:
    """Environments of atoms.

    ``spectra``: SOAP power spectra, unit vectors: ``(n, n_features)``.
    ``numbers``: atomic numbers, ``(n,)``.
    ``energies_eV``: of the atoms, ``(n,)``.
    ``groups``: number of the trajectory, or else the structure, of each, ``(n,)``.
    """

    spectra: NDArray[np.float32]
    numbers: NDArray[np.int64]
    energies_eV: NDArray[np.float64]
    groups: NDArray[np.int64]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.numbers)

    def take(self, indices: NDArray[np.int64]) -> Environments:
        """Return some of them."""
        return Environments(**{name: getattr(self, name)[indices] for name in ARRAYS})


def describe(sample: Sample, teacher: Model) -> Environments:
    """Return the environments of a sample with the energies that a teacher gives.

    Energies that the teacher has given before, by ``relabel``, are taken as they are.
    """
    groups = [group_of(atoms) for atoms in sample.structures]
    _, group_numbers = np.unique(groups, return_inverse=True)
    potential = load_potential(teacher)
    energies = _energies_of(sample.structures, potential, model_name(teacher))
    return Environments(
        energies_eV=energies,
        spectra=soap_features(sample.structures, soap_for(sample.elements)),
        numbers=np.concatenate([atoms.numbers for atoms in sample.structures]),
        groups=sample.by_atom(group_numbers.tolist()),
    )


def _energies_of(
    structures: Sequence[Atoms], potential: Potential, name: str
) -> NDArray[np.float64]:
    bar = progress_bar(desc="label", unit="structure", total=len(structures))
    found = []
    with bar:
        for energies in _labelled(structures, potential, name):
            found.append(energies)
            bar.update()
    return np.concatenate(found)


def _labelled(
    structures: Iterable[Atoms], potential: Potential, name: str
) -> Iterator[NDArray[np.float64]]:
    """Yield the energies of each structure's atoms."""
    for atoms in structures:
        known = _known(atoms, potential)
        yield _computed(atoms, potential, name) if known is None else known


def _known(atoms: Atoms, potential: Potential) -> NDArray[np.float64] | None:
    """Return what the same teacher has given before, or None."""
    made_by = potential.provenance.get(MADE_BY)
    if made_by is None or atoms.info.get(MADE_BY) != made_by:
        return None
    if not {"energy", "forces"} <= own_labels(atoms).keys():
        return None
    return labels_of(atoms, OWN).atomic_energies_eV


def _computed(atoms: Atoms, potential: Potential, name: str) -> NDArray[np.float64]:
    (labelled,) = potential.predict([atoms])
    energies = labelled.calc.results.get("energies")
    if energies is None:
        raise InputError(
            f"{name} gives no energies of atoms. Networks (models of `synthzoo list`) "
            "do, and teachers of the kinds ace, gap, nep and lammps."
        )
    return np.asarray(energies, dtype=float)


def kept(path: Path, description: dict[str, Any]) -> Environments | None:
    """Return the environments that an earlier run has kept; None if there are none.

    ``description``: what decides them.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            if json.loads((file.metadata() or {})[FORMAT]) != description:
                return None
            return Environments(**{name: file.get_tensor(name) for name in ARRAYS})
    except (SafetensorError, KeyError, ValueError) as error:
        raise InputError(
            f"{path} is damaged: {one_line(error)}. Remove it; it is made again."
        ) from error


def keep(path: Path, found: Environments, description: dict[str, Any]) -> None:
    """Keep environments for the next run with the same ones."""
    arrays = {name: np.ascontiguousarray(getattr(found, name)) for name in ARRAYS}
    write_arrays(path, arrays, {FORMAT: json.dumps(description)})
