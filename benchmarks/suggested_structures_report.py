r"""Tell how many suggested structures are worth as many others: a table and a picture.

    python benchmarks/suggested_structures_report.py picture.png \
        "C-GAP-17=carbon" "InP=inp"

Each argument names a setting and the folder in which `suggested_structures.py` measured
it. The table says how many structures of each way of choosing have the mean error of
the largest number taken by chance, on straight lines between the sizes (of logarithms).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from synthzoo.evaluation.errors import ALL
from synthzoo.reports.document import markdown_table
from synthzoo.reports.style import (
    BELOW,
    BLUE,
    ORANGE,
    QUIET_COLOUR,
    save_figure,
    tidy,
)

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.suggested_structures import CHOOSERS, QUANTITIES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

Line = dict[str, Any]

COLOURS = dict(zip(CHOOSERS, (BLUE, QUIET_COLOUR, ORANGE), strict=True))
BASE = "chance"


def whole_seeds(lines: Sequence[Line]) -> list[Line]:
    """Return the lines of the seeds for which each way of choosing was measured."""
    done = [{line["seed"] for line in lines if line["by"] == name} for name in CHOOSERS]
    return [line for line in lines if line["seed"] in set.intersection(*done)]


def curves(lines: Sequence[Line], name: str, unit: str) -> NDArray[np.float64]:
    """Return the errors of a way of choosing, ``(seeds, sizes)``."""
    chosen = sorted(
        (line for line in lines if line["by"] == name), key=lambda each: each["seed"]
    )
    return np.array([[each[ALL][unit] for each in line["errors"]] for line in chosen])


def needed(
    sizes: Sequence[int], errors: NDArray[np.float64], wanted: float
) -> float | None:
    """Return the number of structures at which errors first are as small as wanted.

    None if they never are.

    Examples
    --------
    >>> needed([10, 20, 40], np.array([4.0, 2.0, 1.0]), 2.0)
    20.0
    >>> needed([10, 20, 40], np.array([4.0, 2.0, 1.0]), 0.5)
    """
    if errors[0] <= wanted:
        return float(sizes[0])
    for place in range(1, len(sizes)):
        if errors[place] <= wanted:
            before, after = np.log(errors[[place - 1, place]])
            share = (np.log(wanted) - before) / (after - before)
            start, end = np.log([sizes[place - 1], sizes[place]])
            return float(np.round(np.exp(start + share * (end - start)), 3))
    return None


def row(title: str, lines: Sequence[Line], unit: str) -> tuple[str, ...]:
    """Return what a setting says about errors of one unit."""
    sizes = lines[0]["sizes"]
    means = {name: curves(lines, name, unit).mean(axis=0) for name in CHOOSERS}
    wanted = means[BASE][-1]
    found = [needed(sizes, means[name], wanted) for name in CHOOSERS if name != BASE]
    digits = 1 if wanted > 1 else 3
    return (
        title,
        str(len(curves(lines, BASE, unit))),
        f"{sizes[-1]}: {wanted:.{digits}f} {unit}",
        *(
            f"{count:.0f} ({100 * count / sizes[-1]:.0f} %)" if count else "more"
            for count in found
        ),
        *(_difference(lines, name, unit, digits) for name in CHOOSERS if name != BASE),
    )


def _difference(lines: Sequence[Line], name: str, unit: str, digits: int) -> str:
    """Return by how much the errors with the most structures differ from chance."""
    found = (curves(lines, name, unit) - curves(lines, BASE, unit))[:, -1]
    spread = found.std(ddof=1) / len(found) ** 0.5 if len(found) > 1 else 0.0
    return f"{found.mean():+.{digits}f} ± {spread:.{digits}f}"


def head() -> tuple[str, ...]:
    """Return the head of the table."""
    others = [name for name in CHOOSERS if name != BASE]
    return (
        "setting",
        "draws",
        f"by {BASE}",
        *(f"as good by {name}" for name in others),
        *(f"difference of {name}" for name in others),
    )


def draw(path: Path, settings: Mapping[str, Sequence[Line]]) -> Path:
    """Draw errors against the number of structures: forces above, energies below."""
    figure = Figure(figsize=(2.6 * len(settings), 4.6), layout="constrained")
    panels = figure.subplots(2, len(settings), squeeze=False)
    for place, (title, lines) in enumerate(settings.items()):
        panels[0][place].set_title(title, fontsize=10)
        panels[1][place].set_xlabel("structures")
        for axes, unit in zip(panels[:, place], reversed(QUANTITIES), strict=True):
            _draw_curves(axes, lines, unit)
    for axes, unit in zip(panels[:, 0], reversed(QUANTITIES), strict=True):
        axes.set_ylabel(f"RMSE ({unit})")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, **BELOW)
    return save_figure(figure, path, dpi=90)


def _draw_curves(axes: Axes, lines: Sequence[Line], unit: str) -> None:
    sizes = lines[0]["sizes"]
    for name, colour in COLOURS.items():
        found = curves(lines, name, unit)
        spread = found.std(axis=0, ddof=1) / len(found) ** 0.5 if len(found) > 1 else 0
        axes.errorbar(
            sizes,
            found.mean(axis=0),
            yerr=spread,
            color=colour,
            marker="o",
            markersize=4,
            capsize=2,
            label=name,
        )
    axes.set_xticks(sizes)
    tidy(axes)


def main() -> None:
    """Print the tables and draw the picture."""
    options = _options()
    settings = {}
    for each in options.settings:
        title, _, folder = each.partition("=")
        text = (Path(folder) / "runs.jsonl").read_text(encoding="utf-8")
        settings[title] = whole_seeds([json.loads(line) for line in text.splitlines()])
    for unit in reversed(QUANTITIES):
        rows = [row(title, lines, unit) for title, lines in settings.items()]
        print(markdown_table(head(), rows))  # noqa: T201
    draw(options.picture, settings)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("picture", type=Path)
    parser.add_argument("settings", nargs="+", help="NAME=FOLDER")
    return parser.parse_args()


if __name__ == "__main__":
    main()
