"""Golden predictions: what a checkpoint computed when made, and computes here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synthzoo.errors import CheckpointError
from synthzoo.runs.provenance import installed_versions

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

# float32 carries 6e-8 of a number; sums of some thousand terms, which another machine
# adds in another order, lose two more digits.
_ENERGY_TOLERANCE = 1e-5  # of the largest energy per atom, or of 1 eV
_FORCE_TOLERANCE = 1e-4  # of the largest force, or of 1 eV/Å
_STRESS_TOLERANCE = 1e-4  # of the largest stress, or of 0.1 eV/Å³

SEAL = "config_sha256"
"""Name of the hash of the model's description among the metadata of the file."""

INPUTS = ("numbers", "positions", "cell", "pbc")
LABELS = ("energy", "forces", "stress")

HEAVIEST = 118
"""Largest atomic number."""

_FORMS: dict[str, tuple[str, tuple[int | None, ...]]] = {
    "numbers": ("iu", (None,)),
    "positions": ("f", (None, 3)),
    "cell": ("f", (3, 3)),
    "pbc": ("b", (3,)),
    "energy": ("f", ()),
    "forces": ("f", (None, 3)),
    "stress": ("f", (6,)),
}
"""Kind of number and shape of each entry; None is the number of atoms."""

_DTYPES = ("bool", "int32", "int64", "float32", "float64")

Golden = dict[str, "NDArray[Any]"]
"""One structure (numbers, positions, cell, pbc) and its labels, by name."""


@dataclass(frozen=True, kw_only=True)
class Verification:
    """How well the golden predictions of a checkpoint were met.

    Attributes
    ----------
    structures
        Number of golden structures.
    energy_difference_meV_per_atom, force_difference_eV_A, stress_difference_eV_A3
        Largest absolute differences from the recorded predictions.
    energy_tolerance_meV_per_atom, force_tolerance_eV_A, stress_tolerance_eV_A3
        Differences that float32 arithmetic excuses.
    recorded_versions, installed_versions
        Packages that made the predictions, and those that recomputed them.
    """

    structures: int
    energy_difference_meV_per_atom: float
    force_difference_eV_A: float
    stress_difference_eV_A3: float
    energy_tolerance_meV_per_atom: float
    force_tolerance_eV_A: float
    stress_tolerance_eV_A3: float
    recorded_versions: dict[str, str]
    installed_versions: dict[str, str]

    @property
    def passed(self) -> bool:
        """Whether every difference is within its tolerance."""
        return self.within(1.0)

    def within(self, factor: float) -> bool:
        """Return whether every difference is within so many tolerances.

        Parameters
        ----------
        factor
            Times each tolerance.
        """
        return (
            self.energy_difference_meV_per_atom
            <= factor * self.energy_tolerance_meV_per_atom
            and self.force_difference_eV_A <= factor * self.force_tolerance_eV_A
            and self.stress_difference_eV_A3 <= factor * self.stress_tolerance_eV_A3
        )

    def summary(self) -> str:
        """Return one sentence for people; it names both sides where they differ."""
        text = (
            f"{self.structures} golden structures "
            f"{'reproduced' if self.passed else 'NOT reproduced'}: largest differences "
            f"{self.energy_difference_meV_per_atom:.2g} meV/atom, "
            f"{self.force_difference_eV_A:.2g} eV/Å, "
            f"{self.stress_difference_eV_A3:.2g} eV/Å³."
        )
        if self.passed:
            return text
        return (
            f"{text} Recorded with {_versions_text(self.recorded_versions)}; "
            f"here {_versions_text(self.installed_versions)}."
        )


def predict_golden(atoms: Atoms, calculator: Any) -> Golden:
    """Return a structure with what a calculator computes for it.

    Energies in eV, forces in eV/Å, stress in eV/Å³ come out.
    """
    import numpy as np

    calculator.calculate(atoms)
    entry = {
        "numbers": atoms.numbers,
        "positions": atoms.positions,
        "cell": atoms.cell.array,
        "pbc": atoms.pbc,
    }
    results = calculator.results
    labels = {name: results[name] for name in LABELS if name in results}
    return {name: np.array(value) for name, value in (entry | labels).items()}


def golden_atoms(entry: Golden) -> Atoms:
    """Return the structure of an entry."""
    from ase import Atoms

    return Atoms(**{name: entry[name] for name in INPUTS})


def pack_golden(predictions: Sequence[Golden], *, seal: str) -> bytes:
    """Return predictions as the content of a safetensors file.

    ``seal``: hash of the description of the model that made them, kept beside them.
    """
    import safetensors.numpy

    _check_entries(predictions, where="What the model predicts")
    return safetensors.numpy.save(
        {
            f"{index}.{name}": value
            for index, entry in enumerate(predictions)
            for name, value in entry.items()
        },
        metadata={SEAL: seal},
    )


def read_seal(content: bytes) -> str | None:
    """Return the hash of the description that golden predictions carry.

    ``content``: of the file; the first ones that were written carry none.
    """
    return header_of(content).get(SEAL)


def header_of(content: bytes) -> dict[str, str]:
    """Return the metadata of a valid safetensors file."""
    length = int.from_bytes(content[:8], "little")
    header: dict[str, dict[str, str]] = json.loads(content[8 : 8 + length])
    return header.get("__metadata__", {})


def representative(entries: Sequence[Golden]) -> list[Golden]:
    """Return the smallest structures in which each element of the file occurs."""
    by_size = sorted(entries, key=lambda entry: len(entry["numbers"]))
    seen: set[int] = set()
    chosen = []
    for entry in by_size:
        if not seen.issuperset(numbers := entry["numbers"].tolist()):
            chosen.append(entry)
            seen.update(numbers)
    return chosen


def unpack_golden(arrays: Golden, *, where: str) -> list[Golden]:
    """Return the predictions that a safetensors file holds."""
    entries: dict[int, Golden] = {}
    for key, value in arrays.items():
        index, _, name = key.partition(".")
        if not index.isdecimal() or name not in INPUTS + LABELS:
            raise CheckpointError(f"{where}: unknown entry {key!r}.")
        if str(value.dtype) not in _DTYPES:
            raise CheckpointError(f"{where}: {key} has the type {value.dtype}.")
        entries.setdefault(int(index), {})[name] = value
    needed = {*INPUTS, "energy", "forces"}
    if not entries or any(not needed <= set(entry) for entry in entries.values()):
        raise CheckpointError(f"{where} lacks a part of a golden structure.")
    records = [entries[index] for index in sorted(entries)]
    _check_entries(records, where=where)
    return records


def _check_entries(entries: Sequence[Golden], *, where: str) -> None:
    for number, entry in enumerate(entries):
        _check_entry(entry, where=where, name=f"golden structure {number}")


def _check_entry(entry: Golden, *, where: str, name: str) -> None:
    """Refuse what cannot be a structure, or be the labels of this one."""
    import numpy as np

    atoms = entry["numbers"].size
    for key, value in entry.items():
        kinds, shape = _FORMS[key]
        expected = tuple(atoms if size is None else size for size in shape)
        if value.dtype.kind not in kinds or value.shape != expected:
            raise CheckpointError(
                f"{where}: {key} of {name} has the shape {value.shape} and type "
                f"{value.dtype}, expected {expected}."
            )
        if not np.isfinite(value).all():
            raise CheckpointError(f"{where}: {key} of {name} is not finite.")
    numbers = entry["numbers"]
    if atoms == 0 or numbers.min() < 1 or numbers.max() > HEAVIEST:
        raise CheckpointError(
            f"{where}: numbers of {name} should be atomic numbers from 1 to {HEAVIEST}."
        )


def compare_golden(
    recorded: Sequence[Golden],
    here: Sequence[Golden],
    *,
    recorded_versions: dict[str, str],
) -> Verification:
    """Return how much predictions made here differ from those on record."""
    import numpy as np

    pairs = list(zip(recorded, here, strict=True))
    energy, force, stress = (
        # numpy's maximum keeps a NaN, wherever it stands; Python's drops it
        np.max([_largest(name, *pair) for pair in pairs], axis=0).tolist()
        for name in LABELS
    )
    return Verification(
        structures=len(recorded),
        energy_difference_meV_per_atom=1000 * energy[0],
        force_difference_eV_A=force[0],
        stress_difference_eV_A3=stress[0],
        energy_tolerance_meV_per_atom=1000 * _ENERGY_TOLERANCE * max(1.0, energy[1]),
        force_tolerance_eV_A=_FORCE_TOLERANCE * max(1.0, force[1]),
        stress_tolerance_eV_A3=_STRESS_TOLERANCE * max(0.1, stress[1]),
        recorded_versions=recorded_versions,
        installed_versions=installed_versions(),
    )


def _largest(name: str, old: Golden, new: Golden) -> tuple[float, float]:
    """Return the largest difference and magnitude of a label; energies per atom."""
    import numpy as np

    if name not in old:
        return 0.0, 0.0
    if name not in new or old[name].shape != new[name].shape:
        raise CheckpointError(f"A golden {name} has an impossible shape.")
    atoms = len(old["numbers"]) if name == "energy" else 1
    difference = np.abs(new[name] - old[name]).max() / atoms
    return float(difference), float(np.abs(old[name]).max() / atoms)


def _versions_text(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in versions.items())
