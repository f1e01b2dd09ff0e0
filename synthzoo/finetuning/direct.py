"""Training from scratch: how long, and from which energies, for a fair comparison."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from synthzoo.finetuning.energy_reference import EnergyReference, find_reference
from synthzoo.finetuning.recipe import times_seen

if TYPE_CHECKING:
    from synthzoo.data.labelled_set import LabelledSet

DIRECT_VISITS = 6000
DIRECT_EPOCHS = 20
"""What a fit from scratch sees: so many structures, and each so often, at least."""


def visits_from_scratch(sizes: Sequence[int]) -> int:
    """Return how many structures a fit from scratch sees; small ones more often.

    Parameters
    ----------
    sizes
        Number of atoms of each structure.

    Examples
    --------
    >>> visits_from_scratch([64] * 25), visits_from_scratch([64] * 500)
    (6000, 10000)
    """
    visits = max(DIRECT_VISITS, DIRECT_EPOCHS * len(sizes))
    return math.ceil(visits * times_seen(sizes))


def direct_reference(elements: Sequence[str], labelled: LabelledSet) -> EnergyReference:
    """Return the energies per element that a network without any start begins with.

    Parameters
    ----------
    elements
        Chemical symbols of the network.
    labelled
        The structures to be fitted.
    """
    return find_reference(
        elements,
        labelled.counts(elements),
        labelled.energies_eV,
        np.zeros(len(labelled)),
        known_eV={},
        model_alone_eV=dict.fromkeys(elements, 0.0),
    )
