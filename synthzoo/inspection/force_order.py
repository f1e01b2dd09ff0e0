"""Forces whose rows are in another order than the atoms that they belong to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase.stress import full_3x3_to_voigt_6_stress
from scipy.optimize import linear_sum_assignment

from synthzoo.data.pairs import bonded
from synthzoo.inspection.findings import CheckedSet, Finding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.inspection.findings import CheckedSet, Severity

    Forces = NDArray[np.float64]


SOFTNESS = 6.0
"""How fast a bond loses strength with its length, over its usual length."""


def forces_of_bonds(data: CheckedSet, index: int) -> NDArray[np.float64]:
    """Return what is expected of the forces, of shape ``(n_atoms, 3)``.

    Zeros if it has no bonds.
    """
    first, vectors, pulls = _pulls(data, index)
    size = int(data.sizes[index])
    along = vectors * pulls[:, None]
    return np.stack([np.bincount(first, axis, size) for axis in along.T], axis=1)


def stress_of_bonds(data: CheckedSet, index: int) -> NDArray[np.float64]:
    """Return what is expected of the stress, in ASE's order and sign.

    ``index``: structure with a cell; zeros if it has no bonds.
    """
    _, vectors, pulls = _pulls(data, index)
    tensor = (vectors.T * pulls) @ vectors / 2 / data.structures[index].get_volume()
    return np.asarray(full_3x3_to_voigt_6_stress(tensor))


def _pulls(
    data: CheckedSet, index: int
) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]]:
    """Return first atoms and vectors of bonds, and how hard each pulls per length."""
    atoms, pairs = data.structures[index], data.pairs[index]
    close = np.flatnonzero(bonded(atoms, pairs)) if len(pairs) else np.zeros(0, int)
    first, lengths = pairs.first[close], pairs.distances_A[close]
    elements = np.sort(atoms.numbers[[first, pairs.second[close]]], axis=0)
    kinds = np.unique(elements[0] * 1000 + elements[1], return_inverse=True)[1]
    longer = np.zeros(len(close))
    for kind in np.unique(kinds):
        alike = kinds == kind
        longer[alike] = lengths[alike] / np.median(lengths[alike]) - 1
    pulls = np.exp(-SOFTNESS * longer) * longer / lengths
    return first, pairs.vectors_A[close], pulls


MIN_ATOMS = 6
MIN_STRUCTURES = 3
CERTAIN_STRUCTURES = 10
"""So many leave no doubt, even without a model."""
MOST_ATOMS = 2000
MOST_PAIRS = 2_500_000
"""Rows of forces times atoms, over the structures with the largest forces."""
CLEAR_GAIN = 0.4
"""Of the correlation, by another order of the rows."""
MOST_LEFT = 1 / 3
"""Of the best correlation, as the rows stand: more than that is no other order."""

SHARES = np.array([0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0])
DRAWS = 2


@dataclass(frozen=True)
class _Agreement:
    """Mean correlation of forces with what is expected, over several structures."""

    as_they_stand: float
    reordered: float
    structures: int

    @property
    def other_order(self) -> bool:
        return (
            self.structures >= MIN_STRUCTURES
            and self.reordered - self.as_they_stand > CLEAR_GAIN
            and self.as_they_stand < MOST_LEFT * self.reordered
        )


def force_order(data: CheckedSet) -> list[Finding]:
    """Find forces in another order than the atoms, in the whole set or in a file.

    Forces are compared with a model's, and with those that the lengths of bonds let
    expect.
    """
    everything = list(data.forces_eV_A)
    found = _finding(data, everything)
    if found is not None or data.sources is None:
        return [found] if found else []
    files: dict[str, list[int]] = {}
    for index in everything:
        files.setdefault(data.sources[index], []).append(index)
    if len(files) < 2:
        return []
    findings = (_finding(data, frames) for frames in files.values())
    return [finding for finding in findings if finding is not None]


def _finding(data: CheckedSet, frames: Sequence[int]) -> Finding | None:
    for expected, source in _expectations(data):
        agreement = _agreement(data, frames, expected)
        if not agreement.other_order:
            continue
        certain = agreement.structures >= CERTAIN_STRUCTURES
        severity: Severity = "error" if certain else "warning"
        return Finding(
            kind="force_order",
            severity=severity,
            message="The forces seem to be in another order than the atoms: their "
            f"correlation with {source} is {agreement.as_they_stand:.2f}, but about "
            f"{agreement.reordered:.2f} once their rows change places. Write positions "
            "and forces in the same order.",
            frames=() if len(frames) == len(data.forces_eV_A) else tuple(frames),
        )
    return None


def _expectations(
    data: CheckedSet,
) -> list[tuple[Callable[[CheckedSet, int], Forces], str]]:
    bonds = (forces_of_bonds, "what the lengths of bonds let expect")
    if data.reference is None:
        return [bonds]
    return [(_forces_of_model, "the model's forces"), bonds]


def _forces_of_model(data: CheckedSet, index: int) -> Forces:
    if data.reference is None:
        return np.zeros((int(data.sizes[index]), 3))
    return np.asarray(data.reference.forces_eV_A[index])


def _agreement(
    data: CheckedSet,
    frames: Sequence[int],
    expected: Callable[[CheckedSet, int], Forces],
) -> _Agreement:
    """Return the agreement of the frames with the largest forces."""
    pairs = [
        (_unit(data.forces_eV_A[index]), _unit(guess))
        for index in _largest(data, frames)
        if data.forces_eV_A[index].any() and (guess := expected(data, index)).any()
    ]
    if len(pairs) < MIN_STRUCTURES:
        return _Agreement(0.0, 0.0, len(pairs))
    standing = float(np.mean([abs((one * other).sum()) for one, other in pairs]))
    if standing > MOST_LEFT:
        return _Agreement(standing, standing, len(pairs))
    rng = np.random.default_rng(0)
    best = float(np.mean([_best_order(one, other, rng) for one, other in pairs]))
    return _Agreement(standing, best, len(pairs))


def _largest(data: CheckedSet, frames: Sequence[int]) -> list[int]:
    """Return the frames with the largest forces, as many as take a second or two."""
    fit = [index for index in frames if MIN_ATOMS <= data.sizes[index] <= MOST_ATOMS]
    fit.sort(key=lambda index: -float(np.mean(data.forces_eV_A[index] ** 2)))
    cost = np.cumsum([int(data.sizes[index]) ** 2 for index in fit])
    return fit[: max(MIN_STRUCTURES, int(np.searchsorted(cost, MOST_PAIRS)))]


def _unit(forces: Forces) -> Forces:
    length = np.linalg.norm(forces)
    return forces / length if length else forces


def _best_order(forces: Forces, guess: Forces, rng: np.random.Generator) -> float:
    """Return the correlation that forces have with a guess in their right order.

    The best of all orders finds a high correlation in any numbers. It is held against
    what it finds in numbers of which a known share is the guess.
    """
    found = [
        np.mean(
            [_matched(_mixture(forces, guess, share, rng), guess) for _ in range(DRAWS)]
        )
        for share in SHARES
    ]
    rising = np.maximum.accumulate(found)
    return float(np.interp(_matched(forces, guess), rising, SHARES))


def _mixture(
    forces: Forces, guess: Forces, share: float, rng: np.random.Generator
) -> Forces:
    signs = rng.choice([-1.0, 1.0], size=(len(forces), 1))
    mixture: Forces = share * guess + np.sqrt(1 - share**2) * signs * rng.permutation(
        forces
    )
    return mixture


def _matched(forces: Forces, guess: Forces) -> float:
    """Return the highest correlation that any order of the rows gives."""
    scores = _unit(guess) @ _unit(forces).T
    rows, columns = linear_sum_assignment(scores, maximize=True)
    return float(scores[rows, columns].sum())
