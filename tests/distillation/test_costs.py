"""What teaching costs, as it is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ase.build import bulk

from synthzoo.distillation import costs

if TYPE_CHECKING:
    import pytest
    from ase import Atoms


def test_structures_are_labelled_one_after_the_other_as_they_move(
    monkeypatch: pytest.MonkeyPatch,
):
    """Neighbour lists that serve for several steps do so here, too."""
    seen: list[tuple[int, float]] = []

    class Teacher:
        def label(self, atoms: Atoms) -> None:
            seen.append((len(atoms), float(atoms.positions.sum())))

    monkeypatch.setattr(costs, "cached_teacher", lambda *_: Teacher())
    monkeypatch.setattr(costs, "reference_sha256", lambda _: "")
    crystals = [bulk("Cu"), bulk("Cu", cubic=True)]
    assert costs._label_seconds("any", crystals) > 0
    calls = 1 + costs.TIMED_LABELS
    assert [size for size, _ in seen] == [1] * calls + [4] * calls
    assert len(set(seen)) == len(seen)


def test_the_size_that_counts_is_the_mean_one():
    """Most structures of a set may be dimers, and most time goes into the others."""
    sizes = [*[2] * 12, 15, 16, 17, *[40] * 8]
    structures = [bulk("Cu").repeat((size, 1, 1)) for size in sizes]
    assert [len(atoms) for atoms in costs._mean_sized(structures)] == [15, 16, 17][::-1]
