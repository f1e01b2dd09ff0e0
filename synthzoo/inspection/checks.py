"""All checks of a labelled set, before anything is trained on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from synthzoo.data.label_choice import choose_label_keys
from synthzoo.inspection import (
    energy_scale,
    force_order,
    label_checks,
    related,
    theory_checks,
    unit_checks,
)
from synthzoo.inspection.findings import CheckedSet, Finding, Reference, worst

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.data.labels import LabelKeys

Check = Callable[[CheckedSet], list[Finding]]

CLOSEST_A = 0.5
"""No two nuclei of any material come closer."""


def close_atoms(data: CheckedSet) -> list[Finding]:
    """Find structures with atoms closer than any in nature."""
    frames = tuple(
        index
        for index, pairs in enumerate(data.pairs)
        if len(pairs) and pairs.distances_A.min() < CLOSEST_A
    )
    if not frames:
        return []
    message = f"{len(frames)} structure(s) have atoms closer than {CLOSEST_A} Å."
    return [
        Finding(kind="close_atoms", severity="error", message=message, frames=frames)
    ]


CHECKS: tuple[Check, ...] = (
    label_checks.broken_structures,
    label_checks.missing_labels,
    label_checks.labels_not_finite,
    label_checks.placeholders,
    label_checks.energies_without_forces,
    label_checks.energies_per_atom,
    unit_checks.energies_against_forces,
    energy_scale.energies_against_bonds,
    unit_checks.force_units,
    unit_checks.energy_units,
    unit_checks.stress_units,
    unit_checks.stress_order,
    theory_checks.mixed_theory,
    theory_checks.isolated_atoms,
    theory_checks.undetermined_elements,
    theory_checks.outliers,
    label_checks.net_forces,
    label_checks.unconverged,
    close_atoms,
    force_order.force_order,
    label_checks.outside_domain,
    related.duplicates,
)
"""Each is a function of a set that returns what it finds."""

SYMPTOMS = {
    "energy_per_atom": (
        "energies_against_forces",
        "energy_units",
        "energy_outlier",
        "isolated_atom_energy",
        "mixed_theory",
    )
}
"""What follows from an error, and is not told beside it."""


def check_set(
    structures: Sequence[Atoms],
    *,
    keys: LabelKeys | None = None,
    reference: Reference | None = None,
    sources: Sequence[str] | None = None,
) -> list[Finding]:
    """Return what is wrong or worth knowing about a labelled set, errors first.

    Parameters
    ----------
    structures
        Labelled structures.
    keys
        Where the labels are; the most frequent of the usual names if not given.
    reference
        Predictions of a model for these structures, with which units, signs and levels
        of theory are then compared.
    sources
        File of each structure, for the messages.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.singlepoint import SinglePointCalculator
    >>> structures = [bulk("C", a=a) for a in (0.357, 3.57, 3.6)]
    >>> for atoms in structures:
    ...     atoms.calc = SinglePointCalculator(atoms, energy=-18.0)
    >>> for finding in check_set(structures):
    ...     print(finding.severity, finding.kind, finding.frames)
    error structure (0,)
    note missing_forces ()
    """
    keys = keys or choose_label_keys(structures).keys
    data = CheckedSet(
        structures=structures, keys=keys, reference=reference, sources=sources
    )
    return all_findings(data)


def all_findings(data: CheckedSet) -> list[Finding]:
    """Return what all checks find, errors first; see `check_set`."""
    findings = [finding for check in CHECKS for finding in check(data)]
    sure = [finding.kind for finding in findings if finding.severity == "error"]
    told = {kind for cause in sure for kind in SYMPTOMS.get(cause, ())}
    return worst([finding for finding in findings if finding.kind not in told])
