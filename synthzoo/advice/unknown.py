"""Which environments a network, or the data, do not know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from synthzoo.advice.coverage import Coverage, Describe, coverage
from synthzoo.advice.simple_models import ACE_INSTALLED, invariants_of
from synthzoo.errors import InputError
from synthzoo.finetuning.replay import find_replay, read_synthetic
from synthzoo.models.hidden import features_of_each

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.advice.data import UserData
    from synthzoo.advice.starts import Start
    from synthzoo.data.frames import FrameSet


def unknown_to_start(start: Start, data: UserData) -> Coverage | None:
    """Return which of the user's environments a start has not seen.

    None where no sample of what it has seen comes with synthzoo.
    """
    files = find_replay(None, start.checkpoint.config)
    seen = read_synthetic(files, start.calculator)
    structures = [*seen.mixed.structures, *seen.kept.structures]
    if not structures:
        return None
    describe = _by_network(start)
    return coverage(describe(structures), describe(data.bulk.structures))


def refuse_other_elements(wanted: FrameSet, data: UserData) -> None:
    """Raise `InputError` if structures to simulate hold elements that data lack."""
    present = set[str]().union(*(atoms.symbols for atoms in wanted.structures))
    strange = sorted(present - set(data.elements))
    if strange:
        raise InputError(
            f"The structures to simulate hold {', '.join(strange)}, of which the data "
            "have no structure: no model fitted to them knows it."
        )


def unknown_to_data(
    start: Start | None, data: UserData, wanted: FrameSet
) -> Coverage | None:
    """Return which environments of what shall be simulated the data lack.

    None if nothing describes the atoms: no network, and no python-ace.
    """
    describe = _describe(start, data)
    if describe is None:
        return None
    return coverage(describe(data.bulk.structures), describe(wanted.structures))


def _describe(start: Start | None, data: UserData) -> Describe | None:
    """Return what describes atoms: a network, or else invariants."""
    if start is not None:
        return _by_network(start)
    if not ACE_INSTALLED:
        return None
    invariants = invariants_of(data.bulk)
    return lambda structures: [invariants.of_atoms(atoms) for atoms in structures]


def _by_network(start: Start) -> Describe:
    def describe(structures: Sequence[Atoms]) -> list[Any]:
        return list(features_of_each(start.calculator, structures))

    return describe
