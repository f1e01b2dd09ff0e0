"""Which keys of a set hold its labels, whatever they are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from synthzoo.data.label_names import (
    PREDICTED_BY,
    VIRIAL,
    Standing,
    could_be,
    is_free_energy,
    source,
    standing,
)
from synthzoo.data.labels import (
    CALCULATOR,
    FREE_ENERGY,
    TEACHER,
    LabelKeys,
    as_numbers,
    label_of,
    own_energies_eV,
    own_labels,
)
from synthzoo.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms

LABELS = ("energy", "forces", "stress")

SAME_ENERGY_EV_PER_ATOM = 1e-5
SAME_FORCE_EV_A = 1e-4
SAME_SHARE = 2.5e-7
"""Labels that differ by less are one: some files hold single precision."""


@dataclass(frozen=True, kw_only=True)
class KeyCounts:
    """Keys that could be labels, and in how many structures they are.

    Attributes
    ----------
    energy, forces, stress
        Number of structures by key, the most frequent key first, among equally frequent
        ones those of a reference first.
    """

    energy: dict[str, int]
    forces: dict[str, int]
    stress: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class KeyChoice:
    """Which keys are read, and what else there is.

    ``rivals``: for energy or forces, the keys of several references that differ: which
    of them is meant, only the user knows.
    """

    keys: LabelKeys
    counts: KeyCounts
    rivals: dict[str, tuple[str, ...]]


def count_label_keys(structures: Iterable[Atoms]) -> KeyCounts:
    """Return which labels there seem to be."""
    return LabelSurvey.of(structures).counts()


def choose_label_keys(
    structures: Iterable[Atoms],
    *,
    energy_key: str | None = None,
    forces_key: str | None = None,
    stress_key: str | None = None,
) -> KeyChoice:
    """Return which keys are read; the same for every command that reads the set.

    The most frequent key is read, unless one that ranks higher disagrees with it
    anywhere. Labels of a reference (DFT) rank first, then those in ASE's own place or
    under unmarked names, then those of models. Forces and stress whose name fits the
    energy's come before all others.

    In ASE's own place, the energy is the one whose derivative the forces are. Where all
    structures have a free energy of smeared electrons, its key is ``free_energy``.

    ``energy_key``, ``forces_key``, ``stress_key``: what was asked for; in ASE's own
    place, ``calculator`` or ASE's own names.
    """
    wanted = {"energy": energy_key, "forces": forces_key, "stress": stress_key}
    return LabelSurvey.of(structures, wanted).choose()


def find_label_keys(
    structures: Iterable[Atoms],
    *,
    energy_key: str | None = None,
    forces_key: str | None = None,
    energies_only: bool = False,
    advice: Mapping[str, str] | None = None,
) -> LabelKeys:
    """Return where the labels are, as `choose_label_keys` does; refuse what is unclear.

    ``energies_only``: whether forces are not needed, and not looked for.
    ``advice``: what to add to the message where ``"energy"`` or ``"forces"`` are
    missing.
    """
    survey = LabelSurvey.of(structures, {"energy": energy_key, "forces": forces_key})
    needed = ("energy",) if energies_only else ("energy", "forces")
    keys = survey.find(needed, advice or {})
    return replace(keys, forces=None) if energies_only else keys


_Rank = tuple[Standing, bool, bool, str]


@dataclass(frozen=True)
class _Choice:
    """The key of one label, and those of references that differ from each other."""

    key: str | None
    rivals: tuple[str, ...] = ()


class LabelSurvey:
    """What the structures of a set, seen one by one, say about where its labels are.

    ``wanted``: key that was asked for, by label; None where none was.
    """

    def __init__(self, wanted: Mapping[str, str | None] | None = None) -> None:
        self._wanted = {what: key for what, key in (wanted or {}).items() if key}
        self._labelled: Counter[str] = Counter()
        self._counts: dict[str, Counter[str]] = {what: Counter() for what in LABELS}
        self._differing: dict[str, set[tuple[str, str]]] = {
            what: set() for what in LABELS
        }
        self._own = Standing.UNMARKED
        self._all_have_both = True
        self._any_is_smeared = False
        self._names: set[str] = set()
        self._arrays: set[str] = set()

    @classmethod
    def of(
        cls,
        structures: Iterable[Atoms],
        wanted: Mapping[str, str | None] | None = None,
    ) -> LabelSurvey:
        """Return what some structures say."""
        survey = cls(wanted)
        for atoms in structures:
            survey.add(atoms)
        return survey

    def add(self, atoms: Atoms) -> None:
        """Look at another structure."""
        for what, key in self._wanted.items():
            self._labelled[what] += label_of(atoms, what, key) is not None
        for what in LABELS:
            keys = _candidates(atoms, what)
            self._counts[what].update(keys)
            self._compare(atoms, what, keys)
        self._look_at_own_place(atoms)
        self._names.update(map(str, atoms.info))
        self._arrays.update(map(str, atoms.arrays))

    def _compare(self, atoms: Atoms, what: str, keys: set[str]) -> None:
        """Note which keys hold different values."""
        if what == "energy" and own_energies_eV(atoms) is not None:
            keys = keys | {FREE_ENERGY}
        differing = self._differing[what]
        for pair in combinations(sorted(keys), 2):
            if pair not in differing and _differ(atoms, what, *pair):
                differing.add(pair)

    def _look_at_own_place(self, atoms: Atoms) -> None:
        """Note whose the labels there are, and whether all have two energies."""
        if PREDICTED_BY in atoms.info:
            self._own = Standing.MODEL
        elif TEACHER in atoms.info and self._own is Standing.UNMARKED:
            self._own = Standing.TAUGHT
        if len(atoms) and "energy" in own_labels(atoms):
            both = own_energies_eV(atoms)
            self._all_have_both &= both is not None
            self._any_is_smeared |= both is not None and both[0] != both[1]

    def counts(self) -> KeyCounts:
        """Return which labels there seem to be."""
        counts = {what: dict(count) for what, count in self._counts.items()}
        if self._all_have_both and self._any_is_smeared:
            counts["energy"][FREE_ENERGY] = counts["energy"].pop(CALCULATOR)
        return KeyCounts(
            **{
                what: dict(
                    sorted(
                        count.items(), key=lambda item: (-item[1], self._rank(item[0]))
                    )
                )
                for what, count in counts.items()
            }
        )

    def choose(self) -> KeyChoice:
        """Return which keys are read; see `choose_label_keys`."""
        counts = self.counts()
        energy = self._pick("energy", counts.energy)
        forces = self._pick("forces", counts.forces, energy.key)
        stress = self._pick("stress", counts.stress, energy.key)
        rivals = {"energy": energy.rivals, "forces": forces.rivals}
        return KeyChoice(
            keys=LabelKeys(energy=energy.key, forces=forces.key, stress=stress.key),
            counts=counts,
            rivals={what: keys for what, keys in rivals.items() if keys},
        )

    def find(
        self,
        needed: Iterable[str] = ("energy", "forces"),
        advice: Mapping[str, str] | None = None,
    ) -> LabelKeys:
        """Return which keys are read; see `find_label_keys`.

        ``needed``: labels that must be there.
        """
        choice = self.choose()
        for what in needed:
            if getattr(choice.keys, what) is None:
                raise InputError(
                    f"No structure has {what} labels under a known key. "
                    f"{self._found()} Name the right one with --{what}-key. "
                    f"{(advice or {}).get(what, '')}".rstrip()
                )
            if what in choice.rivals:
                raise InputError(
                    f"Several keys could be the {what}: {list(choice.rivals[what])}, "
                    f"and their values differ. Choose one with --{what}-key."
                )
        return choice.keys

    def _pick(
        self, what: str, counts: dict[str, int], energy: str | None = None
    ) -> _Choice:
        """Return the key that was asked for, or else one that fits the energy's."""
        wanted = self._wanted.get(what)
        if wanted is None:
            return self._choose(what, _fitting(counts, energy))
        if not self._labelled[what]:
            raise InputError(
                f"No structure has {what} under {wanted!r}. {self._found(counts)}"
            )
        counts.setdefault(wanted, self._labelled[what])
        return _Choice(wanted)

    def _choose(self, what: str, counts: Mapping[str, int]) -> _Choice:
        """Return the most frequent key, or one that ranks higher and disagrees."""
        if not counts:
            return _Choice(None)
        ordered = sorted(counts, key=self._rank)
        best = max(ordered, key=counts.__getitem__)
        better = (
            key
            for key in ordered
            if self._rank(key)[0] < self._rank(best)[0]
            and self._disagree(what, best, key)
        )
        best = next(better, best)
        rivals = [
            key
            for key in ordered
            if standing(key) is standing(best) is Standing.REFERENCE
            and not _same_source(key, best)
            and self._disagree(what, best, key)
        ]
        return _Choice(best, tuple(sorted([best, *rivals])) if rivals else ())

    def _rank(self, key: str) -> _Rank:
        """Return what sorts keys: whose they are, then ASE's own place, then names."""
        if key in (CALCULATOR, FREE_ENERGY):
            return self._own, False, False, key
        return standing(key), True, not is_free_energy(key), key.lower() + key

    def _disagree(self, what: str, one: str, other: str) -> bool:
        return tuple(sorted((one, other))) in self._differing[what]

    def _found(self, candidates: Iterable[str] = ()) -> str:
        """Return which keys there are: those of the label, or all of them."""
        if candidates:
            return f"Found: {sorted(candidates)}."
        arrays = self._arrays - {"numbers", "positions"}
        return (
            f"Keys there are: {sorted(self._names) or 'none'} (of structures), "
            f"{sorted(arrays) or 'none'} (of atoms)."
        )


def _candidates(atoms: Atoms, what: str) -> set[str]:
    """Return the keys that could hold a label of a structure."""
    places = {**atoms.info, **atoms.arrays} if what == "forces" else atoms.info
    keys = {
        key
        for key, value in places.items()
        if isinstance(key, str) and could_be(what, key) and _fits(atoms, what, value)
    }
    if what == "stress" and atoms.cell.rank < 3:
        keys = {key for key in keys if VIRIAL not in key.lower()}
    return keys | (
        {CALCULATOR} if label_of(atoms, what, CALCULATOR) is not None else set()
    )


def _fits(atoms: Atoms, what: str, value: Any) -> bool:
    """Return whether a value has the shape of a label."""
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths
        return False
    if array.dtype.kind not in "fiu":
        return False
    if what == "forces":
        return array.shape == (len(atoms), 3)
    return array.size in ((1,) if what == "energy" else (6, 9))


def _differ(atoms: Atoms, what: str, one: str, other: str) -> bool:
    """Return whether a structure has a label twice, with different values."""
    values = [label_of(atoms, what, key) for key in (one, other)]
    if one == other or any(value is None for value in values):
        return False
    first, second = map(as_numbers, values)
    limit = (
        SAME_ENERGY_EV_PER_ATOM * len(atoms) if what == "energy" else SAME_FORCE_EV_A
    )
    return first.shape != second.shape or not np.allclose(
        first, second, atol=limit, rtol=SAME_SHARE, equal_nan=True
    )


def _same_source(one: str, other: str) -> bool:
    """Return whether two keys hold the energy and the free energy of one source."""
    return source(one) == source(other) and is_free_energy(one) != is_free_energy(other)


def _fitting(counts: Mapping[str, int], energy: str | None) -> Mapping[str, int]:
    """Return the keys that are named like the energy's, or all if there are none."""
    if energy is None:
        return counts
    alike = {key: n for key, n in counts.items() if _source(key) == _source(energy)}
    return alike or counts


def _source(key: str) -> str:
    return "" if key == CALCULATOR else source(key)
