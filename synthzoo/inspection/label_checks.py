"""Checks of labels one by one: there, finite, converged, forces in balance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from synthzoo.data.labels import FREE_ENERGY, own_energies_eV
from synthzoo.data.pairs import bonded
from synthzoo.inspection.energy_models import beyond_composition
from synthzoo.inspection.findings import CheckedSet, Finding
from synthzoo.inspection.force_order import force_order
from synthzoo.inspection.related import of_whole_cells, related_works
from synthzoo.inspection.unit_ratios import (
    energy_over_forces,
    model_energy_ratio,
    model_force_ratio,
    stress_over_energy,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthzoo.data.labels import PartialLabels
    from synthzoo.inspection.findings import Severity
    from synthzoo.inspection.related import Work
    from synthzoo.inspection.unit_ratios import Ratio


ABSURD_FORCE_EV_A = 1000.0
ABSURD_ENERGY_EV_PER_ATOM = 2e7
"""Beyond the total energy of any atom, even in kcal/mol."""

CLEAR_PULL = 0.01
"""Of bonds out of balance: in real crystals without forces it is below 0.00001."""

NET_FORCE_EV_A = 0.02
"""Per atom: above what careful codes leave (a few meV/Å)."""
NET_FORCE_SHARE = 0.02
"""Of the root mean square of the forces: below it a net force is harmless."""

SMEARING_EV_PER_ATOM = 5e-4
"""Energies with and without smearing that differ by less are one."""
MOST_SMEARING_EV_PER_ATOM = 1.0

MIN_ENERGIES = 5
SIZE_RATIO = 1.3
"""Of the largest and the smallest structure."""
CLEAR_SPREAD = 2.0
"""Ratio of spreads: up to 0.4 in published sets; per atom, 19 of 20 are above 6."""

CLEAR_SIZES = 4
"""That energies of so many sizes agree is no chance."""

CONVERGED_KEYS = frozenset(
    ("converged", "scf_converged", "is_converged", "electronic_converged")
)
UNCONVERGED_KEYS = frozenset(("unconverged", "not_converged"))
TRUE_WORDS = ("true", "t", "yes", "1")


def broken_structures(data: CheckedSet) -> list[Finding]:
    """Find structures for which no energy is defined."""
    if not data.faults:
        return []
    frames = tuple(sorted(data.faults))
    return [
        Finding(
            kind="structure",
            severity="error",
            message=f"{len(frames)} of {len(data)} structures cannot be computed, "
            f"the first because {data.faults[frames[0]]}",
            frames=frames,
        )
    ]


def missing_labels(data: CheckedSet) -> list[Finding]:
    """Find structures without energy or forces where others have them."""
    energies = [
        index for index, labels in enumerate(data.labels) if labels.energy_eV is None
    ]
    forces = [
        index for index, labels in enumerate(data.labels) if labels.forces_eV_A is None
    ]
    if len(energies) == len(forces) == len(data):
        message = "No structure has an energy or forces: this is an unlabelled set."
        return [Finding(kind="missing_labels", severity="note", message=message)]
    return [
        Finding(
            kind=f"missing_{what}",
            severity="warning" if len(frames) < len(data) else "note",
            message=f"{len(frames)} of {len(data)} structures have no {what}"
            f"{f' under {key!r}' if key else ''}.",
            frames=tuple(frames) if len(frames) < len(data) else (),
        )
        for what, frames, key in (
            ("energy", energies, data.keys.energy),
            ("forces", forces, data.keys.forces),
        )
        if frames
    ]


def labels_not_finite(data: CheckedSet) -> list[Finding]:
    """Find labels that are not numbers, absurdly large, or of the wrong shape."""
    reasons: dict[str, list[int]] = {}
    for index, labels in enumerate(data.labels):
        for reason in _absurd(labels, int(data.sizes[index])):
            reasons.setdefault(reason, []).append(index)
    return [
        Finding(
            kind="absurd_labels",
            severity="error",
            message=f"{len(frames)} structure(s) have {reason}; leave them out or "
            "compute them again.",
            frames=tuple(frames),
        )
        for reason, frames in reasons.items()
    ]


def _absurd(labels: PartialLabels, size: int) -> Iterator[str]:
    energy, forces = labels.energy_eV, labels.forces_eV_A
    if energy is not None and not np.isfinite(energy):
        yield "an energy that is not a finite number"
    elif energy is not None and abs(energy) > ABSURD_ENERGY_EV_PER_ATOM * size:
        yield "an absurd energy"
    if forces is None:
        return
    if forces.shape != (size, 3):
        yield "forces of the wrong shape"
    elif not np.isfinite(forces).all():
        yield "forces that are not finite numbers"
    elif np.abs(forces).max(initial=0) > ABSURD_FORCE_EV_A:
        yield f"forces above {ABSURD_FORCE_EV_A:g} eV/Å"


def placeholders(data: CheckedSet) -> list[Finding]:
    """Find labels that are exactly zero: what some tools write for "not computed".

    Forces of zero are sound where symmetry demands them, and energies of zero where no
    atom has a bond.
    """
    zero = np.flatnonzero((data.energies_eV == 0) & (data.sizes > 1))
    frames = tuple(index for index in zero.tolist() if _pull(data, index) is not None)
    findings = []
    if frames:
        message = f"{len(frames)} structure(s) have an energy of exactly zero: a"
        findings.append(
            Finding(
                kind="placeholder_energy",
                severity="error",
                message=f"{message} placeholder?",
                frames=frames,
            )
        )
    return [*findings, *_zero_forces(data)]


def _zero_forces(data: CheckedSet) -> list[Finding]:
    sizable = {index: f for index, f in data.forces_eV_A.items() if len(f) > 1}
    zero = [index for index, forces in sizable.items() if not forces.any()]
    pulled = tuple(index for index in zero if (_pull(data, index) or 0.0) > CLEAR_PULL)
    if not zero or (not pulled and len(zero) < len(sizable)):
        return []
    everywhere = len(zero) == len(sizable)
    if not pulled:
        message = (
            "All forces are zero, as the symmetry of the structures demands: they say "
            "nothing about forces. Add structures with displaced atoms."
        )
        return [Finding(kind="forces_by_symmetry", severity="note", message=message)]
    message = (
        f"{'All forces are' if everywhere else 'The forces of some structures are'} "
        f"exactly zero, but in {len(pulled)} of them the bonds of an atom do not "
        "balance: placeholders?"
    )
    return [
        Finding(
            kind="placeholder_forces",
            severity="error" if everywhere else "warning",
            message=message,
            frames=() if everywhere else pulled,
        )
    ]


def _pull(data: CheckedSet, index: int) -> float | None:
    """Return how far the bonds of an atom are from balance; None without any bond.

    It is the sum of the unit vectors of its bonds, short ones counting more, over what
    the sum would be if all had one direction: zero where symmetry forbids a force.
    """
    atoms, pairs = data.structures[index], data.pairs[index]
    close = np.flatnonzero(bonded(atoms, pairs)) if len(pairs) else np.zeros(0, int)
    if not len(close):
        return None
    first, lengths = pairs.first[close], pairs.distances_A[close]
    weights = (1 - lengths / data.reaches_A[index]) ** 2
    along = pairs.vectors_A[close] * (weights / lengths)[:, None]
    sums = np.stack([np.bincount(first, axis, len(atoms)) for axis in along.T], axis=1)
    total = np.bincount(first, weights, len(atoms))
    return float((np.linalg.norm(sums, axis=1)[total > 0] / total[total > 0]).max())


def energies_without_forces(data: CheckedSet) -> list[Finding]:
    """Find energies that are not those whose derivative the forces are.

    Where electrons are smeared, ASE has two energies of a structure: the free energy,
    and one that is extrapolated to no smearing.
    """
    two = {
        i: both for i, a in enumerate(data.structures) if (both := own_energies_eV(a))
    }
    gaps = {
        index: abs(free - zero) / max(int(data.sizes[index]), 1)
        for index, (zero, free) in two.items()
        if abs(free - zero) > SMEARING_EV_PER_ATOM * data.sizes[index]
        and np.isfinite(data.energies_eV[index])
    }
    if not gaps:
        return []
    limits = SMEARING_EV_PER_ATOM / 2 * data.sizes
    extrapolated = [i for i in gaps if abs(data.energies_eV[i] - two[i][0]) < limits[i]]
    largest = max(gaps.values())
    absurd = largest > MOST_SMEARING_EV_PER_ATOM
    message = _smearing_text(data, len(gaps), len(two), read=not extrapolated)
    message += f" The two differ by up to {1000 * largest:.3g} meV/atom."
    if absurd:
        message += " Smearing does not explain so much: was one of them shifted?"
    return [
        Finding(
            kind="energy_without_smearing" if extrapolated else "free_energy",
            severity="warning" if extrapolated or absurd else "note",
            message=message,
            frames=tuple(extrapolated or gaps),
        )
    ]


def _smearing_text(data: CheckedSet, smeared: int, pairs: int, *, read: bool) -> str:
    if not read:
        return (
            f"The energies under {data.keys.energy} are extrapolated to electrons "
            "without smearing, but the forces are the derivative of the free energy; "
            f"--energy-key {FREE_ENERGY} reads it."
        )
    others = len(data) - pairs
    return (
        f"{smeared} structure(s) have a free energy of smeared electrons beside the "
        "energy without smearing. It is read, since the forces are its derivative; "
        "--energy-key energy reads the other."
        + (f" {others} other(s) have one energy only." if others else "")
    )


def net_forces(data: CheckedSet) -> list[Finding]:
    """Find structures whose forces do not sum to zero, as they must without a field."""
    unbalanced, frozen = [], []
    for index, forces in data.forces_eV_A.items():
        if len(forces) < 2:
            continue
        rms = float(np.sqrt(np.mean(forces**2)))
        net = float(np.linalg.norm(forces.sum(axis=0))) / len(forces)
        if net > max(NET_FORCE_EV_A, NET_FORCE_SHARE * rms):
            unbalanced.append(index)
            frozen.append(bool((forces == 0).all(axis=1).any()))
    if not unbalanced:
        return []
    cause = (
        "Some atoms have a force of exactly zero: were they held fixed? Forces are "
        "needed without constraints."
        if np.mean(frozen) > 0.5
        else "Were atoms left out, or is there an external field?"
    )
    return [
        Finding(
            kind="net_force",
            severity="warning",
            message=f"In {len(unbalanced)} of {len(data.forces_eV_A)} structures the "
            f"forces do not sum to zero (more than {NET_FORCE_EV_A} eV/Å per atom are "
            f"left). {cause}",
            frames=tuple(unbalanced),
        )
    ]


def unconverged(data: CheckedSet) -> list[Finding]:
    """Find structures that are marked as not converged."""
    frames = [
        index
        for index, atoms in enumerate(data.structures)
        for info in [atoms.info]
        if any(not _truth(info[key]) for key in CONVERGED_KEYS & info.keys())
        or any(_truth(info[key]) for key in UNCONVERGED_KEYS & info.keys())
    ]
    if not frames:
        return []
    message = f"{len(frames)} structure(s) are marked as not converged; leave them out."
    return [
        Finding(
            kind="unconverged",
            severity="warning",
            message=message,
            frames=tuple(frames),
        )
    ]


def _truth(value: Any) -> bool:
    return str(value).strip().lower() in TRUE_WORDS


def energies_per_atom(data: CheckedSet) -> list[Finding]:
    """Find energies that do not grow with the number of atoms.

    Structures of two sizes are needed, of the larger a few are enough. What the
    composition explains is left out. Where neither forces, stress nor a model decide,
    energies that agree at two or three sizes may do so by chance.
    """
    usable = np.isfinite(data.energies_eV) & (data.sizes > 1) & ~data.fragments
    sizes, energies = data.sizes[usable], data.energies_eV[usable]
    if len(sizes) < MIN_ENERGIES or sizes.max() < SIZE_RATIO * sizes.min():
        return []
    per_atom, as_given = (
        _spread_by_size(values, data.shares[usable], sizes)
        for values in (energies / sizes, energies)
    )
    if per_atom.between < CLEAR_SPREAD * max(as_given.between, per_atom.within):
        return []
    works = related_works(data)
    if _matched(works) or _normal(model_energy_ratio(data)):
        return []
    sure = len(np.unique(sizes)) >= CLEAR_SIZES or _matched(of_whole_cells(data, works))
    message = "The energies do not grow with the number of atoms: " + (
        "they seem to be energies per atom. Multiply them by the number of atoms of "
        "each structure."
        if sure
        else "are they energies per atom? If so, multiply them by the number of atoms "
        "of each structure."
    )
    severity: Severity = "error" if sure else "warning"
    return [Finding(kind="energy_per_atom", severity=severity, message=message)]


def _matched(works: list[Work]) -> bool:
    """Return whether forces or stresses confirm the changes of energy."""
    return _normal(energy_over_forces(works)) or _normal(stress_over_energy(works))


def _normal(ratio: Ratio | None) -> bool:
    return ratio is not None and ratio.normal


@dataclass(frozen=True)
class _Spread:
    """Of values beyond composition, over their size: between sizes, and within one."""

    between: float
    within: float


def _spread_by_size(
    values: NDArray[np.float64], shares: NDArray[np.float64], sizes: NDArray[np.int64]
) -> _Spread:
    rest = beyond_composition(values, shares)
    kinds = np.unique(sizes, return_inverse=True)[1]
    middles = np.array([np.median(rest[kinds == k]) for k in range(kinds.max() + 1)])
    scale = max(float(np.median(np.abs(values))), 1e-12)
    return _Spread(
        between=float(np.sqrt(np.mean((middles - np.median(middles)) ** 2))) / scale,
        within=float(np.median(np.abs(rest - middles[kinds]))) / scale,
    )


LEAST_FORCE_EV_A = 0.3
"""Root mean square; smaller forces may be lost in the error of any model."""

MANY = 0.2
"""Of the structures: the model is no good start for the set."""


def outside_domain(data: CheckedSet) -> list[Finding]:
    """Find structures on which a model errs by more than the forces themselves.

    ``data``: set to look at, with a model's predictions.
    """
    ratio = model_force_ratio(data)
    if data.reference is None or (ratio is not None and not ratio.normal):
        return []
    predicted = data.reference.forces_eV_A
    disordered = force_order(data)
    if any(not finding.frames for finding in disordered):
        return []
    reordered = {index for finding in disordered for index in finding.frames}
    judged, far = [], []
    for index, forces in data.forces_eV_A.items():
        if index in reordered:
            continue
        size = float(np.sqrt(np.mean(forces**2))) if len(forces) else 0.0
        if len(forces) < 3 or size < LEAST_FORCE_EV_A:
            continue
        judged.append(index)
        error = float(np.sqrt(np.mean((forces - predicted[index]) ** 2)))
        if error > size:
            far.append(index)
    if not far:
        return []
    many = len(far) > MANY * len(judged)
    advice = (
        "That is a large part of them: another start may serve the set better."
        if many
        else "Expect larger errors on what resembles them."
    )
    return [
        Finding(
            kind="outside_domain",
            severity="warning" if many else "note",
            message=(
                f"On {len(far)} of the {len(judged)} structures with forces of "
                f"{LEAST_FORCE_EV_A:g} eV/Å or more, the model's forces are further "
                "from the labels than zero forces would be: the model has not learnt "
                f"such structures. {advice}"
            ),
            frames=tuple(far),
        )
    ]
