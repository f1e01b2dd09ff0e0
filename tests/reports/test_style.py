"""Figures can be read: labels stand apart, legends cover nothing, few is not many."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from ase.build import bulk
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from synthzoo.data.structures import label
from synthzoo.evaluation.errors import GroupErrors
from synthzoo.finetuning.figures import write_groups
from synthzoo.inspection.figure import draw_measures
from synthzoo.inspection.summary import inspect_structures

if TYPE_CHECKING:
    from ase import Atoms


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Return a list that receives each figure when it is written."""
    figures: list[Figure] = []
    write = Figure.savefig

    def keep(figure: Figure, *args: Any, **options: Any) -> None:
        write(figure, *args, **options)
        figure.draw_without_rendering()  # at its own resolution, for the extents
        figures.append(figure)

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures


def labelled(count: int, energy_eV: float, step_eV: float) -> list[Atoms]:
    """Return cells of many sizes, with energies per atom in even steps."""
    frames = []
    for number in range(count):
        atoms = bulk("Si", cubic=True).repeat((1 + number % 11, 1, 1))
        atoms.rattle(0.01 * (1 + number), seed=number)
        total = len(atoms) * (energy_eV + number * step_eV)
        frames.append(label(atoms, energy_eV=total, forces_eV_A=atoms.positions * 0.1))
    return frames


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("energy_eV", "step_eV"), [(-163.2, 0.008), (-5, 0.1), (-10254.33, 0.0004)]
)
def test_tick_labels_of_a_set_stand_apart(
    energy_eV: float, step_eV: float, tmp_path: Path, drawn: list[Figure]
) -> None:
    """Total energies have many digits, and eleven sizes of cells many labels."""
    found = inspect_structures(labelled(66, energy_eV, step_eV))
    draw_measures(found.measures, tmp_path / "set.png", title="set")
    (figure,) = drawn
    assert len(figure.axes) == 6
    for axes in figure.axes:
        labels = [*axes.get_xticklabels(), *axes.get_xticklabels(minor=True)]
        low, high = axes.get_xlim()
        shown = [
            text
            for text in labels
            if text.get_text() and low <= text.get_position()[0] <= high
        ]
        assert len(shown) >= 2
        boxes = sorted((text.get_window_extent() for text in shown), key=lambda b: b.x0)
        for left, right in itertools.pairwise(boxes):
            assert left.x1 < right.x0, axes.get_xlabel()


def comparison(*sizes: int) -> Any:
    """Return two models on groups of these sizes, the largest errors at the end."""
    errors = [
        GroupErrors(
            name=f"group-{number}",
            structures=size,
            atoms=8 * size,
            energy_rmse_meV_per_atom=10.0 * (1 + number),
            force_rmse_eV_A=0.1 * (1 + number),
        )
        for number, size in enumerate(sizes)
    ]
    side = SimpleNamespace(errors=errors)
    return SimpleNamespace(name="Unseen", before=side, after=side)


def test_legend_of_the_groups_covers_no_bar(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    """It stands below the panels, wherever the long bars are."""
    write_groups(tmp_path, comparison(100, 40, 20, 10, 5))
    (figure,) = drawn
    assert not any(axes.get_legend() for axes in figure.axes)
    (legend,) = figure.legends
    assert {text.get_text() for text in legend.get_texts()} == {"before", "after"}
    top = legend.get_window_extent().y1
    assert all(top < axes.get_window_extent().y0 for axes in figure.axes)


def test_errors_of_few_structures_are_drawn_hollow(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    """Three structures say little: their bars are outlines, and the legend says so."""
    write_groups(tmp_path, comparison(100, 4, 3, 1))
    (figure,) = drawn
    for axes in figure.axes:
        for bars in axes.containers:
            filled = [to_hex(bar.get_facecolor()) != "#ffffff" for bar in bars]
            assert filled == [True, True, False, False]
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "hollow: fewer than 4 structures" in texts
