"""Read, write and split structures; the border where files become `Atoms`."""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator

from synthzoo.data.pairs import find_pairs
from synthzoo.data.reading import read_frames_of
from synthzoo.data.xyz_writing import write_frame
from synthzoo.errors import FileWarning, InputError
from synthzoo.runs.files import new_file

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

GROUP_KEY = "group"
"""Key in ``Atoms.info`` shared by related frames (one trajectory, one crystal)."""

KIND_KEYS = ("config_type", "kind")
"""Keys in ``Atoms.info`` that say what a structure is."""
UNNAMED = "unnamed"


def dimer(symbols: Sequence[str], distance_A: float, *, side_A: float) -> Atoms:
    """Return two atoms in a cubic cell, periodic since some calculators need that."""
    from ase import Atoms

    ends = [[0.0, 0.0, 0.0], [0.0, 0.0, distance_A]]
    return Atoms(symbols, ends, cell=[side_A] * 3, pbc=True)


def is_isolated_atom(atoms: Atoms, reach_A: float) -> bool:
    """Return whether a structure is one atom without a neighbour within a distance.

    Periodic images are neighbours.
    """
    return len(atoms) == 1 and not len(find_pairs(atoms, reach_A))


def density_g_cm3(atoms: Atoms) -> float:
    """Return the mass density of a periodic structure in g/cm³."""
    from ase.units import kg, m

    grams_per_cm3 = kg / m**3 * 1000
    return float(atoms.get_masses().sum() / atoms.get_volume() / grams_per_cm3)


def iter_structures(
    path: Path | str,
    *,
    format: str | None = None,
    tell: Callable[[str], None] | None = None,
) -> Iterator[Atoms]:
    """Yield the structures of a file one by one, in any format that ASE reads.

    Units that the file declares are converted to eV and Å. A `FileWarning` says, once
    for each file, what is read otherwise than it stands there.

    ``format``: as ASE calls it, such as ``vasp-xml``; guessed if not given.
    ``tell``: called with what there is to say, instead of a warning.
    Yields ``atoms``: labels, where the file has them, sit in a `SinglePointCalculator`.
    """
    tell = tell or _warn
    told: Counter[str] = Counter()
    count = 0
    for frame in read_frames_of(Path(path), format):
        count += 1
        for note in frame.notes:
            if note not in told:
                tell(f"{path}: {note}")
        told.update(frame.notes)
        yield frame.atoms
    for note, times in told.items():
        if times < count:
            tell(f"{path}: this holds for {times} of {count} structures only: {note}")


def _warn(message: str) -> None:
    warnings.warn(message, FileWarning, stacklevel=3)


def read_structures(path: Path | str, *, format: str | None = None) -> list[Atoms]:
    """Return all structures of a file; see `iter_structures`."""
    return list(iter_structures(path, format=format))


def write_structures(path: Path | str, structures: Iterable[Atoms]) -> int:
    """Write structures with their labels as extended XYZ and return their number.

    The file appears under its name only when it is complete. What extended XYZ cannot
    hold is left out; a `FileWarning` names it.

    ``path``: file to write; an existing one is replaced.
    """
    count = 0
    left_out: set[str] = set()
    with new_file(Path(path)) as partial, partial.open("w", encoding="utf-8") as stream:
        for atoms in structures:
            left_out |= write_frame(stream, atoms)
            count += 1
    say_left_out(path, left_out)
    return count


def say_left_out(path: Path | str, left_out: Collection[str]) -> None:
    """Warn of what a file of extended XYZ is without, if there is anything."""
    if left_out:
        warnings.warn(
            f"{path} is without {', '.join(sorted(left_out))}: extended XYZ cannot "
            "hold what is there.",
            FileWarning,
            stacklevel=3,
        )


def label(
    atoms: Atoms,
    *,
    energy_eV: float,
    forces_eV_A: NDArray[np.float64],
    stress_eV_A3: NDArray[np.float64] | None = None,
    energies_eV: NDArray[np.float64] | None = None,
) -> Atoms:
    """Return a copy of a structure that carries these labels where ASE expects them.

    ``forces_eV_A``: forces of shape ``(n, 3)``.
    ``stress_eV_A3``: stress of shape ``(6,)`` in Voigt order and ASE's sign.
    ``energies_eV``: energies per atom, of shape ``(n,)``.
    """
    labelled: Atoms = atoms.copy()
    results = {"energy": energy_eV, "forces": forces_eV_A}
    if stress_eV_A3 is not None:
        results["stress"] = stress_eV_A3
    if energies_eV is not None:
        results["energies"] = energies_eV
    labelled.calc = SinglePointCalculator(labelled, **results)
    return labelled


def group_of(atoms: Atoms) -> str:
    """Return the name of the group of related frames to which a frame belongs.

    ``info["group"]`` is the name if it is there. A frame without one is a group of its
    own, named by its content: a copy of it belongs to the same group.
    """
    return str(atoms.info.get(GROUP_KEY) or f"frame-{content_hash(atoms)}")


def kind_of(atoms: Atoms, *, unnamed: str = UNNAMED) -> str:
    """Return what kind of structure a frame is, as far as it says so.

    The first of `KIND_KEYS` that its ``info`` has, in capitals or not, is the kind.
    ``unnamed``: what a frame without a kind is called.
    """
    named = {str(key).lower(): str(value) for key, value in atoms.info.items()}
    return next((named[key] for key in KIND_KEYS if key in named), unnamed)


def content_hash(atoms: Atoms) -> str:
    """Return a hash of what a structure is: elements, positions, cell, periodicity.

    Labels and other information do not count, nor do the digits of coordinates beyond a
    millionth of an Å.
    """
    digest = hashlib.blake2b(digest_size=16)
    digest.update(atoms.numbers.astype("<i4").tobytes())
    digest.update(atoms.pbc.tobytes())
    for lengths_A in (atoms.cell.array, atoms.positions):
        rounded = np.round(lengths_A, 6) + 0.0  # no negative zeros
        digest.update(rounded.astype("<f8").tobytes())
    return digest.hexdigest()


def split_by_group(
    structures: Sequence[Atoms], share: float, *, seed: int
) -> tuple[list[int], list[int]]:
    """Return the indices of a training and of a validation set, whole groups each.

    Frames of one trajectory resemble each other; a split inside of it would make the
    validation error look better than it is.

    A hash of seed and name sends each group to one side, whatever the other groups
    are: with the same share and seed, structures that are added later move no group
    from one side to the other. The price is that the share is met on average only: of
    ``n`` groups of equal size, ``n * share`` are for validation, give or take
    ``sqrt(n * share * (1 - share))``. Where all groups would be on one side, the
    nearest one changes over, so that neither set is empty.

    ``info["group"]`` names the group, otherwise each is its own.
    ``share``: share of the groups that is for validation, between 0 and 1.
    """
    return split_groups([group_of(atoms) for atoms in structures], share, seed=seed)


def split_groups(
    names: Sequence[str], share: float, *, seed: int
) -> tuple[list[int], list[int]]:
    """Return what `split_by_group` does, from the group of each structure."""
    groups: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        groups.setdefault(name, []).append(index)
    if len(groups) < 2:
        raise InputError(
            f"{len(names)} structures in {len(groups)} group(s) cannot be split "
            "into a training and a validation set; give a validation file."
        )
    ranks = {name: _rank(name, seed) for name in groups}
    names = sorted(groups, key=lambda name: ranks[name])
    wanted = sum(rank < share for rank in ranks.values())
    taken = min(max(wanted, 1), len(groups) - 1)
    validation = [index for name in names[:taken] for index in groups[name]]
    training = [index for name in names[taken:] for index in groups[name]]
    return sorted(training), sorted(validation)


def choose_groups(
    names: Sequence[str], indices: Sequence[int], count: int, *, seed: int
) -> list[int]:
    """Return so many of the structures, whole groups as far as possible.

    Groups are taken in an order that a hash of seed and name gives: fewer structures
    are a part of more.

    ``names``: the group of each structure.
    """
    if not 0 < count <= len(indices):
        raise InputError(
            f"{count} structures are asked for, but there are only {len(indices)}."
        )
    ranks = {index: _rank(names[index], seed) for index in indices}
    return sorted(sorted(indices, key=lambda index: (ranks[index], index))[:count])


def _rank(name: str, seed: int) -> float:
    """Return a number between 0 and 1 that depends on nothing but name and seed."""
    digest = hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8).digest()
    return float(int.from_bytes(digest, "big") / 2**64)
