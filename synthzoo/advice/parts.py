"""The parts of the data as files, from which `finetune` makes the same fits again."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

from synthzoo.advice.data import curve_sizes
from synthzoo.advice.starts import file_stem
from synthzoo.data.structures import write_structures
from synthzoo.recipes.loading import recipe_values
from synthzoo.runs.files import write_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from synthzoo.advice.data import Fold, UserData
    from synthzoo.advice.starts import ShortFit

PARTS_FOLDER = "parts"


def write_parts(
    run: Path,
    folder: Path,
    data: UserData,
    folds: Sequence[Fold],
    fits: Sequence[ShortFit],
) -> None:
    """Write what the largest fits saw, what tested them, and how they were made.

    ``run``: working folder, with linear models and GAP; they are copied.
    """
    folder.mkdir()
    size = curve_sizes(folds)[-1]
    for path in (*run.glob("*.yace"), *run.glob("*-gap.xml")):
        shutil.copy(path, folder / path.name)
    for fold in folds:
        chosen = [data.bulk.structures[index] for index in fold.training[:size]]
        tested = [data.bulk.structures[index] for index in fold.tested]
        write_structures(training_file(folder, fold.number), [*chosen, *data.isolated])
        write_structures(left_out_file(folder, fold.number), tested)
    for fit in fits:
        if fit.size == size and not fit.job.fresh:
            text = json.dumps({"finetune": recipe_values(fit.job.recipe)}, indent=1)
            write_text(recipe_file(folder, fit.fold.number, fit.start.name), text)


def training_file(folder: Path, number: int) -> Path:
    """Return the file of the structures that the fits of a fold saw."""
    return folder / f"{number}-training.xyz"


def left_out_file(folder: Path, number: int) -> Path:
    """Return the file of the structures that tested them."""
    return folder / f"{number}-test.xyz"


def linear_file(folder: Path, number: int | None = None) -> Path:
    """Return the file of the linear model of a fold, or of all structures."""
    return folder / f"{'all' if number is None else number}-linear.yace"


def gap_file(folder: Path) -> Path:
    """Return the file of the GAP of all structures."""
    return folder / "all-gap.xml"


def recipe_file(folder: Path, number: int, start: str) -> Path:
    """Return the file that says how a start was fitted."""
    return folder / f"{number}-{file_stem(start)}.yaml"
