"""Which synthetic structures are replayed: those that are unlike the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

OF_THE_USER = frozenset({"around", "dynamics"})
"""Parts of the recipe whose structures resemble the user's own."""

USUAL_SHARE, LACKED_SHARE = 0.1, 0.3
"""Of the atoms that fine-tuning sees; the second one where the user's structures lack
compositions."""

LACKING_SHARE = 0.15
"""A composition is lacking if the share of an element is further than this from that of
each of the user's structures."""


def to_replay(
    synthetic: Sequence[Atoms], own: Sequence[Atoms]
) -> tuple[list[Atoms], float]:
    """Return what fine-tuning is to see again, so that it is not lost, and its share.

    Structures around the user's own are left out: what the student says of them would
    keep the fit from learning what the labels say. Pairs of atoms, squeezed crystals
    and crystals of other compositions are replayed. Crystals of compositions that the
    user's structures lack are half of all atoms: each is repeated as often as that
    takes.

    ``synthetic``: structures with the name of their part as ``kind`` in their `info`.
    ``own``: the structures that are fitted.
    """
    unlike = [atoms for atoms in synthetic if atoms.info["kind"] not in OF_THE_USER]
    crystals = [atoms for atoms in unlike if atoms.info["kind"] == "crystals"]
    lacking = _lacking(crystals, own)
    if not lacking:
        return unlike, USUAL_SHARE
    others = [atoms for atoms in unlike if not any(atoms is one for one in lacking)]
    times = max(1, round(_atoms(others) / _atoms(lacking)))
    return others + lacking * times, LACKED_SHARE


def _lacking(crystals: Sequence[Atoms], own: Sequence[Atoms]) -> list[Atoms]:
    if not crystals:
        return []
    numbers = np.unique(np.concatenate([atoms.numbers for atoms in [*crystals, *own]]))
    apart = np.abs(
        _shares(crystals, numbers)[:, None] - _shares(own, numbers)[None]
    ).max(axis=2)
    return [
        atoms
        for atoms, nearest in zip(crystals, apart.min(axis=1), strict=True)
        if nearest > LACKING_SHARE
    ]


def _shares(
    structures: Sequence[Atoms], numbers: NDArray[np.int64]
) -> NDArray[np.float64]:
    return np.array(
        [(atoms.numbers[:, None] == numbers).mean(axis=0) for atoms in structures]
    )


def _atoms(structures: Sequence[Atoms]) -> int:
    return sum(len(atoms) for atoms in structures)
