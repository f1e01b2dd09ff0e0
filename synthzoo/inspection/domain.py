"""Structures that a model has not learnt: its forces there are no better than none."""

from __future__ import annotations

import numpy as np

from synthzoo.inspection.findings import CheckedSet, Finding
from synthzoo.inspection.force_order import force_order
from synthzoo.inspection.model_ratios import model_force_ratio

LEAST_FORCE_EV_A = 0.3
"""Root mean square; smaller forces may be lost in the error of any model."""

MANY = 0.2
"""Of the structures: the model is no good start for the set."""


def outside_domain(data: CheckedSet) -> list[Finding]:
    """Find structures on which a model errs by more than the forces themselves.

    Parameters
    ----------
    data
        Set to look at, with a model's predictions.
    """
    ratio = model_force_ratio(data)
    if data.reference is None or (ratio is not None and not ratio.normal):
        return []
    predicted = data.reference.forces_eV_A
    disordered = force_order(data)
    if any(not found.frames for found in disordered):
        return []
    reordered = {index for found in disordered for index in found.frames}
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
            message=f"On {len(far)} of the {len(judged)} structures with forces of "
            f"{LEAST_FORCE_EV_A:g} eV/Å or more, the model's forces are further from "
            "the labels than zero would be: it has not learnt such structures. "
            f"{advice}",
            frames=tuple(far),
        )
    ]
