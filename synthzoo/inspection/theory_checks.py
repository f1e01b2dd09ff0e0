"""Checks of energies against each other: mixed theory, outliers, isolated atoms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase.data import chemical_symbols

from synthzoo.data.structures import kind_of
from synthzoo.inspection.energy_models import (
    beyond_composition,
    beyond_pairs,
    tied_elements,
)
from synthzoo.inspection.findings import CheckedSet, Finding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.inspection.energy_models import Mask

BEYOND_CHEMISTRY_EV_PER_ATOM = 15.0
"""No two structures of the same elements differ so much by their bonds."""
CLEAR_GAP_EV_PER_ATOM = 0.3
MIN_CLUSTER = 3
MIN_CLUSTER_SHARE = 0.05
MOST_BETWEEN = 0.05
"""Structures in the middle third of the gap, over those of the smaller cluster."""
MIN_FITTED = 60
"""Fewer energies cannot be told from what a fit of the geometry makes of them."""
PURE = 0.95

OUTLIER_SIGMAS = 25.0
OUTLIER_EV_PER_ATOM = 5.0
MODEL_OUTLIER_EV_PER_ATOM = 1.5
OUTLIER_FORCE_EV_A = 30.0
OUTLIER_FORCE_RATIO = 50.0

SAME_ATOM_EV = 0.05
COHESIVE_EV_PER_ATOM = (-15.0, 3.0)


@dataclass(frozen=True, kw_only=True)
class Clusters:
    """Two clusters of numbers with next to nothing in between.

    ``upper``: which numbers belong to the upper cluster, of shape ``(n,)``.
    """

    gap: float
    upper: Mask


def separate(values: NDArray[np.float64]) -> Clusters | None:
    """Return the two clusters of numbers that fall into two, else None.

    They are cut where the variance between the parts is largest (Otsu); the middle
    third between the two medians has to be all but empty.

    ``values``: of shape ``(n,)``.
    """
    ordered = np.sort(values)
    count = len(ordered)
    if count < 2 * MIN_CLUSTER:
        return None
    lower = np.arange(1, count)
    sums = np.cumsum(ordered)[:-1]
    means = sums / lower, (ordered.sum() - sums) / (count - lower)
    cut = 1 + int(np.argmax(lower * (count - lower) * (means[0] - means[1]) ** 2))
    low, high = float(np.median(ordered[:cut])), float(np.median(ordered[cut:]))
    third = (high - low) / 3
    between = np.count_nonzero((values > low + third) & (values < high - third))
    smaller = min(cut, count - cut)
    enough = smaller >= max(MIN_CLUSTER, MIN_CLUSTER_SHARE * count)
    if not enough or between > MOST_BETWEEN * smaller:
        return None
    return Clusters(gap=high - low, upper=values > (low + high) / 2)


def mixed_theory(data: CheckedSet) -> list[Finding]:
    """Find energies of two levels of theory, or of two codes, in one set.

    Energies are compared beyond what the composition explains; with a model, beyond
    what it predicts; without one, and with enough structures, beyond what distances
    between atoms explain.
    """
    usable = np.isfinite(data.energies_eV) & ~data.isolated
    energies, shares = _per_atom(data, usable), data.shares[usable]
    frames = np.flatnonzero(usable)
    raw = separate(beyond_composition(energies, shares)) if len(frames) else None
    if raw is not None and raw.gap > BEYOND_CHEMISTRY_EV_PER_ATOM:
        return [_mixed(data, frames, raw, "more than bonds can make")]
    usable = data.comparable
    energies, shares = _per_atom(data, usable), data.shares[usable]
    frames = np.flatnonzero(usable)
    if data.reference is not None:
        rest = energies - data.reference.energies_eV[usable] / data.sizes[usable]
        separation, why = (
            separate(beyond_composition(rest, shares)),
            "a model's predictions",
        )
    elif len(frames) >= MIN_FITTED:
        separation, why = separate(beyond_pairs(data, usable)), "their bonds"
    else:
        return []
    if separation is None or separation.gap < CLEAR_GAP_EV_PER_ATOM:
        return []
    return [_mixed(data, frames, separation, f"which {why} do not explain")]


def _per_atom(data: CheckedSet, usable: Mask) -> NDArray[np.float64]:
    energies: NDArray[np.float64] = data.energies_eV[usable] / data.sizes[usable]
    return energies


def _mixed(
    data: CheckedSet,
    frames: NDArray[np.int64],
    clusters: Clusters,
    why: str,
) -> Finding:
    upper, lower = frames[clusters.upper], frames[~clusters.upper]
    fewer = upper if len(upper) <= len(lower) else lower
    others = lower if fewer is upper else upper
    large = clusters.gap > BEYOND_CHEMISTRY_EV_PER_ATOM
    return Finding(
        kind="mixed_theory",
        severity="error" if large else "warning",
        message=f"The energies fall into two clusters, {clusters.gap:.3g} eV/atom "
        f"apart, {why}: {len(others)} structures{_common(data, others, fewer)} and "
        f"{len(fewer)}{_common(data, fewer, others)}. Labels of two levels of theory "
        "or two codes cannot be learnt as one: give one of them to `finetune` with "
        "--with.",
        frames=tuple(fewer.tolist()),
    )


def _common(
    data: CheckedSet, frames: NDArray[np.int64], others: NDArray[np.int64]
) -> str:
    """Return the file or kind that sets frames apart from others, in words."""
    names: list[tuple[str, Sequence[str]]] = []
    if data.sources is not None:
        names.append(("from", data.sources))
    names.append(("of kind", [kind_of(atoms) for atoms in data.structures]))
    for word, values in names:
        inside = Counter(values[i] for i in frames)
        outside = Counter(values[i] for i in others)
        name, count = inside.most_common(1)[0]
        if count > PURE * len(frames) and outside[name] < (1 - PURE) * len(others):
            return f" {word} {name}"
    return ""


def outliers(data: CheckedSet) -> list[Finding]:
    """Find energies and forces far from all others."""
    return [*_energy_outliers(data), *_force_outliers(data)]


def _energy_outliers(data: CheckedSet) -> list[Finding]:
    usable = data.comparable
    frames = np.flatnonzero(usable)
    if len(frames) < 2 * MIN_CLUSTER or mixed_theory(data):
        return []
    limit = OUTLIER_EV_PER_ATOM
    rest = beyond_composition(_per_atom(data, usable), data.shares[usable])
    if data.reference is not None:
        limit = MODEL_OUTLIER_EV_PER_ATOM
        predicted = data.reference.energies_eV[usable] / data.sizes[usable]
        rest = beyond_composition(
            _per_atom(data, usable) - predicted, data.shares[usable]
        )
    elif len(frames) >= MIN_FITTED:
        rest = beyond_pairs(data, usable)
    distance = np.abs(rest - np.median(rest))
    limit = max(limit, OUTLIER_SIGMAS * 1.4826 * float(np.median(distance)))
    far = frames[distance > limit]
    if not len(far):
        return []
    message = (
        f"The energy of {len(far)} structure(s) is more than {limit:.3g} eV/atom from "
        "what the others let expect; was each calculation converged?"
    )
    return [_outlier("energy_outlier", message, far)]


def _force_outliers(data: CheckedSet) -> list[Finding]:
    norms = {
        index: float(np.linalg.norm(forces, axis=1).max())
        for index, forces in data.forces_eV_A.items()
        if len(forces) > 1
    }
    if not norms:
        return []
    frames, largest = np.array(list(norms)), np.array(list(norms.values()))
    limit = max(OUTLIER_FORCE_EV_A, OUTLIER_FORCE_RATIO * float(np.median(largest)))
    far = frames[largest > limit]
    if not len(far) or len(far) > len(frames) / 10:
        return []
    message = (
        f"{len(far)} structure(s) have a force above {limit:.0f} eV/Å, over "
        f"{OUTLIER_FORCE_RATIO:g} times what is usual in this set; leave them out "
        "unless they are meant."
    )
    return [_outlier("force_outlier", message, far)]


def _outlier(kind: str, message: str, frames: NDArray[np.int64]) -> Finding:
    return Finding(
        kind=kind, severity="warning", message=message, frames=tuple(frames.tolist())
    )


def isolated_atoms(data: CheckedSet) -> list[Finding]:
    """Find isolated atoms, and whether their energies fit the others."""
    by_element: dict[int, list[int]] = {}
    for index in np.flatnonzero(data.isolated & np.isfinite(data.energies_eV)):
        element = int(data.structures[int(index)].numbers[0])
        by_element.setdefault(element, []).append(int(index))
    findings = []
    for element, frames in by_element.items():
        energies = data.energies_eV[frames]
        differ = float(np.ptp(energies)) > SAME_ATOM_EV
        message = (
            f"{chemical_symbols[element]} has {len(frames)} isolated atoms with "
            f"energies from {energies.min():.3f} to {energies.max():.3f} eV; keep one."
            if differ
            else f"Isolated {chemical_symbols[element]} atom: {energies[0]:.4f} eV."
        )
        findings.append(
            Finding(
                kind="isolated_atom",
                severity="warning" if differ else "note",
                message=message,
                frames=tuple(frames),
            )
        )
    return [*findings, *_cohesive(data, by_element)]


def _cohesive(data: CheckedSet, alone: dict[int, list[int]]) -> list[Finding]:
    """Find isolated atoms whose energies are not on the scale of the others."""
    usable = np.isfinite(data.energies_eV) & ~data.isolated
    if set(data.elements) != set(alone) or not usable.any():
        return []
    atoms = np.array([np.median(data.energies_eV[alone[z]]) for z in data.elements])
    bound = float(np.median(_per_atom(data, usable) - data.shares[usable] @ atoms))
    if COHESIVE_EV_PER_ATOM[0] < bound < COHESIVE_EV_PER_ATOM[1]:
        return []
    message = (
        f"Relative to the isolated atoms, a typical structure has {bound:.3g} eV/atom; "
        "between -10 and 0 is expected. The isolated atoms come from another level of "
        "theory or code, or energies are in another unit."
    )
    frames = tuple(sorted(i for indices in alone.values() for i in indices))
    return [
        Finding(
            kind="isolated_atom_energy",
            severity="error",
            message=message,
            frames=frames,
        )
    ]


def undetermined_elements(data: CheckedSet) -> list[Finding]:
    """Find elements whose energies the compositions of the set do not tell apart."""
    usable = np.isfinite(data.energies_eV)
    if not usable.any():
        return []
    names = [chemical_symbols[z] for z in data.elements]
    tied = tied_elements(names, data.shares[usable])
    if not tied.elements:
        return []
    message = (
        f"All structures have one composition, {tied.together[0]}. Total energies will "
        "be right for it, but not for other compositions."
        if len(tied.together) == 1 and len(tied.elements) == len(names)
        else f"The compositions of the set fix only the energy of "
        f"{' and that of '.join(tied.together)}, not those of "
        f"{', '.join(tied.elements)} one by one: the energies of isolated atoms cannot "
        "be found from the set and must be given."
    )
    return [Finding(kind="undetermined_elements", severity="note", message=message)]
